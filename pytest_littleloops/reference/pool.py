"""The reference `WorkerPool`: every accepted submission gets exactly one completion.

The pool counts a submission as owed from before the executor can know of it until its completion has
returned, in one place (`_pending_callbacks`) under one lock. No lock is held while the executor, the
process function or a completion runs, so each of them may call back into the pool.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self, cast

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.submission import (
    OwnCalls,
    Process,
    SubmissionFuture,
    Work,
    checked_result,
    error_text,
    failed_result,
    has_lost_its_manager,
)
from pytest_littleloops.reference.threads import IssueThreads

Completion = Callable[[WorkerResult], object]
"""The one call that a submission owes; what it returns is ignored."""


class CallbackError(NamedTuple):
    """A completion that raised: whose it was, and what it raised."""

    issue_id: str
    error: BaseException


class WorkerPool:
    """Runs a process function on issues and delivers one completion for each accepted submission.

    The executor may be any `concurrent.futures.Executor`. One that is handed in stays its owner's: the
    pool never shuts it down. Without one the pool makes threads at `start` and ends them at `shutdown`.
    All methods may be called from any thread, from a process function and from a completion.

    Completions run in the worker that ended the issue, in the thread that cancelled it, or, for an
    executor of other processes, in the thread that brought the result back.

    Raises TypeError if `process` is not callable or `executor` is no executor, ValueError if
    `max_workers` is below 1.
    """

    def __init__(
        self,
        process: Process,
        *,
        max_workers: int = 2,
        executor: Executor | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if not callable(process):
            raise TypeError(f"process must be callable as process(issue), not {process!r}")
        if executor is not None and not isinstance(executor, Executor):
            raise TypeError(f"executor must be a concurrent.futures.Executor, not {executor!r}")
        if isinstance(max_workers, bool) or not isinstance(max_workers, int):
            raise TypeError(f"max_workers must be an integer, not {max_workers!r}")
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        self._process = process
        self._executor: Executor | IssueThreads | None = executor
        self._logger = logger if logger is not None else logging.getLogger(__name__)
        self._is_started = False
        self._is_shut_down = False
        self._is_cancelling_all = False
        self._is_executor_lost = False
        # Re-entrant, so that a signal handler may ask what the code it interrupted asks.
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._pending_callbacks: dict[Future[WorkerResult], str] = {}
        self._callback_errors: list[CallbackError] = []
        self._own_calls = OwnCalls()
        self.max_workers = max_workers

    def start(self) -> None:
        """Accept submissions from now on.

        Raises RuntimeError if it was started or shut down before; a pool starts once.
        """
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("this WorkerPool was shut down; make a new one")
            if self._is_started:
                raise RuntimeError("this WorkerPool was already started")
            if self._executor is None:
                self._executor = IssueThreads(self.max_workers, self._own_calls)
            self._is_started = True

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> Future[WorkerResult]:
        """Have `issue` worked on; `on_complete` is called once with its result, whatever happens.

        The future carries the same `WorkerResult` as the completion, also of a failure; only a
        cancelled one raises `CancelledError`, and its completion has `success=False` and
        `interrupted=True`. Two submissions of one id are two submissions.

        Raises RuntimeError if the pool does not accept work, TypeError for arguments of the wrong
        kind, and whatever the executor raises. After an exception nothing of this submission is left:
        no completion will come and its body will not start. (Beyond that are an executor of other
        processes whose `submit` raises after it shipped the work away, and a KeyboardInterrupt in
        the middle: if a worker has begun by then, its completion comes.)
        """
        if not isinstance(issue, Issue):
            raise TypeError(f"submit takes an Issue, not {issue!r}")
        if on_complete is not None and not callable(on_complete):
            raise TypeError(f"on_complete must be callable as on_complete(result): {on_complete!r}")
        future = SubmissionFuture(
            issue, lambda done: self._handle_completion(done, on_complete, issue.issue_id)
        )
        with self._lock:
            executor = self._executor
            if executor is None or not self._is_started or self._is_shut_down:
                state = "was shut down" if self._is_shut_down else "is not started"
                raise RuntimeError(f"{issue.issue_id} was not accepted: this WorkerPool {state}")
            if self._is_executor_lost:
                raise RuntimeError(
                    f"{issue.issue_id} was not accepted: the executor has no thread to manage its workers; "
                    "make a new pool on a new executor"
                )
            # Before a shutdown or cancel() can find it, so that neither passes it over.
            future.needs_no_executor_to_cancel = isinstance(executor, IssueThreads)
            self._pending_callbacks[future] = issue.issue_id
        work = Work(self._process, future, self._own_calls)
        try:
            executor_future = executor.submit(work)
        except BaseException as error:
            # Executors queue the work before they start the thread that may fail to start, and a worker
            # that lives already may have begun it. Then it is accepted, come what may.
            if future.begin():
                work.is_withdrawn = True
                self._forget(future)
                self._is_executor_lost |= has_lost_its_manager(executor)
                raise
            self._report(f"{issue.issue_id} was accepted although the executor refused it", error)
            if not isinstance(error, Exception):
                raise
            return future
        if executor_future is not future:
            carrying = cast("Future[WorkerResult | None]", executor_future)
            future.attach(carrying)
            carrying.add_done_callback(partial(self._executor_ended, future))
            if self._is_cancelling_all:
                # The shutdown came while only the executor could have said whether it has begun.
                future.cancel()
        return future

    def cancel(self, issue_id: str) -> bool:
        """Cancel every submission of `issue_id` that still waits; True if there was one.

        The body of a cancelled submission does not start. Its completion, `interrupted=True`, is
        delivered by the calling thread, unless another one cancelled it first. What runs already
        runs on.
        """
        with self._lock:
            owed = [future for future, owner in self._pending_callbacks.items() if owner == issue_id]
        return sum(future.cancel() for future in owed) > 0

    @property
    def is_started(self) -> bool:
        """True from `start` on, also after the shutdown."""
        return self._is_started

    @property
    def active_count(self) -> int:
        """How many submissions are owed an outcome: 0 means that every completion has returned."""
        with self._lock:
            return len(self._pending_callbacks)

    @property
    def callback_errors(self) -> tuple[CallbackError, ...]:
        """What completions have raised so far, in order. Each was logged and none was retried."""
        with self._lock:
            return tuple(self._callback_errors)

    def drain(self, timeout: float) -> bool:
        """Wait until no completion is owed; True if that happened within `timeout` seconds.

        Safe to call from any thread but one that is inside a process function or a completion of this
        pool, where it raises RuntimeError instead of waiting for itself.
        """
        if self._own_calls.is_inside():
            raise RuntimeError("drain() from inside this pool's own work would wait for itself")
        with self._idle:
            return self._idle.wait_for(lambda: not self._pending_callbacks, timeout)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Accept nothing more; with `cancel_pending` cancel what still waits, otherwise let it run.

        With `wait` it returns when every owed completion has returned and the pool's own threads have
        ended, except from inside this pool's own work, which cannot be waited for there. May be
        called again, and before `start`.
        """
        with self._lock:
            self._is_shut_down = True
            self._is_cancelling_all |= cancel_pending
            owed = list(self._pending_callbacks)
        if cancel_pending:
            for future in owed:
                future.cancel()
        own_threads = self._executor if isinstance(self._executor, IssueThreads) else None
        if own_threads is not None:
            own_threads.shutdown(wait=False)
        if not wait or self._own_calls.is_inside():
            return
        with self._idle:
            self._idle.wait_for(lambda: not self._pending_callbacks)
        if own_threads is not None:
            own_threads.shutdown(wait=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown(wait=True, cancel_pending=exc_type is not None)

    def _handle_completion(
        self,
        future: Future[WorkerResult],
        callback: Completion | None,
        issue_id: str,
    ) -> None:
        """Call `callback` once with the outcome of `future`; never raises.

        Reading the outcome and telling the orchestrator fail separately: if the first does, the
        orchestrator still hears of a failed result; if the second does, that is logged and kept.
        Either way the mark is cleared, last, since a cleared mark says that the completion returned.
        """
        if future not in self._pending_callbacks:
            with self._lock:
                self._pending_callbacks[future] = issue_id
        try:
            if self._own_calls.is_inside():
                self._report_to(callback, future, issue_id)
            else:
                with self._own_calls:
                    self._report_to(callback, future, issue_id)
        finally:
            self._forget(future)

    def _report_to(self, callback: Completion | None, future: Future[WorkerResult], issue_id: str) -> None:
        result = self._outcome(future, issue_id)
        if callback is not None:
            self._deliver(result, callback, issue_id)

    def _outcome(self, future: Future[WorkerResult], issue_id: str) -> WorkerResult:
        try:
            return checked_result(issue_id, future.result())
        except BaseException as error:
            is_cancelled = isinstance(error, CancelledError) and future.cancelled()
            if not is_cancelled:
                self._report(f"worker of {issue_id} failed: {error_text(error)}", error)
            return failed_result(issue_id, error_text(error), interrupted=is_cancelled)

    def _deliver(self, result: WorkerResult, callback: Completion, issue_id: str) -> None:
        try:
            callback(result)
        except BaseException as error:
            with self._lock:
                self._callback_errors.append(CallbackError(issue_id, error))
            self._report(f"completion of {issue_id} raised: {error_text(error)}", error)

    def _executor_ended(self, future: SubmissionFuture, executor_future: Future[WorkerResult]) -> None:
        # For work in this process all is done by now, unless the executor dropped or cancelled it.
        if future.done():
            return
        # What hangs on the future runs in the thread that brings results back: it cannot wait for them.
        with self._own_calls:
            if executor_future.cancelled():
                future.cancel()
                return
            issue_id = future.issue.issue_id
            error = executor_future.exception()
            if error is None:
                future.resolve(checked_result(issue_id, executor_future.result()))
            else:
                self._report(f"executor failed on {issue_id}: {error_text(error)}", error)
                future.resolve(failed_result(issue_id, error_text(error)))

    def _forget(self, future: Future[WorkerResult]) -> None:
        with self._lock:
            self._pending_callbacks.pop(future, None)
            if not self._pending_callbacks:
                self._idle.notify_all()

    def _report(self, message: str, error: BaseException) -> None:
        # A logger that raises must not cost an issue its completion.
        with suppress(BaseException):
            self._logger.error(message, exc_info=error)
