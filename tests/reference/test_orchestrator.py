"""The reference `Orchestrator`: what it takes ends in one state, and its exit code does not lie about it.

`HandPool` stands in for a pool where a test must say when a completion comes, or that it never does. Each
question for its `active_count` means that the run has slept without news and looked around since: that is
how a test knows that nothing more will start.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_littleloops.reference import orchestrator as orchestrator_module
from pytest_littleloops.reference.model import Issue, IssueState, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue

TIMEOUT = 10.0
SIGNALS = [signal.SIGINT, signal.SIGTERM]

StartPool = Callable[..., WorkerPool]


def succeeded(issue_id: str) -> WorkerResult:
    """Give the result of a success."""
    return WorkerResult(issue_id, True, f"fix/{issue_id}", Path("worktree"))


def failed(issue_id: str) -> WorkerResult:
    """Give the result of a failure."""
    return WorkerResult(issue_id, False, "", Path(), error="no luck")


def interrupted(issue_id: str) -> WorkerResult:
    """Give the result of an issue that was cancelled in the pool."""
    return WorkerResult(issue_id, False, "", Path(), error="CancelledError()", interrupted=True)


def queue_of(*issues: Issue | str) -> IssueQueue:
    """Give a queue with these issues; an id stands for an issue with the usual priority."""
    made = IssueQueue()
    made.add_many(Issue(one) if isinstance(one, str) else one for one in issues)
    return made


class Work:
    """A process function: succeeds at once unless told otherwise, and notes whose body began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self._is_running: dict[str, threading.Event] = {}
        self._gates: dict[str, threading.Event] = {}

    def hold(self, *issue_ids: str) -> None:
        """Have these issues wait, once they run, until they are released."""
        for issue_id in issue_ids:
            self._gates[issue_id] = threading.Event()
            self._is_running[issue_id] = threading.Event()

    def wait_until_running(self, issue_id: str) -> None:
        """Return when the body of this issue waits."""
        assert self._is_running[issue_id].wait(TIMEOUT)

    def release(self, *issue_ids: str) -> None:
        """Let these issues go on."""
        for issue_id in issue_ids:
            self._gates[issue_id].set()

    def release_all(self) -> None:
        """Let all issues go on."""
        self.release(*self._gates)

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        self.begun.append(issue.issue_id)
        if issue.issue_id in self._gates:
            self._is_running[issue.issue_id].set()
            assert self._gates[issue.issue_id].wait(TIMEOUT)
        if issue.issue_id in self.raises:
            raise self.raises[issue.issue_id]
        return succeeded(issue.issue_id)


class HandPool:
    """A pool that works on nothing: what is reported, and when, is the test's to say."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.completions: dict[str, Callable[[WorkerResult], object]] = {}
        self.on_cancel: Callable[[str], bool] = self._cancel
        self.claims_idle = False
        self._lock = threading.Lock()
        self._owed: list[str] = []
        self._is_done = False
        self._accepted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._polls = threading.Semaphore(0)

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
        """Accept `issue`."""
        issue_id = issue.issue_id
        with self._lock:
            self.events.append(f"submit {issue_id}")
            self.completions[issue_id] = on_complete
            self._owed.append(issue_id)
        self._accepted.put(issue_id)
        if self._is_done:
            self.report(succeeded(issue_id))

    def cancel(self, issue_id: str) -> bool:
        """Report `issue_id` interrupted, unless the test has put something else in `on_cancel`."""
        return self.on_cancel(issue_id)

    @property
    def active_count(self) -> int:
        """How many are owed, or 0 if it is to lie; each question is counted."""
        self._polls.release()
        return 0 if self.claims_idle else len(self._owed)

    def wait_for(self, *issue_ids: str) -> None:
        """Return when these issues have been submitted since the last call, and no other is going to be."""
        accepted = [self._accepted.get(timeout=TIMEOUT) for _ in issue_ids]
        assert accepted == list(issue_ids)
        while self._polls.acquire(blocking=False):
            pass
        # The first may have been under way already; between the next two lies a whole round.
        for _ in range(3):
            assert self._polls.acquire(timeout=TIMEOUT), "the run does not look around any more"
        assert self._accepted.empty()

    def report(self, result: WorkerResult) -> None:
        """Deliver `result` to the completion of its issue, which is owed until that returned."""
        self.events.append(f"report {result.issue_id}")
        try:
            self.completions[result.issue_id](result)
        finally:
            if result.issue_id in self._owed:
                self._owed.remove(result.issue_id)

    def finish(self, *issue_ids: str) -> None:
        """Report these issues as successes."""
        for issue_id in issue_ids:
            self.report(succeeded(issue_id))

    def finish_all(self) -> None:
        """Report all that is owed as successes, and from now on all that comes."""
        with self._lock:
            self._is_done = True
            owed = list(self._owed)
        self.finish(*owed)

    def _cancel(self, issue_id: str) -> bool:
        self.report(interrupted(issue_id))
        return True


class InlinePool:
    """A pool whose `submit` returns after the completion, in the same thread."""

    max_workers = 1
    active_count = 0

    def __init__(self, process: Callable[[Issue], WorkerResult]) -> None:
        self._process = process
        self.errors: list[Exception] = []

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
        """Work on `issue` here and now; what its completion raises is kept."""
        result = self._process(issue)
        try:
            on_complete(result)
        except Exception as error:
            self.errors.append(error)

    def cancel(self, issue_id: str) -> bool:
        """Nothing ever waits here."""
        return False


class AnnouncingQueue(IssueQueue):
    """A queue that tells which issue was marked interrupted, after that was done."""

    def __init__(self, *issue_ids: str) -> None:
        super().__init__()
        self.add_many(Issue(issue_id) for issue_id in issue_ids)
        self._interrupted: queue.SimpleQueue[str] = queue.SimpleQueue()

    def mark_interrupted(self, issue_id: str) -> None:
        """Mark it and tell."""
        super().mark_interrupted(issue_id)
        self._interrupted.put(issue_id)

    def next_interrupted(self) -> str:
        """Wait for the next issue to be marked interrupted."""
        return self._interrupted.get(timeout=TIMEOUT)


def announce_acceptance(pool: WorkerPool, issue_id: str) -> threading.Event:
    """Give an event that is set when the pool has accepted this issue."""
    is_accepted = threading.Event()
    original = pool.submit

    def submit(issue: Issue, *args: Any) -> Any:
        future = original(issue, *args)
        if issue.issue_id == issue_id:
            is_accepted.set()
        return future

    pool.submit = submit  # type: ignore[method-assign,assignment]
    return is_accepted


class Run:
    """A call of `run` in a thread of its own."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._outcome: list[int | BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._orchestrator.run())
        except BaseException as error:
            self._outcome.append(error)

    def code(self) -> int:
        """Wait for the end, and give what `run` returned."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive(), "run() does not return"
        outcome = self._outcome[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def work_off(orchestrator: Orchestrator) -> int:
    """Give what `run` returns, or raise what it raises; fails if it does neither."""
    return Run(orchestrator).code()


def work_off_here(orchestrator: Orchestrator) -> int:
    """Call `run` in this thread, the main one; stop it twice if it does not return."""

    def give_up() -> None:
        is_given_up.set()
        orchestrator.stop()
        orchestrator.stop()

    is_given_up = threading.Event()
    watchdog = threading.Timer(TIMEOUT, give_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        return orchestrator.run()
    finally:
        watchdog.cancel()
        assert not is_given_up.is_set(), "run() does not return"


@pytest.fixture
def work() -> Iterator[Work]:
    """Give a process function that holds nobody any more when the test ends."""
    made = Work()
    yield made
    made.release_all()


@pytest.fixture
def hand_pool(monkeypatch: pytest.MonkeyPatch) -> HandPool:
    """Give a pool in the test's hand, and have runs look around often."""
    monkeypatch.setattr(orchestrator_module, "POLL_SECONDS", 0.001)
    return HandPool()


