"""Futures in any state, driven by the test, that say who read them.

They are real futures: every transition is one that `concurrent.futures` knows, so `wait`, `as_completed`
and `done` agree on them. What is added: an unfinished one that nobody can finish refuses to be waited
for, and each reading is recorded. Executors that make such futures live elsewhere.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TypeVar, cast

from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang

T = TypeVar("T")
Read = TypeVar("Read")

_ADVICE = "call finish(), fail() or force_cancel() first, or read it from another thread"
# Between the future and whoever reads it: the standard library, and this harness, which may observe it.
_PASSED_OVER = ("concurrent.futures", __name__.rpartition(".")[0])


class StillPending(AssertionError):
    """An unfinished future was read, and no thread is alive that could finish it: it would hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureRead:
    """One call of `result` or `exception`, recorded when it ended."""

    reader: str
    """The name of the thread."""
    where: str
    """The line that read it and the function around that, `test_pool.py:21 in _handle_completion`."""
    method: str
    """`result` or `exception`."""
    raised: BaseException | None
    """What the call raised; None where it returned."""


def require_exception(error: object, caller: str) -> None:
    """Raise TypeError unless `error` is an exception; `caller` names the method that was given it."""
    if not isinstance(error, BaseException):
        raise TypeError(f"{caller} takes an exception, for example ValueError('no disk'), not {error!r}")


