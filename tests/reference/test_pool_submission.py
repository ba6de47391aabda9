"""The races of one submission: begin, cancel, withdraw and resolve meet, and exactly one of them wins."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.submission import (
    OwnCalls,
    RemoteWork,
    SubmissionFuture,
    Work,
    checked_result,
    error_text,
    run_process,
)

EVERY_WAITER = {"as_completed", "result", "wait"}
COMPLETED = WorkerResult("BUG-229", True, "", Path())


class Shapeless:
    """An object that raises whatever it is asked for, its class included."""

    def __getattribute__(self, name: str) -> object:
        raise SystemExit("no class")


class Peerless(str):
    """An id that cannot be compared."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise LookupError("no peers")

    def __ne__(self, other: object) -> bool:
        raise LookupError("no peers")


def succeed(issue: Issue) -> WorkerResult:
    """Work on nothing and succeed; at the module's level, so that it can be pickled."""
    return WorkerResult(issue.issue_id, True, "", Path())


@pytest.fixture
def future() -> SubmissionFuture:
    """Give the future of a submission that an executor has accepted and not begun."""
    future = SubmissionFuture(Issue("BUG-229"), id)
    future.attach(Future())
    return future


def cancel_during(monkeypatch: pytest.MonkeyPatch, future: SubmissionFuture, method: str) -> list[bool]:
    """Have `future` cancelled whenever its `method` is called, just before; give what `cancel` said."""
    original = getattr(future, method)
    answers: list[bool] = []

    def after_cancel(*arguments: object) -> object:
        monkeypatch.setattr(future, method, original)
        answers.append(future.cancel())
        return original(*arguments)

    monkeypatch.setattr(future, method, after_cancel)
    return answers


def test_pool_submission_begins_once(future: SubmissionFuture) -> None:
    """The right to run the body is given to one caller, and with it goes the right to cancel."""
    assert future.begin() is True
    assert future.begin() is False
    assert future.cancel() is False
    assert future.running()


def test_pool_submission_that_was_cancelled_does_not_begin(future: SubmissionFuture) -> None:
    """After an accepted cancel nobody gets the right to run the body."""
    assert future.cancel() is True
    assert future.begin() is False


def test_pool_submission_that_was_resolved_does_not_begin(future: SubmissionFuture) -> None:
    """What ended elsewhere is not run here any more."""
    assert future.resolve(COMPLETED) is True
    assert future.begin() is False


def test_pool_submission_without_an_executor_is_not_cancelled() -> None:
    """While the executor is being handed the work, nobody can say that its body will not start."""
    future = SubmissionFuture(Issue("BUG-229"), id)
    assert future.cancel() is False
    assert future.begin() is True


def test_pool_submission_begun_elsewhere_is_not_cancelled(future: SubmissionFuture) -> None:
    """If the executor's own future says that it runs, a cancel is refused."""
    executor_future: Future[WorkerResult | None] = Future()
    executor_future.set_running_or_notify_cancel()
    future.attach(executor_future)
    assert future.cancel() is False
    assert not future.done()


def test_pool_submission_resolves_once(future: SubmissionFuture) -> None:
    """The first result counts, and its done-callbacks are called once."""
    called: list[bool] = []
    future.add_done_callback(lambda future: called.append(future.done()))
    assert future.resolve(COMPLETED) is True
    assert future.resolve(WorkerResult("BUG-229", False, "", Path())) is False
    assert future.result(0) is COMPLETED
    assert called == [True]


def test_pool_submission_that_was_cancelled_does_not_resolve(future: SubmissionFuture) -> None:
    """A result that comes after an accepted cancel changes nothing."""
    future.cancel()
    assert future.resolve(COMPLETED) is False
    assert future.cancelled()


