"""An executor that has no threads: it runs what the test says, when it says, where it says it.

Its futures go through the states of a `ThreadPoolExecutor`'s, and it fails as executors fail. It knows
nothing of issues; the pool on top of it does.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar, cast

from pytest_littleloops.harness.fakes.fake_future import FakeFuture, Finishers, require_exception
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, wait_for

P = ParamSpec("P")
T = TypeVar("T")

_ENDLESS = 100_000
"""So many bodies in one `run_all` are taken for bodies that submit each other for ever."""
_NEXT_STEP = "have the executor end it: run_next(), run_all(), fail_next() or cancel_next()"


@dataclass(slots=True, eq=False)
class _Work:
    future: FakeFuture[object]
    body: Callable[[], object]
    is_owed: bool = True
    """False once somebody has taken on to end the future: its runner, or `break_pool`."""
    has_left: threading.Event = field(default_factory=lambda: threading.Event())
    """Set when the runner is done with it, its done-callbacks included."""


class ManualExecutor(Executor):
    """What is submitted is queued; `run_next` runs the next one, in the thread that calls it.

    As in a worker thread, whatever a body raises goes into its future, and nowhere else. A `BaseException`
    out of a done-callback, which ends a worker thread, comes out of the method here that ended the future,
    so that the test sees it. Waiting for one of the futures does not hang, see `FakeFuture`.

    All methods may be called from any thread, from bodies and from done-callbacks. `patience`, in seconds,
    bounds every wait.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        self._finishers = Finishers.from_now()
        # Held for the bookkeeping only, never while a body or a done-callback runs.
        self._lock = threading.Lock()
        self._queue: deque[_Work] = deque()
        self._running: dict[_Work, threading.Thread] = {}
        self._submitted = 0
        self._ran = 0
        self._is_shut_down = False
        self._breakage: Callable[[], BaseException] | None = None
        self._rejection: Callable[[], BaseException] | None = None
        self._is_queued_before_rejection = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> FakeFuture[T]:
        """Queue a call of `fn`; nothing runs yet.

        Raises BrokenExecutor after `break_pool`, RuntimeError after `shutdown`, and what
        `reject_submissions` says.
        """
        with self._lock:
            if self._breakage is not None:
                raise self._breakage()
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._rejection is not None and not self._is_queued_before_rejection:
                raise self._rejection()
            self._submitted += 1
            name = f"{getattr(fn, '__name__', type(fn).__name__)}#{self._submitted}"
            future = FakeFuture[T](
                name, patience=self._patience, next_step=_NEXT_STEP, finishers=self._finishers
            )
            # No partial: what cannot be called is an error of the work, not of its submission.
            self._queue.append(_Work(cast("FakeFuture[object]", future), lambda: fn(*args, **kwargs)))
            if self._rejection is not None:
                raise self._rejection()
        return future

    @property
    def pending(self) -> tuple[FakeFuture[object], ...]:
        """What is queued, the next one first. One that was cancelled stays until its turn comes."""
        with self._lock:
            return tuple(work.future for work in self._queue)

    @property
    def ran(self) -> int:
        """How many bodies have begun."""
        return self._ran

    def run_next(self) -> FakeFuture[object]:
        """Run the next body and give its future.

        One that was cancelled is skipped as a worker skips it: its waiters are woken. If there is
        nothing behind it, its future is what is given.

        Raises LookupError if nothing is queued, and the `BaseException` of a done-callback.
        """
        __tracebackhide__ = True
        return self._end_next("run_next", self._run)

    def run_all(self) -> int:
        """Run all that is queued, and what is submitted meanwhile; gives the number of bodies that ran.

        Raises the `BaseException` of a done-callback, and leaves the rest queued. Raises AssertionError
        when bodies seem to submit each other without end.
        """
        __tracebackhide__ = True
        count = 0
        while (work := self._begin_next()[0]) is not None:
            self._end(work, self._run)
            count += 1
            if count >= _ENDLESS and self.pending:
                raise AssertionError(
                    f"run_all() has run {count} bodies without end: they seem to submit each other\n"
                    f"  queued now: {len(self.pending)}, the next is {self.pending[0].name}\n"
                    "  next step: call run_next() as often as the test needs"
                )
        return count

    def fail_next(self, error: BaseException) -> FakeFuture[object]:
        """As `run_next`, but the body does not run: its future fails with `error`.

        Raises TypeError if `error` is no exception.
        """
        __tracebackhide__ = True
        require_exception(error, "fail_next()")
        return self._end_next("fail_next", lambda work: self._settle(work, lambda one: one.fail(error)))

    def cancel_next(self) -> FakeFuture[object]:
        """As `run_next`, but the body does not run: its future is cancelled, and its waiters are woken."""
        __tracebackhide__ = True
        return self._end_next("cancel_next", lambda work: self._settle(work, FakeFuture.force_cancel))

    def break_pool(self, error: BaseException | None = None) -> None:
        """Fail all that is queued or running, and every later `submit`, with `error`.

        It is a new BrokenExecutor each time unless given. What a running body brings after that is lost,
        as with the process that would have brought it. Raises TypeError if `error` is no exception; and
        the first `BaseException` of a done-callback, when all have failed.
        """
        __tracebackhide__ = True
        breakage = _raiser(error, "break_pool()", BrokenExecutor, "a worker died, the pool is not usable")
        with self._lock:
            self._breakage = breakage
            running = [work for work in self._running if work.is_owed and not work.future.done()]
            for work in running:
                work.is_owed = False
            queued = list(self._queue)
            self._queue.clear()

        def fail(work: _Work) -> None:
            if work in running or work.future.begin():
                work.future.fail(breakage())

        _for_each([*running, *queued], fail)

    def reject_submissions(
        self, error: BaseException | None = None, *, after_queueing: bool = False
    ) -> None:
        """Let every `submit` raise `error`, unless given RuntimeError("can't start new thread").

        With `after_queueing` it queues the work before it raises, as the standard library's executor does
        when a thread cannot start: a ghost whose caller thinks it was rejected, and which `run_next` runs.
        Raises TypeError if `error` is no exception.
        """
        rejection = _raiser(error, "reject_submissions()", RuntimeError, "can't start new thread")
        with self._lock:
            self._rejection = rejection
            self._is_queued_before_rejection = after_queueing

    def accept_submissions(self) -> None:
        """End what `reject_submissions` began. A shutdown or a break is for good."""
        with self._lock:
            self._rejection = None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more. With `cancel_futures`, cancel what is queued and wake its waiters.

        With `wait`, run here what is still queued, since nobody else would, and wait for what other
        threads run. Without it both are the test's. May be called more than once.

        Raises Hang if another thread does not come to an end, the `BaseException` of a done-callback
        (when all have been cancelled, but before the rest has run), and what `run_all` raises.
        """
        __tracebackhide__ = True
        with self._lock:
            self._is_shut_down = True
            dropped = list(self._queue) if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
        _for_each(dropped, _cancel)
        if wait:
            self.run_all()
            self._wait_for_others()

    def _begin_next(self) -> tuple[_Work | None, FakeFuture[object] | None]:
        """The next one that may run, now running; and the last of those that were skipped."""
        skipped = None
        with self._lock:
            while self._queue:
                work = self._queue.popleft()
                # Within the lock, so that a break finds it either queued or running.
                if work.future.begin():
                    self._running[work] = threading.current_thread()
                    return work, skipped
                skipped = work.future
        return None, skipped

    def _end_next(self, caller: str, end: Callable[[_Work], None]) -> FakeFuture[object]:
        __tracebackhide__ = True
        work, skipped = self._begin_next()
        if work is not None:
            self._end(work, end)
            return work.future
        if skipped is None:
            raise LookupError(
                f"{caller}() found nothing queued\n"
                f"  submitted so far: {self._submitted}, bodies run: {self._ran}\n"
                "  next step: submit first; the attribute `pending` shows what is queued"
            )
        return skipped

    def _end(self, work: _Work, end: Callable[[_Work], None]) -> None:
        __tracebackhide__ = True
        try:
            end(work)
        finally:
            with self._lock:
                del self._running[work]
            work.has_left.set()

    def _run(self, work: _Work) -> None:
        __tracebackhide__ = True
        with self._lock:
            self._ran += 1
        self._settle(work, _outcome(work.body))

    def _settle(self, work: _Work, end: Callable[[FakeFuture[object]], None]) -> None:
        __tracebackhide__ = True
        with self._lock:
            is_owed, work.is_owed = work.is_owed, False
        if is_owed:
            end(work.future)

    def _wait_for_others(self) -> None:
        __tracebackhide__ = True
        me = threading.current_thread()
        with self._lock:
            # Nobody can wait for the body in which he is himself.
            others = {work: runner for work, runner in self._running.items() if runner is not me}
        for work, runner in others.items():
            wait_for(work.has_left, f"{work.future.name} to end in thread {runner.name}", self._patience)


def _outcome(body: Callable[[], object]) -> Callable[[FakeFuture[object]], None]:
    # Handed on instead of raised through: what a done-callback raises did not happen while handling this.
    try:
        value = body()
    except BaseException as error:
        return functools.partial(FakeFuture.fail, error=error)
    return lambda future: future.finish(value)


def _cancel(work: _Work) -> None:
    if work.future.begin():
        work.future.force_cancel()


def _raiser(
    error: BaseException | None, caller: str, usual: type[BaseException], text: str
) -> Callable[[], BaseException]:
    if error is not None:
        require_exception(error, caller)
    return lambda: usual(text) if error is None else error


def _for_each(works: list[_Work], end: Callable[[_Work], None]) -> None:
    """End them all, then raise the first `BaseException` that a done-callback let out."""
    raised: list[BaseException] = []
    for work in works:
        try:
            end(work)
        except BaseException as error:
            raised.append(error)
    if raised:
        raise raised[0]