@pytest.fixture
def kept_handlers() -> Iterator[None]:
    """Give the process its handlers of signals back at the end."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


# Working a queue off


def test_orchestrator_works_off_a_queue(work: Work, start_pool: StartPool) -> None:
    """Every issue is worked on once and completed, and the exit code is 0."""
    issues = queue_of(*(f"BUG-{number}" for number in range(50)))
    assert work_off(Orchestrator(issues, start_pool(work, max_workers=4))) == ExitCode.OK
    assert sorted(work.begun) == sorted(issues.completed_ids)
    assert issues.completed_count == 50


def test_exit_codes_are_those_of_a_shell() -> None:
    """0 is success, and the numbers of the others do not change: scripts compare them."""
    assert {code.name: int(code) for code in ExitCode} == {"OK": 0, "FAILED": 1, "STOPPED": 2}


def test_orchestrator_ends_at_once_without_issues(hand_pool: HandPool) -> None:
    """An empty queue is worked off."""
    assert work_off(Orchestrator(IssueQueue(), hand_pool)) == 0
    assert hand_pool.events == []


def test_orchestrator_starts_the_most_urgent_first(work: Work, start_pool: StartPool) -> None:
    """Issues start in the order of the queue."""
    issues = queue_of(Issue("BUG-1", "P3"), Issue("BUG-2", "P1"), Issue("BUG-3", "P0"))
    work_off(Orchestrator(issues, start_pool(work, max_workers=1)))
    assert work.begun == ["BUG-3", "BUG-2", "BUG-1"]


def test_orchestrator_marks_a_failure(work: Work, start_pool: StartPool) -> None:
    """An issue whose work raises is failed, the others are completed, and the exit code is 1."""
    work.raises["BUG-2"] = RuntimeError("worker crashed")
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    assert work_off(Orchestrator(issues, start_pool(work))) == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "failed", "BUG-3": "completed"}


def test_orchestrator_marks_what_somebody_else_cancelled_as_interrupted(hand_pool: HandPool) -> None:
    """A completion that is `interrupted` without a request ends so, and is no success."""
    issues = queue_of("BUG-229")
    run = Run(Orchestrator(issues, hand_pool))
    hand_pool.wait_for("BUG-229")
    hand_pool.cancel("BUG-229")
    assert run.code() == ExitCode.FAILED
    assert issues.states() == {"BUG-229": "interrupted"}


def test_orchestrator_takes_as_many_as_the_pool_has_workers(hand_pool: HandPool) -> None:
    """By default an issue starts when a worker is free: until then it waits where it can be reordered."""
    hand_pool.max_workers = 3  # type: ignore[attr-defined]
    run = Run(Orchestrator(queue_of("BUG-1", "BUG-2", "BUG-3", "BUG-4"), hand_pool))
    hand_pool.wait_for("BUG-1", "BUG-2", "BUG-3")
    hand_pool.finish("BUG-2")
    hand_pool.wait_for("BUG-4")
    hand_pool.finish_all()
    assert run.code() == 0


@pytest.mark.parametrize(("max_in_flight", "expected"), [(None, 2), (1, 1), (3, 3)])
def test_orchestrator_takes_as_many_as_it_is_told(
    hand_pool: HandPool, max_in_flight: int | None, expected: int
) -> None:
    """`max_in_flight` is obeyed; without it a pool that does not say how many workers it has gets two."""
    ids = ["BUG-1", "BUG-2", "BUG-3", "BUG-4"]
    run = Run(Orchestrator(queue_of(*ids), hand_pool, max_in_flight=max_in_flight))
    hand_pool.wait_for(*ids[:expected])
    hand_pool.finish_all()
    assert run.code() == 0


def test_orchestrator_picks_up_what_is_added_while_it_works(work: Work, start_pool: StartPool) -> None:
    """An issue that the work on another one brings up belongs to the same run."""
    issues = queue_of("BUG-1")

    def process(issue: Issue) -> WorkerResult:
        if issue.issue_id == "BUG-1":
            issues.add(Issue("BUG-2"))
        return work(issue)

    assert work_off(Orchestrator(issues, start_pool(process))) == 0
    assert issues.completed_ids == ["BUG-1", "BUG-2"]


def test_orchestrator_picks_up_what_is_added_while_it_sleeps(hand_pool: HandPool) -> None:
    """An issue that is added from outside starts without waiting for another one to end."""
    issues = queue_of("BUG-1")
    run = Run(Orchestrator(issues, hand_pool))
    hand_pool.wait_for("BUG-1")
    issues.add(Issue("BUG-2"))
    hand_pool.wait_for("BUG-2")
    hand_pool.finish_all()
    assert run.code() == 0


def test_orchestrator_works_with_a_pool_that_runs_inline(work: Work) -> None:
    """A completion that comes before `submit` has returned is as good as any."""
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    assert work_off(Orchestrator(issues, InlinePool(work))) == 0
    assert issues.completed_ids == ["BUG-1", "BUG-2", "BUG-3"]


def test_orchestrator_leaves_an_issue_to_who_was_faster(hand_pool: HandPool) -> None:
    """A queue from which somebody else takes the last issue at that very moment is an empty one."""

    class SharedQueue(IssueQueue):
        def get(self, block: bool = True, timeout: float | None = None) -> Issue:
            super().get(block, timeout)
            return super().get(block, timeout)

    issues = SharedQueue()
    issues.add(Issue("BUG-229"))
    assert work_off(Orchestrator(issues, hand_pool)) == 0
    assert issues.states() == {"BUG-229": "in_progress"}


def test_orchestrator_can_run_again(work: Work, start_pool: StartPool) -> None:
    """A second run works off what has come meanwhile, and answers for that only."""
    work.raises["BUG-1"] = RuntimeError("worker crashed")
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, start_pool(work))
    assert work_off(orchestrator) == ExitCode.FAILED
    issues.add(Issue("BUG-2"))
    assert work_off(orchestrator) == 0


# A P0 alone


def test_orchestrator_runs_a_sequential_p0_alone(hand_pool: HandPool) -> None:
    """A P0 waits until nothing is in flight, and nothing starts beside it, not even another P0."""
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    run = Run(Orchestrator(issues, hand_pool, p0_sequential=True))
    hand_pool.wait_for("BUG-1", "BUG-2")
    issues.add_many([Issue("BUG-8", "P0"), Issue("BUG-9", "P0")])
    hand_pool.finish("BUG-1")
    hand_pool.wait_for()
    hand_pool.finish("BUG-2")
    hand_pool.wait_for("BUG-8")
    hand_pool.finish("BUG-8")
    hand_pool.wait_for("BUG-9")
    hand_pool.finish("BUG-9")
    hand_pool.wait_for("BUG-3")
    hand_pool.finish_all()
    assert run.code() == 0


def test_orchestrator_runs_a_p0_beside_others_unless_told(hand_pool: HandPool) -> None:
    """Without `p0_sequential` a P0 is first, and that is all."""
    run = Run(Orchestrator(queue_of("BUG-1", Issue("BUG-8", "P0")), hand_pool))
    hand_pool.wait_for("BUG-8", "BUG-1")
    hand_pool.finish_all()
    assert run.code() == 0


def test_orchestrator_marks_a_sequential_p0_that_fails(work: Work, start_pool: StartPool) -> None:
    """A P0 that fails is marked like any other, and what waited for it goes on."""
    work.raises["BUG-8"] = RuntimeError("worker crashed")
    issues = queue_of(Issue("BUG-8", "P0"), "BUG-1")
    assert work_off(Orchestrator(issues, start_pool(work), p0_sequential=True)) == ExitCode.FAILED
    assert issues.states() == {"BUG-8": "failed", "BUG-1": "completed"}


# Completions


class Retrying(Orchestrator):
    """Requeues each issue that fails."""

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Requeue what failed, and have the rest marked."""
        if result.success:
            super().on_worker_complete(result)
        else:
            self.queue.requeue(result.issue_id)


