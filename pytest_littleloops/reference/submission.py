"""One submission on its way through an executor: its future, and the call that the executor runs.

Three things may happen to a submission before its body starts: a worker begins it, somebody cancels it,
or the submission itself is withdrawn because the executor refused it half-way. They race, and exactly one
may win. What lives here decides the winner; who is told about it is the pool's business.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from pytest_littleloops.reference.model import Issue, WorkerResult

Process = Callable[[Issue], WorkerResult]
"""The process function: does the work of one issue."""


def error_text(error: BaseException) -> str:
    """What `error` says, or its `repr` where it says nothing; never empty, never raises."""
    try:
        return str(error) or repr(error) or type(error).__name__
    except BaseException:
        return f"{type(error).__name__}, whose text cannot be read"


def failed_result(issue_id: str, error: str, *, interrupted: bool = False) -> WorkerResult:
    """The result of an issue on which no worker could report: no branch, no worktree, the error's text."""
    return WorkerResult(issue_id, False, "", Path(), error=error, interrupted=interrupted)


def run_process(process: Process, issue: Issue) -> WorkerResult:
    """Run `process` on `issue` and return its result; whatever goes wrong becomes a failed result.

    Never raises: a `BaseException` that left this function would end the executor's worker thread and
    strand whoever waits behind it. A value that is no `WorkerResult`, or one that speaks of another
    issue, counts as a failure, because passing it on would leave this issue without an outcome.
    """
    try:
        result: object = process(issue)
    except BaseException as error:
        return failed_result(issue.issue_id, error_text(error))
    return checked_result(issue.issue_id, result)


def checked_result(issue_id: str, result: object) -> WorkerResult:
    """`result` if it is the `WorkerResult` of `issue_id`, otherwise a failed one that says what it was.

    A failure without an error gets one. Never raises, also for an object that does when it is asked for
    its class or its issue.
    """
    try:
        if not isinstance(result, WorkerResult):
            claim = f"the process function returned {type(result).__name__}, not a WorkerResult"
            return failed_result(issue_id, claim)
        if result.issue_id != issue_id:
            claim = f"the process function returned the result of {result.issue_id!r}, not of {issue_id!r}"
            return failed_result(issue_id, claim)
        if not (result.success or result.interrupted or result.error):
            return replace(result, error="the process function reported a failure and no error")
        return result
    except BaseException as error:
        return failed_result(issue_id, error_text(error))


class OwnCalls:
    """Which threads are inside a pool's own work, where waiting for that pool would never end."""

    def __init__(self) -> None:
        self._local = threading.local()

    def is_inside(self) -> bool:
        """True in a thread that is inside a `with` block of this object."""
        return getattr(self._local, "depth", 0) > 0

    def __enter__(self) -> None:
        self._local.depth = getattr(self._local, "depth", 0) + 1

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._local.depth -= 1


class SubmissionFuture(Future[WorkerResult]):
    """The future of one submission: a result, also for a failure, or cancelled.

    It is not the executor's own future: that one would raise where this one carries a failed result, and
    the standard library leaves its waiters asleep after a cancelling shutdown. Once `cancel` returned
    True the body does not start, and `done`, `wait` and `as_completed` agree.
    """

    def __init__(self, issue: Issue, handle: Callable[[SubmissionFuture], object]) -> None:
        """`handle` is called once when it is done, before any other done-callback; must not raise."""
        super().__init__()
        self.issue = issue
        self._handle = handle
        self._is_resolving = False
        # Held by whoever makes the one call of set_running_or_notify_cancel that a future allows.
        self._begun = threading.Lock()
        self._executor_future: Future[WorkerResult | None] | None = None
        self.needs_no_executor_to_cancel = False
        """True where `begin` alone decides whether the body runs: in the pool's own threads."""
        super().add_done_callback(_wake_waiters_and_handle)

    def begin(self) -> bool:
        """Take the right to run the body: True for one caller at most, none once it has an outcome."""
        if not self._begun.acquire(blocking=False):
            return False
        try:
            return self.set_running_or_notify_cancel()
        except Exception:
            # Whoever holds this future has ended it by hand: that was its outcome.
            return False

    def attach(self, executor_future: Future[WorkerResult | None]) -> None:
        """Name the executor's own future, through which alone this one can be cancelled."""
        self._executor_future = executor_future

    def cancel(self) -> bool:
        """Cancel it if its body has not begun; True if it is cancelled afterwards.

        The executor has to agree, as it alone knows whether a worker in another process has begun.
        While the executor is still being handed the work, the answer is therefore False.
        """
        if not self.needs_no_executor_to_cancel:
            executor_future = self._executor_future
            if executor_future is None or not executor_future.cancel():
                return False
        # Still False if an executor runs the body without saying so to its own future.
        return super().cancel()

    def resolve(self, result: WorkerResult) -> bool:
        """Set `result` and run the done-callbacks; False if it already had an outcome."""
        is_unbegun = self._begun.acquire(blocking=False)
        self._is_resolving = True
        try:
            self.set_result(result)
        except InvalidStateError:
            if is_unbegun and self.cancelled():
                # Cancelled just now, while the right to wake its waiters was held here.
                self.set_running_or_notify_cancel()
            return False
        return True

    def add_done_callback(self, fn: Callable[[Future[WorkerResult]], object]) -> None:
        """Have `fn` called with this future when it is done; whatever it raises is logged.

        The standard library lets a `BaseException` of a done-callback pass into whoever resolved the
        future: here that would be a worker thread, which would die of it.
        """
        super().add_done_callback(partial(_call_and_log, fn))


