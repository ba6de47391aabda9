"""Futures that the test drives, that tell who read them, and that nobody can hang on.

A fake future is a real one: it goes only through states that `concurrent.futures` knows, so that `done`,
`wait` and `as_completed` agree about it. Who runs work lives elsewhere.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED, FINISHED
from contextlib import nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar, cast

from pytest_littleloops.harness.accounts.liveness import Baseline
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, hang
from pytest_littleloops.simulation.inside import is_in_world, patiently

T = TypeVar("T")
Outcome = TypeVar("Outcome")

_NEXT_STEP = "call finish()/fail()/force_cancel() first, or read it from another thread"
_NOT_A_READER = ("concurrent.futures", "pytest_littleloops")
"""Packages whose frames stand between a future and its reader: the library, and what observes it here."""


class StillPending(AssertionError):
    """An unfinished future was read, and no thread is alive that could finish it: a hang, told at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureRead:
    """One call of `result` or `exception` that has ended."""

    reader: str
    """The name of the thread that read."""
    where: str
    """The line that read, such as `pool.py:201 in _handle_completion`."""
    method: str
    """`result` or `exception`."""
    raised: BaseException | None
    """What the call raised, None if it returned."""


@dataclass(frozen=True, slots=True)
class Finishers:
    """The threads that can be expected to finish a future.

    They are those that were started since this was made, the one that made it, and the main thread.
    Whatever lived before belongs to somebody else.
    """

    maker: threading.Thread
    baseline: Baseline

    @classmethod
    def from_now(cls) -> Finishers:
        """Those of a future that is about to be made."""
        return cls(threading.current_thread(), Baseline())

    def is_anybody_alive(self) -> bool:
        """True if one of them lives, other than the calling thread."""
        me = threading.current_thread()
        # In an exploration the main thread of the process waits until the schedule has ended.
        early = (self.maker,) if is_in_world() else (self.maker, threading.main_thread())
        return any(one.is_alive() and one is not me for one in early) or bool(self.baseline.later_threads())


def require_exception(error: object, caller: str) -> None:
    """Raise TypeError unless `error` is an exception; `caller` is the method that it was given to."""
    if not isinstance(error, BaseException):
        raise TypeError(f"{caller} takes an exception, for example ValueError('no disk'), not {error!r}")