class Raising(Orchestrator):
    """Raises `error` on the completion of BUG-1, before or after it is marked."""

    error: BaseException = ValueError("no such issue")
    is_marked_first = False

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Raise for BUG-1; have all others marked."""
        if result.issue_id != "BUG-1" or self.is_marked_first:
            super().on_worker_complete(result)
        if result.issue_id == "BUG-1":
            raise self.error


class Slow(Orchestrator):
    """Waits in each completion until the test lets it go on, and then marks, or raises `error`."""

    error: BaseException | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_called = threading.Event()
        self.may_mark = threading.Event()

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Wait, then mark."""
        self.is_called.set()
        assert self.may_mark.wait(TIMEOUT)
        if self.error is not None:
            raise self.error
        super().on_worker_complete(result)


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (succeeded("BUG-229"), IssueState.COMPLETED),
        (failed("BUG-229"), IssueState.FAILED),
        (interrupted("BUG-229"), IssueState.INTERRUPTED),
    ],
    ids=["success", "failure", "interruption"],
)
def test_orchestrator_on_worker_complete_marks_by_the_result(
    hand_pool: HandPool, result: WorkerResult, state: IssueState
) -> None:
    """Called by hand it marks as it does in a run."""
    issues = queue_of("BUG-229")
    issues.get()
    Orchestrator(issues, hand_pool).on_worker_complete(result)
    assert issues.states() == {"BUG-229": state}


def test_orchestrator_completion_may_requeue_an_issue(work: Work, start_pool: StartPool) -> None:
    """An override that requeues a failure has it worked on again; the last result counts."""
    issues = queue_of("BUG-1")

    def process(issue: Issue) -> WorkerResult:
        work(issue)
        return succeeded("BUG-1") if len(work.begun) == 2 else failed("BUG-1")

    assert work_off(Retrying(issues, start_pool(process))) == 0
    assert work.begun == ["BUG-1", "BUG-1"]
    assert issues.states() == {"BUG-1": "completed"}


def test_orchestrator_leaves_a_second_attempt_alone(hand_pool: HandPool) -> None:
    """What the completion of the first attempt raises does not fail the second, which runs already."""
    is_requeued, may_raise = threading.Event(), threading.Event()
    caught: list[ValueError] = []

    class RetryingThenRaising(Retrying):
        def on_worker_complete(self, result: WorkerResult) -> None:
            super().on_worker_complete(result)
            if not result.success:
                is_requeued.set()
                assert may_raise.wait(TIMEOUT)
                raise ValueError("no such issue")

    def report_failure() -> None:
        try:
            hand_pool.report(failed("BUG-1"))
        except ValueError as error:
            caught.append(error)

    issues = queue_of("BUG-1")
    run = Run(RetryingThenRaising(issues, hand_pool))
    hand_pool.wait_for("BUG-1")
    reporter = threading.Thread(target=report_failure, daemon=True)
    reporter.start()
    assert is_requeued.wait(TIMEOUT)
    hand_pool.wait_for("BUG-1")
    may_raise.set()
    reporter.join(TIMEOUT)
    assert [str(error) for error in caught] == ["no such issue"]
    assert issues.states() == {"BUG-1": "in_progress"}
    hand_pool.finish("BUG-1")
    assert run.code() == ExitCode.OK


@pytest.mark.parametrize("error", [ValueError("no such issue"), SystemExit(3)], ids=["exception", "exit"])
def test_orchestrator_fails_an_issue_whose_completion_raises(
    work: Work, start_pool: StartPool, error: BaseException
) -> None:
    """The issue is failed, the pool has kept the exception, and the other issues go on."""
    issues = queue_of("BUG-1", "BUG-2")
    pool = start_pool(work)
    orchestrator = Raising(issues, pool)
    orchestrator.error = error
    assert work_off(orchestrator) == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "failed", "BUG-2": "completed"}
    assert pool.drain(TIMEOUT)
    assert pool.callback_errors == (("BUG-1", error),)


def test_orchestrator_keeps_a_mark_although_its_completion_raises(
    work: Work, start_pool: StartPool
) -> None:
    """An issue that was marked before the completion raised stays what it is."""
    issues = queue_of("BUG-1")
    pool = start_pool(work)
    orchestrator = Raising(issues, pool)
    orchestrator.is_marked_first = True
    assert work_off(orchestrator) == 0
    assert issues.states() == {"BUG-1": "completed"}
    assert pool.drain(TIMEOUT)
    assert pool.callback_errors == (("BUG-1", orchestrator.error),)


def test_orchestrator_tells_of_a_completion_that_does_not_mark(
    work: Work, start_pool: StartPool, caplog: pytest.LogCaptureFixture
) -> None:
    """An override that marks nothing cannot end in exit code 0, and is told."""

    class Forgetful(Orchestrator):
        def on_worker_complete(self, result: WorkerResult) -> None:
            pass

    issues = queue_of("BUG-229")
    assert work_off(Forgetful(issues, start_pool(work))) == ExitCode.FAILED
    assert caplog.messages == ["BUG-229 is still in progress: its completion did not mark it"]


def test_orchestrator_takes_no_result_of_another_issue() -> None:
    """A completion that speaks of another issue fails its own, and leaves the other one alone."""
    pool = InlinePool(lambda issue: succeeded("BUG-2"))
    issues = queue_of("BUG-1")
    issues.add(Issue("BUG-2"))
    issues.mark_cancelled("BUG-2")
    assert work_off(Orchestrator(issues, pool)) == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "failed", "BUG-2": "cancelled"}
    assert [str(error) for error in pool.errors] == ["the completion of BUG-1 speaks of 'BUG-2'"]


