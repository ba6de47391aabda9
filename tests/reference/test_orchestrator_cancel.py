"""`Orchestrator.cancel`: what has not begun ends cancelled, what has begun runs on."""

from __future__ import annotations

import threading
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
    hasten,
    orchestrate,
    queue_of,
    result_of,
    succeed,
)


def test_orchestrator_cancels_an_issue_that_is_queued() -> None:
    """It is marked at once, never dispatched, and no failure."""
    queue = queue_of("BUG-1", "BUG-2")
    pool = InlinePool()
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.cancel("BUG-1") is True
    assert queue.states() == {"BUG-1": "cancelled", "BUG-2": "queued"}
    assert orchestrator.run() == ExitCode.OK
    assert pool.submitted == ["BUG-2"]


@pytest.mark.parametrize("state", ["unknown", "in progress elsewhere", "completed", "cancelled"])
def test_orchestrator_does_not_cancel_what_is_not_its_own_or_has_ended(state: str) -> None:
    """Nothing changes, and the answer says so."""
    queue = IssueQueue() if state == "unknown" else queue_of("BUG-229")
    if state == "cancelled":
        queue.mark_cancelled("BUG-229")
    elif state != "unknown":
        queue.get()
    if state == "completed":
        queue.mark_completed("BUG-229")
    before = queue.states()
    pool = Pool()
    assert orchestrate(queue, pool).cancel("BUG-229") is False
    assert queue.states() == before
    assert pool.cancel_asked == []


def test_orchestrator_cancels_an_issue_that_waits_in_the_pool(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """Its body does not run; it ends cancelled, not interrupted, and that is no failure."""
    worked_on: list[str] = []
    answers: list[bool] = []

    def process(issue: Issue) -> WorkerResult:
        worked_on.append(issue.issue_id)
        assert is_submitted.wait(TIMEOUT)
        answers.append(orchestrator.cancel("BUG-2"))
        return succeed(issue)

    class SubmissionsSeen(WorkerPool):
        """Says when BUG-2 is with it."""

        def submit(self, issue: Issue, on_complete: object = None) -> None:  # type: ignore[override]
            """Submit and say so."""
            super().submit(issue, on_complete)  # type: ignore[arg-type]
            if issue.issue_id == "BUG-2":
                is_submitted.set()

    is_submitted = threading.Event()
    queue = queue_of("BUG-1", "BUG-2")
    orchestrator = Orchestrator(queue, SubmissionsSeen(process, max_workers=1), max_in_flight=2)
    assert orchestrator.run() == ExitCode.OK
    assert answers == [True]
    assert worked_on == ["BUG-1"]
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "cancelled"}


def test_orchestrator_does_not_cancel_what_runs() -> None:
    """It runs on, and the request is forgotten: an interruption that comes later is one."""
    queue = queue_of("BUG-229")

    def cancel_in_vain() -> None:
        assert orchestrator.cancel("BUG-229") is False

    pool = StepPool(cancel_in_vain, lambda: pool.complete(result_of("BUG-229", False, interrupted=True)))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "interrupted"}


def test_orchestrator_does_not_forget_a_granted_request_with_a_refused_one() -> None:
    """Two ask at once and one is granted: the issue ends cancelled."""
    queue = queue_of("BUG-229")
    answers: list[bool] = []

    class AskedTwice(StepPool):
        """Is asked a second time, in vain, while it grants the first request."""

        def cancel(self, issue_id: str) -> bool:
            """Ask again, then grant."""
            if self.cancel_asked:
                return super().cancel(issue_id)
            self.cancel_asked.append(issue_id)
            answers.append(orchestrator.cancel(issue_id))
            self.cancellable.add(issue_id)
            return super().cancel(issue_id)

    pool = AskedTwice(lambda: answers.append(orchestrator.cancel("BUG-229")))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.OK
    assert answers == [False, True]
    assert queue.states() == {"BUG-229": "cancelled"}


