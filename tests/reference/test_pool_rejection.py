"""A submission is either accepted or raises; of a rejected one nothing is left that could act later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


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
        return WorkerResult(issue.issue_id, True, "", Path())

    def wait_for(self, issue_id: str) -> None:
        """Return when the body of `issue_id` has begun."""
        with self.has_begun:
            assert self.has_begun.wait_for(lambda: issue_id in self.begun, TIMEOUT)


class RefusingExecutor(Executor):
    """An executor that takes nothing."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def submit(
        self, fn: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Returned]:
        """Raise."""
        raise self.error


@pytest.fixture
def work() -> Iterator[GatedWork]:
    """Give a gated process function whose gate opens at the latest when the test ends."""
    gated = GatedWork()
    yield gated
    gated.gate.set()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Give an executor of two threads that belongs to the test."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def fail_next_thread_start(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, before: Callable[[], object] = lambda: None
) -> None:
    """Have the next start of a thread run `before` and raise `error` instead; later ones succeed."""
    original = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", original)
        before()
        raise error

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_pool_refuses_a_process_that_is_not_callable() -> None:
    """The error names what came instead of a process function."""
    with pytest.raises(TypeError, match=r"^process must be callable as process\(issue\), not 'fix'$"):
        WorkerPool("fix")  # type: ignore[arg-type]


@pytest.mark.parametrize("max_workers", [0, -1])
def test_pool_refuses_fewer_workers_than_one(work: GatedWork, max_workers: int) -> None:
    """A pool without workers would owe for ever."""
    with pytest.raises(ValueError, match=f"^max_workers must be at least 1, not {max_workers}$"):
        WorkerPool(work, max_workers=max_workers)


@pytest.mark.parametrize("max_workers", ["2", 2.0, None, True])
def test_pool_refuses_a_number_of_workers_that_is_no_integer(work: GatedWork, max_workers: int) -> None:
    """The error shows the value as it was given."""
    with pytest.raises(TypeError, match=f"^max_workers must be an integer, not {max_workers!r}$"):
        WorkerPool(work, max_workers=max_workers)


def test_pool_refuses_an_executor_that_is_no_executor(work: GatedWork) -> None:
    """Something else than an `Executor` is refused at once, not at the first submission."""
    with pytest.raises(
        TypeError, match=r"^executor must be a concurrent\.futures\.Executor, not 'threads'$"
    ):
        WorkerPool(work, executor="threads")  # type: ignore[arg-type]


def test_pool_takes_one_worker(start_pool: Callable[..., WorkerPool], work: GatedWork) -> None:
    """The smallest pool works, and says how many workers it has."""
    work.gate.set()
    pool = start_pool(work, max_workers=1)
    assert pool.max_workers == 1
    assert pool.submit(Issue("BUG-229")).result(TIMEOUT).success


def test_pool_has_two_workers_unless_told_otherwise(work: GatedWork) -> None:
    """Two issues are worked on at once, a third waits."""
    with WorkerPool(work) as pool:
        assert pool.max_workers == 2
        for issue_id in ("BUG-1", "BUG-2", "BUG-3"):
            pool.submit(Issue(issue_id))
        work.wait_for("BUG-1")
        work.wait_for("BUG-2")
        assert pool.cancel("BUG-3") is True
        work.gate.set()
    assert sorted(work.begun) == ["BUG-1", "BUG-2"]


@pytest.mark.parametrize("junk", ["BUG-229", None, 229])
def test_pool_refuses_what_is_no_issue(
    start_pool: Callable[..., WorkerPool], work: GatedWork, junk: Issue
) -> None:
    """An id alone is no issue, and nothing of it is registered."""
    pool = start_pool(work)
    with pytest.raises(TypeError, match=f"^submit takes an Issue, not {junk!r}$"):
        pool.submit(junk)
    assert not pool._pending_callbacks