def test_orchestrator_ignores_a_second_completion(
    hand_pool: HandPool, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the first completion of a submission counts; the second is told."""
    issues = queue_of("BUG-1", "BUG-2")
    run = Run(Orchestrator(issues, hand_pool))
    hand_pool.wait_for("BUG-1", "BUG-2")
    hand_pool.finish("BUG-1")
    hand_pool.report(failed("BUG-1"))
    hand_pool.finish("BUG-2")
    assert run.code() == 0
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "completed"}
    assert caplog.messages == ["BUG-1: a completion came that was not owed; it changes nothing"]


def test_orchestrator_ignores_a_second_completion_during_the_first(
    hand_pool: HandPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A second completion that comes while the first one is still being heard changes nothing either."""
    issues = queue_of("BUG-1")
    orchestrator = Slow(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    reporter = threading.Thread(target=hand_pool.finish, args=("BUG-1",), daemon=True)
    reporter.start()
    assert orchestrator.is_called.wait(TIMEOUT)
    hand_pool.completions["BUG-1"](failed("BUG-1"))
    orchestrator.may_mark.set()
    reporter.join(TIMEOUT)
    assert run.code() == 0
    assert len(caplog.messages) == 1


# Submissions that are refused


def test_orchestrator_fails_an_issue_that_the_pool_refuses(
    work: Work, start_pool: StartPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused issue is failed, logged with the exception and kept; the others go on."""
    error = RuntimeError("can't start new thread")

    class PickyPool(WorkerPool):
        def submit(self, issue: Issue, *args: Any, **kwargs: Any) -> Any:
            if issue.issue_id == "BUG-1":
                raise error
            return super().submit(issue, *args, **kwargs)

    issues = queue_of("BUG-1", "BUG-2")
    with PickyPool(work) as pool:
        orchestrator = Orchestrator(issues, pool)
        assert work_off(orchestrator) == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "failed", "BUG-2": "completed"}
    assert orchestrator.dispatch_errors == {"BUG-1": error}
    assert caplog.messages == ['BUG-1 could not be started: RuntimeError("can\'t start new thread")']
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_orchestrator_fails_everything_in_a_pool_that_was_shut_down(work: Work) -> None:
    """A pool that accepts nothing any more costs no issue its state."""
    issues = queue_of("BUG-1", "BUG-2")
    pool = WorkerPool(work)
    pool.start()
    pool.shutdown()
    orchestrator = Orchestrator(issues, pool)
    assert work_off(orchestrator) == ExitCode.FAILED
    assert issues.failed_ids == ["BUG-1", "BUG-2"]
    assert list(orchestrator.dispatch_errors) == ["BUG-1", "BUG-2"]


def test_orchestrator_keeps_the_mark_of_what_ran_before_it_was_refused(work: Work) -> None:
    """A pool that completes an issue and then refuses it does not turn a success into a failure."""

    class TwoFacedPool(InlinePool):
        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            super().submit(issue, on_complete)
            raise RuntimeError("queue is full")

    issues = queue_of("BUG-229")
    orchestrator = Orchestrator(issues, TwoFacedPool(work))
    assert work_off(orchestrator) == 0
    assert issues.states() == {"BUG-229": "completed"}
    assert list(orchestrator.dispatch_errors) == ["BUG-229"]


def test_orchestrator_forgets_refusals_with_the_next_run(hand_pool: HandPool) -> None:
    """`dispatch_errors` speaks of one run."""
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, hand_pool, defer=lambda issue, in_flight: bool(1 / 0))
    work_off(orchestrator)
    assert list(orchestrator.dispatch_errors) == ["BUG-1"]
    work_off(orchestrator)
    assert orchestrator.dispatch_errors == {}


def test_orchestrator_lets_more_than_an_exception_through(hand_pool: HandPool) -> None:
    """`SystemExit` from `submit` ends the run: that issue is failed, and what was put off is queued."""

    class ExitingPool(HandPool):
        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            raise SystemExit(4)

    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    orchestrator = Orchestrator(issues, ExitingPool(), defer=lambda issue, _: issue.issue_id == "BUG-1")
    with pytest.raises(SystemExit):
        work_off(orchestrator)
    assert issues.states() == {"BUG-1": "queued", "BUG-2": "failed", "BUG-3": "queued"}
    assert list(orchestrator.dispatch_errors) == ["BUG-2"]


def test_orchestrator_that_ended_with_an_exception_can_run_again(hand_pool: HandPool) -> None:
    """A P0 that waited for its turn is queued again; what is in flight is waited for by the next run."""

    class BrokenPool(HandPool):
        is_broken = False

        @property
        def active_count(self) -> int:
            if self.is_broken:
                raise OSError("connection lost")
            return super().active_count

    issues = queue_of("BUG-1")
    pool = BrokenPool()
    orchestrator = Orchestrator(issues, pool, p0_sequential=True)
    run = Run(orchestrator)
    pool.wait_for("BUG-1")
    issues.add(Issue("BUG-8", "P0"))
    pool.wait_for()
    assert issues.states() == {"BUG-1": "in_progress", "BUG-8": "in_progress"}
    pool.is_broken = True
    with pytest.raises(OSError, match="connection lost"):
        run.code()
    assert issues.states() == {"BUG-1": "in_progress", "BUG-8": "queued"}
    pool.is_broken = False
    run = Run(orchestrator)
    pool.wait_for()
    pool.report(failed("BUG-1"))
    pool.wait_for("BUG-8")
    pool.finish("BUG-8")
    assert run.code() == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "failed", "BUG-8": "completed"}


# Pools that lose completions


def test_orchestrator_gives_up_on_what_a_pool_lost(
    hand_pool: HandPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that is idle and never reported an issue has lost it: failed, told, and no exit code 0."""
    hand_pool.claims_idle = True
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    assert work_off(Orchestrator(issues, hand_pool)) == ExitCode.FAILED
    assert issues.failed_ids == ["BUG-1", "BUG-2", "BUG-3"]
    assert caplog.messages[0] == "BUG-1 is lost: the pool went idle and never reported it"
    assert len(caplog.messages) == 3


def test_orchestrator_ignores_the_completion_of_what_it_gave_up(
    hand_pool: HandPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that reports after all is told so, and changes nothing."""
    hand_pool.claims_idle = True
    issues = queue_of("BUG-1")
    work_off(Orchestrator(issues, hand_pool))
    hand_pool.finish("BUG-1")
    assert issues.states() == {"BUG-1": "failed"}
    assert caplog.messages[1:] == ["BUG-1: a completion came that was not owed; it changes nothing"]


def test_orchestrator_waits_for_a_pool_that_is_not_idle(hand_pool: HandPool) -> None:
    """However long the work takes, as long as the pool says that it owes something."""
    issues = queue_of("BUG-1")
    run = Run(Orchestrator(issues, hand_pool))
    hand_pool.wait_for("BUG-1")
    hand_pool.wait_for()
    hand_pool.finish("BUG-1")
    assert run.code() == 0


def test_orchestrator_waits_for_a_completion_that_has_begun(hand_pool: HandPool) -> None:
    """A pool that is idle too early loses nothing as long as the completion is being heard."""
    issues = queue_of("BUG-1")
    orchestrator = Slow(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    reporter = threading.Thread(target=hand_pool.finish, args=("BUG-1",), daemon=True)
    reporter.start()
    assert orchestrator.is_called.wait(TIMEOUT)
    hand_pool.claims_idle = True
    hand_pool.wait_for()
    orchestrator.may_mark.set()
    reporter.join(TIMEOUT)
    assert run.code() == 0


# Putting off


class Conflicts:
    """A `defer` function: puts BUG-1 off while one of `others` is in flight, and notes the questions."""

    def __init__(self, *others: str) -> None:
        self.others = set(others)
        self.asked: list[tuple[str, list[str]]] = []

    def __call__(self, issue: Issue, in_flight: frozenset[str]) -> bool:
        """Whether `issue` has to wait."""
        self.asked.append((issue.issue_id, sorted(in_flight)))
        return issue.issue_id == "BUG-1" and not self.others.isdisjoint(in_flight)


def test_orchestrator_asks_again_about_what_was_put_off_when_another_ends(hand_pool: HandPool) -> None:
    """An issue put off stays queued, lets others pass, and is asked about again after a completion only."""
    issues = queue_of("BUG-2", "BUG-1", "BUG-3")
    defer = Conflicts("BUG-2")
    orchestrator = Orchestrator(issues, hand_pool, defer=defer)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-2", "BUG-3")
    assert issues.queued_ids == ["BUG-1"]
    assert orchestrator.put_off == ("BUG-1",)
    hand_pool.finish("BUG-3")
    hand_pool.wait_for()
    hand_pool.finish("BUG-2")
    hand_pool.wait_for("BUG-1")
    hand_pool.finish("BUG-1")
    assert run.code() == 0
    assert not orchestrator.put_off
    assert defer.asked == [
        ("BUG-2", []),
        ("BUG-1", ["BUG-2"]),
        ("BUG-3", ["BUG-2"]),
        ("BUG-1", ["BUG-2"]),
        ("BUG-1", []),
    ]


def test_orchestrator_does_not_ask_again_because_of_a_new_issue(hand_pool: HandPool) -> None:
    """An issue that is added starts past the one that was put off, about which nothing has changed."""
    issues = queue_of(Issue("BUG-2", "P0"), Issue("BUG-1", "P0"))
    defer = Conflicts("BUG-2")
    run = Run(Orchestrator(issues, hand_pool, defer=defer))
    hand_pool.wait_for("BUG-2")
    issues.add(Issue("BUG-3"))
    hand_pool.wait_for("BUG-3")
    assert defer.asked == [("BUG-2", []), ("BUG-1", ["BUG-2"]), ("BUG-3", ["BUG-2"])]
    hand_pool.finish("BUG-2")
    hand_pool.wait_for("BUG-1")
    hand_pool.finish_all()
    assert run.code() == 0


def test_orchestrator_hears_of_what_ended_while_it_asked(hand_pool: HandPool) -> None:
    """If the issue that is in the way ends during the question, the answer is an old one: it asks again."""
    issues = queue_of("BUG-2", "BUG-1")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if not in_flight:
            return False
        hand_pool.finish_all()
        return True

    assert work_off(Orchestrator(issues, hand_pool, defer=defer)) == 0
    assert hand_pool.events == ["submit BUG-2", "report BUG-2", "submit BUG-1", "report BUG-1"]


def test_orchestrator_tells_what_it_could_not_start(
    work: Work, start_pool: StartPool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is put off although nothing is in flight stays queued, is told, and is no exit code 0."""
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    orchestrator = Orchestrator(
        issues, start_pool(work), defer=lambda issue, in_flight: issue.issue_id != "BUG-2"
    )
    assert work_off(orchestrator) == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "queued", "BUG-2": "completed", "BUG-3": "queued"}
    assert orchestrator.put_off == ("BUG-1", "BUG-3")
    assert caplog.messages == [
        "BUG-1 was put off although nothing was in flight; it stays queued",
        "BUG-3 was put off although nothing was in flight; it stays queued",
    ]


def test_orchestrator_asks_about_a_sequential_p0_when_its_turn_comes(hand_pool: HandPool) -> None:
    """A P0 that runs alone is asked about with nothing in flight; put off, it lets the others go on."""
    issues = queue_of("BUG-2")
    asked: list[tuple[str, int]] = []

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        asked.append((issue.issue_id, len(in_flight)))
        return issue.issue_id == "BUG-1" and issues.completed_count < 2

    run = Run(Orchestrator(issues, hand_pool, defer=defer, p0_sequential=True))
    hand_pool.wait_for("BUG-2")
    issues.add_many([Issue("BUG-1", "P0"), Issue("BUG-3")])
    hand_pool.wait_for()
    hand_pool.finish("BUG-2")
    hand_pool.wait_for("BUG-3")
    hand_pool.finish("BUG-3")
    hand_pool.wait_for("BUG-1")
    hand_pool.finish("BUG-1")
    assert run.code() == 0
    assert asked == [("BUG-2", 0), ("BUG-1", 0), ("BUG-3", 0), ("BUG-1", 0)]


def test_orchestrator_fails_an_issue_about_which_asking_raised(work: Work, start_pool: StartPool) -> None:
    """An exception out of `defer` costs one issue, which is failed, and not the run."""
    error = OSError("no such file")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-1":
            raise error
        return False

    issues = queue_of("BUG-1", "BUG-2")
    orchestrator = Orchestrator(issues, start_pool(work), defer=defer)
    assert work_off(orchestrator) == ExitCode.FAILED
    assert issues.states() == {"BUG-1": "failed", "BUG-2": "completed"}
    assert orchestrator.dispatch_errors == {"BUG-1": error}


# Cancelling


def test_orchestrator_cancels_what_is_queued(hand_pool: HandPool) -> None:
    """An issue that waits in the queue is cancelled there and then, and costs no exit code."""
    issues = queue_of("BUG-1", "BUG-2")
    orchestrator = Orchestrator(issues, hand_pool, max_in_flight=1)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    assert orchestrator.cancel("BUG-2") is True
    assert issues.state_of("BUG-2") is IssueState.CANCELLED
    hand_pool.finish("BUG-1")
    assert run.code() == 0
    assert hand_pool.events == ["submit BUG-1", "report BUG-1"]


def test_orchestrator_cancels_what_waits_in_the_pool(work: Work, start_pool: StartPool) -> None:
    """An issue that the pool has not begun ends cancelled, not interrupted, and costs no exit code."""
    work.hold("BUG-1")
    issues = queue_of("BUG-1", "BUG-2")
    pool = start_pool(work, max_workers=1)
    is_accepted = announce_acceptance(pool, "BUG-2")
    orchestrator = Orchestrator(issues, pool, max_in_flight=2)
    run = Run(orchestrator)
    assert is_accepted.wait(TIMEOUT)
    work.wait_until_running("BUG-1")
    assert orchestrator.cancel("BUG-2") is True
    assert issues.state_of("BUG-2") is IssueState.CANCELLED
    work.release_all()
    assert run.code() == 0
    assert work.begun == ["BUG-1"]


def test_orchestrator_does_not_cancel_what_runs(work: Work, start_pool: StartPool) -> None:
    """What has begun cannot be cancelled any more, and ends by its own result."""
    work.hold("BUG-229")
    issues = queue_of("BUG-229")
    orchestrator = Orchestrator(issues, start_pool(work))
    run = Run(orchestrator)
    work.wait_until_running("BUG-229")
    assert orchestrator.cancel("BUG-229") is False
    work.release_all()
    assert run.code() == 0
    assert issues.states() == {"BUG-229": "completed"}


def test_orchestrator_forgets_a_request_that_was_refused(hand_pool: HandPool) -> None:
    """After a refused request an interruption is one again: nobody was promised a cancellation."""
    hand_pool.on_cancel = lambda issue_id: False
    issues = queue_of("BUG-229")
    orchestrator = Orchestrator(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-229")
    assert orchestrator.cancel("BUG-229") is False
    hand_pool.report(interrupted("BUG-229"))
    assert run.code() == ExitCode.FAILED
    assert issues.states() == {"BUG-229": "interrupted"}


def test_orchestrator_forgets_a_request_over_which_the_pool_raised(hand_pool: HandPool) -> None:
    """What `pool.cancel` raises reaches who asked; the issue goes its way."""

    def refuse(issue_id: str) -> bool:
        raise OSError("connection lost")

    hand_pool.on_cancel = refuse
    issues = queue_of("BUG-229")
    orchestrator = Orchestrator(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-229")
    with pytest.raises(OSError, match="connection lost"):
        orchestrator.cancel("BUG-229")
    hand_pool.report(interrupted("BUG-229"))
    assert run.code() == ExitCode.FAILED
    assert issues.states() == {"BUG-229": "interrupted"}


def test_orchestrator_keeps_a_promise_although_another_request_is_refused(hand_pool: HandPool) -> None:
    """Two ask; one is promised a cancellation, the other refused: the issue ends cancelled."""
    answers = [True, False]
    hand_pool.on_cancel = lambda issue_id: answers.pop(0)
    issues = queue_of("BUG-229")
    orchestrator = Orchestrator(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-229")
    assert orchestrator.cancel("BUG-229") is True
    assert orchestrator.cancel("BUG-229") is False
    hand_pool.report(interrupted("BUG-229"))
    assert run.code() == 0
    assert issues.states() == {"BUG-229": "cancelled"}


def test_orchestrator_cancel_tells_how_it_ended_and_not_who_did_it(hand_pool: HandPool) -> None:
    """If the pool finds nothing to cancel because somebody just did that, the issue is cancelled."""

    def report_first(issue_id: str) -> bool:
        hand_pool.report(interrupted(issue_id))
        return False

    hand_pool.on_cancel = report_first
    issues = queue_of("BUG-229")
    orchestrator = Orchestrator(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-229")
    assert orchestrator.cancel("BUG-229") is True
    assert run.code() == 0
    assert issues.states() == {"BUG-229": "cancelled"}


def test_orchestrator_cancels_a_p0_that_waits_for_its_turn(hand_pool: HandPool) -> None:
    """A P0 that was taken and not started is cancelled, and holds up nobody any longer."""
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, hand_pool, p0_sequential=True)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    issues.add_many([Issue("BUG-8", "P0"), Issue("BUG-2")])
    hand_pool.wait_for()
    assert issues.in_progress_ids == ["BUG-1", "BUG-8"]
    assert orchestrator.cancel("BUG-8") is True
    hand_pool.wait_for("BUG-2")
    assert issues.state_of("BUG-8") is IssueState.CANCELLED
    hand_pool.finish_all()
    assert run.code() == 0


def test_orchestrator_does_not_ask_about_what_was_cancelled(hand_pool: HandPool) -> None:
    """`defer` hears of no issue that is not going to start."""
    defer = Conflicts()
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, hand_pool, p0_sequential=True, defer=defer)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    issues.add(Issue("BUG-8", "P0"))
    hand_pool.wait_for()
    assert orchestrator.cancel("BUG-8") is True
    hand_pool.finish("BUG-1")
    assert run.code() == 0
    assert defer.asked == [("BUG-1", [])]


@pytest.mark.parametrize("is_put_off", [True, False])
def test_orchestrator_cancels_what_is_about_to_start(
    work: Work, start_pool: StartPool, is_put_off: bool
) -> None:
    """Between the queue and the pool a cancellation still wins, whatever `defer` is going to say."""
    issues = queue_of("BUG-229")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        assert orchestrator.cancel("BUG-229") is True
        return is_put_off

    orchestrator = Orchestrator(issues, start_pool(work), defer=defer)
    assert work_off(orchestrator) == 0
    assert issues.states() == {"BUG-229": "cancelled"}
    assert not orchestrator.put_off
    assert work.begun == []


def test_orchestrator_keeps_its_promise_when_asking_raises(work: Work, start_pool: StartPool) -> None:
    """An issue of which somebody heard that it is cancelled is so, though `defer` raised on it."""
    issues = queue_of("BUG-229")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        assert orchestrator.cancel("BUG-229") is True
        raise OSError("no such file")

    orchestrator = Orchestrator(issues, start_pool(work), defer=defer)
    assert work_off(orchestrator) == 0
    assert issues.states() == {"BUG-229": "cancelled"}


def test_orchestrator_cancels_what_was_put_off(hand_pool: HandPool) -> None:
    """An issue put off is queued, so it is cancelled like a queued one, and is not put off any more."""
    issues = queue_of("BUG-2", "BUG-1")
    orchestrator = Orchestrator(issues, hand_pool, defer=Conflicts("BUG-2"))
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-2")
    assert orchestrator.cancel("BUG-1") is True
    assert not orchestrator.put_off
    hand_pool.finish("BUG-2")
    assert run.code() == 0
    assert issues.state_of("BUG-1") is IssueState.CANCELLED


def test_orchestrator_cancels_before_a_run(work: Work, start_pool: StartPool) -> None:
    """A queued issue can be cancelled while nothing runs; the next run does not touch it."""
    issues = queue_of("BUG-1", "BUG-2")
    orchestrator = Orchestrator(issues, start_pool(work))
    assert orchestrator.cancel("BUG-1") is True
    assert work_off(orchestrator) == 0
    assert issues.states() == {"BUG-1": "cancelled", "BUG-2": "completed"}


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "interrupted", "in_progress"])
def test_orchestrator_does_not_cancel_what_is_over_or_not_its_own(hand_pool: HandPool, state: str) -> None:
    """What has ended, and what somebody else took from the queue, is left as it is."""
    issues = queue_of("BUG-229")
    issues.get()
    if state != "in_progress":
        getattr(issues, f"mark_{state}")("BUG-229")
    assert Orchestrator(issues, hand_pool).cancel("BUG-229") is False
    assert issues.states() == {"BUG-229": state}


def test_orchestrator_does_not_cancel_what_it_does_not_know(hand_pool: HandPool) -> None:
    """An id that was never added is not cancelled."""
    assert Orchestrator(IssueQueue(), hand_pool).cancel("BUG-229") is False


def test_orchestrator_does_not_claim_a_cancellation_that_the_queue_refused(hand_pool: HandPool) -> None:
    """If the issue ends otherwise at that very moment, the answer is False."""

    class SharedQueue(IssueQueue):
        def state_of(self, issue_id: str) -> IssueState:
            state = super().state_of(issue_id)
            if state is IssueState.QUEUED:
                self.mark_interrupted(issue_id)
            return state

    issues = SharedQueue()
    issues.add(Issue("BUG-229"))
    assert Orchestrator(issues, hand_pool).cancel("BUG-229") is False
    assert issues.states() == {"BUG-229": "interrupted"}


def test_orchestrator_counts_a_foreign_cancellation_as_a_failure(hand_pool: HandPool) -> None:
    """An issue that was marked cancelled behind its back was not worked on: no exit code 0."""

    class Cancelling(Orchestrator):
        def on_worker_complete(self, result: WorkerResult) -> None:
            self.queue.mark_cancelled(result.issue_id)

    issues = queue_of("BUG-229")
    run = Run(Cancelling(issues, hand_pool))
    hand_pool.wait_for("BUG-229")
    hand_pool.finish("BUG-229")
    assert run.code() == ExitCode.FAILED


# Stopping


def test_orchestrator_stop_interrupts_all_but_what_runs(work: Work, start_pool: StartPool) -> None:
    """What runs is waited for and completed; what waits in the pool and in the queue is interrupted."""
    work.hold("BUG-1")
    issues = AnnouncingQueue("BUG-1", "BUG-2", "BUG-3")
    pool = start_pool(work, max_workers=1)
    is_accepted = announce_acceptance(pool, "BUG-2")
    orchestrator = Orchestrator(issues, pool, max_in_flight=2)
    run = Run(orchestrator)
    assert is_accepted.wait(TIMEOUT)
    work.wait_until_running("BUG-1")
    orchestrator.stop()
    assert [issues.next_interrupted(), issues.next_interrupted()] == ["BUG-3", "BUG-2"]
    work.release_all()
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "interrupted", "BUG-3": "interrupted"}
    assert work.begun == ["BUG-1"]


def test_orchestrator_stop_marks_a_failure_that_it_waited_for(hand_pool: HandPool) -> None:
    """What ran when the stop came ends by its own result, also if that is a failure."""
    hand_pool.on_cancel = lambda issue_id: False
    issues = AnnouncingQueue("BUG-1", "BUG-2")
    orchestrator = Orchestrator(issues, hand_pool, max_in_flight=1)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    orchestrator.stop()
    assert issues.next_interrupted() == "BUG-2"
    hand_pool.wait_for()
    hand_pool.report(failed("BUG-1"))
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "failed", "BUG-2": "interrupted"}


def test_orchestrator_stop_before_a_run_stops_it(hand_pool: HandPool) -> None:
    """A stop that comes a moment too early is not lost: the run starts nothing. The next one does."""
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, hand_pool)
    orchestrator.stop()
    assert work_off(orchestrator) == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "interrupted"}
    issues.requeue("BUG-1")
    hand_pool.finish_all()
    assert work_off(orchestrator) == 0


