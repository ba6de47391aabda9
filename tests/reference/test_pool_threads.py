"""The pool's own threads: a thread that cannot start, or a future that is meddled with, strands nobody."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.submission import OwnCalls, SubmissionFuture, Work
from pytest_littleloops.reference.threads import IssueThreads

TIMEOUT = 10.0


def completed(issue_id: str) -> WorkerResult:
    """Give the result of a success."""
    return WorkerResult(issue_id, True, "", Path())


class GatedWork:
    """A process function that succeeds once its gate is open and notes whose body began."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []
        self.has_begun = threading.Condition()

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        with self.has_begun:
            self.begun.append(issue.issue_id)
            self.has_begun.notify_all()
        assert self.gate.wait(TIMEOUT)
        return completed(issue.issue_id)

    def wait_for(self, issue_id: str) -> None:
        """Return when the body of `issue_id` has begun."""
        with self.has_begun:
            assert self.has_begun.wait_for(lambda: issue_id in self.begun, TIMEOUT)


@pytest.fixture
def work() -> Iterator[GatedWork]:
    """Give a gated process function whose gate opens at the latest when the test ends."""
    gated = GatedWork()
    yield gated
    gated.gate.set()


@pytest.fixture
def fail_thread_starts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that has the next starts of threads raise, each after an action of its own."""
    original = threading.Thread.start

    def fail(error: BaseException, *actions: Callable[[], object]) -> None:
        remaining = iter(actions)

        def refuse(thread: threading.Thread) -> None:
            action = next(remaining, None)
            if action is None:
                original(thread)
                return
            action()
            raise error

        monkeypatch.setattr(threading.Thread, "start", refuse)

    return fail


def nothing() -> None:
    """Do nothing."""


def elsewhere(call: Callable[[], object]) -> None:
    """Run `call` in another thread and wait for it: this one is inside the lender's lock."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "the pool waits for the thread that it cannot start"


def runners(pool: WorkerPool) -> int:
    """Give how many threads are believed to be at work: a wrong count refuses or strands others later."""
    assert isinstance(pool._executor, IssueThreads)
    return pool._executor._runners


CANNOT_START = RuntimeError("can't start new thread")


@pytest.mark.parametrize("error", [CANNOT_START, KeyboardInterrupt()], ids=["exception", "interrupt"])
def test_pool_refuses_work_that_no_thread_can_take(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    fail_thread_starts: Callable[..., None],
    error: BaseException,
) -> None:
    """With no thread to run it a submission is refused, leaves nothing, and the pool works on later."""
    heard: list[WorkerResult] = []
    work.gate.set()
    pool = start_pool(work, max_workers=1)
    fail_thread_starts(error, nothing)
    with pytest.raises(type(error)) as caught:
        pool.submit(Issue("BUG-229"), heard.append)
    assert caught.value is error
    assert not pool._pending_callbacks
    assert pool.submit(Issue("FEAT-7"), heard.append).result(TIMEOUT).success
    pool.shutdown()
    assert heard == [completed("FEAT-7")]
    assert work.begun == ["FEAT-7"]
    assert runners(pool) == 0


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="before 3.12 a ThreadPoolExecutor counts a failed start as an idle thread for ever",
)
def test_pool_has_all_its_threads_after_one_could_not_start(
    start_pool: Callable[..., WorkerPool], fail_thread_starts: Callable[..., None]
) -> None:
    """A start that failed costs no capacity: two issues run at once afterwards."""
    both_run = threading.Barrier(2)

    def process(issue: Issue) -> WorkerResult:
        both_run.wait(TIMEOUT)
        return completed(issue.issue_id)

    pool = start_pool(process, max_workers=2)
    fail_thread_starts(CANNOT_START, nothing)
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        pool.submit(Issue("BUG-229"))
    futures = [pool.submit(Issue(issue_id)) for issue_id in ("FEAT-1", "FEAT-2")]
    assert [future.result(TIMEOUT).success for future in futures] == [True, True]


def test_pool_gives_a_living_thread_what_a_new_one_cannot_take(
    start_pool: Callable[..., WorkerPool], work: GatedWork, fail_thread_starts: Callable[..., None]
) -> None:
    """While one thread works, a second that cannot start is no reason to refuse: the first takes it."""
    heard: list[WorkerResult] = []
    pool = start_pool(work, max_workers=2)
    pool.submit(Issue("ENH-1"), heard.append)
    work.wait_for("ENH-1")
    fail_thread_starts(CANNOT_START, nothing)
    pool.submit(Issue("BUG-229"), heard.append)
    assert work.begun == ["ENH-1"]
    work.gate.set()
    assert pool.drain(TIMEOUT)
    assert heard == [completed("ENH-1"), completed("BUG-229")]
    assert work.begun == ["ENH-1", "BUG-229"]


