"""Completions that raise or call back into the pool: told of, never retried, and nobody else's loss."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0


class Gate:
    """A process function that succeeds once it is open."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        assert self.opened.wait(TIMEOUT)
        return WorkerResult(issue.issue_id, True, "", Path())


class SilentError(Exception):
    """An error whose text is empty."""

    def __str__(self) -> str:
        return ""


class RaisingHandler(logging.Handler):
    """A handler of log records that fails on each of them."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Raise, whatever the record says."""
        self.messages.append(record.getMessage())
        raise self.error


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Give a process function that succeeds once it is open, at the latest when the test ends."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such issue"), "no such issue"),
        (SilentError(), "SilentError()"),
        (SystemExit(2), "2"),
        (KeyboardInterrupt(), "KeyboardInterrupt()"),
        (pytest.fail.Exception("told to"), "told to"),
    ],
    ids=lambda argument: argument if isinstance(argument, str) else type(argument).__name__,
)
def test_pool_keeps_and_logs_what_a_completion_raises(
    start_pool: Callable[..., WorkerPool],
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    text: str,
) -> None:
    """It is called once, its error is logged with the issue's id and kept, and the others are called."""
    heard: list[str] = []

    def callback(result: WorkerResult) -> None:
        heard.append(result.issue_id)
        raise error

    pool = start_pool(gate, max_workers=1)
    pool.submit(Issue("FEAT-1"), lambda result: heard.append(result.issue_id))
    future = pool.submit(Issue("BUG-229"), callback)
    pool.submit(Issue("FEAT-7"), lambda result: heard.append(result.issue_id))
    gate.opened.set()
    assert pool.drain(TIMEOUT)
    assert heard == ["FEAT-1", "BUG-229", "FEAT-7"]
    assert future.result(0).success
    assert pool.callback_errors == (("BUG-229", error),)
    assert pool.callback_errors[0].issue_id == "BUG-229"
    assert pool.callback_errors[0].error is error
    assert caplog.messages == [f"completion of BUG-229 raised: {text}"]
    assert caplog.records[0].levelno == logging.ERROR
    assert caplog.records[0].name == "pytest_littleloops.reference.pool"
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


def test_pool_keeps_the_errors_of_several_completions_in_order(
    start_pool: Callable[..., WorkerPool], gate: Gate
) -> None:
    """As many errors are kept as were raised, one of them twice for the same issue."""

    def callback(result: WorkerResult) -> None:
        raise ValueError(result.branch_name)

    gate.opened.set()
    pool = start_pool(gate, max_workers=1)
    for issue_id in ("BUG-1", "BUG-2", "BUG-1"):
        pool.submit(Issue(issue_id), callback)
    assert pool.drain(TIMEOUT)
    assert [issue_id for issue_id, _ in pool.callback_errors] == ["BUG-1", "BUG-2", "BUG-1"]


def test_pool_gives_its_errors_away_as_a_copy(start_pool: Callable[..., WorkerPool], gate: Gate) -> None:
    """What was read once does not change when a later completion raises."""

    def callback(result: WorkerResult) -> None:
        raise ValueError("no such issue")

    pool = start_pool(gate)
    before = pool.callback_errors
    pool.submit(Issue("BUG-229"), callback)
    gate.opened.set()
    assert pool.drain(TIMEOUT)
    assert before == ()
    assert len(pool.callback_errors) == 1


def test_pool_keeps_a_completion_error_of_a_failed_issue(start_pool: Callable[..., WorkerPool]) -> None:
    """Worker and completion both raise: the completion was called once, with the worker's failure."""
    heard: list[str | None] = []
    error = OSError("disk full")

    def process(issue: Issue) -> WorkerResult:
        raise SystemExit("worker gave up")

    def callback(result: WorkerResult) -> None:
        heard.append(result.error)
        raise error

    pool = start_pool(process)
    pool.submit(Issue("BUG-229"), callback)
    assert pool.drain(TIMEOUT)
    assert heard == ["worker gave up"]
    assert pool.callback_errors == (("BUG-229", error),)


