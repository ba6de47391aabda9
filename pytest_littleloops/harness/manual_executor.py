"""An executor without threads: it runs what the test says, when it says, in the thread that says it.

It goes through the same transitions as `concurrent.futures.ThreadPoolExecutor`, and can fail in the ways
in which executors fail: reject a submission, with or without having queued it, and break as a whole.
What happens to an issue on top of it is the business of the pool that uses it.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar, cast

from pytest_littleloops.harness.fake_future import FakeFuture, require_exception, strangers_now
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, wait_for

P = ParamSpec("P")
T = TypeVar("T")

_ADVICE = "let the executor end it first: run_next(), run_all(), fail_next() or cancel_next()"
_BROKEN = "the executor is broken: one of its workers died"
_NO_THREAD = "can't start new thread"
_MOST_BODIES = 100_000


@dataclass(slots=True, eq=False)
class _Work:
    future: FakeFuture[object]
    body: Callable[[], object]
    is_owed: bool = True
    """False once somebody, its runner or a break, has taken the right to end the future."""
    runner: threading.Thread | None = None
    has_ended: threading.Event = field(default_factory=lambda: threading.Event())


class ManualExecutor(Executor):
    """Queues what is submitted; `run_next` and its kin end it one by one, `run_all` all of it.

    Its futures are real ones that refuse to be waited for when nobody could run them, see `FakeFuture`.
    As on a worker thread, whatever a body raises goes to its future, and an `Exception` of a done-callback
    is logged. A `BaseException` of a done-callback, which would end a worker thread, leaves the method
    that ended the future instead, so that the test sees it. All methods may be called from any thread,
    and from bodies and callbacks. `patience`, in seconds, bounds every wait.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        self._strangers = strangers_now()
        # Never held while a body or a done-callback runs.
        self._lock = threading.Lock()
        self._queued: deque[_Work] = deque()
        self._running: list[_Work] = []
        self._numbers = itertools.count(1)
        self._ran = 0
        self._is_shut_down = False
        self._breaks_with: Callable[[], BaseException] | None = None
        self._rejects_with: Callable[[], BaseException] | None = None
        self._queues_before_rejecting = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call of `fn`; nothing runs.

        Raises BrokenExecutor after `break_pool`, RuntimeError after `shutdown`, and whatever
        `reject_submissions` said.
        """
        with self._lock:
            if self._breaks_with is not None:
                raise self._breaks_with()
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            name = f"{getattr(fn, '__name__', type(fn).__name__)}#{next(self._numbers)}"
            future = FakeFuture[T](name, patience=self._patience, advice=_ADVICE, strangers=self._strangers)
            if self._rejects_with is None or self._queues_before_rejecting:
                body = functools.partial(fn, *args, **kwargs)
                self._queued.append(_Work(cast("FakeFuture[object]", future), body))
            if self._rejects_with is not None:
                raise self._rejects_with()
        return future

    @property
    def pending(self) -> tuple[Future[object], ...]:
        """The futures in the queue, the next one first; a cancelled one stays until its turn."""
        with self._lock:
            return tuple(work.future for work in self._queued)

    @property
    def ran(self) -> int:
        """How many bodies have begun."""
        return self._ran

    def run_next(self) -> Future[object]:
        """Run the next body here and return its future.

        What was cancelled before it is passed over, as a worker does: its waiters wake, its body does
        not run. If nothing else was queued, the last one passed over is returned.

        Raises LookupError if nothing is queued, and the `BaseException` of a done-callback.
        """
        __tracebackhide__ = True
        return self._end_next("run_next", self._run_body)

    def run_all(self) -> int:
        """Run everything that is queued, also what is submitted meanwhile; returns how many bodies ran.

        Raises AssertionError when there seems to be no end to it, and the `BaseException` of a
        done-callback; then the rest stays queued.
        """
        __tracebackhide__ = True
        count = 0
        while (work := self._begin_next()[0]) is not None:
            self._end(work, self._run_body)
            count += 1
            if count == _MOST_BODIES and self.pending:
                raise AssertionError(
                    f"run_all() ran {count} bodies and there are more: they seem to submit each other\n"
                    f"  still queued: {len(self.pending)}\n"
                    "  next step: call run_next() as often as the test needs"
                )
        return count

    def fail_next(self, error: BaseException) -> Future[object]:
        """End the next future with `error`, its body unrun; otherwise as `run_next`.

        Raises TypeError if `error` is no exception.
        """
        __tracebackhide__ = True
        require_exception(error, "fail_next()")
        return self._end_next(
            "fail_next", lambda work: self._resolve(work, lambda future: future.fail(error))
        )

    def cancel_next(self) -> Future[object]:
        """Cancel the next future and wake its waiters, its body unrun; otherwise as `run_next`."""
        __tracebackhide__ = True
        return self._end_next("cancel_next", lambda work: self._resolve(work, FakeFuture.force_cancel))

    def break_pool(self, error: BaseException | None = None) -> None:
        """Fail all that is queued or running, and from now on every `submit`, with `error`.

        It defaults to a BrokenExecutor, a new one each time. What a running body still brings is
        dropped. Raises TypeError if `error` is no exception, and, when all futures have failed, the first
        `BaseException` of a done-callback.
        """
        breaks_with = _error_maker(error, "break_pool()", lambda: BrokenExecutor(_BROKEN))
        with self._lock:
            self._breaks_with = breaks_with
            lost = [work.future for work in self._running if work.is_owed]
            lost += [work.future for work in self._queued if work.future.set_running_or_notify_cancel()]
            self._queued.clear()
            for work in self._running:
                work.is_owed = False
        _for_each(lost, lambda future: future.fail(breaks_with()))

    def reject_submissions(
        self, error: BaseException | None = None, *, after_queueing: bool = False
    ) -> None:
        """Have every `submit` raise `error`, by default RuntimeError("can't start new thread").

        With `after_queueing` the work is queued nevertheless, as the standard library's executor does
        when it cannot start a thread: a ghost, that a later `run_next` runs. Raises TypeError if `error`
        is no exception.
        """
        rejects_with = _error_maker(error, "reject_submissions()", lambda: RuntimeError(_NO_THREAD))
        with self._lock:
            self._rejects_with = rejects_with
            self._queues_before_rejecting = after_queueing

    def accept_submissions(self) -> None:
        """Undo `reject_submissions`; a break or a shutdown stays."""
        with self._lock:
            self._rejects_with = None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept nothing more; with `cancel_futures` cancel what is queued and wake its waiters.

        With `wait` what is queued is run here, since nobody else could run it, and what other threads
        run is waited for; otherwise both are left to the test. May be called again.

        Raises Hang, and what `run_all` raises.
        """
        __tracebackhide__ = True
        with self._lock:
            self._is_shut_down = True
            dropped = [work.future for work in self._queued] if cancel_futures else []
            if cancel_futures:
                self._queued.clear()
        _for_each(dropped, FakeFuture.force_cancel)
        if not wait:
            return
        self.run_all()
        with self._lock:
            running = list(self._running)
        for work in running:
            # A body that shuts its own executor down cannot wait for itself.
            if work.runner is not None and work.runner is not threading.current_thread():
                what = f"{work.future.name} to end, which {work.runner.name} runs"
                wait_for(work.has_ended, what, self._patience)

    def _begin_next(self) -> tuple[_Work | None, Future[object] | None]:
        """The next that may run, if any, and the last one that was passed over for it."""
        passed_over = None
        with self._lock:
            while self._queued:
                work = self._queued.popleft()
                # One step with the taking, so that a break never finds it neither queued nor running.
                if work.future.set_running_or_notify_cancel():
                    work.runner = threading.current_thread()
                    self._running.append(work)
                    return work, passed_over
                passed_over = work.future
        return None, passed_over

    def _end_next(self, caller: str, end: Callable[[_Work], None]) -> Future[object]:
        __tracebackhide__ = True
        work, passed_over = self._begin_next()
        if work is not None:
            self._end(work, end)
            return work.future
        if passed_over is not None:
            return passed_over
        raise LookupError(
            f"{caller}() has nothing to end: nothing is queued in this executor\n"
            f"  bodies run so far: {self.ran}\n"
            "  next step: submit first; executor.pending shows what is queued"
        )

    def _end(self, work: _Work, end: Callable[[_Work], None]) -> None:
        __tracebackhide__ = True
        try:
            end(work)
        finally:
            with self._lock:
                self._running.remove(work)
            work.has_ended.set()

    def _run_body(self, work: _Work) -> None:
        with self._lock:
            self._ran += 1
        try:
            value = work.body()
        except BaseException as error:
            self._resolve(work, functools.partial(FakeFuture.fail, error=error))
        else:
            self._resolve(work, lambda future: future.finish(value))

    def _resolve(self, work: _Work, outcome: Callable[[FakeFuture[object]], None]) -> None:
        with self._lock:
            is_owed, work.is_owed = work.is_owed, False
        if is_owed:
            outcome(work.future)


def _error_maker(
    error: BaseException | None, caller: str, default: Callable[[], BaseException]
) -> Callable[[], BaseException]:
    if error is None:
        return default
    require_exception(error, caller)
    return lambda: error


def _for_each(futures: Iterable[FakeFuture[object]], end: Callable[[FakeFuture[object]], None]) -> None:
    """End every future, also when a done-callback lets a `BaseException` out; then raise the first one."""
    first: BaseException | None = None
    for future in futures:
        try:
            end(future)
        except BaseException as error:
            first = error if first is None else first
    if first is not None:
        raise first