def test_orchestrator_stop_holds_between_two_submissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes while an issue is handed over lets no second one follow, and is heard at once."""
    monkeypatch.setattr(orchestrator_module, "POLL_SECONDS", 10 * TIMEOUT)

    class StoppingPool(HandPool):
        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            super().submit(issue, on_complete)
            orchestrator.stop()

    issues = queue_of("BUG-1", "BUG-2")
    pool = StoppingPool()
    orchestrator = Orchestrator(issues, pool)
    assert Run(orchestrator).code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}
    assert pool.events == ["submit BUG-1", "report BUG-1"]


def test_orchestrator_stop_interrupts_a_p0_that_waits_for_its_turn(hand_pool: HandPool) -> None:
    """A P0 that was taken and not started ends interrupted."""
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, hand_pool, p0_sequential=True)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    issues.add(Issue("BUG-8", "P0"))
    hand_pool.wait_for()
    orchestrator.stop()
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "interrupted", "BUG-8": "interrupted"}


def test_orchestrator_stop_interrupts_what_was_put_off(hand_pool: HandPool) -> None:
    """An issue put off is queued, so it ends interrupted, and is not put off any more."""
    issues = queue_of("BUG-2", "BUG-1")
    orchestrator = Orchestrator(issues, hand_pool, defer=Conflicts("BUG-2"))
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-2")
    orchestrator.stop()
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-2": "interrupted", "BUG-1": "interrupted"}
    assert not orchestrator.put_off


def test_orchestrator_stop_interrupts_what_comes_back_meanwhile(hand_pool: HandPool) -> None:
    """An issue that its completion requeues after the stop is not started again, and not left queued."""
    hand_pool.on_cancel = lambda issue_id: False
    issues = AnnouncingQueue("BUG-1", "BUG-2")
    orchestrator = Retrying(issues, hand_pool, max_in_flight=1)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    orchestrator.stop()
    assert issues.next_interrupted() == "BUG-2"
    hand_pool.report(failed("BUG-1"))
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}


def test_orchestrator_stop_survives_a_pool_that_cannot_cancel(
    hand_pool: HandPool, caplog: pytest.LogCaptureFixture
) -> None:
    """What `pool.cancel` raises during a stop is logged; the issue is waited for as if it ran."""
    error = OSError("connection lost")
    is_asked = threading.Event()

    def refuse(issue_id: str) -> bool:
        is_asked.set()
        raise error

    hand_pool.on_cancel = refuse
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    orchestrator.stop()
    assert is_asked.wait(TIMEOUT)
    hand_pool.finish("BUG-1")
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "completed"}
    assert caplog.messages == ["the pool could not cancel BUG-1: OSError('connection lost')"]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_orchestrator_stop_gives_up_on_what_a_pool_lost(hand_pool: HandPool) -> None:
    """A stopped run does not wait for ever either for a pool that is idle."""
    hand_pool.on_cancel = lambda issue_id: False
    issues = AnnouncingQueue("BUG-1", "BUG-2")
    orchestrator = Orchestrator(issues, hand_pool, max_in_flight=1)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    orchestrator.stop()
    assert issues.next_interrupted() == "BUG-2"
    hand_pool.claims_idle = True
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "failed", "BUG-2": "interrupted"}


def test_orchestrator_second_stop_ends_the_run_at_once(
    work: Work, start_pool: StartPool, caplog: pytest.LogCaptureFixture
) -> None:
    """What still runs is interrupted and the run over; its completion comes later and changes nothing."""
    work.hold("BUG-1")
    issues = queue_of("BUG-1", "BUG-2")
    pool = start_pool(work, max_workers=1)
    orchestrator = Orchestrator(issues, pool)
    run = Run(orchestrator)
    work.wait_until_running("BUG-1")
    orchestrator.stop()
    orchestrator.stop()
    assert run.code() == ExitCode.STOPPED
    assert issues.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}
    work.release_all()
    assert pool.drain(TIMEOUT)
    assert issues.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}
    assert caplog.messages == ["BUG-1: a completion came that was not owed; it changes nothing"]
    assert pool.callback_errors == ()


@pytest.mark.parametrize("error", [None, OSError("disk full")], ids=["too-late", "raises"])
def test_orchestrator_second_stop_overtakes_a_completion(
    work: Work, start_pool: StartPool, caplog: pytest.LogCaptureFixture, error: OSError | None
) -> None:
    """A completion that is being heard when the run is given up marks nothing; its own errors are kept."""
    issues = queue_of("BUG-1")
    pool = start_pool(work)
    orchestrator = Slow(issues, pool)
    orchestrator.error = error
    run = Run(orchestrator)
    assert orchestrator.is_called.wait(TIMEOUT)
    orchestrator.stop()
    orchestrator.stop()
    assert run.code() == ExitCode.STOPPED
    orchestrator.may_mark.set()
    assert pool.drain(TIMEOUT)
    assert issues.states() == {"BUG-1": "interrupted"}
    if error is None:
        reason = "BUG-1 cannot go from interrupted to completed; requeue it first"
        assert caplog.messages == [f"BUG-1: its completion came too late: {reason}"]
        assert pool.callback_errors == ()
    else:
        assert pool.callback_errors == (("BUG-1", error),)


# Signals


class Signalled(Orchestrator):
    """Tells of each signal that it has heard."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heard = threading.Semaphore(0)

    def _on_signal(self, *args: Any) -> None:
        super()._on_signal(*args)
        self._heard.release()

    def send(self, signum: int) -> None:
        """Send the signal to this process and return when it was heard."""
        os.kill(os.getpid(), signum)
        assert self._heard.acquire(timeout=TIMEOUT)


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.usefixtures("kept_handlers")
def test_orchestrator_ends_interrupted_on_a_signal(
    work: Work, start_pool: StartPool, signum: signal.Signals
) -> None:
    """SIGINT and SIGTERM let what runs end and interrupt the rest; the exit code is that of a shell."""
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")

    def process(issue: Issue) -> WorkerResult:
        orchestrator.send(signum)
        return work(issue)

    orchestrator = Signalled(issues, start_pool(process, max_workers=1), max_in_flight=1)
    assert work_off_here(orchestrator) == 128 + signum
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "interrupted", "BUG-3": "interrupted"}


