"""Any `Executor` may carry the work: inline, silent about what runs, broken, stopped, or far away."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, InvalidStateError, ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
EVERY_WAITER = {"as_completed", "result", "wait"}
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def completed(issue_id: str) -> WorkerResult:
    """Give the result of a success."""
    return WorkerResult(issue_id, True, "", Path())


def interrupted(issue_id: str) -> WorkerResult:
    """Give the result of a cancelled submission."""
    return WorkerResult(issue_id, False, "", Path(), error="CancelledError()", interrupted=True)


def work_from_afar(issue: Issue) -> WorkerResult:
    """Do what the issue's title says; at the module's level, so that it can be pickled."""
    if issue.title == "exit":
        raise SystemExit("gave up")
    if issue.title == "junk":
        return None  # type: ignore[return-value]
    return completed(issue.issue_id)


class InlineExecutor(Executor):
    """Runs what it is given within `submit`."""

    def submit(
        self, fn: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Returned]:
        """Run it and give a future that is done."""
        future: Future[Returned] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class SilentExecutor(Executor):
    """Runs what the test says when it says so; its futures never learn that something runs."""

    def __init__(self) -> None:
        self.futures: list[Future[object]] = []
        self.calls: list[Callable[[], None]] = []

    def submit(
        self, fn: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Returned]:
        """Keep it for later."""
        future: Future[Returned] = Future()

        def call() -> None:
            result = fn(*args, **kwargs)
            if not future.cancelled():
                future.set_result(result)

        self.futures.append(future)  # type: ignore[arg-type]
        self.calls.append(call)
        return future

    def run(self, index: int) -> None:
        """Run what was submitted as the `index`-th, also if it was cancelled."""
        self.calls[index]()


class FarExecutor(Executor):
    """Carries the work away as bytes, as an executor of other processes does; the test ends it by hand."""

    def __init__(self) -> None:
        self.futures: list[Future[object]] = []
        self.parcels: list[bytes] = []

    def submit(
        self, fn: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Returned]:
        """Pack it up."""
        future: Future[Returned] = Future()
        self.futures.append(future)  # type: ignore[arg-type]
        self.parcels.append(pickle.dumps(fn))
        return future

    def run(self, index: int) -> None:
        """Unpack and run what was submitted as the `index`-th, and bring its result back."""
        self.futures[index].set_running_or_notify_cancel()
        self.futures[index].set_result(pickle.loads(pickle.dumps(pickle.loads(self.parcels[index])())))


class GatedWork:
    """A process function that succeeds once its gate is open and notes whose body began."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.is_running = threading.Event()
        self.begun: list[str] = []

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        self.begun.append(issue.issue_id)
        self.is_running.set()
        assert self.gate.wait(TIMEOUT)
        return completed(issue.issue_id)


@pytest.fixture
def work() -> Iterator[GatedWork]:
    """Give a gated process function whose gate opens at the latest when the test ends."""
    gated = GatedWork()
    yield gated
    gated.gate.set()