def test_pool_withdraws_what_an_interrupt_met_before_a_thread_took_it(
    start_pool: Callable[..., WorkerPool], work: GatedWork, fail_thread_starts: Callable[..., None]
) -> None:
    """A Ctrl-C in `submit` refuses the submission although a living thread would have taken it later."""
    heard: list[WorkerResult] = []
    pool = start_pool(work, max_workers=2)
    pool.submit(Issue("ENH-1"), heard.append)
    work.wait_for("ENH-1")
    fail_thread_starts(KeyboardInterrupt(), nothing)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(Issue("BUG-229"), heard.append)
    assert pool.active_count == 1
    work.gate.set()
    assert pool.submit(Issue("FEAT-7"), heard.append).result(TIMEOUT).success
    pool.shutdown()
    assert sorted(result.issue_id for result in heard) == ["ENH-1", "FEAT-7"]
    assert work.begun == ["ENH-1", "FEAT-7"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(CANNOT_START, nullcontext()), (KeyboardInterrupt(), pytest.raises(KeyboardInterrupt))],
    ids=["exception", "interrupt"],
)
def test_pool_knows_that_a_resting_thread_came_before_the_refusal(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    fail_thread_starts: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    outcome: AbstractContextManager[object],
) -> None:
    """If all was done by a thread that lived already, one completion comes, and only Ctrl-C gets out."""
    heard: list[WorkerResult] = []
    turns = threading.Semaphore(0)
    original = IssueThreads._run_waiting

    def run_waiting(threads: IssueThreads, begun: threading.Lock) -> None:
        original(threads, begun)
        turns.release()

    def let_it_do_both_turns() -> None:
        work.gate.set()
        assert turns.acquire(timeout=TIMEOUT)
        assert turns.acquire(timeout=TIMEOUT)

    monkeypatch.setattr(IssueThreads, "_run_waiting", run_waiting)
    pool = start_pool(work, max_workers=2)
    pool.submit(Issue("ENH-1"), heard.append)
    work.wait_for("ENH-1")
    fail_thread_starts(error, let_it_do_both_turns)
    with outcome:
        pool.submit(Issue("BUG-229"), heard.append)
    assert pool.active_count == 0
    assert pool.submit(Issue("FEAT-7"), heard.append).result(TIMEOUT).success
    pool.shutdown()
    assert heard == [completed("ENH-1"), completed("BUG-229"), completed("FEAT-7")]
    assert runners(pool) == 0


def test_pool_fails_who_relied_on_a_thread_that_could_not_start(
    start_pool: Callable[..., WorkerPool], work: GatedWork, fail_thread_starts: Callable[..., None]
) -> None:
    """Accepted while the only thread was on its way, an issue ends failed when that thread never comes."""
    heard: list[WorkerResult] = []
    work.gate.set()
    pool = start_pool(work, max_workers=1)
    fail_thread_starts(CANNOT_START, lambda: elsewhere(lambda: pool.submit(Issue("FEAT-7"), heard.append)))
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        pool.submit(Issue("BUG-229"), heard.append)
    assert pool.drain(TIMEOUT)
    assert heard == [WorkerResult("FEAT-7", False, "", Path(), error="can't start new thread")]
    assert pool.submit(Issue("FEAT-8"), heard.append).result(TIMEOUT).success
    assert work.begun == ["FEAT-8"]


