"""An executor that may reject a submission, or break, as executors of processes do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from pytest_littleloops.harness.watching.lifecycle import find_issue_id

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

Strikes = Callable[[tuple[str, ...], str], tuple[str | None, BaseException | None]]
"""Which of these faults strikes the issue of this id, and what it is to raise instead of its own."""


class FaultyExecutor(Executor):
    """Has another executor do the work, and hands out futures of its own.

    The faults are `submit-rejected` (RuntimeError: nothing was taken) and `executor-breaks`
    (BrokenExecutor for all that is in flight, and for every submission from then on). Thread-safe.
    """

    def __init__(self, inner: Executor, strikes: Strikes) -> None:
        self._inner = inner
        self._strikes = strikes
        self._lock = threading.Lock()
        # Who takes a future out of here is the one to begin it, or to tell its waiters that it will not.
        self._waiting: set[Future[Any]] = set()
        self._running: set[Future[Any]] = set()
        self._is_broken = False

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """As of any executor."""
        issue_id = next((found for one in args if (found := find_issue_id(one))), "")
        fault, error = self._strikes(("submit-rejected", "executor-breaks"), issue_id)
        if fault == "submit-rejected":
            raise error or RuntimeError("can't start new thread")
        future: Future[Result] = Future()
        with self._lock:
            if self._is_broken:
                raise BrokenExecutor("the executor is broken")
            self._waiting.add(future)
        try:
            self._inner.submit(self._carry, future, lambda: fn(*args, **kwargs))
        except BaseException:
            with self._lock:
                self._waiting.discard(future)
            raise
        if fault == "executor-breaks":
            self.break_now()
        return future

    def break_now(self) -> None:
        """Break: all that is in flight fails with BrokenExecutor, and nothing more is taken."""
        with self._lock:
            self._is_broken = True
            running = list(self._running)
            running += [one for one in self._all_waiting() if one.set_running_or_notify_cancel()]
        for future in running:
            with suppress(InvalidStateError):
                future.set_exception(BrokenExecutor("a worker is gone"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor; what is cancelled wakes those who wait for it."""
        if cancel_futures:
            with self._lock:
                waiting = self._all_waiting()
            for future in waiting:
                future.cancel()
                future.set_running_or_notify_cancel()
        self._inner.shutdown(wait=wait)

    def _all_waiting(self) -> list[Future[Any]]:
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def _carry(self, future: Future[Any], work: Callable[[], object]) -> None:
        with self._lock:
            if future not in self._waiting:
                return
            self._waiting.discard(future)
            # Calls nobody back, so it may be done in here; and a future that is broken was running.
            if not future.set_running_or_notify_cancel():
                return
            self._running.add(future)
        try:
            result = work()
        except BaseException as error:
            with suppress(InvalidStateError):
                future.set_exception(error)
        else:
            # A broken one has failed it already.
            with suppress(InvalidStateError):
                future.set_result(result)
        finally:
            with self._lock:
                self._running.discard(future)
