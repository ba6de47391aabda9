"""`Orchestrator` and pools that lose, repeat or confuse what they owe; completions that raise."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_littleloops.reference import orchestrator as orchestrator_module
from pytest_littleloops.reference.model import IllegalTransition, Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue
from tests.reference.orchestrated_pools import (
    TIMEOUT,
    InlinePool,
    Pool,
    StepPool,
    hasten,
    orchestrate,
    queue_of,
    result_of,
    succeed,
)


class RaisingOrchestrator(Orchestrator):
    """Its completion of BUG-2 raises, before or after it was marked."""

    error: BaseException = ValueError("no disk")
    is_marked_before = False

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark, and raise for BUG-2."""
        if result.issue_id != "BUG-2" or self.is_marked_before:
            super().on_worker_complete(result)
        if result.issue_id == "BUG-2":
            raise self.error


@pytest.mark.parametrize("error", [ValueError("no disk"), SystemExit(3), KeyboardInterrupt()])
def test_orchestrator_marks_an_issue_failed_whose_completion_raises(
    start_pool: Callable[..., WorkerPool], error: BaseException
) -> None:
    """The pool keeps the error, the others go on, and the run ends."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    pool = start_pool(succeed)
    orchestrator = RaisingOrchestrator(queue, pool)
    orchestrator.error = error
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "failed", "BUG-3": "completed"}
    assert pool.drain(TIMEOUT)
    assert pool.callback_errors == (("BUG-2", error),)


def test_orchestrator_leaves_the_mark_of_a_completion_that_raises_after_it() -> None:
    """What is completed stays completed, and the error goes to the pool."""
    queue = queue_of("BUG-2")

    def step() -> None:
        with pytest.raises(ValueError, match="no disk"):
            pool.finish("BUG-2")

    pool = StepPool(step)
    orchestrator = hasten(RaisingOrchestrator(queue, pool))
    orchestrator.is_marked_before = True
    assert orchestrator.run() == ExitCode.OK
    assert queue.states() == {"BUG-2": "completed"}


def test_orchestrator_does_not_succeed_if_a_completion_marks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An overridden completion may leave an issue in progress: the run ends, but not well."""

    class Silent(Orchestrator):
        """Marks nothing."""

        def on_worker_complete(self, result: WorkerResult) -> None:
            """Do nothing."""

    queue = queue_of("BUG-229")
    assert hasten(Silent(queue, InlinePool())).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "in_progress"}
    assert caplog.messages == ["BUG-229 is still in progress: its completion marked nothing"]


def test_orchestrator_does_not_succeed_if_somebody_else_cancelled_its_issue() -> None:
    """Only a cancellation that it was asked for is as good as a completion."""
    queue = queue_of("BUG-229")

    def step() -> None:
        queue.mark_cancelled("BUG-229")
        with pytest.raises(IllegalTransition, match="BUG-229 cannot go from cancelled to completed"):
            pool.finish("BUG-229")

    pool = StepPool(step)
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "cancelled"}


def test_orchestrator_hears_only_the_first_of_two_completions(caplog: pytest.LogCaptureFixture) -> None:
    """The second one is logged and changes nothing, whatever it says."""
    queue = queue_of("BUG-1", "BUG-2")

    def step() -> None:
        completion = pool.completions["BUG-1"]
        pool.finish("BUG-1")
        completion(result_of("BUG-1", False))

    pool = StepPool(step, lambda: pool.finish("BUG-2"))
    assert orchestrate(queue, pool).run() == ExitCode.OK
    assert queue.completed_ids == ["BUG-1", "BUG-2"]
    assert caplog.messages == ["BUG-1: a completion came that nothing is owed any more; it changes nothing"]


def test_orchestrator_fails_an_issue_whose_completion_has_the_result_of_another() -> None:
    """The other one still gets its own end, and the pool hears what it did."""
    queue = queue_of("BUG-1", "BUG-2")

    def step() -> None:
        with pytest.raises(ValueError, match="the completion of BUG-1 has the result of 'BUG-2'"):
            pool.completions.pop("BUG-1")(result_of("BUG-2", False))

    pool = StepPool(step, lambda: pool.finish("BUG-2"))
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "failed", "BUG-2": "completed"}


def test_orchestrator_fails_an_issue_whose_completion_has_no_result() -> None:
    """A pool that calls it with nothing useful has not lost the issue with that."""
    queue = queue_of("BUG-229")

    def step() -> None:
        with pytest.raises(AttributeError):
            pool.completions.pop("BUG-229")(None)  # type: ignore[arg-type]

    pool = StepPool(step)
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "failed"}


def test_orchestrator_refuses_a_result_of_an_issue_that_is_not_in_progress() -> None:
    """`on_worker_complete`, called by hand for an issue that waits, marks nothing."""
    queue = queue_of("BUG-229")
    with pytest.raises(IllegalTransition, match="BUG-229 cannot go from queued to completed"):
        orchestrate(queue, Pool()).on_worker_complete(result_of("BUG-229"))
    assert queue.states() == {"BUG-229": "queued"}


class LossyPool(Pool):
    """Forgets every issue and says that it owes nothing."""

    active_count = 0