def test_orchestrator_grants_a_request_that_only_the_pool_refused() -> None:
    """An interruption that comes while the pool is asked is taken for the cancellation: it was one."""
    queue = queue_of("BUG-229")
    answers: list[bool] = []

    class Overtaking(StepPool):
        """Reports an interruption, and that there was nothing to cancel."""

        def cancel(self, issue_id: str) -> bool:
            """Report first."""
            self.complete(result_of(issue_id, False, interrupted=True))
            return False

    pool = Overtaking(lambda: answers.append(orchestrator.cancel("BUG-229")))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.OK
    assert answers == [True]
    assert queue.states() == {"BUG-229": "cancelled"}


def test_orchestrator_lets_the_end_of_an_issue_overrule_its_cancellation() -> None:
    """A pool that grants a cancellation and completes the issue all the same has completed it."""
    queue = queue_of("BUG-229")

    class Overtaken(StepPool):
        """Grants what it cannot keep."""

        def cancel(self, issue_id: str) -> bool:
            """Grant it."""
            return True

    def cancel() -> None:
        assert orchestrator.cancel("BUG-229") is True

    pool = Overtaken(cancel, lambda: pool.finish("BUG-229"))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.OK
    assert queue.states() == {"BUG-229": "completed"}


def test_orchestrator_forgets_a_request_about_which_the_pool_raises() -> None:
    """Who asked hears what the pool raised; the issue goes on as if nobody had asked."""
    queue = queue_of("BUG-229")

    class Raising(StepPool):
        """Raises when it is asked for a cancellation."""

        def cancel(self, issue_id: str) -> bool:
            """Raise."""
            raise OSError("no answer")

    def cancel() -> None:
        with pytest.raises(OSError, match="no answer"):
            orchestrator.cancel("BUG-229")

    pool = Raising(cancel, lambda: pool.complete(result_of("BUG-229", False, interrupted=True)))
    orchestrator = orchestrate(queue, pool)
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-229": "interrupted"}


@pytest.mark.parametrize("is_put_off", [False, True])
def test_orchestrator_cancels_an_issue_that_it_took_and_has_not_handed_on(is_put_off: bool) -> None:
    """Asked while `defer` thinks about it: whatever that says, the pool never hears of the issue."""
    queue = queue_of("BUG-1", "BUG-2")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-1":
            assert queue.states()["BUG-1"] == "in_progress"
            assert orchestrator.cancel("BUG-1") is True
            return is_put_off
        return False

    pool = InlinePool()
    orchestrator = orchestrate(queue, pool, defer=defer)
    assert orchestrator.run() == ExitCode.OK
    assert pool.submitted == ["BUG-2"]
    assert queue.states() == {"BUG-1": "cancelled", "BUG-2": "completed"}


def test_orchestrator_cancels_a_p0_that_waits_for_its_turn() -> None:
    """It does not wait any longer for that, and what it held up may start."""
    queue = queue_of("BUG-1")
    asked: list[str] = []

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        asked.append(issue.issue_id)
        return False

    def add_p0() -> None:
        queue.add_many([Issue("BUG-0", "P0"), Issue("BUG-2", "P4")])

    def cancel_p0() -> None:
        assert queue.states()["BUG-0"] == "in_progress"
        assert orchestrator.cancel("BUG-0") is True

    def see_the_other_start() -> None:
        assert queue.states()["BUG-0"] == "cancelled"
        assert list(pool.completions) == ["BUG-1", "BUG-2"]
        pool.finish("BUG-1")

    pool = StepPool(add_p0, cancel_p0, see_the_other_start, lambda: pool.finish("BUG-2"))
    orchestrator = orchestrate(queue, pool, p0_sequential=True, defer=defer)
    assert orchestrator.run() == ExitCode.OK
    assert asked == ["BUG-1", "BUG-2"]


