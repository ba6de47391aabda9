"""`WorkerPool._handle_completion`, called by hand with a future in every state: the seed of the project."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool


def succeed(issue: Issue) -> WorkerResult:
    """Work on nothing and succeed."""
    return completed(issue.issue_id)


def completed(issue_id: str) -> WorkerResult:
    """Give the result of a success."""
    return WorkerResult(issue_id, True, f"fix/{issue_id}", Path("worktree"))


def resolved(outcome: WorkerResult | BaseException) -> Future[WorkerResult]:
    """Give a future that is done: with a result, or with an exception."""
    future: Future[WorkerResult] = Future()
    if isinstance(outcome, WorkerResult):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
    return future


class RaisingHandler(logging.Handler):
    """A handler of log records that fails on each of them."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Raise, whatever the record says."""
        self.count += 1
        raise self.error


@pytest.fixture
def pool() -> WorkerPool:
    """Give a pool that was never started: nothing here needs a worker."""
    return WorkerPool(succeed)


def test_handle_completion_invokes_callback_on_future_exception(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A future that raises still ends in one completion: failed, with the error's text."""
    future = resolved(RuntimeError("worker crashed"))
    pool._pending_callbacks[future] = "BUG-229"
    heard: list[WorkerResult] = []

    pool._handle_completion(future, heard.append, "BUG-229")

    assert heard == [WorkerResult("BUG-229", False, "", Path(), error="worker crashed")]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].getMessage() == "worker of BUG-229 failed: worker crashed"
    assert not pool._pending_callbacks


def test_handle_completion_logs_callback_exception(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A completion that raises is logged with its issue, kept, and called no second time."""
    future = resolved(completed("BUG-229"))
    pool._pending_callbacks[future] = "BUG-229"
    heard: list[WorkerResult] = []
    error = ValueError("no such issue")

    def callback(result: WorkerResult) -> None:
        heard.append(result)
        raise error

    pool._handle_completion(future, callback, "BUG-229")

    assert heard == [completed("BUG-229")]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].getMessage() == "completion of BUG-229 raised: no such issue"
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error
    assert pool.callback_errors == (("BUG-229", error),)
    assert not pool._pending_callbacks


def test_handle_completion_invokes_callback_on_cancelled_future(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancelled future ends in one completion: interrupted, with a text though the error has none."""
    future: Future[WorkerResult] = Future()
    assert future.cancel()
    pool._pending_callbacks[future] = "BUG-229"
    heard: list[WorkerResult] = []

    pool._handle_completion(future, heard.append, "BUG-229")

    expected = WorkerResult("BUG-229", False, "", Path(), error="CancelledError()", interrupted=True)
    assert heard == [expected]
    assert not caplog.records, "a cancellation was asked for: it is no error"
    assert not pool._pending_callbacks


def test_handle_completion_passes_a_result_on(pool: WorkerPool, caplog: pytest.LogCaptureFixture) -> None:
    """The completion gets the very result of the future, and nothing is logged."""
    result = completed("BUG-229")
    heard: list[WorkerResult] = []

    pool._handle_completion(resolved(result), heard.append, "BUG-229")

    assert len(heard) == 1
    assert heard[0] is result
    assert not caplog.records
    assert pool.callback_errors == ()


@pytest.mark.parametrize("junk", [None, "done", completed("FEAT-7")], ids=["none", "text", "other-issue"])
def test_handle_completion_reports_junk_as_a_failure(pool: WorkerPool, junk: WorkerResult) -> None:
    """A future with something else than this issue's result ends in a failed result of this issue."""
    future: Future[WorkerResult] = Future()
    future.set_result(junk)
    heard: list[WorkerResult] = []

    pool._handle_completion(future, heard.append, "BUG-229")

    assert [(result.issue_id, result.success) for result in heard] == [("BUG-229", False)]
    assert heard[0].error


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=lambda error: type(error).__name__
)
def test_handle_completion_invokes_callback_on_base_exception(
    pool: WorkerPool, error: BaseException
) -> None:
    """A future that raises a `BaseException` costs the orchestrator nothing but the success."""
    heard: list[WorkerResult] = []

    pool._handle_completion(resolved(error), heard.append, "BUG-229")

    assert heard == [WorkerResult("BUG-229", False, "", Path(), error=str(error) or repr(error))]