def test_orchestrator_fails_what_an_idle_pool_never_reported(caplog: pytest.LogCaptureFixture) -> None:
    """It does not wait for ever, does not succeed, and says which issues it was."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    assert orchestrate(queue, LossyPool()).run() == ExitCode.FAILED
    assert queue.failed_ids == ["BUG-1", "BUG-2", "BUG-3"]
    assert caplog.messages == [
        f"{issue_id}: the pool went idle and never reported" for issue_id in queue.failed_ids
    ]


def test_orchestrator_ignores_a_completion_that_comes_after_all() -> None:
    """Once failed as never reported, an issue stays failed."""
    queue = queue_of("BUG-229")
    pool = LossyPool()
    assert orchestrate(queue, pool).run() == ExitCode.FAILED
    pool.finish("BUG-229")
    assert queue.states() == {"BUG-229": "failed"}


def test_orchestrator_waits_for_a_completion_that_an_idle_pool_still_delivers() -> None:
    """A pool may say that it owes nothing while a completion runs: that issue is not lost."""
    is_called, may_return = threading.Event(), threading.Event()

    class Slow(Orchestrator):
        """Marks when the test says so."""

        def on_worker_complete(self, result: WorkerResult) -> None:
            """Say that it was called, wait and mark."""
            is_called.set()
            assert may_return.wait(TIMEOUT)
            super().on_worker_complete(result)

    def begin() -> None:
        threads.append(threading.Thread(target=pool.finish, args=("BUG-229",)))
        threads[0].start()
        assert is_called.wait(TIMEOUT)

    def look_at_idle_pool() -> None:
        assert pool.completions == {}

    threads: list[threading.Thread] = []
    pool = StepPool(begin, look_at_idle_pool, may_return.set, lambda: threads[0].join(TIMEOUT))
    queue = queue_of("BUG-229")
    assert hasten(Slow(queue, pool)).run() == ExitCode.OK
    threads[0].join(TIMEOUT)
    assert queue.states() == {"BUG-229": "completed"}


def test_orchestrator_reads_a_completion_that_came_just_before_the_pool_was_idle() -> None:
    """The pool's count is read first: what it no longer counts has been reported by then."""

    class LateReader(Pool):
        """Delivers while it is asked, and counts only what is owed after that."""

        @property
        def active_count(self) -> int:
            """Deliver all."""
            for issue_id in list(self.completions):
                self.finish(issue_id)
            return 0

    queue = queue_of("BUG-1", "BUG-2")
    assert orchestrate(queue, LateReader()).run() == ExitCode.OK


def test_orchestrator_goes_on_when_its_logger_raises() -> None:
    """A full disk under the log costs no issue its end."""

    class RaisingLogger(logging.Logger):
        """Raises for whatever is to be logged."""

        def error(self, *args: object, **kwargs: object) -> None:
            """Raise."""
            raise OSError("no space left")

    queue = queue_of("BUG-229")
    orchestrator = hasten(Orchestrator(queue, LossyPool(), logger=RaisingLogger("full")))
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "failed"}


def test_orchestrator_clears_its_entry_also_if_the_queue_cannot_mark() -> None:
    """A queue that raises while an issue is marked failed does not keep the run waiting."""
    queue = queue_of("BUG-2")

    def mark_failed(issue_id: str) -> None:
        raise OSError("no space left")

    queue.mark_failed = mark_failed  # type: ignore[method-assign]

    def step() -> None:
        with pytest.raises(OSError, match="no space left"):
            pool.finish("BUG-2")

    pool = StepPool(step)
    assert hasten(RaisingOrchestrator(queue, pool)).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-2": "in_progress"}


def test_a_second_attempt_is_not_failed_by_the_first() -> None:
    """A completion requeues its issue and then raises: what that marks is never the attempt after it."""
    second_has_begun, first_has_marked = threading.Event(), threading.Event()
    attempts: list[str] = []

    class SlowQueue(IssueQueue):
        def mark_failed(self, issue_id: str) -> None:
            # The marker loses the processor here; the second attempt must not begin meanwhile.
            second_has_begun.wait(0.2)
            try:
                super().mark_failed(issue_id)
            finally:
                first_has_marked.set()

    class Retrying(Orchestrator):
        def on_worker_complete(self, result: WorkerResult) -> None:
            if result.success:
                super().on_worker_complete(result)
                return
            self.queue.requeue(result.issue_id)
            raise ValueError("after the requeue")

    def process(issue: Issue) -> WorkerResult:
        attempts.append(issue.issue_id)
        if len(attempts) == 2:
            second_has_begun.set()
            assert first_has_marked.wait(10)
        return WorkerResult(issue.issue_id, len(attempts) == 2, "", Path(), error="the first attempt")

    waiting = SlowQueue()
    waiting.add(Issue("BUG-1"))
    with WorkerPool(process, max_workers=2) as pool:
        orchestrator = Retrying(waiting, pool)
        # So that the loop looks at the queue while the mark is on its way.
        orchestrator._poll_seconds = 0.01
        assert orchestrator.run() == 0
    assert attempts == ["BUG-1", "BUG-1"]
    assert waiting.state_of("BUG-1") == "completed"


def test_the_end_of_a_flight_that_is_over_marks_nothing() -> None:
    """Its issue may be on its way anew, or have another end."""
    waiting = IssueQueue()
    waiting.add(Issue("BUG-1"))
    waiting.get()
    orchestrator = Orchestrator(waiting, WorkerPool(lambda issue: WorkerResult("BUG-1", True, "", Path())))
    orchestrator._end(orchestrator_module._Flight(Issue("BUG-1")), waiting.mark_failed)
    assert waiting.state_of("BUG-1") == "in_progress"