class FakeFuture(Future[T]):
    """A real future that the test drives with `finish`, `fail` and `force_cancel`.

    Reading it while it is unfinished never hangs. If another thread lives that could finish it, the
    reader waits as on any future, but at most `patience` seconds, and then gets Hang. If there is none,
    waiting would be for ever: without a timeout that is StillPending at once, with one it is TimeoutError
    at once. Threads that could are all but `strangers`, by default those that lived before it was made,
    without the main thread and the one that made it.

    `name` is what messages call it, `advice` the next step that StillPending ends with. All methods may
    be called from any thread.
    """

    def __init__(
        self,
        name: str = "fake future",
        *,
        patience: float = DEFAULT_PATIENCE,
        advice: str = _ADVICE,
        strangers: frozenset[threading.Thread] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._patience = patience
        self._advice = advice
        self._strangers = strangers_now() if strangers is None else strangers
        # list.append is atomic, so recording needs no lock, and a read is no point of synchronisation.
        self._reads: list[FutureRead] = []

    @property
    def reads(self) -> tuple[FutureRead, ...]:
        """Who has read this future, in the order in which the readings ended."""
        return tuple(self._reads)

    def finish(self, value: T) -> None:
        """End it with `value`, from pending as well as from running; done-callbacks run here.

        Raises InvalidStateError if it has ended.
        """
        self.set_result(value)

    def fail(self, error: BaseException) -> None:
        """End it with an exception, from pending as well as from running; done-callbacks run here.

        Raises InvalidStateError if it has ended, TypeError if `error` is no exception.
        """
        require_exception(error, "fail()")
        self.set_exception(error)

    def force_cancel(self) -> None:
        """Cancel it, also while it runs, as code does that pokes into a future's state.

        Waiters wake and done-callbacks run once. One that was cancelled before stays so, and its waiters
        wake if nobody had woken them yet. Raises InvalidStateError if it has a result or an exception.
        """
        with self._condition:
            is_ended = self.done()
            if is_ended and not self.cancelled():
                # The state is final, so this only raises: the very error that any late outcome gets.
                self.set_exception(CancelledError())
            if not is_ended:
                self._state = "CANCELLED"
                self._condition.notify_all()
            if self._state == "CANCELLED":
                # Only this wakes wait() and as_completed() (cpython #109934).
                self.set_running_or_notify_cancel()
        if not is_ended:
            self._invoke_callbacks()  # type: ignore[attr-defined]

    def result(self, timeout: float | None = None) -> T:
        """The value, or what the future failed with; recorded in `reads`.

        Raises what `concurrent.futures.Future.result` does, and StillPending or Hang, see the class.
        """
        __tracebackhide__ = True
        return self._recorded("result", super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the future failed with, or None; recorded in `reads`.

        Raises what `concurrent.futures.Future.exception` does, and StillPending or Hang, see the class.
        """
        __tracebackhide__ = True
        return self._recorded("exception", super().exception, timeout)

    def _recorded(self, method: str, read: Callable[[float | None], Read], timeout: float | None) -> Read:
        __tracebackhide__ = True
        raised: BaseException | None = None
        try:
            return self._bounded(method, read, timeout)
        except BaseException as error:
            raised = error
            raise
        finally:
            reader = threading.current_thread().name
            self._reads.append(FutureRead(reader=reader, where=_where(), method=method, raised=raised))
            # The exception's traceback holds this frame, so the frame must not hold the exception.
            del raised

    def _bounded(self, method: str, read: Callable[[float | None], Read], timeout: float | None) -> Read:
        __tracebackhide__ = True
        # In this order: whoever finishes it and ends between the two questions must not be overlooked.
        is_hopeless = not self._living_others()
        if self.done():
            return read(0)
        if is_hopeless and timeout is None:
            raise StillPending(self._refusal())
        if is_hopeless:
            # Its TimeoutError now; the time could bring nothing.
            return read(0)
        if timeout is not None and timeout <= self._patience:
            return read(timeout)
        try:
            return read(self._patience)
        except TimeoutError:
            # It may have failed with a TimeoutError of its own, or have ended just now.
            if self.done():
                return read(0)
            raise Hang(f"the {method} of {self.name}", self._patience) from None

    def _living_others(self) -> list[threading.Thread]:
        known = {threading.current_thread(), *self._strangers}
        return [thread for thread in threading.enumerate() if thread not in known]

    def _refusal(self) -> str:
        state = "running" if self.running() else "pending"
        reader = threading.current_thread()
        strangers = [one.name for one in threading.enumerate() if one in self._strangers - {reader}]
        return (
            f"future {self.name} is {state} and no other thread is alive that could finish it\n"
            f"  read by {reader.name} at {_where()}\n"
            f"  threads from before it was made, which do not count: {', '.join(strangers) or 'none'}\n"
            f"  next step: {self._advice}"
        )


class FakeFutures:
    """Makes fake futures in the state that the maker's name says. Thread-safe.

    Threads that lived when this was made, apart from the main thread and the one that made it, belong to
    somebody else and are not expected to finish a future. Without a name the futures are called
    `future-1`, `future-2` and so on. `patience` is in seconds.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        self._strangers = strangers_now()
        self._numbers = itertools.count(1)
        self._made: list[FakeFuture[object]] = []

    @property
    def all(self) -> tuple[FakeFuture[object], ...]:
        """Every future made here, in order, whatever became of it."""
        return tuple(self._made)

    def pending(self, name: str | None = None) -> FakeFuture[T]:
        """A future whose work has not begun."""
        future = FakeFuture[T](
            f"future-{next(self._numbers)}" if name is None else name,
            patience=self._patience,
            strangers=self._strangers,
        )
        self._made.append(cast("FakeFuture[object]", future))
        return future

    def running(self, name: str | None = None) -> FakeFuture[T]:
        """A future whose work has begun: `cancel` is refused."""
        future: FakeFuture[T] = self.pending(name)
        future.set_running_or_notify_cancel()
        return future

    def resolved(self, value: T, name: str | None = None) -> FakeFuture[T]:
        """A future that has a result."""
        future: FakeFuture[T] = self.running(name)
        future.finish(value)
        return future

    def failed(self, error: BaseException, name: str | None = None) -> FakeFuture[T]:
        """A future whose work raised `error`. Raises TypeError if that is no exception."""
        require_exception(error, "failed()")
        future: FakeFuture[T] = self.running(name)
        future.fail(error)
        return future

    def cancelled(self, name: str | None = None) -> FakeFuture[T]:
        """A future that was cancelled before its work began, and whose waiters were told."""
        future: FakeFuture[T] = self.pending(name)
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def strangers_now() -> frozenset[threading.Thread]:
    """The threads that live now and have no part in what the calling thread is about to make.

    The main thread is never one of them: it runs the test.
    """
    return frozenset(threading.enumerate()) - {threading.current_thread(), threading.main_thread()}


def _where() -> str:
    frame = sys._getframe(1)
    while _is_passed_over(frame.f_globals.get("__name__", "")) and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return f"{os.path.basename(code.co_filename)}:{frame.f_lineno} in {code.co_name}"


def _is_passed_over(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _PASSED_OVER)