def test_handle_completion_tells_a_raised_cancelled_error_from_a_cancellation(pool: WorkerPool) -> None:
    """A `CancelledError` that the work raised is a failure: nobody interrupted this issue."""
    heard: list[WorkerResult] = []

    pool._handle_completion(resolved(CancelledError()), heard.append, "BUG-229")

    assert heard == [WorkerResult("BUG-229", False, "", Path(), error="CancelledError()")]


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)], ids=["exception", "system-exit"])
def test_handle_completion_keeps_what_the_callback_raised(pool: WorkerPool, error: BaseException) -> None:
    """Whatever the completion of a failed future raises is kept and does not get out."""

    def callback(result: WorkerResult) -> None:
        raise error

    pool._handle_completion(resolved(RuntimeError("worker crashed")), callback, "BUG-229")

    assert pool.callback_errors == (("BUG-229", error),)
    assert not pool._pending_callbacks


def test_handle_completion_logs_an_outcome_nobody_listens_to(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a completion the failure of the future is logged all the same and the mark is cleared."""
    future = resolved(RuntimeError("worker crashed"))
    pool._pending_callbacks[future] = "BUG-229"

    pool._handle_completion(future, None, "BUG-229")

    assert caplog.messages == ["worker of BUG-229 failed: worker crashed"]
    assert not pool._pending_callbacks


def test_handle_completion_clears_the_mark_last(pool: WorkerPool) -> None:
    """While the completion runs the submission is marked as owed, also if nobody marked it before."""
    future = resolved(completed("BUG-229"))
    marks: list[dict[Future[WorkerResult], str]] = []

    pool._handle_completion(future, lambda result: marks.append(dict(pool._pending_callbacks)), "BUG-229")

    assert marks == [{future: "BUG-229"}]
    assert not pool._pending_callbacks


def test_handle_completion_is_work_of_the_pool(pool: WorkerPool) -> None:
    """A completion that waits for its own pool gets an error instead, whoever runs it."""

    def callback(result: WorkerResult) -> None:
        pool.drain(10)

    pool._handle_completion(resolved(completed("BUG-229")), callback, "BUG-229")

    assert [str(error) for _, error in pool.callback_errors] == [
        "drain() from inside this pool's own work would wait for itself"
    ]
    assert pool.drain(0)


def test_handle_completion_clears_no_mark_but_its_own(pool: WorkerPool) -> None:
    """Another submission of the same issue stays owed."""
    ended = resolved(completed("BUG-229"))
    other: Future[WorkerResult] = Future()
    pool._pending_callbacks[ended] = "BUG-229"
    pool._pending_callbacks[other] = "BUG-229"

    pool._handle_completion(ended, None, "BUG-229")

    assert pool._pending_callbacks == {other: "BUG-229"}


@pytest.mark.parametrize(
    "log_error", [OSError("log is full"), SystemExit(1)], ids=["exception", "system-exit"]
)
def test_handle_completion_survives_its_logger(log_error: BaseException) -> None:
    """A logger that raises on a failed future keeps the completion from nobody."""
    logger = logging.Logger("raises")
    handler = RaisingHandler(log_error)
    logger.addHandler(handler)
    pool = WorkerPool(succeed, logger=logger)
    heard: list[WorkerResult] = []

    pool._handle_completion(resolved(RuntimeError("worker crashed")), heard.append, "BUG-229")

    assert handler.count == 1
    assert heard == [WorkerResult("BUG-229", False, "", Path(), error="worker crashed")]
    assert not pool._pending_callbacks
