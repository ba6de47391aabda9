"""The loop of `Orchestrator.run`: what wakes it, what it remembers, one run beside or after another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from tests.reference.orchestrated_pools import (
    TIMEOUT,
    Completion,
    InlinePool,
    StepPool,
    hasten,
    orchestrate,
    queue_of,
    result_of,
    succeed,
)


def test_orchestrator_judges_each_run_by_itself() -> None:
    """What failed in one run is not held against the next."""
    queue = queue_of("BUG-1")
    pool = InlinePool(lambda issue: result_of(issue.issue_id, issue.issue_id != "BUG-1"))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.FAILED
    queue.add(Issue("BUG-2"))
    assert orchestrator.run() == ExitCode.OK


def test_orchestrator_leaves_an_issue_to_the_next_run_that_is_added_when_it_is_over() -> None:
    """It came too late to be taken, and was not put off."""
    queue = queue_of("BUG-1")

    class AddedTo(Orchestrator):
        """Has an issue added when all that is left is to work out the exit code."""

        def _exit_code(self) -> int:
            queue.add(Issue("BUG-2"))
            return super()._exit_code()

    orchestrator = hasten(AddedTo(queue, InlinePool()))
    assert orchestrator.run() == ExitCode.OK
    assert orchestrator.put_off == []
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "queued"}


def test_orchestrator_keeps_nothing_of_what_ended_well(start_pool: Callable[..., WorkerPool]) -> None:
    """However many issues a run has, it remembers those that make it a failure."""
    queue = queue_of(*(f"BUG-{number}" for number in range(20)))
    orchestrator = Orchestrator(
        queue, start_pool(lambda issue: result_of(issue.issue_id, issue.issue_id != "BUG-7"))
    )
    assert orchestrator.run() == ExitCode.FAILED
    assert list(orchestrator._unsettled) == ["BUG-7"]


class ImpatientMailbox(SimpleQueue[Any]):
    """Takes one step of the test whenever its reader waits, and that must bring a message."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the step, and the message that came of it."""
        if block:
            self.steps.pop(0)()
        return super().get(block=False)


def test_orchestrator_is_woken_by_a_completion() -> None:
    """It does not look from time to time, but is told."""
    pool = StepPool()
    orchestrator = orchestrate(queue_of("BUG-1", "BUG-2"), pool, max_in_flight=1)
    orchestrator._mailbox = ImpatientMailbox(lambda: pool.finish("BUG-1"), lambda: pool.finish("BUG-2"))
    assert orchestrator.run() == ExitCode.OK
    assert pool.waits == 0


def test_orchestrator_is_woken_by_a_cancellation_of_a_p0_that_waits() -> None:
    """What the P0 held up starts at once."""
    queue = queue_of("BUG-1")

    def add_p0() -> None:
        queue.add_many([Issue("BUG-0", "P0"), Issue("BUG-2")])
        # That something was added wakes nobody.
        orchestrator._mailbox.put(None)

    pool = StepPool()
    orchestrator = orchestrate(queue, pool, p0_sequential=True)
    orchestrator._mailbox = ImpatientMailbox(
        add_p0,
        lambda: orchestrator.cancel("BUG-0"),
        lambda: pool.finish("BUG-2"),
        lambda: pool.finish("BUG-1"),
    )
    assert orchestrator.run() == ExitCode.OK
    assert queue.states() == {"BUG-1": "completed", "BUG-0": "cancelled", "BUG-2": "completed"}
    assert pool.waits == 0


def test_orchestrator_does_not_run_twice_at_once() -> None:
    """A run inside a run is refused, and the one that runs goes on."""
    texts: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        with pytest.raises(RuntimeError) as caught:
            orchestrator.run()
        texts.append(str(caught.value))
        return succeed(issue)

    orchestrator = orchestrate(queue_of("BUG-229"), InlinePool(process))
    assert orchestrator.run() == ExitCode.OK
    assert texts == ["this Orchestrator is running already; one run() at a time"]


def test_orchestrator_takes_an_issue_again_that_its_completion_requeued() -> None:
    """An overridden completion may give an issue a second try; its last end counts."""
    tries: list[str] = []

    class Retrying(Orchestrator):
        """Requeues what failed."""

        def on_worker_complete(self, result: WorkerResult) -> None:
            """Mark it, and put it back if it failed."""
            super().on_worker_complete(result)
            if not result.success:
                self.queue.requeue(result.issue_id)

    def process(issue: Issue) -> WorkerResult:
        tries.append(issue.issue_id)
        return result_of(issue.issue_id, len(tries) == 3)

    queue = queue_of("BUG-229")
    assert hasten(Retrying(queue, InlinePool(process))).run() == ExitCode.OK
    assert tries == ["BUG-229"] * 3
    assert queue.states() == {"BUG-229": "completed"}


@pytest.mark.parametrize("is_raising", [False, True])
@pytest.mark.parametrize("has_begun", [False, True])
def test_orchestrator_keeps_a_second_try_that_overlaps_with_the_first(
    has_begun: bool, is_raising: bool
) -> None:
    """The end of the first flight of an issue neither clears nor fails the second, also if it raises."""
    queue = queue_of("BUG-229")
    is_requeued, may_return = threading.Event(), threading.Event()
    errors: list[str] = []
    threads: list[threading.Thread] = []

    class Retrying(Orchestrator):
        """Requeues its issue the first time, and returns when the test says so."""

        def on_worker_complete(self, result: WorkerResult) -> None:
            """Mark it, and at the first time requeue, wait and maybe raise."""
            super().on_worker_complete(result)
            if not is_requeued.is_set():
                self.queue.requeue(result.issue_id)
                is_requeued.set()
                assert may_return.wait(TIMEOUT)
                if is_raising:
                    raise ValueError("no disk")

    def complete(completion: Completion) -> None:
        try:
            completion(result_of("BUG-229", False))
        except ValueError as error:
            errors.append(str(error))

    def begin_first_completion() -> None:
        threads.append(threading.Thread(target=complete, args=(pool.completions.pop("BUG-229"),)))
        threads[0].start()
        assert is_requeued.wait(TIMEOUT)

    def end_first_completion() -> None:
        may_return.set()
        threads[0].join(TIMEOUT)
        assert queue.states() == {"BUG-229": "in_progress"}

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if is_requeued.is_set() and not has_begun:
            end_first_completion()
        return False

    def go_on() -> None:
        if has_begun:
            end_first_completion()
        assert pool.submitted == ["BUG-229", "BUG-229"]
        assert list(orchestrator._in_flight) == ["BUG-229"]

    pool = StepPool(begin_first_completion, go_on, lambda: pool.finish("BUG-229"))
    orchestrator = hasten(Retrying(queue, pool, defer=defer))
    assert orchestrator.run() == ExitCode.OK
    assert errors == (["no disk"] if is_raising else [])
    assert queue.states() == {"BUG-229": "completed"}