def test_pool_threads_fail_who_relied_on_the_last_that_could_not_start(
    work: GatedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads fail to start, one while the other is at it: one issue is refused, one ends failed."""
    heard: list[WorkerResult] = []
    threads = IssueThreads(2, OwnCalls())

    def submission(issue_id: str) -> Work:
        future = SubmissionFuture(Issue(issue_id), lambda future: heard.append(future.result(0)))
        return Work(work, future, OwnCalls())

    inner, outer = submission("FEAT-7"), submission("BUG-229")
    refusals: list[object] = []

    def refuse(*arguments: object) -> None:
        refusals.append(arguments)
        if len(refusals) == 1:
            assert threads.submit(inner) is inner.future
        raise CANNOT_START

    # Not a start of a thread: the library starts one at a time, so these two would not overlap there.
    monkeypatch.setattr(threads._lender, "submit", refuse)
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        threads.submit(outer)
    assert heard == [WorkerResult("FEAT-7", False, "", Path(), error="can't start new thread")]
    assert not outer.future.done()
    assert work.begun == []


def test_pool_threads_do_not_fail_who_was_withdrawn_before(
    work: GatedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission that Ctrl-C has withdrawn hears nothing of the thread that fails to start afterwards."""
    heard: list[WorkerResult] = []
    threads = IssueThreads(2, OwnCalls())
    inner = SubmissionFuture(Issue("FEAT-7"), lambda future: heard.append(future.result(0)))
    outer = SubmissionFuture(Issue("BUG-229"), id)
    refusals: list[object] = []

    def refuse(*arguments: object) -> None:
        refusals.append(arguments)
        if len(refusals) == 1:
            with pytest.raises(KeyboardInterrupt):
                threads.submit(Work(work, inner, OwnCalls()))
            assert inner.begin(), "this is how the pool withdraws it"
            raise CANNOT_START
        raise KeyboardInterrupt

    monkeypatch.setattr(threads._lender, "submit", refuse)
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        threads.submit(Work(work, outer, OwnCalls()))
    assert heard == []
    assert not inner.done()


def test_pool_does_not_fail_who_was_cancelled_before(
    start_pool: Callable[..., WorkerPool], work: GatedWork, fail_thread_starts: Callable[..., None]
) -> None:
    """Of those that relied on the thread only the ones that still wait get the failure."""
    heard: list[tuple[str, bool]] = []

    def note(result: WorkerResult) -> None:
        heard.append((result.issue_id, result.interrupted))

    def submit_two_and_cancel_one() -> None:
        elsewhere(lambda: pool.submit(Issue("FEAT-7"), note))
        elsewhere(lambda: pool.submit(Issue("FEAT-8"), note))
        assert pool.cancel("FEAT-7") is True

    pool = start_pool(work, max_workers=1)
    fail_thread_starts(CANNOT_START, submit_two_and_cancel_one)
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        pool.submit(Issue("BUG-229"), note)
    assert heard == [("FEAT-7", True), ("FEAT-8", False)]
    assert pool.active_count == 0


def test_pool_accepts_a_submission_that_was_cancelled_before_it_was_refused(
    start_pool: Callable[..., WorkerPool], work: GatedWork, fail_thread_starts: Callable[..., None]
) -> None:
    """Cancelled while its thread failed to start, it has its completion already: `submit` cannot refuse."""
    heard: list[WorkerResult] = []
    answers: list[bool] = []
    pool = start_pool(work, max_workers=1)
    fail_thread_starts(CANNOT_START, lambda: answers.append(pool.cancel("BUG-229")))
    future = pool.submit(Issue("BUG-229"), heard.append)
    assert answers == [True]
    assert future.cancelled()
    assert [result.interrupted for result in heard] == [True]
    assert pool.active_count == 0
    assert work.begun == []


def test_pool_completions_of_a_failed_start_are_work_of_the_pool(
    start_pool: Callable[..., WorkerPool], work: GatedWork, fail_thread_starts: Callable[..., None]
) -> None:
    """Who hears of a failed start from the submitting thread cannot wait for the pool there."""
    heard: list[str] = []

    def drain(future: object) -> None:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            pool.drain(TIMEOUT)
        heard.append("refused to wait")

    pool = start_pool(work, max_workers=1)
    fail_thread_starts(
        CANNOT_START, lambda: elsewhere(lambda: pool.submit(Issue("FEAT-7")).add_done_callback(drain))
    )
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        pool.submit(Issue("BUG-229"))
    assert heard == ["refused to wait"]


def test_pool_survives_a_future_that_was_ended_by_hand(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """Whoever sets the result of a waiting future has decided it: no body, and those behind it run."""
    heard: list[WorkerResult] = []
    pool = start_pool(work, max_workers=1)
    pool.submit(Issue("ENH-1"), heard.append)
    work.wait_for("ENH-1")
    pool.submit(Issue("BUG-229"), heard.append).set_result(completed("BUG-229"))
    assert heard == [completed("BUG-229")]
    pool.submit(Issue("FEAT-7"), heard.append)
    work.gate.set()
    assert pool.drain(TIMEOUT)
    assert heard == [completed("BUG-229"), completed("ENH-1"), completed("FEAT-7")]
    assert work.begun == ["ENH-1", "FEAT-7"]


def test_pool_makes_no_more_threads_than_workers(start_pool: Callable[..., WorkerPool]) -> None:
    """However many issues come, in however many bursts, the pool never has more threads than it may."""
    threads: set[threading.Thread] = set()
    at_once: list[int] = []
    running: set[str] = set()

    def process(issue: Issue) -> WorkerResult:
        threads.add(threading.current_thread())
        running.add(issue.issue_id)
        at_once.append(len(running))
        running.discard(issue.issue_id)
        return completed(issue.issue_id)

    pool = start_pool(process, max_workers=3)
    for burst in range(5):
        for number in range(20):
            pool.submit(Issue(f"BUG-{burst}-{number}"))
        assert pool.drain(TIMEOUT)
    pool.shutdown()
    assert len(at_once) == 100
    assert max(at_once) <= 3
    assert len(threads) <= 3
    assert all(thread.name.startswith("issue-worker") for thread in threads)


def test_pool_threads_refuse_work_after_their_shutdown(work: GatedWork) -> None:
    """With no thread left that could take it, work is refused."""
    threads = IssueThreads(1, OwnCalls())
    threads.shutdown(wait=True)
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(Work(work, SubmissionFuture(Issue("BUG-229"), id), OwnCalls()))


def test_pool_threads_tell_which_were_started(work: GatedWork) -> None:
    """The threads are known while they live and after they were joined."""
    threads = IssueThreads(1, OwnCalls())
    before = threads.threads
    future = SubmissionFuture(Issue("BUG-229"), id)
    assert threads.submit(Work(work, future, OwnCalls())) is future
    work.gate.set()
    assert future.result(TIMEOUT).success
    threads.shutdown(wait=True)
    assert before == ()
    assert [thread.is_alive() for thread in threads.threads] == [False]
