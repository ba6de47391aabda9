"""LL201 to LL203, LL301, LL304, LL401 and LL402: what is wrong although no issue is lost."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from pytest_littleloops.harness.ledger import Ledger
from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState, WorkerResult
from pytest_littleloops.reference.queue import IssueQueue
from tests.harness.lossy_pools import (
    Completion,
    DispatcherPool,
    ListQueue,
    SwallowingPool,
    ThreadPerIssuePool,
    codes,
    succeed,
)


def test_two_completions_for_one_submission(books: Ledger) -> None:
    """LL201: the claim counts them."""
    pool = books.watch(ThreadPerIssuePool(times=3))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.join()
    assert codes(books) == [("LL201", "BUG-1")]
    assert books.violations()[0].claim == "got 3 completions for one submission"


def test_two_submissions_of_one_id_complete_twice(books: Ledger) -> None:
    """Two submissions are two: each has its completion, and nothing is wrong."""
    pool = books.watch(ThreadPerIssuePool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.join()
    assert codes(books) == []


def test_a_lost_submission_is_not_hidden_by_another_of_the_same_id(books: Ledger) -> None:
    """One of two submissions of an id is never completed: the issue is open."""
    pool = books.watch(SwallowingPool())

    def complain(result: WorkerResult) -> None:
        raise KeyError(result.issue_id)

    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.submit(Issue("BUG-1"), complain)
    pool.shutdown()
    assert codes(books) == [("LL103", "BUG-1")]


def test_contradictory_marks(books: Ledger) -> None:
    """LL202: completed and then failed, with no requeue between."""
    queue = books.watch(ListQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    queue.mark_completed("BUG-1")
    queue.mark_failed("BUG-1")
    assert codes(books) == [("LL202", "BUG-1")]
    assert books.violations()[0].claim == "was marked failed after it was completed"


def test_the_same_mark_twice_contradicts_nothing(books: Ledger) -> None:
    """An orchestrator may mark what is merged at the end of its run again."""
    queue = books.watch(ListQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    queue.mark_completed("BUG-1")
    queue.mark_completed("BUG-1")
    assert codes(books) == []


def test_a_requeue_leaves_a_terminal_state_lawfully(books: Ledger) -> None:
    """Failed, requeued, completed: one state at the end."""
    queue = books.watch(ListQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    queue.mark_failed("BUG-1")
    queue.requeue(Issue("BUG-1"))
    queue.get()
    queue.mark_completed("BUG-1")
    assert codes(books) == []


def test_an_issue_that_is_handed_out_again_without_a_requeue(books: Ledger) -> None:
    """LL202: a completed issue is put in a second time."""
    queue = books.watch(ListQueue())
    for _ in range(2):
        queue.add(Issue("BUG-1"))
        queue.get()
        queue.mark_completed("BUG-1")
    assert codes(books) == [("LL202", "BUG-1")]
    assert "without a requeue" in books.violations()[0].claim


class RefusingQueue(ListQueue):
    """A queue that refuses contradictory marks and issues that it knows."""

    def add(self, issue: Issue) -> bool:
        """Take an issue in, once."""
        if issue.issue_id in self.marks:
            return False
        self.marks[issue.issue_id] = "queued"
        return super().add(issue)

    def mark_failed(self, issue_id: str) -> None:
        """Mark an issue, unless it has ended."""
        if self.marks[issue_id] == "completed":
            raise IllegalTransition(issue_id, IssueState.COMPLETED, IssueState.FAILED)
        super().mark_failed(issue_id)


def test_a_mark_that_the_queue_refuses_contradicts_nothing(books: Ledger) -> None:
    """The caller was told; the state is what it was."""
    queue = books.watch(RefusingQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    queue.mark_completed("BUG-1")
    with pytest.raises(IllegalTransition):
        queue.mark_failed("BUG-1")
    assert codes(books) == []
    assert books.states() == {"BUG-1": "completed"}


def test_of_two_marks_at_once_the_one_that_was_accepted_counts(books: Ledger) -> None:
    """The one that is refused may have been noted first."""

    class SlowQueue(IssueQueue):
        def mark_completed(self, issue_id: str) -> None:
            other = threading.Thread(target=self.mark_failed, args=(issue_id,))
            other.start()
            other.join()
            super().mark_completed(issue_id)

    queue = books.watch(SlowQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    with pytest.raises(IllegalTransition):
        queue.mark_completed("BUG-1")
    assert codes(books) == []
    assert books.states() == {"BUG-1": "failed"}


def test_a_step_of_the_pools_own_is_no_process_function(books: Ledger) -> None:
    """A private method called `_work` may be given an issue that is cancelled then."""

    class Pool(SwallowingPool):
        def _work(self, issue: Issue) -> None:
            """Wait for a turn."""

        def begin(self, issue: Issue) -> None:
            self._work(issue)

    pool = books.watch(Pool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    pool.begin(Issue("BUG-1"))
    assert codes(books) == []


def test_what_is_lost_by_a_rule_that_is_allowed_is_not_waited_for(books: Ledger) -> None:
    """Nothing is left to happen to it."""
    books.allow("LL103")
    pool = books.watch(SwallowingPool())

    def raise_it(result: WorkerResult) -> None:
        raise KeyError(result.issue_id)

    pool.submit(Issue("BUG-1"), raise_it)
    pool.shutdown()
    assert books.settle(60)
    assert codes(books) == []


def test_an_issue_that_the_queue_knows_already_is_not_added_again(books: Ledger) -> None:
    """`add` returns False for an ended issue: it stays ended."""
    queue = books.watch(RefusingQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    queue.mark_completed("BUG-1")
    assert queue.add(Issue("BUG-1")) is False
    assert codes(books) == []
    assert books.states() == {"BUG-1": "completed"}


def test_a_mark_for_an_issue_that_nobody_submitted(books: Ledger) -> None:
    """LL203: a typo in an id must not pass as a state."""
    books.watch(ListQueue()).mark_completed("BUG-404")
    assert codes(books) == [("LL203", "BUG-404")]


def test_a_completion_that_speaks_of_another_issue(books: Ledger) -> None:
    """LL203 for the id that nobody submitted; the issue itself was never completed."""
    pool = books.watch(SwallowingPool(lambda issue: succeed(Issue("BUG-404"))))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    assert codes(books) == [("LL102", "BUG-1"), ("LL203", "BUG-404")]


def test_what_a_queue_held_before_it_was_watched_is_not_unknown(books: Ledger) -> None:
    """A ledger that comes late does not call LL203 on issues that it did not see come in."""

    class SizedQueue(ListQueue):
        def qsize(self) -> int:
            return len(self._waiting)

    queue = SizedQueue()
    queue.add(Issue("BUG-1"))
    books.watch(queue)
    queue.get()
    queue.mark_completed("BUG-1")
    assert codes(books) == []


def test_idle_is_claimed_while_a_completion_is_owed(books: Ledger) -> None:
    """LL301: the count is 0 between the end of the work and the completion."""
    pool = books.watch(DispatcherPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.before_completion.wait(10)
    assert pool.active_count == 0
    pool.may_complete.set()
    assert books.settle(10)
    pool.close()
    assert codes(books) == [("LL301", "BUG-1")]
    assert books.violations()[0].claim == "was owed a completion while active_count was 0"


@pytest.mark.parametrize("has_marked", [False, True])
def test_idle_while_a_completion_has_yet_to_return(books: Ledger, has_marked: bool) -> None:
    """LL301 until it has marked its issue in the queue: what it does after that is owed to nobody."""
    pool, queue = books.watch(DispatcherPool()), books.watch(ListQueue())
    in_completion, may_return = threading.Event(), threading.Event()

    def complete(result: WorkerResult) -> None:
        if has_marked:
            queue.mark_completed(result.issue_id)
        in_completion.set()
        may_return.wait(10)
        if not has_marked:
            queue.mark_completed(result.issue_id)

    queue.add(Issue("BUG-1"))
    queue.get()
    pool.may_complete.set()
    pool.submit(Issue("BUG-1"), complete)
    assert in_completion.wait(10)
    assert pool.active_count == 0
    may_return.set()
    pool.close()
    assert codes(books) == ([] if has_marked else [("LL301", "BUG-1")])


def test_idle_that_is_true_is_no_claim_against_anybody(books: Ledger) -> None:
    """The count is read before, during and after; only a 0 while something is owed would count."""
    pool = books.watch(DispatcherPool())
    pool.may_complete.set()
    assert pool.active_count == 0
    done = threading.Event()
    pool.submit(Issue("BUG-1"), lambda result: done.set())
    assert done.wait(10)
    assert books.settle(10)
    pool.close()
    assert pool.active_count == 0
    assert codes(books) == []


def test_a_shutdown_that_waits_and_returns_early(books: Ledger) -> None:
    """LL301: shutdown(wait=True) returned while a completion was owed, which then came."""

    class HastyPool(DispatcherPool):
        def shutdown(self, wait: bool = True) -> None:
            """Wait for nobody."""

    pool = books.watch(HastyPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    pool.may_complete.set()
    assert books.settle(10)
    pool.close()
    assert codes(books) == [("LL301", "BUG-1")]


def test_a_success_after_the_issue_was_marked_failed(books: Ledger) -> None:
    """LL304: a timeout marked it failed, and the work went on and succeeded."""
    running, gate = threading.Event(), threading.Event()

    def wait(issue: Issue) -> WorkerResult:
        running.set()
        gate.wait(10)
        return succeed(issue)

    queue, pool = books.watch(ListQueue()), books.watch(SwallowingPool(wait))
    queue.add(Issue("BUG-1"))
    issue = queue.get()
    assert issue is not None
    pool.submit(issue, lambda result: None)
    running.wait(10)
    queue.mark_failed("BUG-1")
    gate.set()
    pool.shutdown()
    assert codes(books) == [("LL304", "BUG-1")]


def test_a_thread_that_lives_on_is_a_leak(books: Ledger) -> None:
    """LL401: a pool that nobody shut down; gone once it is."""
    pool = books.watch(SwallowingPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert books.settle(10)
    assert [finding.code for finding in books.leaks(patience=0.01)] == ["LL401"]
    pool.shutdown()
    assert books.leaks() == []


def test_a_daemon_that_has_nothing_to_do_with_issues_is_no_leak(books: Ledger) -> None:
    """Libraries and test tools start daemon threads of their own."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, args=(10,), daemon=True)
    thread.start()
    assert books.leaks(patience=0.01) == []
    stop.set()
    thread.join(10)


