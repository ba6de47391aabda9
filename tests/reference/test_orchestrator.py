"""`Orchestrator.run`: what it starts, when it ends, and what it returns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue
from tests.reference.orchestrated_pools import (
    TIMEOUT,
    InlinePool,
    Pool,
    StepPool,
    orchestrate,
    queue_of,
    result_of,
    succeed,
)


def test_orchestrator_completes_all_issues_of_its_queue(start_pool: Callable[..., WorkerPool]) -> None:
    """Every issue is completed, the pool was told of each once, and the exit code says so."""
    queue = queue_of(*(f"BUG-{number}" for number in range(20)))
    worked_on: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        worked_on.append(issue.issue_id)
        return succeed(issue)

    exit_code = Orchestrator(queue, start_pool(process, max_workers=4)).run()
    assert exit_code == ExitCode.OK
    assert set(queue.states().values()) == {"completed"}
    assert Counter(worked_on) == {f"BUG-{number}": 1 for number in range(20)}


def test_exit_codes_are_what_a_shell_expects() -> None:
    """0 is success, and nothing else is."""
    assert [int(code) for code in ExitCode] == [0, 1, 2]


def test_orchestrator_of_an_empty_queue_has_nothing_to_do() -> None:
    """It ends at once, and well."""
    pool = StepPool()
    assert orchestrate(IssueQueue(), pool).run() == ExitCode.OK
    assert (pool.submitted, pool.waits) == ([], 0)


def test_orchestrator_starts_the_most_urgent_first() -> None:
    """The order of the queue is the order of dispatch."""
    pool = InlinePool()
    queue = queue_of(Issue("BUG-1", "P5"), Issue("BUG-2", "P0"), Issue("BUG-3", "P1"), Issue("BUG-4", "P0"))
    assert orchestrate(queue, pool).run() == ExitCode.OK
    assert pool.submitted == ["BUG-2", "BUG-4", "BUG-3", "BUG-1"]


def test_orchestrator_that_has_a_failed_issue_returns_failed() -> None:
    """One failure among successes is a failure, also if it is not the last."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    pool = InlinePool(lambda issue: result_of(issue.issue_id, issue.issue_id != "BUG-2"))
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "failed", "BUG-3": "completed"}


def test_orchestrator_counts_the_failure_that_comes_last() -> None:
    """The exit code is worked out after the last completion."""
    queue = queue_of("BUG-1", "BUG-2")
    pool = StepPool(lambda: pool.finish("BUG-2"), lambda: pool.finish("BUG-1", success=False))
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "failed", "BUG-2": "completed"}


def test_orchestrator_marks_an_issue_whose_worker_was_interrupted() -> None:
    """A worker may say itself that it was interrupted: that is no success, nor asked for."""
    queue = queue_of("BUG-229")
    pool = InlinePool(lambda issue: result_of(issue.issue_id, False, interrupted=True))
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "interrupted"}


def test_orchestrator_works_on_issues_that_its_work_adds() -> None:
    """A worker that finds a follow-up adds it, and the run does not end before that."""
    queue = queue_of("BUG-0")

    def process(issue: Issue) -> WorkerResult:
        number = int(issue.issue_id.removeprefix("BUG-"))
        if number < 5:
            queue.add(Issue(f"BUG-{number + 1}"))
        return succeed(issue)

    assert orchestrate(queue, InlinePool(process)).run() == ExitCode.OK
    assert queue.completed_count == 6


def test_orchestrator_starts_what_is_added_while_it_waits() -> None:
    """A free place is filled without waiting for a completion."""
    queue = queue_of("BUG-1")
    pool = StepPool(
        lambda: queue.add(Issue("BUG-2")),
        lambda: pool.finish("BUG-2"),
        lambda: pool.finish("BUG-1"),
    )
    assert orchestrate(queue, pool).run() == ExitCode.OK
    assert queue.completed_ids == ["BUG-1", "BUG-2"]