def test_pool_with_an_inline_executor_delivers_within_submit(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """An executor that runs the work in `submit` is fine: all has happened when `submit` returns."""
    heard: list[WorkerResult] = []
    counts: list[int] = []

    def process(issue: Issue) -> WorkerResult:
        counts.append(pool.active_count)
        return completed(issue.issue_id)

    pool = start_pool(process, executor=InlineExecutor())
    future = pool.submit(Issue("BUG-229"), heard.append)
    assert heard == [completed("BUG-229")]
    assert future.result(0) is heard[0]
    assert counts == [1]
    assert pool.active_count == 0


def test_pool_with_an_inline_executor_survives_system_exit(start_pool: Callable[..., WorkerPool]) -> None:
    """The submitting thread is the worker here: a `SystemExit` of the work does not reach it."""
    heard: list[WorkerResult] = []
    pool = start_pool(work_from_afar, executor=InlineExecutor())
    pool.submit(Issue("BUG-229", title="exit"), heard.append)
    assert heard == [WorkerResult("BUG-229", False, "", Path(), error="gave up")]


def test_pool_with_an_inline_executor_knows_that_it_is_inside_its_work(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """After a nested submission has ended, the outer body is still inside, and its caller is outside."""
    answers: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        if issue.issue_id == "BUG-1":
            pool.submit(Issue("BUG-2"))
            with pytest.raises(RuntimeError, match="would wait for itself"):
                pool.drain(TIMEOUT)
            answers.append("inside")
        return completed(issue.issue_id)

    pool = start_pool(process, executor=InlineExecutor())
    assert pool.submit(Issue("BUG-1")).result(0) == completed("BUG-1")
    assert pool.drain(0) is True
    assert answers == ["inside"]


def test_pool_with_a_silent_executor_refuses_to_cancel_what_runs(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """The executor says yes to a cancel although the body runs: the pool says no, the result counts."""
    answers: list[bool] = []
    heard: list[WorkerResult] = []

    def process(issue: Issue) -> WorkerResult:
        answers.append(pool.cancel(issue.issue_id))
        return completed(issue.issue_id)

    executor = SilentExecutor()
    pool = start_pool(process, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    executor.run(0)
    assert executor.futures[0].cancelled()
    assert answers == [False]
    assert future.result(0) == completed("BUG-229")
    assert heard == [completed("BUG-229")]


def test_pool_with_a_silent_executor_never_starts_what_it_cancelled(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """An executor that runs a cancelled call all the same does not get into its body."""
    heard: list[WorkerResult] = []
    executor = SilentExecutor()
    pool = start_pool(work, executor=executor)
    pool.submit(Issue("BUG-229"), heard.append)
    assert pool.cancel("BUG-229") is True
    executor.run(0)
    assert heard == [interrupted("BUG-229")]
    assert work.begun == []


def test_pool_with_an_executor_that_runs_a_call_twice_runs_its_body_once(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """A second run of the same call is no second body and no second completion."""
    heard: list[WorkerResult] = []
    work.gate.set()
    executor = SilentExecutor()
    pool = start_pool(work, executor=executor)
    pool.submit(Issue("BUG-229"), heard.append)
    executor.run(0)
    with suppress(InvalidStateError):  # The executor's own future has its result already.
        executor.run(0)
    assert heard == [completed("BUG-229")]
    assert work.begun == ["BUG-229"]


def test_pool_hears_of_a_cancel_by_the_owner_of_the_executor(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """Whoever cancels the executor's own future interrupts the submission, and its waiters wake."""
    heard: list[WorkerResult] = []
    executor = SilentExecutor()
    pool = start_pool(work, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    released = block_waiters(future)
    assert executor.futures[0].cancel()
    assert heard == [interrupted("BUG-229")]
    assert future.cancelled()
    assert released() == EVERY_WAITER
    assert pool.active_count == 0


def test_pool_hears_of_futures_that_a_stopped_executor_drops(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """`shutdown(cancel_futures=True)` by the executor's owner interrupts what waited; waiters wake."""
    heard: list[WorkerResult] = []
    with ThreadPoolExecutor(1) as executor:
        pool = start_pool(work, executor=executor)
        pool.submit(Issue("ENH-1"), heard.append)
        assert work.is_running.wait(TIMEOUT)
        waiting = pool.submit(Issue("BUG-2"), heard.append)
        pool.submit(Issue("BUG-3"), heard.append)
        released = block_waiters(waiting)
        executor.shutdown(wait=False, cancel_futures=True)
        assert waiting.done()
        assert released() == EVERY_WAITER
        # The executor drops them in the order of its queue.
        assert heard == [interrupted("BUG-2"), interrupted("BUG-3")]
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.submit(Issue("BUG-4"), heard.append)
        work.gate.set()
        assert pool.drain(TIMEOUT)
    assert heard[2:] == [completed("ENH-1")]
    assert work.begun == ["ENH-1"]


def test_pool_fails_what_a_broken_initializer_leaves(
    start_pool: Callable[..., WorkerPool], work: GatedWork, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread's initializer raises: what was accepted ends failed, what comes later is refused."""

    def initialize() -> None:
        raise OSError("no disk")

    heard: list[WorkerResult] = []
    with ThreadPoolExecutor(1, initializer=initialize) as executor:
        pool = start_pool(work, executor=executor)
        future = pool.submit(Issue("BUG-229"), heard.append)
        result = future.result(TIMEOUT)
        assert pool.drain(TIMEOUT)
        with pytest.raises(BrokenThreadPool):
            pool.submit(Issue("FEAT-7"), heard.append)
    assert not result.success
    assert not result.interrupted
    assert result.error
    assert "initializer failed" in result.error
    assert heard == [result]
    assert pool.active_count == 0
    assert work.begun == []
    assert f"executor failed on BUG-229: {result.error}" in caplog.messages


@pytest.mark.parametrize("error", [OSError("cable cut"), SystemExit(1), KeyError()], ids=repr)
def test_pool_fails_what_its_executor_fails(
    start_pool: Callable[..., WorkerPool], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    """An exception of the executor itself is a failed result with a text, and is logged."""
    heard: list[WorkerResult] = []
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    executor.futures[0].set_exception(error)
    text = str(error) or repr(error)
    assert heard == [WorkerResult("BUG-229", False, "", Path(), error=text)]
    assert future.result(0) is heard[0]
    assert caplog.messages == [f"executor failed on BUG-229: {text}"]


def test_pool_brings_a_result_back_from_afar(start_pool: Callable[..., WorkerPool]) -> None:
    """Work that travels as bytes leaves future and pool at home; its result ends the submission here."""
    heard: list[WorkerResult] = []
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    assert pool.active_count == 1
    executor.run(0)
    assert heard == [completed("BUG-229")]
    assert future.result(0) is heard[0]
    assert pool.active_count == 0


@pytest.mark.parametrize(
    ("title", "text"),
    [("exit", "gave up"), ("junk", "the process function returned NoneType, not a WorkerResult")],
)
def test_pool_brings_a_failure_back_from_afar(
    start_pool: Callable[..., WorkerPool], title: str, text: str
) -> None:
    """What goes wrong in the body becomes a failed result there, before it travels."""
    heard: list[WorkerResult] = []
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)
    pool.submit(Issue("BUG-229", title=title), heard.append)
    executor.run(0)
    assert heard == [WorkerResult("BUG-229", False, "", Path(), error=text)]


@pytest.mark.parametrize("junk", [None, completed("BUG-230")], ids=["none", "other-issue"])
def test_pool_fails_an_issue_whose_executor_returns_junk(
    start_pool: Callable[..., WorkerPool], junk: object
) -> None:
    """An executor that ends with something else than the body's result has lost it: the issue failed."""
    heard: list[WorkerResult] = []
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    executor.futures[0].set_result(junk)
    assert future.result(0) is heard[0]
    assert [(result.issue_id, result.success) for result in heard] == [("BUG-229", False)]
    assert heard[0].error
    assert heard[0].error.startswith("the process function returned ")


def test_pool_keeps_a_result_when_its_executor_fails_afterwards(
    start_pool: Callable[..., WorkerPool], work: GatedWork, caplog: pytest.LogCaptureFixture
) -> None:
    """What the executor's own future says after the body has ended changes nothing and is no news."""
    heard: list[WorkerResult] = []
    work.gate.set()
    executor = SilentExecutor()
    pool = start_pool(work, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    future.add_done_callback(lambda future: executor.futures[0].set_exception(OSError("cable cut")))
    with suppress(InvalidStateError):  # The executor's own future has its outcome by then.
        executor.run(0)
    assert heard == [completed("BUG-229")]
    assert future.result(0) is heard[0]
    assert caplog.messages == []


def test_pool_cancels_work_afar_that_has_not_begun(
    start_pool: Callable[..., WorkerPool],
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """A cancel that the far executor agrees to ends the submission and releases its waiters."""
    heard: list[WorkerResult] = []
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)
    future = pool.submit(Issue("BUG-229"), heard.append)
    released = block_waiters(future)
    assert pool.cancel("BUG-229") is True
    assert heard == [interrupted("BUG-229")]
    assert released() == EVERY_WAITER


def test_pool_cannot_cancel_work_afar_that_runs(start_pool: Callable[..., WorkerPool]) -> None:
    """The executor's word counts: what it calls running is not cancelled here."""
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)
    future = pool.submit(Issue("BUG-229"))
    executor.futures[0].set_running_or_notify_cancel()
    assert pool.cancel("BUG-229") is False
    assert not future.done()
    executor.futures[0].set_result(completed("BUG-229"))
    assert future.result(0) == completed("BUG-229")


def test_pool_cannot_be_waited_for_in_the_thread_that_brings_results_back(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """A done-callback there that drains or stops the pool would wait for results only it can bring."""
    answers: list[str] = []
    executor = FarExecutor()
    pool = start_pool(work_from_afar, executor=executor)

    def callback(future: Future[WorkerResult]) -> None:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            pool.drain(0)
        pool.shutdown(wait=True)
        answers.append("shutdown returned")

    first = pool.submit(Issue("BUG-1"))
    first.add_done_callback(callback)
    second = pool.submit(Issue("BUG-2"))
    bringer = threading.Thread(target=executor.run, args=(0,), daemon=True)
    bringer.start()
    bringer.join(TIMEOUT)
    assert answers == ["shutdown returned"]
    executor.run(1)
    assert second.result(0) == completed("BUG-2")


def test_pool_on_a_foreign_executor_owes_its_completions_when_nobody_holds_it(work: GatedWork) -> None:
    """Dropping the last reference to the pool, and then stopping the executor, loses nothing."""
    heard: list[WorkerResult] = []
    with ThreadPoolExecutor(1) as executor:
        pool = WorkerPool(work, executor=executor)
        pool.start()
        for issue_id in ("ENH-1", "BUG-2"):
            pool.submit(Issue(issue_id), heard.append)
        assert work.is_running.wait(TIMEOUT)
        del pool
        gc.collect()
        work.gate.set()
    assert heard == [completed("ENH-1"), completed("BUG-2")]


def test_pool_never_counts_beyond_the_truth_when_two_pools_share_an_executor(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """Each pool counts, cancels and stops its own submissions only."""
    with ThreadPoolExecutor(1) as executor:
        pool, other = start_pool(work, executor=executor), start_pool(work, executor=executor)
        pool.submit(Issue("ENH-1"))
        assert work.is_running.wait(TIMEOUT)
        mine, theirs = pool.submit(Issue("BUG-229")), other.submit(Issue("BUG-229"))
        assert (pool.active_count, other.active_count) == (2, 1)
        assert pool.cancel("BUG-229") is True
        pool.shutdown(wait=False, cancel_pending=True)
        work.gate.set()
        assert theirs.result(TIMEOUT) == completed("BUG-229")
        assert mine.cancelled()
