"""`Orchestrator.stop`: what waits is interrupted, what runs ends, and a second one ends all."""

from __future__ import annotations

import threading

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue
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


def test_orchestrator_that_is_stopped_starts_nothing_more() -> None:
    """What is queued is interrupted, what runs is waited for and keeps its own end."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3", "BUG-4")

    def look_and_finish() -> None:
        assert queue.states()["BUG-3"] == "interrupted"
        pool.finish("BUG-1")

    pool = StepPool(
        lambda: orchestrator.stop(), look_and_finish, lambda: pool.finish("BUG-2", success=False)
    )
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.STOPPED
    assert queue.states() == {
        "BUG-1": "completed",
        "BUG-2": "failed",
        "BUG-3": "interrupted",
        "BUG-4": "interrupted",
    }


def test_orchestrator_that_is_stopped_cancels_what_waits_in_the_pool() -> None:
    """That ends interrupted, unless somebody had asked for its cancellation."""
    queue = queue_of("BUG-1", "BUG-2")
    pool = StepPool(lambda: orchestrator.stop(), lambda: pool.finish("BUG-1"))
    pool.cancellable.add("BUG-2")
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.STOPPED
    assert pool.cancel_asked == ["BUG-1", "BUG-2"]
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "interrupted"}


def test_orchestrator_that_is_stopped_asks_for_all_although_the_pool_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A pool that cannot cancel one issue is still asked about the next."""
    queue = queue_of("BUG-1", "BUG-2")

    class Raising(StepPool):
        """Raises when it is asked for a cancellation."""

        def cancel(self, issue_id: str) -> bool:
            """Raise."""
            super().cancel(issue_id)
            raise OSError("no answer")

    pool = Raising(lambda: orchestrator.stop(), lambda: pool.finish("BUG-1"), lambda: pool.finish("BUG-2"))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.STOPPED
    assert pool.cancel_asked == ["BUG-1", "BUG-2"]
    assert caplog.messages[0] == "the pool could not cancel BUG-1: OSError('no answer')"


def test_orchestrator_that_is_stopped_interrupts_what_it_took_and_did_not_start() -> None:
    """A P0 that waits for its turn has not begun."""
    queue = queue_of("BUG-1")

    def stop() -> None:
        assert queue.states()["BUG-0"] == "in_progress"
        orchestrator.stop()

    pool = StepPool(lambda: queue.add(Issue("BUG-0", "P0")), stop, lambda: pool.finish("BUG-1"))
    orchestrator = orchestrate(queue, pool, p0_sequential=True)
    assert orchestrator.run() == ExitCode.STOPPED
    assert pool.submitted == ["BUG-1"]
    assert orchestrator.dispatch_errors == {}
    assert queue.states() == {"BUG-1": "completed", "BUG-0": "interrupted"}


def test_orchestrator_that_is_stopped_keeps_its_promise_of_cancellation() -> None:
    """What was promised to be cancelled is not interrupted instead."""
    queue = queue_of("BUG-1")

    def cancel_and_stop() -> None:
        # In this order the loop hears of the stop before it looks at the P0 again.
        orchestrator.stop()
        assert orchestrator.cancel("BUG-0") is True

    pool = StepPool(lambda: queue.add(Issue("BUG-0", "P0")), cancel_and_stop, lambda: pool.finish("BUG-1"))
    orchestrator = orchestrate(queue, pool, p0_sequential=True)
    assert orchestrator.run() == ExitCode.STOPPED
    assert queue.states() == {"BUG-1": "completed", "BUG-0": "cancelled"}


def test_orchestrator_that_is_stopped_while_it_dispatches_interrupts_what_it_put_off() -> None:
    """An issue that was put off a moment ago is not in progress for ever."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-2":
            orchestrator.stop()
        return True

    orchestrator = orchestrate(queue, InlinePool(), defer=defer)
    assert orchestrator.run() == ExitCode.STOPPED
    assert set(queue.states().values()) == {"interrupted"}
    assert orchestrator.put_off == []


def test_orchestrator_that_is_stopped_interrupts_what_is_added_later() -> None:
    """While it waits for what runs, it is still the one that answers for the queue."""
    queue = queue_of("BUG-1")
    pool = StepPool(
        lambda: orchestrator.stop(), lambda: queue.add(Issue("BUG-2")), lambda: pool.finish("BUG-1")
    )
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.STOPPED
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "interrupted"}


def test_orchestrator_that_is_stopped_does_not_start_what_is_added_in_that_moment() -> None:
    """An issue that comes just after the queue was swept is interrupted with the next sweep."""

    class AddedTo(IssueQueue):
        """Gets another issue after the sweep."""

        def interrupt_queued(self) -> int:
            """Sweep, and have one added."""
            count = super().interrupt_queued()
            self.add(Issue("BUG-2"))
            return count

    queue = AddedTo()
    queue.add(Issue("BUG-1"))
    pool = InlinePool()
    orchestrator = orchestrate(queue, pool)
    orchestrator.stop()
    assert orchestrator.run() == ExitCode.STOPPED
    assert pool.submitted == []
    assert queue.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}


def test_orchestrator_that_was_stopped_before_it_ran_starts_nothing() -> None:
    """The stop is for the next run, and only for that."""
    queue = queue_of("BUG-1")
    pool = InlinePool()
    orchestrator = orchestrate(queue, pool)
    orchestrator.stop()
    assert orchestrator.run() == ExitCode.STOPPED
    assert queue.states() == {"BUG-1": "interrupted"}
    queue.requeue("BUG-1")
    assert orchestrator.run() == ExitCode.OK
    assert pool.submitted == ["BUG-1"]


def test_orchestrator_that_is_stopped_twice_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    """What is in flight is interrupted at once; what becomes of it later is logged and changes nothing."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    pool = StepPool(lambda: orchestrator.stop(), lambda: orchestrator.stop())
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.STOPPED
    assert set(queue.states().values()) == {"interrupted"}
    assert caplog.messages == []
    pool.finish("BUG-1")
    assert queue.states()["BUG-1"] == "interrupted"
    assert caplog.messages == ["BUG-1: a completion came that nothing is owed any more; it changes nothing"]


