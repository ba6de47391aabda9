"""`Orchestrator` and pools whose `submit` raises: an issue that was refused has failed, or the run ends."""

from __future__ import annotations

import threading

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from tests.reference.orchestrated_pools import (
    TIMEOUT,
    Completion,
    InlinePool,
    StepPool,
    orchestrate,
    queue_of,
    succeed,
)


class RefusingPool(InlinePool):
    """Refuses BUG-2, before or after it worked on it."""

    def __init__(self, error: BaseException, *, is_worked_on: bool = False) -> None:
        super().__init__()
        self.error = error
        self.is_worked_on = is_worked_on

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Work, and raise for BUG-2."""
        if issue.issue_id != "BUG-2" or self.is_worked_on:
            super().submit(issue, on_complete)
        if issue.issue_id == "BUG-2":
            raise self.error


def test_orchestrator_fails_an_issue_that_the_pool_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """It is marked, logged and kept with its error; the others are worked on."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    error = RuntimeError("can't start new thread")
    orchestrator = orchestrate(queue, RefusingPool(error))
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "failed", "BUG-3": "completed"}
    assert orchestrator.dispatch_errors == {"BUG-2": error}
    (record,) = caplog.records
    assert record.getMessage() == ('BUG-2 could not be dispatched: RuntimeError("can\'t start new thread")')
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_orchestrator_fails_all_issues_of_a_pool_that_was_shut_down() -> None:
    """Nothing is accepted any more, and nothing stays in progress for that."""
    pool = WorkerPool(succeed)
    with pool:
        pass
    queue = queue_of("BUG-1", "BUG-2")
    orchestrator = Orchestrator(queue, pool)
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.failed_ids == ["BUG-1", "BUG-2"]
    assert list(orchestrator.dispatch_errors) == ["BUG-1", "BUG-2"]


def test_orchestrator_forgets_the_dispatch_errors_of_the_run_before() -> None:
    """They are those of the last run."""
    queue = queue_of("BUG-2")
    orchestrator = orchestrate(queue, RefusingPool(RuntimeError("full")))
    orchestrator.run()
    assert list(orchestrator.dispatch_errors) == ["BUG-2"]
    orchestrator.run()
    assert orchestrator.dispatch_errors == {}


def test_orchestrator_keeps_the_end_of_an_issue_that_was_refused_after_its_completion() -> None:
    """A pool that raises although it has worked does not undo what was reported."""
    queue = queue_of("BUG-1", "BUG-2")
    orchestrator = orchestrate(queue, RefusingPool(RuntimeError("late"), is_worked_on=True))
    assert orchestrator.run() == ExitCode.OK
    assert queue.completed_ids == ["BUG-1", "BUG-2"]
    assert list(orchestrator.dispatch_errors) == ["BUG-2"]


def test_orchestrator_ignores_the_completion_of_an_issue_that_was_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A pool that refuses and works all the same comes too late with it."""

    class HalfRefusingPool(StepPool):
        """Keeps the first issue, and raises."""

        def submit(self, issue: Issue, on_complete: Completion) -> None:
            """Keep it, and raise for BUG-1."""
            super().submit(issue, on_complete)
            if issue.issue_id == "BUG-1":
                raise RuntimeError("full")

    queue = queue_of("BUG-1", "BUG-2")
    pool = HalfRefusingPool(lambda: pool.finish("BUG-1"), lambda: pool.finish("BUG-2"))
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "failed", "BUG-2": "completed"}
    assert caplog.messages[1:] == [
        "BUG-1: a completion came that nothing is owed any more; it changes nothing"
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_orchestrator_ends_when_a_submission_raises_more_than_an_exception(error: BaseException) -> None:
    """Who wants to get out gets out; the issue is marked, and the others are still queued."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    orchestrator = orchestrate(queue, RefusingPool(error))
    with pytest.raises(type(error)) as caught:
        orchestrator.run()
    assert caught.value is error
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "failed", "BUG-3": "queued"}
    assert orchestrator.dispatch_errors == {"BUG-2": error}


def test_orchestrator_that_ended_in_an_exception_can_run_again() -> None:
    """The next run waits for what was in flight, and counts it as its own."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")

    class OnceRefusingPool(StepPool):
        """Refuses BUG-2."""

        def submit(self, issue: Issue, on_complete: Completion) -> None:
            """Keep it, or raise."""
            if issue.issue_id == "BUG-2":
                raise KeyboardInterrupt
            super().submit(issue, on_complete)

    pool = OnceRefusingPool(lambda: pool.finish("BUG-1", success=False), lambda: pool.finish("BUG-3"))
    orchestrator = orchestrate(queue, pool)
    with pytest.raises(KeyboardInterrupt):
        orchestrator.run()
    assert queue.states() == {"BUG-1": "in_progress", "BUG-2": "failed", "BUG-3": "queued"}
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "failed", "BUG-2": "failed", "BUG-3": "completed"}


def test_orchestrator_shuts_its_pool_down_when_it_ends_in_an_exception() -> None:
    """A pool that it started is not left behind, and nothing that waits in it is lost."""
    gate = threading.Event()

    class OnceRefusingPool(WorkerPool):
        """Refuses BUG-3."""

        def submit(self, issue: Issue, on_complete: object = None) -> None:  # type: ignore[override]
            """Submit, or raise."""
            if issue.issue_id == "BUG-3":
                raise KeyboardInterrupt
            super().submit(issue, on_complete)  # type: ignore[arg-type]

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        return succeed(issue)

    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    pool = OnceRefusingPool(process, max_workers=1)
    with pytest.raises(KeyboardInterrupt):
        Orchestrator(queue, pool, max_in_flight=3).run()
    gate.set()
    assert pool.drain(TIMEOUT)
    pool.shutdown()
    assert queue.states()["BUG-3"] == "failed"
    assert queue.states()["BUG-2"] == "interrupted"
    # It may have been cancelled before its worker began.
    assert queue.states()["BUG-1"] in ("completed", "interrupted")