def _wake_waiters_and_handle(future: Future[WorkerResult]) -> None:
    # Waiters are awake before a completion runs, which may take long.
    assert isinstance(future, SubmissionFuture)
    if not future._is_resolving and future.cancelled():
        # cancel() leaves CANCELLED; wait() and as_completed() wake only after this (cpython #109934).
        # While resolve() is at it, that one sees to it.
        future.begin()
    future._handle(future)


def _call_and_log(callback: Callable[[Future[WorkerResult]], object], future: Future[WorkerResult]) -> None:
    try:
        callback(future)
    except BaseException:
        # A logger that raises must not reach whoever resolved the future either.
        with suppress(BaseException):
            logging.getLogger(__name__).exception("a done-callback of %r raised", future)


class Work:
    """What the executor is given to call. In another process only the body travels, see `__reduce__`."""

    def __init__(self, process: Process, future: SubmissionFuture, own_calls: OwnCalls) -> None:
        self._process = process
        self.future = future
        self.own_calls = own_calls
        self.is_withdrawn = False

    def __call__(self) -> WorkerResult | None:
        """Run the body and resolve the submission, unless it was cancelled or withdrawn before."""
        with self.own_calls:
            return self.run()

    def run(self) -> WorkerResult | None:
        """The same, for a thread that is inside the pool's `own_calls` already."""
        if not self.future.begin():
            return None
        result = run_process(self._process, self.future.issue)
        # Here, not in a callback of the executor's future: it holds as well for work that the executor
        # ran although its submit raised, whose future nobody ever saw.
        self.future.resolve(result)
        return result

    def fail(self, error: BaseException) -> None:
        """End the submission as failed with `error`, unless its body has begun or it has an outcome."""
        if self.future.begin():
            with self.own_calls:
                self.future.resolve(failed_result(self.future.issue.issue_id, error_text(error)))

    def __reduce__(self) -> tuple[type[RemoteWork], tuple[Process, Issue]]:
        if self.is_withdrawn:
            raise RuntimeError(f"the submission of {self.future.issue.issue_id} was refused")
        return RemoteWork, (self._process, self.future.issue)


class RemoteWork:
    """The body of a submission in a process that has neither its future nor its pool."""

    def __init__(self, process: Process, issue: Issue) -> None:
        self._process = process
        self._issue = issue

    def __call__(self) -> WorkerResult:
        """Run the body; the executor carries the result back."""
        return run_process(self._process, self._issue)


def has_lost_its_manager(executor: object) -> bool:
    """Whether this is an executor of processes whose managing thread could not be started.

    It takes work all the same from then on, and never does it (seen on CPython 3.11 to 3.13). To be asked
    when its `submit` has raised: while that runs, the thread may be about to start.
    """
    manager = getattr(executor, "_executor_manager_thread", None)
    return isinstance(manager, threading.Thread) and manager.ident is None