def test_a_future_that_nobody_ends_is_left_behind(books: Ledger) -> None:
    """LL402: the completion came, but whoever waits for the future waits for ever."""

    class FutureForgettingPool:
        def submit(self, issue: Issue, on_complete: Completion) -> Future[WorkerResult]:
            on_complete(succeed(issue))
            return Future()

    pool = books.watch(FutureForgettingPool())
    future = pool.submit(Issue("BUG-1"), lambda result: None)
    assert codes(books) == []
    assert [(one.code, one.issue_id) for one in books.leaks()] == [("LL402", "BUG-1")]
    future.set_result(succeed(Issue("BUG-1")))
    assert books.leaks() == []


def test_a_mark_for_an_issue_from_before_the_watch_is_not_unknown(books: Ledger) -> None:
    """What was in progress when the ledger came may be marked without a word."""

    class CountingQueue(ListQueue):
        in_progress_count = 1

    books.watch(CountingQueue()).mark_completed("BUG-1")
    assert codes(books) == []


def test_what_is_accepted_during_an_idle_claim_is_not_held_against_it(books: Ledger) -> None:
    """Between the look at the counters and the answer another thread may submit."""

    class BusyPool:
        def __init__(self) -> None:
            self.completions: list[Completion] = []

        def submit(self, issue: Issue, on_complete: Completion) -> None:
            self.completions.append(on_complete)

        def drain(self, timeout: float) -> bool:
            self.submit(Issue("BUG-1"), lambda result: None)
            return True

    pool = books.watch(BusyPool())
    assert pool.drain(0)
    pool.completions[0](succeed(Issue("BUG-1")))
    assert codes(books) == []


