"""LL101 to LL106: an issue that never reaches a terminal state, and where it was lost."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from pytest_littleloops.harness.ledger import Ledger, PromiseBroken
from pytest_littleloops.reference.model import Issue, WorkerResult
from tests.harness.lossy_pools import (
    Completion,
    DispatcherPool,
    ExitingPool,
    ForgetfulPool,
    ListQueue,
    SwallowingPool,
    ThreadPerIssuePool,
    codes,
    leave,
    refuse,
    succeed,
)


def test_a_sound_pool_is_silent(books: Ledger) -> None:
    """Three issues that complete leave nothing to say."""
    pool = books.watch(SwallowingPool())
    for name in ("BUG-1", "BUG-2", "BUG-3"):
        pool.submit(Issue(name), lambda result: None)
    pool.shutdown()
    books.assert_all_terminal()
    assert books.violations() == ()


def test_a_queued_issue_that_nobody_took_is_lost(books: Ledger) -> None:
    """LL101: what is still queued at the end was never worked on."""
    books.watch(ListQueue()).add(Issue("BUG-1"))
    assert codes(books) == [("LL101", "BUG-1")]
    assert "still queued" in books.violations()[0].note


def test_an_issue_that_was_taken_and_never_marked_is_lost(books: Ledger) -> None:
    """LL101: handed out by the queue, and no state since."""
    queue = books.watch(ListQueue())
    queue.add(Issue("BUG-1"))
    queue.get()
    assert codes(books) == [("LL101", "BUG-1")]
    queue.mark_failed("BUG-1")
    assert codes(books) == []


def test_a_completion_that_does_not_mark_loses_the_issue(books: Ledger) -> None:
    """LL101: the pool did its part, the orchestrator did not mark the queue."""
    queue, pool = books.watch(ListQueue()), books.watch(SwallowingPool())
    queue.add(Issue("BUG-1"))
    issue = queue.get()
    assert issue is not None
    pool.submit(issue, lambda result: None)
    pool.shutdown()
    assert codes(books) == [("LL101", "BUG-1")]
    assert "nobody marked it" in books.violations()[0].note


def test_a_swallowed_failure_skips_the_completion(books: Ledger) -> None:
    """LL102: the seed's bug, with the line that read the result and the name that was never called."""
    pool = books.watch(SwallowingPool(refuse))

    def on_worker_complete(result: WorkerResult) -> None:
        raise AssertionError("never called")

    pool.submit(Issue("BUG-229"), on_worker_complete)
    pool.shutdown()
    assert codes(books) == [("LL102", "BUG-229")]
    assert books.violations()[0].note == "and it was caught there; on_worker_complete was never called"
    assert "result() raised ValueError: no branch for BUG-229 in _handle_completion" in str(
        books.timeline("BUG-229")
    )


def test_a_cancelled_future_skips_the_completion(books: Ledger) -> None:
    """LL102: a cancel while the issue waits, and the handler swallows the CancelledError."""
    gate = threading.Event()

    def wait(issue: Issue) -> WorkerResult:
        gate.wait(10)
        return succeed(issue)

    pool = books.watch(SwallowingPool(wait, max_workers=1))
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert pool.submit(Issue("BUG-2"), lambda result: None).cancel()
    gate.set()
    pool.shutdown()
    assert codes(books) == [("LL102", "BUG-2")]
    assert "result() raised CancelledError in _handle_completion" in str(books.timeline("BUG-2"))


def test_a_pool_without_futures_skips_the_completion(books: Ledger) -> None:
    """LL102: the work returned, the dispatcher waits for more, and the completion was not called."""
    pool = books.watch(DispatcherPool(forgets=True))
    pool.may_complete.set()
    pool.submit(Issue("BUG-1"), print)
    pool.close()
    assert codes(books) == [("LL102", "BUG-1")]
    assert books.violations()[0].note == "the work on it returned; print was never called"