@pytest.mark.usefixtures("kept_handlers")
def test_orchestrator_second_signal_ends_the_run_at_once(work: Work, start_pool: StartPool) -> None:
    """With the second signal the run does not wait for what runs; the first one is the exit code."""
    work.hold("BUG-1")
    issues = queue_of("BUG-1", "BUG-2")

    def process(issue: Issue) -> WorkerResult:
        orchestrator.send(signal.SIGTERM)
        orchestrator.send(signal.SIGINT)
        return work(issue)

    pool = start_pool(process, max_workers=1)
    orchestrator = Signalled(issues, pool, max_in_flight=1)
    assert work_off_here(orchestrator) == 128 + signal.SIGTERM
    assert issues.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}
    work.release_all()
    assert pool.drain(TIMEOUT)
    assert issues.states() == {"BUG-1": "interrupted", "BUG-2": "interrupted"}


@pytest.mark.usefixtures("kept_handlers")
def test_orchestrator_puts_handlers_of_signals_back(work: Work, start_pool: StartPool) -> None:
    """During the run the handlers are its own, afterwards those from before, also after an exception."""

    def own(signum: int, frame: object) -> None:
        """Do nothing."""

    signal.signal(signal.SIGINT, own)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    during: list[object] = []

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        during.extend(signal.getsignal(signum) for signum in SIGNALS)
        raise SystemExit

    with pytest.raises(SystemExit):
        work_off_here(Orchestrator(queue_of("BUG-1"), start_pool(work), defer=defer))
    assert own not in during
    assert signal.SIG_IGN not in during
    assert [signal.getsignal(signum) for signum in SIGNALS] == [own, signal.SIG_IGN]