def test_a_drain_that_lies_is_an_early_idle(books: Ledger) -> None:
    """LL301: drain() returned True while a completion was owed; a False would have been no claim."""

    class LyingPool:
        def __init__(self) -> None:
            self.completions: list[Completion] = []
            self.answer = False

        def submit(self, issue: Issue, on_complete: Completion) -> None:
            self.completions.append(on_complete)

        def drain(self, timeout: float) -> bool:
            return self.answer

        def join(self, timeout: float | None = None) -> None:
            pass

    pool = books.watch(LyingPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.drain(0)
    pool.join(0)
    pool.answer = True
    pool.completions[0](succeed(Issue("BUG-1")))
    assert codes(books) == []
    pool.submit(Issue("BUG-2"), lambda result: None)
    pool.join()
    pool.drain(0)
    pool.completions[1](succeed(Issue("BUG-2")))
    assert codes(books) == [("LL301", "BUG-2")]
    assert books.violations()[0].claim == "was owed a completion while join returned"


def test_idle_asked_from_inside_the_work_is_no_claim(books: Ledger) -> None:
    """A completion that asks the pool whether it is idle is itself still owed."""
    pool = books.watch(DispatcherPool())
    pool.may_complete.set()
    answers: list[int] = []
    pool.submit(Issue("BUG-1"), lambda result: answers.append(pool.active_count))
    assert books.settle(10)
    pool.close()
    assert answers == [0]
    assert codes(books) == []


def test_work_that_goes_on_after_its_issue_was_marked(books: Ledger) -> None:
    """LL304: whatever it returns in the end."""
    running, gate = threading.Event(), threading.Event()

    def wait(issue: Issue) -> WorkerResult:
        running.set()
        gate.wait(10)
        return WorkerResult(issue.issue_id, False, "", Path(), error="too late")

    queue, pool = books.watch(ListQueue()), books.watch(SwallowingPool(wait))
    queue.add(Issue("BUG-1"))
    issue = queue.get()
    assert issue is not None
    pool.submit(issue, lambda result: None)
    running.wait(10)
    queue.mark_failed("BUG-1")
    gate.set()
    pool.shutdown()
    assert codes(books) == [("LL304", "BUG-1")]
    assert books.violations()[0].claim == "was still worked on after it was failed"


def test_work_that_begins_after_its_issue_was_marked(books: Ledger) -> None:
    """LL304: a cancel was accepted, and the body starts all the same."""
    queue, pool = books.watch(ListQueue()), books.watch(SwallowingPool())
    queue.add(Issue("BUG-1"))
    queue.get()
    queue.mark_failed("BUG-1")
    pool._process(Issue("BUG-1"))
    pool.shutdown()
    assert ("LL304", "BUG-1") in codes(books)


def test_a_submission_that_was_refused_is_not_counted(books: Ledger) -> None:
    """Of two issues one was refused to its submitter: one issue there is."""

    class OncePool(SwallowingPool):
        def submit(self, issue: Issue, on_complete: Completion) -> Future[WorkerResult]:
            if issue.issue_id == "BUG-2":
                raise RuntimeError("full")
            return super().submit(issue, on_complete)

    pool = books.watch(OncePool())
    pool.submit(Issue("BUG-1"), lambda result: 1 / 0)
    with pytest.raises(RuntimeError):
        pool.submit(Issue("BUG-2"), print)
    pool.shutdown()
    with pytest.raises(AssertionError, match=r"^LL103 completion-raised: BUG-1 \(1 of 1 issues\)"):
        books.assert_all_terminal()