def test_pool_refuses_a_completion_that_is_not_callable(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """A completion that could not be called is refused before the work, not after it."""
    pool = start_pool(work)
    with pytest.raises(
        TypeError, match=r"^on_complete must be callable as on_complete\(result\): 'later'$"
    ):
        pool.submit(Issue("BUG-229"), "later")  # type: ignore[arg-type]
    assert not pool._pending_callbacks
    assert pool.drain(TIMEOUT)
    assert work.begun == []


def test_pool_accepts_nothing_before_its_start(work: GatedWork) -> None:
    """A submission to a pool that is not started is refused and forgotten, also by a later start."""
    work.gate.set()
    pool = WorkerPool(work)
    with pytest.raises(RuntimeError, match=r"^BUG-229 was not accepted: this WorkerPool is not started$"):
        pool.submit(Issue("BUG-229"))
    assert not pool.is_started
    assert pool.active_count == 0
    with pool:
        assert pool.submit(Issue("FEAT-7")).result(TIMEOUT).success
    assert work.begun == ["FEAT-7"]


def test_pool_accepts_nothing_before_its_start_on_an_executor_that_was_handed_in(work: GatedWork) -> None:
    """That an executor is there already does not make a pool accept work."""
    with ThreadPoolExecutor(1) as executor:
        pool = WorkerPool(work, executor=executor)
        with pytest.raises(
            RuntimeError, match=r"^BUG-229 was not accepted: this WorkerPool is not started$"
        ):
            pool.submit(Issue("BUG-229"))
    assert work.begun == []


def test_pool_accepts_nothing_after_its_shutdown(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """A refused submission is no submission: no mark, no body, no completion."""
    heard: list[WorkerResult] = []
    with ThreadPoolExecutor(1) as executor:
        pool = start_pool(work, executor=executor)
        pool.shutdown()
        with pytest.raises(
            RuntimeError, match=r"^BUG-229 was not accepted: this WorkerPool was shut down$"
        ):
            pool.submit(Issue("BUG-229"), heard.append)
        assert not pool._pending_callbacks
    assert (heard, work.begun) == ([], [])


def test_pool_starts_once(start_pool: Callable[..., WorkerPool], work: GatedWork) -> None:
    """A second start is an error and harms nothing."""
    work.gate.set()
    pool = start_pool(work)
    with pytest.raises(RuntimeError, match=r"^this WorkerPool was already started$"):
        pool.start()
    assert pool.submit(Issue("BUG-229")).result(TIMEOUT).success


def test_pool_does_not_start_after_its_shutdown(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """A pool that has run is not started again."""
    pool = start_pool(work)
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"^this WorkerPool was shut down; make a new one$"):
        pool.start()


def test_pool_passes_the_refusal_of_a_stopped_executor_on(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """An executor that its owner has stopped refuses the submission, and nothing of it is left."""
    heard: list[WorkerResult] = []
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    pool = start_pool(work, executor=executor)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(Issue("BUG-229"), heard.append)
    assert not pool._pending_callbacks
    assert pool.drain(TIMEOUT)
    assert (heard, work.begun) == ([], [])


@pytest.mark.parametrize(
    "error", [OSError("out of memory"), KeyboardInterrupt()], ids=["exception", "base-exception"]
)
def test_pool_passes_whatever_the_executor_raises_on(
    start_pool: Callable[..., WorkerPool], work: GatedWork, error: BaseException
) -> None:
    """The caller gets the very exception of the executor, and who waits for the pool waits no longer."""
    heard: list[WorkerResult] = []
    pool = start_pool(work, executor=RefusingExecutor(error))
    with pytest.raises(type(error)) as caught:
        pool.submit(Issue("BUG-229"), heard.append)
    assert caught.value is error
    assert pool.active_count == 0
    assert heard == []


def test_pool_refusal_wakes_who_waits_for_the_pool(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """A drain that counted a submission in flight is released by its rejection."""
    in_submit, may_refuse = threading.Event(), threading.Event()

    class SlowlyRefusingExecutor(RefusingExecutor):
        """Refuses when it is told to."""

        def submit(
            self, fn: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> Future[Returned]:
            """Raise, later."""
            in_submit.set()
            assert may_refuse.wait(TIMEOUT)
            raise self.error

    pool = start_pool(work, executor=SlowlyRefusingExecutor(OSError("out of memory")))
    refused: list[str] = []

    def submit() -> None:
        with pytest.raises(OSError, match="out of memory"):
            pool.submit(Issue("BUG-229"))
        refused.append("BUG-229")

    submitter = threading.Thread(target=submit, daemon=True)
    submitter.start()
    assert in_submit.wait(TIMEOUT)
    assert pool.active_count == 1
    woken = on_idle_wait(pool, may_refuse.set)
    assert pool.drain(TIMEOUT)
    assert woken == [True]
    submitter.join(TIMEOUT)
    assert refused == ["BUG-229"]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("can't start new thread"), KeyboardInterrupt()],
    ids=["exception", "base-exception"],
)
def test_pool_lets_no_ghost_run_when_a_thread_cannot_start(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    executor: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    """The standard library keeps what it queued before its thread failed to start: its body never runs."""
    heard: list[WorkerResult] = []
    work.gate.set()
    pool = start_pool(work, executor=executor)
    fail_next_thread_start(monkeypatch, error)
    with pytest.raises(type(error)) as caught:
        pool.submit(Issue("BUG-229"), heard.append)
    assert caught.value is error
    assert not pool._pending_callbacks
    assert pool.submit(Issue("FEAT-7"), heard.append).result(TIMEOUT).success
    # The executor works its queue off before it ends, and the ghost is in it.
    executor.shutdown()
    assert [result.issue_id for result in heard] == ["FEAT-7"]
    assert work.begun == ["FEAT-7"]


def test_pool_lets_no_ghost_run_behind_a_busy_worker(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    executor: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An executor whose other thread lives comes to the refused work later: the body does not run."""
    pool = start_pool(work, executor=executor)
    pool.submit(Issue("ENH-1"))
    work.wait_for("ENH-1")
    fail_next_thread_start(monkeypatch, RuntimeError("can't start new thread"))
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        pool.submit(Issue("BUG-229"))
    assert list(pool._pending_callbacks.values()) == ["ENH-1"]
    work.gate.set()
    assert pool.submit(Issue("FEAT-7")).result(TIMEOUT).success
    executor.shutdown()
    assert pool.active_count == 0
    assert work.begun == ["ENH-1", "FEAT-7"]


def test_pool_cannot_cancel_a_refused_submission(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """There is nothing to cancel of what was refused."""
    pool = start_pool(work, executor=RefusingExecutor(OSError("out of memory")))
    with pytest.raises(OSError, match="out of memory"):
        pool.submit(Issue("BUG-229"))
    assert pool.cancel("BUG-229") is False


@pytest.mark.parametrize("is_finished", [False, True], ids=["running", "finished"])
def test_pool_accepts_what_a_worker_took_before_the_executor_refused(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    executor: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_finished: bool,
) -> None:
    """A body that a living worker has begun by then is accepted: no exception, one completion, a note."""
    heard: list[WorkerResult] = []
    is_heard, may_end = threading.Event(), threading.Event()

    def process(issue: Issue) -> WorkerResult:
        result = work(issue)
        if issue.issue_id == "BUG-229":
            assert may_end.wait(TIMEOUT)
        return result

    def hear(result: WorkerResult) -> None:
        heard.append(result)
        is_heard.set()

    def let_the_living_worker_take_it() -> None:
        work.gate.set()
        work.wait_for("BUG-229")
        if is_finished:
            may_end.set()
            assert is_heard.wait(TIMEOUT)

    pool = start_pool(process, executor=executor)
    pool.submit(Issue("ENH-1"))
    work.wait_for("ENH-1")
    fail_next_thread_start(
        monkeypatch, RuntimeError("can't start new thread"), let_the_living_worker_take_it
    )
    future = pool.submit(Issue("BUG-229"), hear)
    assert future.done() is is_finished
    assert pool.cancel("BUG-229") is False
    may_end.set()
    assert future.result(TIMEOUT).success
    assert pool.drain(TIMEOUT)
    assert heard == [future.result(0)]
    assert work.begun == ["ENH-1", "BUG-229"]
    assert caplog.messages == ["BUG-229 was accepted although the executor refused it"]


def test_pool_passes_an_interrupt_on_and_still_delivers_what_a_worker_took(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    executor: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Ctrl-C in `submit` is not swallowed; if the body has begun by then, its completion comes."""
    heard: list[WorkerResult] = []

    def let_the_living_worker_take_it() -> None:
        work.gate.set()
        work.wait_for("BUG-229")

    pool = start_pool(work, executor=executor)
    pool.submit(Issue("ENH-1"))
    work.wait_for("ENH-1")
    fail_next_thread_start(monkeypatch, KeyboardInterrupt(), let_the_living_worker_take_it)
    with pytest.raises(KeyboardInterrupt):
        pool.submit(Issue("BUG-229"), heard.append)
    assert pool.drain(TIMEOUT)
    assert [result.success for result in heard] == [True]