def test_pool_logs_to_the_logger_it_was_given(
    start_pool: Callable[..., WorkerPool], gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """With a logger of one's own nothing goes to the default one."""

    def callback(result: WorkerResult) -> None:
        raise ValueError("no such issue")

    gate.opened.set()
    pool = start_pool(gate, logger=logging.getLogger("orchestrator"))
    pool.submit(Issue("BUG-229"), callback)
    assert pool.drain(TIMEOUT)
    assert [record.name for record in caplog.records] == ["orchestrator"]


@pytest.mark.parametrize(
    "log_error", [OSError("log is full"), SystemExit(1)], ids=["exception", "system-exit"]
)
def test_pool_loses_nothing_to_a_logger_that_raises(
    start_pool: Callable[..., WorkerPool], gate: Gate, log_error: BaseException
) -> None:
    """If the report of a raising completion raises as well, the error is kept and the others are called."""
    logger = logging.Logger("raises")
    handler = RaisingHandler(log_error)
    logger.addHandler(handler)
    error = ValueError("no such issue")
    heard: list[str] = []

    def callback(result: WorkerResult) -> None:
        raise error

    pool = start_pool(gate, max_workers=1, logger=logger)
    future = pool.submit(Issue("BUG-229"), callback)
    future.add_done_callback(lambda future: heard.append("done-callback"))
    pool.submit(Issue("FEAT-7"), lambda result: heard.append(result.issue_id))
    gate.opened.set()
    assert pool.drain(TIMEOUT)
    assert heard == ["done-callback", "FEAT-7"]
    assert handler.messages == ["completion of BUG-229 raised: no such issue"]
    assert pool.callback_errors == (("BUG-229", error),)


def test_pool_ignores_what_a_completion_returns(start_pool: Callable[..., WorkerPool], gate: Gate) -> None:
    """A completion may return anything."""
    heard: list[WorkerResult] = []
    gate.opened.set()
    pool = start_pool(gate)

    def callback(result: WorkerResult) -> bool:
        heard.append(result)
        return False

    pool.submit(Issue("BUG-229"), callback)
    assert pool.drain(TIMEOUT)
    assert len(heard) == 1
    assert pool.callback_errors == ()


def test_pool_may_be_given_work_from_a_completion(
    start_pool: Callable[..., WorkerPool], gate: Gate
) -> None:
    """A completion that submits the same issue again gets it worked on again, on the same one worker."""
    heard: list[tuple[str, str]] = []
    gate.opened.set()
    pool = start_pool(gate, max_workers=1)

    def again(result: WorkerResult) -> None:
        heard.append(("first", result.issue_id))
        pool.submit(Issue(result.issue_id), lambda result: heard.append(("again", result.issue_id)))

    pool.submit(Issue("BUG-229"), again)
    assert pool.drain(TIMEOUT)
    assert heard == [("first", "BUG-229"), ("again", "BUG-229")]


def test_pool_may_be_asked_to_cancel_from_a_completion(
    start_pool: Callable[..., WorkerPool], gate: Gate
) -> None:
    """A completion may cancel another issue: that one's completion runs inside the first."""
    heard: list[str] = []
    pool = start_pool(gate, max_workers=1)

    def callback(result: WorkerResult) -> None:
        heard.append("completion begins")
        heard.append(f"cancel says {pool.cancel('FEAT-7')}")

    pool.submit(Issue("BUG-229"), callback)
    pool.submit(Issue("FEAT-7"), lambda result: heard.append(f"interrupted {result.interrupted}"))
    gate.opened.set()
    assert pool.drain(TIMEOUT)
    assert heard == ["completion begins", "interrupted True", "cancel says True"]
    assert pool.callback_errors == ()


def test_pool_goes_on_while_a_completion_is_slow(start_pool: Callable[..., WorkerPool], gate: Gate) -> None:
    """A completion that waits holds its own worker only; it holds no lock that others need."""
    is_called, may_return = threading.Event(), threading.Event()
    heard: list[str] = []

    def slow(result: WorkerResult) -> None:
        is_called.set()
        assert may_return.wait(TIMEOUT)
        heard.append(result.issue_id)

    gate.opened.set()
    pool = start_pool(gate, max_workers=2)
    pool.submit(Issue("BUG-229"), slow)
    assert is_called.wait(TIMEOUT)
    assert pool.submit(Issue("FEAT-7")).result(TIMEOUT).success
    assert pool.cancel("BUG-229") is False
    may_return.set()
    assert pool.drain(TIMEOUT)
    assert heard == ["BUG-229"]
    assert pool.callback_errors == ()