@pytest.mark.parametrize(
    ("workers", "asked_for", "expected"), [(None, None, 2), (3, None, 3), (3, 1, 1), (None, 5, 5)]
)
def test_orchestrator_keeps_no_more_in_flight_than_it_may(
    workers: int | None, asked_for: int | None, expected: int
) -> None:
    """By default as many as the pool has workers, or two; the next starts when one has ended."""

    class SizedPool(StepPool):
        """Has workers, if its test says so."""

        def __init__(self) -> None:
            super().__init__(*[self.finish_first] * 8)
            self.in_flight: list[int] = []
            if workers is not None:
                self.max_workers = workers

        def finish_first(self) -> None:
            """Look how many there are, and end one."""
            self.in_flight.append(len(self.completions))
            self.finish(next(iter(self.completions)))

    pool = SizedPool()
    queue = queue_of(*(f"BUG-{number}" for number in range(8)))
    assert orchestrate(queue, pool, max_in_flight=asked_for).run() == ExitCode.OK
    assert pool.in_flight == [expected] * (9 - expected) + list(range(expected - 1, 0, -1))


def test_orchestrator_starts_a_pool_that_is_not_started_and_shuts_it_down() -> None:
    """Nobody else has a use for it: afterwards it accepts nothing and owes nothing."""
    pool = WorkerPool(succeed)
    queue = queue_of("BUG-1", "BUG-2")
    assert Orchestrator(queue, pool).run() == ExitCode.OK
    with pytest.raises(RuntimeError, match="was shut down"):
        pool.submit(Issue("BUG-3"))
    assert pool.active_count == 0


def test_orchestrator_leaves_a_started_pool_to_its_maker(start_pool: Callable[..., WorkerPool]) -> None:
    """It can be used again, also by the next run."""
    pool = start_pool(succeed)
    queue = queue_of("BUG-1")
    orchestrator = Orchestrator(queue, pool)
    assert orchestrator.run() == ExitCode.OK
    queue.add(Issue("BUG-2"))
    assert orchestrator.run() == ExitCode.OK
    assert pool.submit(Issue("BUG-3")).result(TIMEOUT).success


def test_orchestrator_runs_500_issues_on_four_threads_to_their_ends(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """Under load each ends as its worker said, also where that raised."""

    def process(issue: Issue) -> WorkerResult:
        number = int(issue.issue_id.removeprefix("BUG-"))
        if number % 7 == 0:
            raise SystemExit
        return result_of(issue.issue_id, number % 5 > 0)

    queue = queue_of(*(Issue(f"BUG-{number}", f"P{number % 6}") for number in range(500)))
    orchestrator = Orchestrator(queue, start_pool(process, max_workers=4), max_in_flight=8)
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {
        f"BUG-{number}": "completed" if number % 7 and number % 5 else "failed" for number in range(500)
    }


def test_orchestrators_share_a_pool(start_pool: Callable[..., WorkerPool]) -> None:
    """Each hears of its own issues only, also when both have the same ids."""
    pool = start_pool(succeed, max_workers=2)
    queues = [queue_of(*(f"BUG-{number}" for number in range(20))) for _ in range(2)]
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda queue=queue: codes.append(Orchestrator(queue, pool).run()))
        for queue in queues
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert codes == [ExitCode.OK, ExitCode.OK]
    assert [queue.completed_count for queue in queues] == [20, 20]


class NoCancel:
    """A pool that lacks a method."""

    active_count = 0

    def submit(self, issue: Issue, on_complete: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"queue": []}, TypeError, "queue must be an IssueQueue, not []"),
        ({"pool": 1}, TypeError, "pool must have submit, cancel and active_count; 1 lacks submit"),
        ({"pool": NoCancel()}, TypeError, "lacks cancel"),
        ({"max_in_flight": "2"}, TypeError, "max_in_flight must be an integer, not '2'"),
        ({"max_in_flight": True}, TypeError, "max_in_flight must be an integer, not True"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight must be at least 1, not 0"),
        ({"defer": 3}, TypeError, "defer must be callable as defer(issue, ids_in_flight), not 3"),
    ],
)
def test_orchestrator_refuses_wrong_arguments(
    arguments: dict[str, object], error: type[Exception], text: str
) -> None:
    """Each message says what was expected and what was given."""
    with pytest.raises(error) as caught:
        Orchestrator(**{"queue": IssueQueue(), "pool": Pool(), **arguments})  # type: ignore[arg-type]
    assert text in str(caught.value)