def test_work_that_reports_its_issue_itself_is_not_late(books: Ledger) -> None:
    """A process function that calls the completion from inside ends after it, and that is sound."""

    class ReportingPool(SwallowingPool):
        def submit(self, issue: Issue, on_complete: object) -> object:  # type: ignore[override]
            return self._executor.submit(self._process_issue, issue, on_complete)

        def _process_issue(self, issue: Issue, on_complete: object) -> None:
            assert callable(on_complete)
            on_complete(succeed(issue))

    pool = books.watch(ReportingPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    assert codes(books) == []


def test_work_that_reports_its_own_failure_is_not_late(books: Ledger) -> None:
    """It fails its issue from inside, and returns afterwards."""

    class ReportingPool(SwallowingPool):
        def submit(self, issue: Issue, on_complete: object) -> object:  # type: ignore[override]
            return self._executor.submit(self._process_issue, issue, on_complete)

        def _process_issue(self, issue: Issue, on_complete: object) -> None:
            assert callable(on_complete)
            on_complete(WorkerResult(issue.issue_id, False, "", Path(), error="no disk"))

    pool = books.watch(ReportingPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    assert codes(books) == []
    assert books.states() == {"BUG-1": "failed"}


def test_a_completion_that_raises_leaves_the_issue_in_progress(books: Ledger) -> None:
    """LL103: what it raised, and the line that called it."""
    pool = books.watch(SwallowingPool())

    def on_worker_complete(result: WorkerResult) -> None:
        raise KeyError(result.issue_id)

    pool.submit(Issue("BUG-1"), on_worker_complete)
    pool.shutdown()
    assert codes(books) == [("LL103", "BUG-1")]
    assert books.violations()[0].note.startswith(
        "and it was caught where the completion was called, in _handle_completion, "
    )
    assert "completion raised KeyError: 'BUG-1'" in str(books.timeline("BUG-1"))


def test_a_completion_that_raises_and_is_marked_by_somebody_is_not_lost(books: Ledger) -> None:
    """The mark decides: an orchestrator that marks the issue failed has kept the promise."""
    queue, pool = books.watch(ListQueue()), books.watch(SwallowingPool())
    queue.add(Issue("BUG-1"))
    issue = queue.get()
    assert issue is not None

    def on_worker_complete(result: WorkerResult) -> None:
        queue.mark_failed(result.issue_id)
        raise KeyError(result.issue_id)

    pool.submit(issue, on_worker_complete)
    pool.shutdown()
    assert codes(books) == []


class RejectingPool(SwallowingPool):
    """Its submit raises; with `runs` it runs the work all the same."""

    runs = False

    def submit(self, issue: Issue, on_complete: object) -> object:  # type: ignore[override]
        """Refuse an issue."""
        if self.runs:
            self._process(issue)
        raise RuntimeError("can't start new thread")


def test_a_submission_that_raises_after_the_queue_gave_the_issue_out_is_lost(books: Ledger) -> None:
    """LL104: the queue says in progress, the pool never took it."""
    queue, pool = books.watch(ListQueue()), books.watch(RejectingPool())
    queue.add(Issue("BUG-1"))
    issue = queue.get()
    assert issue is not None
    with pytest.raises(RuntimeError):
        pool.submit(issue, print)
    assert codes(books) == [("LL104", "BUG-1")]
    queue.mark_failed("BUG-1")
    assert codes(books) == []


def test_a_submission_that_raises_without_a_queue_is_the_callers_to_know(books: Ledger) -> None:
    """Nobody took the issue in, and the caller was told: nothing is lost."""
    pool = books.watch(RejectingPool())
    with pytest.raises(RuntimeError):
        pool.submit(Issue("BUG-1"), print)
    assert codes(books) == []


def test_work_that_runs_although_it_was_refused_is_a_ghost(books: Ledger) -> None:
    """LL104: the caller was told that it was not accepted, and it ran."""
    pool = books.watch(RejectingPool())
    with pytest.raises(RuntimeError):
        pool.submit(Issue("BUG-1"), print)
    pool._process(Issue("BUG-1"))
    assert codes(books) == [("LL104", "BUG-1")]


def test_a_future_that_the_shutdown_cancelled_in_silence_was_dropped(books: Ledger) -> None:
    """LL105: the shutdown itself ended the future, and nobody was told."""
    gate, running = threading.Event(), threading.Event()

    def wait(issue: Issue) -> WorkerResult:
        running.set()
        gate.wait(10)
        return succeed(issue)

    pool = books.watch(ForgetfulPool(wait, max_workers=1))
    pool.submit(Issue("BUG-1"), lambda result: None)
    running.wait(10)
    pool.submit(Issue("BUG-2"), lambda result: None)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    assert books.settle(0.01) is False
    pool.shutdown()
    assert codes(books) == [("LL105", "BUG-2")]


def test_a_worker_that_dies_takes_the_issues_behind_it_along(books: Ledger) -> None:
    """LL106: the thread died of the SystemExit, and what waited behind it stays pending."""
    gate = threading.Event()

    def leave_at_the_gate(issue: Issue) -> WorkerResult:
        gate.wait(10)
        return leave(issue)

    pool = books.watch(ExitingPool(leave_at_the_gate, max_workers=1))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.submit(Issue("BUG-2"), lambda result: None)
    gate.set()
    pool.shutdown()
    assert codes(books) == [("LL102", "BUG-1"), ("LL106", "BUG-2")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_at_work_takes_its_issue_along(books: Ledger) -> None:
    """LL106: no future, and the thread that worked on the issue is gone."""
    pool = books.watch(ThreadPerIssuePool(leave))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.join()
    assert codes(books) == [("LL106", "BUG-1")]


def test_an_issue_in_flight_is_not_called_lost(books: Ledger) -> None:
    """LL301: a check never waits, and says that the work is still running."""
    gate, running = threading.Event(), threading.Event()

    def wait(issue: Issue) -> WorkerResult:
        running.set()
        gate.wait(10)
        return succeed(issue)

    pool = books.watch(SwallowingPool(wait))
    pool.submit(Issue("BUG-1"), lambda result: None)
    running.wait(10)
    assert codes(books) == [("LL301", "BUG-1")]
    assert books.violations()[0].claim == "still in flight when this was checked"
    assert books.violations()[0].remedy.startswith("wait for it first: ")
    gate.set()
    assert books.settle(10)
    pool.shutdown()
    assert codes(books) == []


def test_assert_all_terminal_raises_with_the_code_first(books: Ledger) -> None:
    """The message begins with the code, and the exception knows the findings."""
    pool = books.watch(SwallowingPool(refuse))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    with pytest.raises(PromiseBroken) as caught:
        books.assert_all_terminal()
    assert str(caught.value).startswith(
        "LL102 completion-skipped: BUG-1 (1 of 1 issues) never reached a terminal state\n"
        "  BUG-1  in_progress\n"
    )
    assert caught.value.codes == {"LL102"}


@pytest.mark.parametrize("allow", ["LL102", "completion-skipped", "BUG-1"])
def test_assert_all_terminal_leaves_out_what_is_allowed(books: Ledger, allow: str) -> None:
    """By code, by name, or by the issue's id."""
    pool = books.watch(SwallowingPool(refuse))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    books.assert_all_terminal(allow=(allow,))
    books.assert_all_terminal(allow=allow)


def test_an_issue_in_flight_in_a_pool_that_hides_its_work(books: Ledger) -> None:
    """LL301: the process function is not seen, but a thread of the pool is busy."""
    gate = threading.Event()

    class HidingPool(SwallowingPool):
        def submit(self, issue: Issue, on_complete: Completion) -> Future[WorkerResult]:
            return self._executor.submit(lambda: on_complete(gate.wait(10)))  # type: ignore[arg-type, return-value]

    pool = books.watch(HidingPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert codes(books) == [("LL301", "BUG-1")]
    gate.set()
    pool.shutdown()
    assert codes(books) == []


def test_the_note_stands_under_the_step_that_it_explains(books: Ledger) -> None:
    """And a done-callback's own line is shown, not that of what it passed on."""
    gate = threading.Event()

    def leave_at_the_gate(issue: Issue) -> WorkerResult:
        gate.wait(10)
        raise SystemExit(issue.issue_id)

    pool = books.watch(ExitingPool(leave_at_the_gate, max_workers=1))
    pool.submit(Issue("BUG-1"), lambda result: None)
    gate.set()
    pool.shutdown()
    with pytest.raises(PromiseBroken) as caught:
        books.assert_all_terminal()
    lines = str(caught.value).splitlines()
    handled = next(number for number, line in enumerate(lines) if "done-callback <lambda> raised" in line)
    assert "lossy_pools.py:" in lines[handled]
    assert lines[handled + 1].strip() == "and nobody caught it; <lambda> was never called"
    assert "shutdown" in lines[-3]


def test_what_leaves_through_submit_is_a_skipped_completion(books: Ledger) -> None:
    """LL102: the work was over before the callback was added, so its SystemExit left through `submit`."""

    class SlowToAddPool(ExitingPool):
        def submit(self, issue: Issue, on_complete: Completion) -> Future[WorkerResult]:
            future = self._executor.submit(self._process, issue)
            wait([future], 10)
            future.add_done_callback(lambda done: self._handle_completion(done, on_complete))
            return future

    queue, pool = books.watch(ListQueue()), books.watch(SlowToAddPool(leave))
    queue.add(Issue("BUG-1"))
    issue = queue.get()
    assert issue is not None
    with pytest.raises(SystemExit):
        pool.submit(issue, print)
    pool.shutdown()
    assert codes(books) == [("LL102", "BUG-1")]
    assert books.violations()[0].note == "it left through submit; print was never called"


def test_a_raise_that_nobody_catches_is_told(books: Ledger) -> None:
    """LL103: the completion raised, and its caller let that pass into the executor."""

    class PassingPool(SwallowingPool):
        def _handle_completion(self, future: Future[WorkerResult], on_complete: Completion) -> None:
            on_complete(future.result())

    pool = books.watch(PassingPool())
    pool.submit(Issue("BUG-1"), lambda result: 1 / 0)
    pool.shutdown()
    assert codes(books) == [("LL103", "BUG-1")]
    assert books.violations()[0].note.startswith(
        "and nobody caught it where the completion was called, in "
    )


def test_a_recorded_completion_that_raised_is_told_without_its_caller(books: Ledger) -> None:
    """An orchestrator alone is watched: who called it is not known."""

    class Boss:
        def __init__(self) -> None:
            self.queue = ListQueue()

        def on_worker_complete(self, result: WorkerResult) -> None:
            raise KeyError(result.issue_id)

    boss = books.watch(Boss())
    boss.queue.add(Issue("BUG-1"))
    boss.queue.get()
    with pytest.raises(KeyError):
        boss.on_worker_complete(succeed(Issue("BUG-1")))
    assert codes(books) == [("LL103", "BUG-1")]
    assert books.violations()[0].note == "what its completion raised never came to a mark"


class OwnLoopPool:
    """Its one worker waits for what is submitted in a loop of its own, and forgets to say how it went."""

    def __init__(self) -> None:
        self._waiting: list[Issue | None] = []
        self._changed = threading.Condition()
        self._done = threading.Event()
        self._worker = threading.Thread(target=self._work, name="own-loop", daemon=True)
        self._worker.start()

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Have the worker take it."""
        self._give(issue)
        self._done.wait(5)

    def shutdown(self) -> None:
        """End the worker."""
        self._give(None)
        self._worker.join(5)

    def _give(self, issue: Issue | None) -> None:
        with self._changed:
            self._waiting.append(issue)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                issue = self._waiting.pop()
            self._done.set()
            if issue is None:
                return


def test_a_worker_that_waits_in_a_loop_of_its_own_is_at_rest(books: Ledger) -> None:
    """LL101 and not LL301: a wait without an end is no work, whoever wrote the loop."""
    pool = books.watch(OwnLoopPool())
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert not books.settle(0.1)
    assert codes(books) == [("LL101", "BUG-1")]
    pool.shutdown()


def test_a_loop_of_events_is_at_rest_between_two(books: Ledger) -> None:
    """LL101; one that knows when it will go on is not, LL301."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    books.record("BUG-1", "submitted")

    class LoopPool:
        def submit(self, issue: Issue, on_complete: Completion) -> None:
            loop.call_soon_threadsafe(str)

    books.watch(LoopPool()).submit(Issue("BUG-2"), lambda result: None)
    assert not books.settle(0.1)
    assert ("LL101", "BUG-2") in codes(books)
    loop.call_soon_threadsafe(lambda: loop.call_later(60, str))
    assert not books.settle(0.1)
    assert ("LL301", "BUG-2") in codes(books)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


class EndingPool:
    """Its one worker takes whatever the work raises for the end of all work."""

    def __init__(self) -> None:
        self._waiting = [Issue("BUG-1"), Issue("BUG-2")]
        self.process = self._fail
        self.worker = threading.Thread(target=self._work, name="ending", daemon=True)

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """It waits already."""

    def _fail(self, issue: Issue) -> None:
        raise StopIteration

    def _work(self) -> None:
        for issue in self._waiting:
            try:
                self.process(issue)
            except StopIteration:
                return


def test_a_worker_that_ends_with_its_work_leaves_the_others_behind(books: Ledger) -> None:
    """LL106 for whoever is behind it: nobody is left, though nothing left the thread."""
    pool = books.watch(EndingPool())
    for name in ("BUG-1", "BUG-2"):
        pool.submit(Issue(name), lambda result: None)
    pool.worker.start()
    pool.worker.join(5)
    assert codes(books) == [("LL102", "BUG-1"), ("LL106", "BUG-2")]
    assert "ending ended when the work on BUG-1 raised StopIteration" in books.violations()[1].note
