"""Cancelling: an accepted cancel means that the body never starts, and that everybody hears of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
INTERRUPTED = WorkerResult("BUG-229", False, "", Path(), error="CancelledError()", interrupted=True)
EVERY_WAITER = {"as_completed", "result", "wait"}


class GatedWork:
    """A process function that succeeds once its gate is open and notes whose body began, and where."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.is_running = threading.Event()
        self.begun: list[str] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        self.begun.append(issue.issue_id)
        self.threads.append(threading.current_thread())
        self.is_running.set()
        assert self.gate.wait(TIMEOUT)
        return WorkerResult(issue.issue_id, True, "", Path())


@pytest.fixture
def work(start_pool: Callable[..., WorkerPool]) -> Iterator[GatedWork]:
    """Give a gated process function whose gate opens at the latest when the test ends."""
    gated = GatedWork()
    yield gated
    gated.gate.set()


@pytest.fixture
def busy_pool(start_pool: Callable[..., WorkerPool], work: GatedWork) -> WorkerPool:
    """Give a pool whose one worker is inside the body of ENH-1, so that all others wait."""
    pool = start_pool(work, max_workers=1)
    pool.submit(Issue("ENH-1"))
    assert work.is_running.wait(TIMEOUT)
    return pool


def test_pool_cancel_of_a_waiting_issue_prevents_its_body(busy_pool: WorkerPool, work: GatedWork) -> None:
    """A cancelled submission never starts, while the one behind it does."""
    busy_pool.submit(Issue("BUG-229"))
    busy_pool.submit(Issue("FEAT-7"))
    assert busy_pool.cancel("BUG-229") is True
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert work.begun == ["ENH-1", "FEAT-7"]


def test_pool_cancel_delivers_one_interrupted_completion(busy_pool: WorkerPool, work: GatedWork) -> None:
    """The completion of a cancelled submission has come when `cancel` returns, and comes once."""
    heard: list[WorkerResult] = []
    busy_pool.submit(Issue("BUG-229"), heard.append)
    busy_pool.cancel("BUG-229")
    assert heard == [INTERRUPTED]
    assert busy_pool.active_count == 1
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert heard == [INTERRUPTED]


def test_pool_cancel_runs_the_completion_in_the_cancelling_thread(busy_pool: WorkerPool) -> None:
    """A cancellation needs no free worker to be heard of."""
    threads: list[threading.Thread] = []
    busy_pool.submit(Issue("BUG-229"), lambda result: threads.append(threading.current_thread()))
    busy_pool.cancel("BUG-229")
    assert threads == [threading.current_thread()]


def test_pool_cancel_makes_the_future_cancelled(busy_pool: WorkerPool) -> None:
    """The future of a cancelled submission is done, cancelled and raises `CancelledError`."""
    future = busy_pool.submit(Issue("BUG-229"))
    assert not future.done()
    busy_pool.cancel("BUG-229")
    assert future.done()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(0)


def test_pool_cancel_releases_waiters_that_are_blocked(
    busy_pool: WorkerPool, block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]]
) -> None:
    """Who waited for the future before it was cancelled is released, however it waited."""
    future = busy_pool.submit(Issue("BUG-229"))
    released = block_waiters(future)
    busy_pool.cancel("BUG-229")
    assert released() == EVERY_WAITER


def test_pool_cancel_releases_waiters_before_the_completion_runs(
    busy_pool: WorkerPool, block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]]
) -> None:
    """A completion that takes long, or waits for a waiter, holds nobody up."""
    seen: list[set[str]] = []
    released: list[Callable[[], set[str]]] = []
    future = busy_pool.submit(Issue("BUG-229"), lambda result: seen.append(released[0]()))
    released.append(block_waiters(future))
    busy_pool.cancel("BUG-229")
    assert seen == [EVERY_WAITER]