@pytest.mark.usefixtures("kept_handlers")
def test_orchestrator_touches_no_handler_outside_the_main_thread(work: Work, start_pool: StartPool) -> None:
    """In another thread a run leaves signals to the program, and works all the same."""
    before = [signal.getsignal(signum) for signum in SIGNALS]
    during: list[object] = []

    def process(issue: Issue) -> WorkerResult:
        during.extend(signal.getsignal(signum) for signum in SIGNALS)
        return work(issue)

    assert Run(Orchestrator(queue_of("BUG-1"), start_pool(process))).code() == 0
    assert during == before


@pytest.mark.usefixtures("kept_handlers")
def test_orchestrator_touches_no_handler_that_it_could_not_put_back(
    work: Work, start_pool: StartPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that was not set by Python, for which `getsignal` gives None, stays in place."""
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
    set_by_run: list[int] = []

    def set_handler(signum: int, handler: Any) -> Any:
        set_by_run.append(signum)

    monkeypatch.setattr(
        signal, "getsignal", lambda signum: None if signum == signal.SIGTERM else handlers[signum]
    )
    monkeypatch.setattr(signal, "signal", set_handler)
    assert work_off_here(Orchestrator(queue_of("BUG-1"), start_pool(work))) == 0
    assert set_by_run == [signal.SIGINT, signal.SIGINT]


@pytest.mark.usefixtures("kept_handlers")
def test_orchestrator_hears_a_signal_in_the_last_moment(hand_pool: HandPool) -> None:
    """A signal that comes after the run has found everything done is in the exit code, not swallowed."""

    class LastMomentQueue(IssueQueue):
        def empty(self) -> bool:
            is_empty = super().empty()
            if is_empty and self.completed_count == 1:
                signal.raise_signal(signal.SIGTERM)
                self.add(Issue("BUG-2"))
            return is_empty

    issues = LastMomentQueue()
    issues.add(Issue("BUG-1"))
    hand_pool.finish_all()
    assert work_off_here(Orchestrator(issues, hand_pool)) == 128 + signal.SIGTERM
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "interrupted"}


# A pool of its own


def test_orchestrator_starts_a_pool_and_shuts_it_down(work: Work) -> None:
    """A pool that was not started is started for the run, and has no thread left after it."""
    pool = WorkerPool(work)
    issues = queue_of("BUG-1", "BUG-2")
    assert work_off(Orchestrator(issues, pool)) == 0
    assert pool.is_started
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("issue-worker")]
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(Issue("BUG-3"))


def test_orchestrator_leaves_a_started_pool_to_its_owner(work: Work, start_pool: StartPool) -> None:
    """A pool that was started before accepts work after the run."""
    pool = start_pool(work)
    work_off(Orchestrator(queue_of("BUG-1"), pool))
    assert pool.submit(Issue("BUG-2")).result(TIMEOUT).success


def test_orchestrator_second_stop_does_not_wait_for_a_pool_that_it_started(work: Work) -> None:
    """The pool is shut down without waiting for what hangs in it."""
    work.hold("BUG-1")
    issues = queue_of("BUG-1")
    pool = WorkerPool(work)
    orchestrator = Orchestrator(issues, pool)
    run = Run(orchestrator)
    work.wait_until_running("BUG-1")
    orchestrator.stop()
    orchestrator.stop()
    assert run.code() == ExitCode.STOPPED
    assert pool.active_count == 1
    work.release_all()
    pool.shutdown()
    assert issues.states() == {"BUG-1": "interrupted"}


def test_orchestrator_shuts_its_pool_down_after_an_exception(work: Work) -> None:
    """However the run ends, the pool that it started is shut down, and what runs in it is marked."""
    pool = WorkerPool(work)
    issues = queue_of("BUG-1", "BUG-2")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-2":
            raise SystemExit
        return False

    with pytest.raises(SystemExit):
        work_off(Orchestrator(issues, pool, defer=defer))
    assert pool.active_count == 0
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "failed"}


def test_orchestrator_takes_nothing_for_a_pool_that_does_not_start(work: Work) -> None:
    """What `start` raises gets through, every issue is still queued, and the orchestrator not blocked."""
    pool = WorkerPool(work)
    pool.shutdown()
    issues = queue_of("BUG-1")
    orchestrator = Orchestrator(issues, pool)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="this WorkerPool was shut down; make a new one"):
            work_off(orchestrator)
    assert issues.states() == {"BUG-1": "queued"}


# Misuse


def test_orchestrator_runs_once_at_a_time(hand_pool: HandPool) -> None:
    """A second `run` beside the first is refused, and disturbs it not."""
    orchestrator = Orchestrator(queue_of("BUG-1"), hand_pool)
    run = Run(orchestrator)
    hand_pool.wait_for("BUG-1")
    with pytest.raises(RuntimeError, match=r"already in run\(\); wait for it, or make another"):
        work_off(orchestrator)
    hand_pool.finish("BUG-1")
    assert run.code() == 0


class NoPool:
    """Has a method too few for a pool."""

    active_count = 0

    def submit(self, issue: Issue) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"queue": ["BUG-1"]}, TypeError, r"queue must be an IssueQueue, not \['BUG-1'\]"),
        ({"pool": NoPool()}, TypeError, "pool must have submit, cancel and active_count; .* has no cancel"),
        ({"max_in_flight": 0}, ValueError, "max_in_flight must be at least 1, not 0"),
        ({"max_in_flight": 1.5}, TypeError, r"max_in_flight must be an integer, not 1\.5"),
        ({"max_in_flight": True}, TypeError, "max_in_flight must be an integer, not True"),
        (
            {"defer": "BUG-1"},
            TypeError,
            r"defer must be callable as defer\(issue, in_flight\), not 'BUG-1'",
        ),
    ],
    ids=["queue", "pool", "too-small", "no-integer", "boolean", "defer"],
)
def test_orchestrator_refuses_wrong_arguments(
    hand_pool: HandPool, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message says what is wanted and what was given."""
    with pytest.raises(error, match=message):
        Orchestrator(**{"queue": IssueQueue(), "pool": hand_pool, **arguments})


# Logging


def test_orchestrator_logs_where_it_is_told(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    """With a logger of one's own nothing appears elsewhere."""
    logger = logging.getLogger("ours")
    pool = WorkerPool(work)
    pool.start()
    pool.shutdown()
    work_off(Orchestrator(queue_of("BUG-1"), pool, logger=logger))
    assert [record.name for record in caplog.records] == ["ours"]


def test_orchestrator_survives_its_logger(work: Work) -> None:
    """A logger that raises costs no issue its mark."""

    class RaisingHandler(logging.Handler):
        count = 0

        def emit(self, record: logging.LogRecord) -> None:
            self.count += 1
            raise OSError("log is full")

    handler = RaisingHandler()
    logger = logging.Logger("raises")
    logger.addHandler(handler)
    pool = WorkerPool(work)
    pool.start()
    pool.shutdown()
    issues = queue_of("BUG-1", "BUG-2")
    assert work_off(Orchestrator(issues, pool, logger=logger)) == ExitCode.FAILED
    assert issues.failed_ids == ["BUG-1", "BUG-2"]
    assert handler.count == 2


# All at once


def test_orchestrator_loses_nothing_while_everything_happens_at_once(
    work: Work, start_pool: StartPool
) -> None:
    """With failures, cancellations and additions from other threads every issue ends in one state."""
    ids = [f"BUG-{number}" for number in range(200)]
    work.raises.update({issue_id: RuntimeError("worker crashed") for issue_id in ids[::7]})
    issues = IssueQueue()
    issues.add_many(Issue(issue_id, f"P{number % 6}") for number, issue_id in enumerate(ids[:100]))
    orchestrator = Orchestrator(
        issues, start_pool(work, max_workers=4), max_in_flight=8, p0_sequential=True
    )
    promised: list[str] = []

    def cancel() -> None:
        promised.extend(issue_id for issue_id in ids[::3] if orchestrator.cancel(issue_id))

    def add() -> None:
        issues.add_many(Issue(issue_id) for issue_id in ids[100:])

    threads = [threading.Thread(target=target, daemon=True) for target in (cancel, add)]
    run = Run(orchestrator)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    codes = [run.code(), Run(orchestrator).code()]
    assert set(codes) <= {ExitCode.OK, ExitCode.FAILED}
    assert sorted(issues.cancelled_ids) == sorted(promised)
    assert issues.completed_count + issues.failed_count + issues.cancelled_count == 200
    assert set(issues.failed_ids) == set(work.begun) & set(ids[::7])