def test_pool_submission_cancelled_while_it_resolves_releases_its_waiters(
    future: SubmissionFuture,
    monkeypatch: pytest.MonkeyPatch,
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """Cancelled between the two steps of `resolve`, it is cancelled for everybody."""
    released = block_waiters(future)
    answers = cancel_during(monkeypatch, future, "set_result")
    assert future.resolve(COMPLETED) is False
    assert answers == [True]
    assert released() == EVERY_WAITER
    with pytest.raises(CancelledError):
        future.result(0)


def test_pool_submission_cancelled_while_it_begins_releases_its_waiters(
    future: SubmissionFuture,
    monkeypatch: pytest.MonkeyPatch,
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """Cancelled between the two steps of `begin`, it does not begin, and waiters wake."""
    released = block_waiters(future)
    answers = cancel_during(monkeypatch, future, "set_running_or_notify_cancel")
    assert future.begin() is False
    assert answers == [True]
    assert released() == EVERY_WAITER


def test_pool_submission_work_runs_its_body_once(future: SubmissionFuture) -> None:
    """The executor's call runs the body and resolves; another call of it does neither."""
    bodies: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        bodies.append(issue.issue_id)
        return COMPLETED

    work = Work(process, future, OwnCalls())
    assert work() is COMPLETED
    assert work() is None
    assert future.result(0) is COMPLETED
    assert bodies == ["BUG-229"]


def test_pool_submission_work_that_was_cancelled_runs_no_body(future: SubmissionFuture) -> None:
    """An executor that calls cancelled work gets nothing."""
    bodies: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        bodies.append(issue.issue_id)
        return COMPLETED

    future.cancel()
    assert Work(process, future, OwnCalls())() is None
    assert bodies == []


def test_pool_submission_work_travels_without_its_future(future: SubmissionFuture) -> None:
    """What another process gets is the body alone, and it runs there."""
    parcel = pickle.dumps(Work(succeed, future, OwnCalls()))
    travelled = pickle.loads(parcel)
    assert type(travelled) is RemoteWork
    assert travelled() == COMPLETED
    assert not future.done()


def test_pool_submission_work_that_was_withdrawn_does_not_travel(future: SubmissionFuture) -> None:
    """Work that its executor refused, and packs up all the same, gets no further than that."""
    work = Work(succeed, future, OwnCalls())
    work.is_withdrawn = True
    with pytest.raises(RuntimeError, match=r"^the submission of BUG-229 was refused$"):
        pickle.dumps(work)


def test_pool_submission_work_is_inside_while_its_body_runs(future: SubmissionFuture) -> None:
    """The thread is inside the pool's own work during body and done-callbacks, and not after them."""
    own_calls = OwnCalls()
    inside: list[bool] = []

    def process(issue: Issue) -> WorkerResult:
        inside.append(own_calls.is_inside())
        return COMPLETED

    future.add_done_callback(lambda future: inside.append(own_calls.is_inside()))
    Work(process, future, own_calls)()
    inside.append(own_calls.is_inside())
    assert inside == [True, True, False]


def test_pool_own_calls_are_counted_per_thread() -> None:
    """Being inside is nested, and says nothing of other threads."""
    own_calls = OwnCalls()
    elsewhere: list[bool] = []
    assert not own_calls.is_inside()
    with own_calls:
        with own_calls:
            assert own_calls.is_inside()
        assert own_calls.is_inside()
        thread = threading.Thread(target=lambda: elsewhere.append(own_calls.is_inside()))
        thread.start()
        thread.join()
    assert not own_calls.is_inside()
    assert elsewhere == [False]


def test_pool_own_calls_end_with_an_exception() -> None:
    """An exception that leaves the work leaves the inside too."""
    own_calls = OwnCalls()
    with pytest.raises(LookupError), own_calls:
        raise LookupError
    assert not own_calls.is_inside()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad worktree"), "bad worktree"),
        (ValueError(""), "ValueError('')"),
        (OSError(), "OSError()"),
    ],
)
def test_pool_error_text_is_never_empty(error: BaseException, text: str) -> None:
    """The text of an error is what it says, or its repr where it says nothing."""
    assert error_text(error) == text


def test_pool_run_process_never_raises() -> None:
    """Whatever the process function raises, the caller gets a failed result."""

    def process(issue: Issue) -> WorkerResult:
        raise KeyboardInterrupt

    result = run_process(process, Issue("BUG-229"))
    assert result == WorkerResult("BUG-229", False, "", Path(), error="KeyboardInterrupt()")


@pytest.mark.parametrize(
    ("junk", "text"),
    [(Shapeless(), "no class"), (WorkerResult(Peerless("BUG-229"), True, "", Path()), "no peers")],
    ids=["class", "issue"],
)
def test_pool_checked_result_never_raises(junk: object, text: str) -> None:
    """Junk that raises as soon as it is looked at is a failure with that text."""
    result = checked_result("BUG-229", junk)
    assert result == WorkerResult("BUG-229", False, "", Path(), error=text)


def test_pool_submission_failed_without_an_error_gets_one() -> None:
    """A process function that reports a failure and nothing else leaves no empty error behind."""
    silent = WorkerResult("BUG-229", False, "branch", Path("tree"))
    result = checked_result("BUG-229", silent)
    assert result.error == "the process function reported a failure and no error"
    assert (result.branch_name, result.worktree_path) == ("branch", Path("tree"))
    assert silent.error is None