def test_pool_hears_of_a_cancel_through_the_future(
    busy_pool: WorkerPool,
    work: GatedWork,
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """`future.cancel()` is the pool's own cancel: completion, waiters and body agree."""
    heard: list[WorkerResult] = []
    future = busy_pool.submit(Issue("BUG-229"), heard.append)
    released = block_waiters(future)
    assert future.cancel() is True
    assert heard == [INTERRUPTED]
    assert released() == EVERY_WAITER
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert work.begun == ["ENH-1"]


def test_pool_cancel_of_a_running_issue_is_refused(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """What runs already runs on and ends as if nobody had asked."""
    pool = start_pool(work)
    heard: list[WorkerResult] = []
    future = pool.submit(Issue("BUG-229"), heard.append)
    assert work.is_running.wait(TIMEOUT)
    assert pool.cancel("BUG-229") is False
    assert future.cancel() is False
    assert not future.done()
    work.gate.set()
    assert future.result(TIMEOUT).success
    assert pool.drain(TIMEOUT)
    assert [result.success for result in heard] == [True]


def test_pool_cancel_of_a_finished_issue_is_refused(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """A submission that has ended cannot be cancelled, and keeps its result."""
    work.gate.set()
    pool = start_pool(work)
    future = pool.submit(Issue("BUG-229"))
    assert pool.drain(TIMEOUT)
    assert pool.cancel("BUG-229") is False
    assert future.cancel() is False
    assert future.result(0).success


def test_pool_cancel_of_an_unknown_issue_is_refused(busy_pool: WorkerPool) -> None:
    """An id that nobody submitted is no reason to cancel those of others."""
    waiting = busy_pool.submit(Issue("BUG-229"))
    assert busy_pool.cancel("BUG-22") is False
    assert not waiting.done()


def test_pool_cancel_takes_every_waiting_submission_of_the_id(
    busy_pool: WorkerPool, work: GatedWork
) -> None:
    """Each waiting submission of the id is cancelled and heard of; other ids are left alone."""
    heard: list[tuple[str, bool]] = []
    busy_pool.submit(Issue("BUG-229"), lambda result: heard.append(("first", result.interrupted)))
    busy_pool.submit(Issue("FEAT-7"), lambda result: heard.append(("other", result.interrupted)))
    busy_pool.submit(Issue("BUG-229"), lambda result: heard.append(("second", result.interrupted)))
    assert busy_pool.cancel("BUG-229") is True
    assert heard == [("first", True), ("second", True)]
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert heard[2:] == [("other", False)]
    assert work.begun == ["ENH-1", "FEAT-7"]


def test_pool_cancel_leaves_the_running_submission_of_the_same_id(
    busy_pool: WorkerPool, work: GatedWork
) -> None:
    """Of two submissions of one id the waiting one is cancelled while the running one succeeds."""
    heard: list[WorkerResult] = []
    second = busy_pool.submit(Issue("ENH-1"), heard.append)
    assert busy_pool.cancel("ENH-1") is True
    assert second.cancelled()
    assert [result.interrupted for result in heard] == [True]
    assert list(busy_pool._pending_callbacks.values()) == ["ENH-1"]
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert work.begun == ["ENH-1"]


def test_pool_cancel_twice_delivers_once(busy_pool: WorkerPool) -> None:
    """Cancelling a cancelled submission changes nothing: the future says so again, the pool knows none."""
    heard: list[WorkerResult] = []
    future = busy_pool.submit(Issue("BUG-229"), heard.append)
    assert busy_pool.cancel("BUG-229") is True
    assert busy_pool.cancel("BUG-229") is False
    assert future.cancel() is True
    assert heard == [INTERRUPTED]


def test_pool_cancel_from_within_the_body_is_refused(start_pool: Callable[..., WorkerPool]) -> None:
    """A body that cancels its own issue hears that it runs already."""
    answers: list[bool] = []
    pools: list[WorkerPool] = []

    def process(issue: Issue) -> WorkerResult:
        answers.append(pools[0].cancel(issue.issue_id))
        return WorkerResult(issue.issue_id, True, "", Path())

    pools.append(start_pool(process))
    assert pools[0].submit(Issue("BUG-229")).result(TIMEOUT).success
    assert answers == [False]


def test_pool_cancel_survives_a_completion_that_raises(busy_pool: WorkerPool, work: GatedWork) -> None:
    """The completion of the first raises, and the second of the same id is cancelled all the same."""
    heard: list[WorkerResult] = []
    error = KeyboardInterrupt()

    def callback(result: WorkerResult) -> None:
        raise error

    busy_pool.submit(Issue("BUG-229"), callback)
    busy_pool.submit(Issue("BUG-229"), heard.append)
    assert busy_pool.cancel("BUG-229") is True
    assert heard == [INTERRUPTED]
    assert busy_pool.callback_errors == (("BUG-229", error),)


def test_pool_cancel_racing_with_the_workers_has_one_winner_each(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """Of 200 issues cancelled while workers take them each ran or was interrupted, and is heard once."""
    begun: list[str] = []
    heard: list[tuple[str, bool]] = []
    start_line = threading.Barrier(2)

    def process(issue: Issue) -> WorkerResult:
        begun.append(issue.issue_id)
        return WorkerResult(issue.issue_id, True, "", Path())

    pool = start_pool(process, max_workers=2)
    issue_ids = [f"BUG-{number}" for number in range(200)]

    def cancel_each() -> None:
        start_line.wait(TIMEOUT)
        for issue_id in issue_ids:
            pool.cancel(issue_id)

    canceller = threading.Thread(target=cancel_each)
    canceller.start()
    start_line.wait(TIMEOUT)
    for issue_id in issue_ids:
        pool.submit(Issue(issue_id), lambda result: heard.append((result.issue_id, result.interrupted)))
    canceller.join(TIMEOUT)
    assert pool.drain(TIMEOUT)
    assert sorted(issue_id for issue_id, _ in heard) == sorted(issue_ids)
    assert sorted(issue_id for issue_id, was_interrupted in heard if not was_interrupted) == sorted(begun)


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(1)], ids=["exception", "system-exit"])
def test_pool_cancel_survives_a_done_callback_that_raises(
    busy_pool: WorkerPool, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """What a caller hung on the future and raises is logged; the caller of `cancel` hears nothing of it."""
    heard: list[WorkerResult] = []

    def callback(future: Future[WorkerResult]) -> None:
        raise error

    future = busy_pool.submit(Issue("BUG-229"), heard.append)
    future.add_done_callback(callback)
    assert busy_pool.cancel("BUG-229") is True
    assert heard == [INTERRUPTED]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].name == "pytest_littleloops.reference.submission"
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_pool_survives_a_done_callback_that_raises_system_exit(
    busy_pool: WorkerPool, work: GatedWork
) -> None:
    """A `SystemExit` out of a done-callback ends no worker: the next issue runs on the same thread."""
    asked: list[str] = []

    def callback(future: Future[WorkerResult]) -> None:
        asked.append(future.result(0).issue_id)
        raise SystemExit

    busy_pool.submit(Issue("BUG-229")).add_done_callback(callback)
    later = busy_pool.submit(Issue("FEAT-7"))
    work.gate.set()
    assert later.result(TIMEOUT).success
    assert asked == ["BUG-229"]
    assert work.begun == ["ENH-1", "BUG-229", "FEAT-7"]
    assert len(set(work.threads)) == 1


def test_pool_survives_a_done_callback_that_raises_into_a_broken_log(
    busy_pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a done-callback and the logger told of it both raise, the other done-callbacks are called."""
    asked: list[str] = []

    def callback(future: Future[WorkerResult]) -> None:
        raise ValueError("mine")

    def fail(record: logging.LogRecord) -> bool:
        asked.append("logger")
        raise SystemExit

    logger = logging.getLogger("pytest_littleloops.reference.submission")
    monkeypatch.setattr(logger, "filters", [fail])
    future = busy_pool.submit(Issue("BUG-229"))
    future.add_done_callback(callback)
    future.add_done_callback(lambda future: asked.append("second"))
    assert busy_pool.cancel("BUG-229") is True
    assert asked == ["logger", "second"]