def test_orchestrator_that_is_stopped_thrice_has_stopped_twice() -> None:
    """More impatience changes nothing."""
    queue = queue_of("BUG-1")

    def stop_thrice() -> None:
        for _ in range(3):
            orchestrator.stop()

    orchestrator = orchestrate(queue, StepPool(stop_thrice))
    assert orchestrator.run() == ExitCode.STOPPED
    assert queue.states() == {"BUG-1": "interrupted"}


def test_orchestrator_that_is_stopped_twice_does_not_wait_for_a_completion_that_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A completion that hangs holds nobody up, and what it marks in the end is refused and logged."""
    is_called, may_return = threading.Event(), threading.Event()

    class Slow(Orchestrator):
        """Marks when the test says so."""

        def on_worker_complete(self, result: WorkerResult) -> None:
            """Say that it was called, wait and mark."""
            is_called.set()
            assert may_return.wait(TIMEOUT)
            super().on_worker_complete(result)

    def begin() -> None:
        thread.start()
        assert is_called.wait(TIMEOUT)
        orchestrator.stop()
        orchestrator.stop()

    thread = threading.Thread(target=lambda: pool.finish("BUG-229"), daemon=True)
    pool = StepPool(begin)
    queue = queue_of("BUG-229")
    orchestrator = hasten(Slow(queue, pool))
    assert orchestrator.run() == ExitCode.STOPPED
    may_return.set()
    thread.join(TIMEOUT)
    refused = "BUG-229 cannot go from interrupted to completed; requeue it first"
    assert caplog.messages == [f"BUG-229: its completion came too late: {refused}"]
    assert queue.states() == {"BUG-229": "interrupted"}


def test_orchestrator_that_is_stopped_twice_does_not_wait_for_its_own_pool() -> None:
    """Of a pool that it started it ends what waits, and leaves what hangs."""
    gate = threading.Event()

    was_left: list[bool] = []

    def process(issue: Issue) -> WorkerResult:
        orchestrator.stop()
        orchestrator.stop()
        was_left.append(gate.wait(TIMEOUT))
        return succeed(issue)

    queue = queue_of("BUG-1", "BUG-2")
    pool = WorkerPool(process, max_workers=1)
    orchestrator = Orchestrator(queue, pool, max_in_flight=2)
    assert orchestrator.run() == ExitCode.STOPPED
    assert set(queue.states().values()) == {"interrupted"}
    gate.set()
    assert pool.drain(TIMEOUT)
    pool.shutdown()
    assert was_left == [True]
    assert set(queue.states().values()) == {"interrupted"}


def test_orchestrator_waits_for_its_own_pool_in_the_run_after_an_impatient_one() -> None:
    """That the run before was stopped twice is over with it."""
    shutdowns: list[tuple[bool, bool]] = []

    class Restartable(InlinePool):
        """Can be started again, and is stopped twice by its first issue."""

        is_started = False

        def start(self) -> None:
            """Start."""

        def shutdown(self, *, wait: bool = True, cancel_pending: bool = False) -> None:
            """Note what is asked for."""
            shutdowns.append((wait, cancel_pending))

        def submit(self, issue: Issue, on_complete: Completion) -> None:
            """Work, or have the orchestrator stopped."""
            if issue.issue_id == "BUG-1":
                orchestrator.stop()
                orchestrator.stop()
            else:
                super().submit(issue, on_complete)

    queue = queue_of("BUG-1")
    orchestrator = orchestrate(queue, Restartable())
    assert orchestrator.run() == ExitCode.STOPPED
    queue.add(Issue("BUG-2"))
    assert orchestrator.run() == ExitCode.OK
    assert shutdowns == [(False, True), (True, False)]


def test_orchestrator_can_be_stopped_while_its_pool_works_inside_submit() -> None:
    """Between two issues it looks whether it was told to stop."""

    def process(issue: Issue) -> WorkerResult:
        if issue.issue_id == "BUG-2":
            orchestrator.stop()
        return result_of(issue.issue_id)

    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    orchestrator = orchestrate(queue, InlinePool(process))
    assert orchestrator.run() == ExitCode.STOPPED
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "completed", "BUG-3": "interrupted"}