class CancelInBetween(IssueQueue):
    """Has another thread ask for the cancellation while the orchestrator moves an issue.

    The issue has left the one place and is not in the other when the thread asks. It goes on only once
    the thread waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bool] = []
        self._threads: list[threading.Thread] = []
        self._is_waiting = threading.Event()

    def watch(self, orchestrator: Orchestrator) -> None:
        """Have the cancellation asked of this orchestrator."""
        self._orchestrator = orchestrator
        original = orchestrator._books.wait

        def announced_wait(timeout: float | None = None) -> bool:
            self._is_waiting.set()
            assert original(TIMEOUT), "nobody woke this thread"
            return True

        orchestrator._books.wait = announced_wait  # type: ignore[method-assign]

    def ask(self) -> None:
        """Have the thread ask, and return when it waits."""
        thread = threading.Thread(
            target=lambda: self.answers.append(self._orchestrator.cancel("BUG-229")), daemon=True
        )
        self._threads.append(thread)
        thread.start()
        assert self._is_waiting.wait(TIMEOUT)

    def join(self) -> list[bool]:
        """Wait for the thread; what it was answered."""
        for thread in self._threads:
            thread.join(TIMEOUT)
        return self.answers


def test_orchestrator_cancels_an_issue_that_it_is_just_taking() -> None:
    """Out of the queue and not yet in the books, it is found all the same."""

    class Taking(CancelInBetween):
        """Has it asked after the issue left the queue."""

        def get(self, block: bool = True, timeout: float | None = None) -> Issue:
            """Take, and have it asked."""
            issue = super().get(block, timeout)
            self.ask()
            return issue

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        # So that the dispatch cannot overtake the thread that was woken.
        queue.join()
        return False

    queue = Taking()
    queue.add(Issue("BUG-229"))
    pool = InlinePool()
    orchestrator = orchestrate(queue, pool, defer=defer)
    queue.watch(orchestrator)
    assert orchestrator.run() == ExitCode.OK
    assert queue.join() == [True]
    assert pool.submitted == []
    assert queue.states() == {"BUG-229": "cancelled"}


def test_orchestrator_cancels_an_issue_that_it_is_just_putting_back() -> None:
    """Out of the books and not yet in the queue, it is found all the same."""

    class PuttingBack(CancelInBetween):
        """Has it asked before the issue is back in the queue."""

        def requeue(self, issue_id: str) -> None:
            """Have it asked, and requeue."""
            self.ask()
            super().requeue(issue_id)

    queue = PuttingBack()
    queue.add(Issue("BUG-229"))
    orchestrator = orchestrate(queue, InlinePool(), defer=lambda issue, in_flight: True)
    queue.watch(orchestrator)
    orchestrator.run()
    assert queue.join() == [True]
    assert queue.states() == {"BUG-229": "cancelled"}


def test_orchestrator_keeps_its_promise_of_cancellation_when_it_ends_in_an_exception() -> None:
    """What was promised to be cancelled is not put back for the next run."""
    queue = queue_of("BUG-1", "BUG-2")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-1":
            assert orchestrator.cancel("BUG-1")
            return True
        raise KeyboardInterrupt

    orchestrator = orchestrate(queue, InlinePool(), defer=defer)
    with pytest.raises(KeyboardInterrupt):
        orchestrator.run()
    assert queue.states() == {"BUG-1": "cancelled", "BUG-2": "failed"}


def test_orchestrator_leaves_a_mark_that_was_made_by_hand_while_it_had_the_issue() -> None:
    """An issue that somebody marked while it waited for its turn is not marked again."""
    queue = queue_of("BUG-229")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        queue.mark_completed("BUG-229")
        return orchestrator.cancel("BUG-229")

    orchestrator = orchestrate(queue, InlinePool(), defer=defer)
    assert orchestrator.run() == ExitCode.OK
    assert queue.states() == {"BUG-229": "completed"}


def test_orchestrator_keeps_every_promise_of_cancellation_on_threads(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """Asked from the side for all issues at all times: True ends cancelled, False does not."""
    queue = queue_of(*(f"BUG-{number}" for number in range(200)))
    orchestrator = Orchestrator(queue, start_pool(succeed, max_workers=2), max_in_flight=4)
    answers: dict[str, bool] = {}
    start_line = threading.Barrier(2)

    def cancel_backwards() -> None:
        start_line.wait(TIMEOUT)
        for number in reversed(range(200)):
            answers[f"BUG-{number}"] = orchestrator.cancel(f"BUG-{number}")

    thread = threading.Thread(target=cancel_backwards, daemon=True)
    thread.start()
    start_line.wait(TIMEOUT)
    assert hasten(orchestrator).run() == ExitCode.OK
    thread.join(TIMEOUT)
    assert queue.states() == {
        f"BUG-{number}": "cancelled" if answers[f"BUG-{number}"] else "completed" for number in range(200)
    }