class FakeFuture(Future[T]):
    """A real future that ends when the test calls `finish`, `fail` or `force_cancel`.

    Reading it before that waits as reading any future does, but at most `patience` seconds: then it
    raises Hang. If no thread is alive that could finish it (see `Finishers`) it does not wait at all:
    without a timeout it raises StillPending, with one TimeoutError. Messages call it `name`, and end
    with `next_step`. All methods may be called from any thread.
    """

    def __init__(
        self,
        name: str = "",
        *,
        patience: float = DEFAULT_PATIENCE,
        next_step: str = _NEXT_STEP,
        finishers: Finishers | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._patience = patience
        self._next_step = next_step
        self._finishers = Finishers.from_now() if finishers is None else finishers
        # Appending to a list is atomic: no lock, so that recording adds no synchronisation to a test.
        self._reads: list[FutureRead] = []

    @property
    def reads(self) -> tuple[FutureRead, ...]:
        """The calls of `result` and `exception`, in the order in which they ended."""
        return tuple(self._reads)

    def finish(self, value: T) -> None:
        """End it with a result, whether it is pending or running. Done-callbacks run in this call.

        Raises InvalidStateError if it has ended.
        """
        self.set_result(value)

    def fail(self, error: BaseException) -> None:
        """End it with an exception, whether it is pending or running. Done-callbacks run in this call.

        Raises InvalidStateError if it has ended, TypeError if `error` is no exception.
        """
        require_exception(error, "fail()")
        self.set_exception(error)

    def force_cancel(self) -> None:
        """Cancel it, even if it is running, and wake all waiters. Done-callbacks run in this call.

        If it is cancelled already, only the waiters are woken whom `cancel` leaves asleep. Raises
        InvalidStateError if it has a result or an exception.
        """
        with self._condition:
            if self._state == FINISHED:
                # Always raises here, and what the library says when an outcome comes too late.
                self.set_exception(CancelledError())
            is_news = not self.cancelled()
            if is_news:
                self._state = CANCELLED
                self._condition.notify_all()
            if self._state == CANCELLED:
                # What wait() and as_completed() wait for (cpython #109934).
                self.set_running_or_notify_cancel()
        if is_news:
            # Without the lock, as in the library: a callback may read from another thread.
            self._invoke_callbacks()  # type: ignore[attr-defined]

    def begin(self) -> bool:
        """Mark it as running; False, having woken its waiters, if it has ended and must not run.

        As `set_running_or_notify_cancel`, which however raises RuntimeError for one that the test has
        driven to its end.
        """
        with self._condition:
            if self.done() and self._state != CANCELLED:
                return False
            return self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> T:
        """The result; recorded in `reads`.

        Raises what any future's `result` does, StillPending, and Hang.
        """
        __tracebackhide__ = True
        return self._read("result", super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception, or None; recorded in `reads`.

        Raises what any future's `exception` does, StillPending, and Hang.
        """
        __tracebackhide__ = True
        return self._read("exception", super().exception, timeout)

    def _read(self, method: str, read: Callable[[float], Outcome], timeout: float | None) -> Outcome:
        __tracebackhide__ = True
        raised = None
        try:
            self._wait(method, timeout)
            # A TimeoutError, unless it has ended by now.
            return read(0)
        except BaseException as error:
            raised = error
            raise
        finally:
            name = threading.current_thread().name
            self._reads.append(FutureRead(reader=name, where=_where(), method=method, raised=raised))

    def _wait(self, method: str, timeout: float | None) -> None:
        """Return when it has ended, or when there is no more time to wait."""
        __tracebackhide__ = True
        # Asked first: a thread that finishes it and ends between the two questions was alive at this one.
        is_hopeless = not self._finishers.is_anybody_alive()
        if self.done() or (is_hopeless and timeout is not None):
            return
        if is_hopeless:
            raise StillPending(self._refusal(method))
        limit = self._patience if timeout is None else min(timeout, self._patience)
        is_ours = timeout is None or timeout > self._patience
        with self._condition, patiently() if is_ours else nullcontext():
            has_ended = self._condition.wait_for(self.done, limit)
        if not has_ended and is_ours:
            raise hang(f"{method}() of {self._title}", self._patience)

    @property
    def _title(self) -> str:
        return f"future {self.name}" if self.name else "a future without a name"

    def _refusal(self, method: str) -> str:
        state = "running" if self.running() else "pending"
        reader = threading.current_thread()
        others = [one.name for one in threading.enumerate() if one is not reader]
        uninvolved = f"  alive, but older than it: {', '.join(others)}\n" if others else ""
        return (
            f"{self._title} is {state} and no other thread is alive that could finish it\n"
            f"  {method}() was called by {reader.name} at {_where()}\n"
            f"{uninvolved}"
            f"  next step: {self._next_step}"
        )


class FakeFutures:
    """Makes fake futures in any state. Thread-safe.

    A future that is given no name is called by its number: `fake-1` is the first that was made here.
    Threads that were alive before this was made are not expected to finish any of them. `patience` is
    in seconds.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        self._finishers = Finishers.from_now()
        self._lock = threading.Lock()
        self._all: list[FakeFuture[object]] = []

    @property
    def all(self) -> tuple[FakeFuture[object], ...]:
        """Those made so far, the oldest first, whatever has become of them."""
        with self._lock:
            return tuple(self._all)

    def pending(self, name: str = "") -> FakeFuture[T]:
        """One whose work has not begun."""
        with self._lock:
            name = name or f"fake-{len(self._all) + 1}"
            future = FakeFuture[T](name, patience=self._patience, finishers=self._finishers)
            self._all.append(cast("FakeFuture[object]", future))
        return future

    def running(self, name: str = "") -> FakeFuture[T]:
        """One whose work has begun, so that `cancel` is refused."""
        future: FakeFuture[T] = self.pending(name)
        future.begin()
        return future

    def resolved(self, value: T, name: str = "") -> FakeFuture[T]:
        """One whose work returned `value`."""
        future: FakeFuture[T] = self.running(name)
        future.finish(value)
        return future

    def failed(self, error: BaseException, name: str = "") -> FakeFuture[T]:
        """One whose work raised `error`. Raises TypeError if that is no exception."""
        require_exception(error, "failed()")
        future: FakeFuture[T] = self.running(name)
        future.fail(error)
        return future

    def cancelled(self, name: str = "") -> FakeFuture[T]:
        """One that was cancelled before its work began, and whose waiters know."""
        future: FakeFuture[T] = self.pending(name)
        future.force_cancel()
        return future


def _where() -> str:
    frame = sys._getframe()
    while _is_between(frame) and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return f"{os.path.basename(code.co_filename)}:{frame.f_lineno} in {code.co_name}"


def _is_between(frame: FrameType) -> bool:
    return f"{frame.f_globals.get('__name__', '')}.".startswith(tuple(f"{name}." for name in _NOT_A_READER))
