"""The reference `Orchestrator`: takes issues from a queue, has a pool work on them, marks how they ended.

All deciding is done by one loop, the thread in `run`. Whoever else has something to say, a completion or
a stop request, puts it into the loop's mailbox. What other threads touch besides, the books of which
issue is where, is guarded by one lock, which is not held while the pool or code of the user is called.

Longer than other modules, since dispatching, cancelling and stopping are one argument about who may end
an issue: the one who claims its flight.
"""

from __future__ import annotations

import logging
import queue as mailboxes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import partial
from types import FrameType
from typing import Protocol, cast

from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState, WorkerResult
from pytest_littleloops.reference.queue import IssueQueue

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Defer = Callable[[Issue, frozenset[str]], bool]
"""Asked before an issue is dispatched, with the ids in flight; True puts it off."""


class ExitCode(IntEnum):
    """What `run` returns, unless a signal stopped it: then it is 128 and the number of the signal."""

    OK = 0
    FAILED = 1
    STOPPED = 2


class Pool(Protocol):
    """What an orchestrator needs of a pool."""

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object], /) -> object:
        """Have `issue` worked on and `on_complete` called once, or raise."""
        ...

    def cancel(self, issue_id: str, /) -> bool:
        """Cancel what waits of this issue; its completion is `interrupted`. False if nothing waited."""
        ...

    @property
    def active_count(self) -> int:
        """How many submissions are owed a completion."""
        ...


class _OwnPool(Protocol):
    def start(self) -> object: ...

    def shutdown(self, *, wait: bool = True, cancel_pending: bool = False) -> object: ...


class _Flight:
    """One way of one issue through the orchestrator, from the queue to its end."""

    __slots__ = ("cancel_requests", "is_cancelled", "is_claimed", "issue")

    def __init__(self, issue: Issue) -> None:
        self.issue = issue
        self.cancel_requests = 0
        # True once a completion has granted these requests.
        self.is_cancelled = False
        # True once somebody has the right to end it: a second completion, or a late one, has not.
        self.is_claimed = False


class Orchestrator:
    """Works through a queue with a pool; no issue that it took is left without a terminal state.

    At most `max_in_flight` issues are with the pool at once, by default as many as it has workers. With
    `p0_sequential` a P0 waits until nothing is in flight, and nothing else starts until it has ended.
    `defer(issue, ids_in_flight)` may put an issue off until another one has ended; issues put off lose
    their place among those of the same priority.

    While it runs, nobody else may take from the queue; adding, and asking for cancellation here, is free
    for all. `on_worker_complete` may be overridden; nothing else is made for that.

    Raises TypeError for arguments of the wrong kind and ValueError if `max_in_flight` is below 1.
    """

    def __init__(
        self,
        queue: IssueQueue,
        pool: Pool,
        *,
        p0_sequential: bool = False,
        max_in_flight: int | None = None,
        defer: Defer | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if not isinstance(queue, IssueQueue):
            raise TypeError(f"queue must be an IssueQueue, not {queue!r}")
        for name in ("submit", "cancel", "active_count"):
            # First in the class, as reading a property may do something.
            if not hasattr(type(pool), name) and not hasattr(pool, name):
                raise TypeError(f"pool must have submit, cancel and active_count; {pool!r} lacks {name}")
        if max_in_flight is None:
            max_in_flight = getattr(pool, "max_workers", 2)
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int):
            raise TypeError(f"max_in_flight must be an integer, not {max_in_flight!r}")
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        if defer is not None and not callable(defer):
            raise TypeError(f"defer must be callable as defer(issue, ids_in_flight), not {defer!r}")
        self.queue = queue
        self.pool = pool
        self.max_in_flight = max_in_flight
        self.dispatch_errors: dict[str, BaseException] = {}
        """What the pool's `submit`, or `defer`, raised in the last run, by issue."""
        self.put_off: list[str] = []
        """What the last run left queued, since it was put off although nothing was in flight."""
        self._p0_sequential = p0_sequential
        self._defer = defer
        self._logger = logger if logger is not None else logging.getLogger(__name__)
        self._poll_seconds = 0.5
        self._is_running = False
        # Its put may interrupt itself, so signal handlers may use it. In it: the flights that ended, the
        # exit codes of stop requests, and None for what only has to wake the loop.
        self._mailbox: mailboxes.SimpleQueue[_Flight | int | None] = mailboxes.SimpleQueue()
        self._stop_code: int | None = None
        self._is_abandoned = False
        # Guards what follows.
        self._books = threading.Condition()
        self._is_moving = False
        self._taken: dict[str, _Flight] = {}
        self._in_flight: dict[str, _Flight] = {}
        self._ended_count = 0
        # The loop's own. The put-off are remembered with how many had ended when `defer` was asked.
        self._held_p0: _Flight | None = None
        self._put_off_at: dict[str, int] = {}
        self._unsettled: dict[str, _Flight] = {}

    def run(self) -> int:
        """Work until the queue is empty and nothing is in flight; return the exit code.

        `ExitCode.OK` says that every issue it took is completed, or cancelled because `cancel` was
        asked for it; `FAILED` that some is not; `STOPPED`, or 128 and the number of a signal, that it
        was told to stop. Issues that are added meanwhile are worked on too. A pool that was never
        started is started, and shut down at the end; any other is left as it is.

        SIGINT and SIGTERM mean `stop` while this runs on the main thread. If `submit` or `defer` raises
        an `Exception`, that fails one issue; what they raise beyond that ends the run, with everything
        that was not yet with the pool back in the queue.

        Raises RuntimeError if it runs already.
        """
        with self._books:
            if self._is_running:
                raise RuntimeError("this Orchestrator is running already; one run() at a time")
            self._is_running = True
        try:
            self.dispatch_errors = {}
            self.put_off = []
            self._put_off_at.clear()
            self._stop_code = None
            self._is_abandoned = False
            # Not empty if the run before ended in an exception.
            self._unsettled = dict(self._in_flight)
            with self._running_pool():
                with self._signals_as_stop_requests():
                    self._loop()
                # A signal may have come after the loop's last look, and is nobody else's any more.
                self._read_mailbox(wait=False)
            return self._exit_code()
        finally:
            self._is_running = False

    def stop(self) -> None:
        """Have `run` end: nothing more is dispatched, and what waits is marked interrupted.

        What runs already is waited for and ends by its own result. A second call does not wait: it has
        what is in flight marked interrupted, and its completions change nothing any more. Callable from
        any thread and from signal handlers; returns at once. If nothing runs, it stops the next run.
        """
        self._mailbox.put(ExitCode.STOPPED)

    def cancel(self, issue_id: str) -> bool:
        """Have an issue that has not begun end cancelled; True if it will, or has by now.

        False if it runs already, has ended or is unknown; then nothing has changed. Callable from any
        thread.
        """
        if self.queue.cancel_queued(issue_id):
            return True
        with self._books:
            # Neither queued nor in the books for a moment, while the loop moves it.
            self._books.wait_for(lambda: not self._is_moving)
            flight = self._taken.get(issue_id)
            if flight is not None:
                flight.cancel_requests += 1
                self._mailbox.put(None)
                return True
            flight = self._in_flight.get(issue_id)
            if flight is not None:
                # Before the pool is asked, as it delivers the completion before it answers.
                flight.cancel_requests += 1
        if flight is None:
            # It may have been put back just now.
            return self.queue.cancel_queued(issue_id)
        is_granted = False
        try:
            is_granted = self.pool.cancel(issue_id)
        finally:
            with self._books:
                # Counted, so that another request, which was granted, is not forgotten with this one.
                # Refused by the pool, it may still have been granted by an interruption that came now.
                if not is_granted and not flight.is_cancelled:
                    flight.cancel_requests -= 1
        return is_granted or flight.is_cancelled

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark how an issue ended. Called once for each dispatched issue, mostly by its worker's thread.

        Whatever it raises goes on to the pool; the issue is marked failed if it has no other end yet.
        """
        with self._books:
            flight = self._in_flight.get(result.issue_id)
            is_cancelled = result.interrupted and flight is not None and flight.cancel_requests > 0
            if flight is not None and is_cancelled:
                flight.is_cancelled = True
        if is_cancelled:
            self.queue.mark_cancelled(result.issue_id)
        elif result.interrupted:
            self.queue.mark_interrupted(result.issue_id)
        elif result.success:
            self.queue.mark_completed(result.issue_id)
        else:
            self.queue.mark_failed(result.issue_id)

    def _loop(self) -> None:
        try:
            # A stop may have been asked for before.
            self._read_mailbox(wait=False)
            while True:
                self._dispatch()
                self._read_mailbox(wait=bool(self._in_flight))
                if not self._in_flight and not self._may_start():
                    break
        finally:
            # Empty unless something was raised.
            self._held_p0 = None
            self._put_back()

    def _dispatch(self) -> None:
        """Start what may start now."""
        while self._may_start():
            while (flight := self._next()) is not None:
                self._start(flight)
                self._read_mailbox(wait=False)
            # Only now: back in the queue, what was put off would be the next to be taken.
            self._put_back()

    def _may_start(self) -> bool:
        """True if there is an issue that may start now, as far as `defer` has not said otherwise."""
        if self._held_p0 is not None:
            return not self._in_flight or self._held_p0.cancel_requests > 0
        if self._stop_code is not None or len(self._in_flight) >= self.max_in_flight:
            return False
        if any(self._runs_alone(flight.issue) for flight in list(self._in_flight.values())):
            return False
        if self.queue.queued_count > len(self._put_off_at):
            return True
        return any(
            self._put_off_at.get(issue_id) != self._ended_count for issue_id in self.queue.queued_ids
        )

    def _next(self) -> _Flight | None:
        """The issue to start now; None while there is none that may."""
        if not self._may_start():
            return None
        held, self._held_p0 = self._held_p0, None
        if held is not None:
            return held
        flight = self._take()
        if flight is not None and self._runs_alone(flight.issue):
            self._held_p0 = flight
            return None
        return flight

    def _runs_alone(self, issue: Issue) -> bool:
        return self._p0_sequential and issue.priority == "P0"

    def _take(self) -> _Flight | None:
        flight = None
        with self._moving(), suppress(mailboxes.Empty):
            flight = _Flight(self.queue.get(block=False))
            self._taken[flight.issue.issue_id] = flight
        return flight

    def _put_back(self) -> None:
        """Requeue what was taken and not started, except a P0 that waits for its turn."""
        for flight in list(self._taken.values()):
            if flight is not self._held_p0:
                self._leave_taken(flight, self.queue.requeue)

    def _leave_taken(self, flight: _Flight, mark: Callable[[str], None]) -> None:
        """Mark an issue that was not started, as cancelled if that was promised to somebody."""
        with self._moving():
            with self._books:
                del self._taken[flight.issue.issue_id]
            if flight.cancel_requests:
                mark = self.queue.mark_cancelled
            self._mark(mark, flight)

    def _start(self, flight: _Flight) -> None:
        """Hand an issue to the pool, unless it was put off or cancelled."""
        issue = flight.issue
        try:
            if self._is_put_off(flight):
                return
            with self._books:
                is_cancelled = flight.cancel_requests > 0
                if not is_cancelled:
                    self._in_flight[issue.issue_id] = self._taken.pop(issue.issue_id)
            if is_cancelled:
                self._leave_taken(flight, self.queue.mark_cancelled)
                return
            self._unsettled[issue.issue_id] = flight
            self.pool.submit(issue, partial(self._deliver, flight))
        except BaseException as error:
            self.dispatch_errors[issue.issue_id] = error
            self._report(f"{issue.issue_id} could not be dispatched: {error!r}", error)
            self._unsettled[issue.issue_id] = flight
            if issue.issue_id in self._taken:
                self._leave_taken(flight, self.queue.mark_failed)
            elif self._claim(flight):
                self._end(flight, self.queue.mark_failed)
            if not isinstance(error, Exception):
                raise

    def _is_put_off(self, flight: _Flight) -> bool:
        if self._defer is None or flight.cancel_requests:
            return False
        issue = flight.issue
        with self._books:
            ended_count = self._ended_count
            in_flight = frozenset(self._in_flight)
        if self._put_off_at.get(issue.issue_id) == ended_count:
            return True
        if not self._defer(issue, in_flight):
            self._put_off_at.pop(issue.issue_id, None)
            return False
        # As of before the question: what has ended meanwhile is a reason to ask again.
        self._put_off_at[issue.issue_id] = ended_count
        return True

    def _deliver(self, flight: _Flight, result: WorkerResult) -> None:
        """The completion of one submission."""
        issue_id = flight.issue.issue_id
        if not self._claim(flight):
            self._report(f"{issue_id}: a completion came that nothing is owed any more; it changes nothing")
            return
        mark: Callable[[str], None] | None = None
        try:
            if result.issue_id != issue_id:
                raise ValueError(f"the completion of {issue_id} has the result of {result.issue_id!r}")
            self.on_worker_complete(result)
        except BaseException as error:
            if self._is_current(flight):
                mark = self.queue.mark_failed
            elif isinstance(error, IllegalTransition):
                self._report(f"{issue_id}: its completion came too late: {error}")
                return
            raise
        finally:
            self._end(flight, mark)

    def _claim(self, flight: _Flight) -> bool:
        """Take the right to end a flight: True for one caller."""
        with self._books:
            is_first = not flight.is_claimed
            flight.is_claimed = True
            return is_first

    def _is_current(self, flight: _Flight) -> bool:
        """False if it was abandoned, or its issue was requeued and is on its way anew."""
        issue_id = flight.issue.issue_id
        with self._books:
            return self._in_flight.get(issue_id) is flight and issue_id not in self._taken

    def _end(self, flight: _Flight, mark: Callable[[str], None] | None) -> None:
        """Mark an issue in flight, clear its entry and tell the loop."""
        issue_id = flight.issue.issue_id
        try:
            if mark is not None:
                with self._books:
                    # In one step, or the mark could hit a second attempt that the loop begins just now.
                    self._books.wait_for(lambda: not self._is_moving)
                    if self._is_current(flight):
                        self._mark(mark, flight)
        finally:
            with self._books:
                # First: the loop, which reads without the lock, must not see neither.
                self._ended_count += 1
                # Not if it was abandoned, or an overridden completion requeued it and it is here anew.
                if self._in_flight.get(issue_id) is flight:
                    del self._in_flight[issue_id]
            self._mailbox.put(flight)

    def _mark(self, mark: Callable[[str], None], flight: _Flight) -> None:
        # It may have been marked already, by an overridden completion or by hand in the queue.
        with suppress(IllegalTransition):
            mark(flight.issue.issue_id)

    def _read_mailbox(self, *, wait: bool) -> None:
        """Act on all that has come, after waiting for it to come; then look for a pool that lost it."""
        is_pool_idle = False
        message: _Flight | int | None = None
        if wait:
            try:
                message = self._mailbox.get(timeout=self._poll_seconds)
            except mailboxes.Empty:
                # Before the books are read: what the pool reports as ended until now is not in them.
                is_pool_idle = self.pool.active_count == 0
        with suppress(mailboxes.Empty):
            while True:
                self._act_on(message)
                message = self._mailbox.get(block=False)
        if is_pool_idle:
            self._fail_unreported()
        if self._stop_code is not None:
            self.queue.interrupt_queued()

    def _act_on(self, message: _Flight | int | None) -> None:
        if isinstance(message, _Flight):
            if self._ended_well(message):
                self._unsettled.pop(message.issue.issue_id, None)
        elif message is not None and self._stop_code is None:
            self._stop_code = message
            self._interrupt_waiting()
        elif message is not None:
            self._abandon()

    def _interrupt_waiting(self) -> None:
        """Begin to stop: what is not with the pool is interrupted here, what waits in it, by it."""
        self._held_p0 = None
        for flight in list(self._taken.values()):
            self._leave_taken(flight, self.queue.mark_interrupted)
        for issue_id in list(self._in_flight):
            try:
                self.pool.cancel(issue_id)
            except Exception as error:
                self._report(f"the pool could not cancel {issue_id}: {error!r}", error)

    def _abandon(self) -> None:
        """Stop waiting: what is in flight is interrupted now, and whatever it becomes later is ignored."""
        self._is_abandoned = True
        for flight in list(self._in_flight.values()):
            # Also one whose completion is being delivered: that may never return.
            self._claim(flight)
            self._end(flight, self.queue.mark_interrupted)

    def _fail_unreported(self) -> None:
        for flight in list(self._in_flight.values()):
            if self._claim(flight):
                self._report(f"{flight.issue.issue_id}: the pool went idle and never reported")
                self._end(flight, self.queue.mark_failed)

    def _ended_well(self, flight: _Flight) -> bool:
        state = self.queue.state_of(flight.issue.issue_id)
        is_cancelled = state is IssueState.CANCELLED and flight.cancel_requests > 0
        return is_cancelled or state is IssueState.COMPLETED

    def _exit_code(self) -> int:
        if self._stop_code is not None:
            return self._stop_code
        self.put_off = [issue_id for issue_id in self.queue.queued_ids if issue_id in self._put_off_at]
        for issue_id in self.put_off:
            self._report(f"{issue_id} stays queued: it was put off although nothing is in flight")
        unsettled = [flight for flight in self._unsettled.values() if not self._ended_well(flight)]
        for flight in unsettled:
            if self.queue.state_of(flight.issue.issue_id) is IssueState.IN_PROGRESS:
                self._report(f"{flight.issue.issue_id} is still in progress: its completion marked nothing")
        return ExitCode.FAILED if unsettled or self.put_off else ExitCode.OK

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Make `cancel` wait while an issue is neither in the queue nor in the books."""
        with self._books:
            self._is_moving = True
        try:
            yield
        finally:
            with self._books:
                self._is_moving = False
                self._books.notify_all()

    @contextmanager
    def _running_pool(self) -> Iterator[None]:
        """Start the pool if it never was, and shut it down then."""
        if getattr(self.pool, "is_started", True) is not False:
            yield
            return
        pool = cast(_OwnPool, self.pool)
        pool.start()
        is_waited_for = False
        try:
            yield
            is_waited_for = not self._is_abandoned
        finally:
            if is_waited_for:
                pool.shutdown()
            else:
                # After a second stop, or an exception, somebody wants to get out now.
                pool.shutdown(wait=False, cancel_pending=True)

    @contextmanager
    def _signals_as_stop_requests(self) -> Iterator[None]:
        previous = {}
        try:
            for signum in _SIGNALS:
                handler = signal.getsignal(signum)
                # None is a handler that was not installed from Python, and could not be put back.
                if handler is not None:
                    # ValueError: not on the main thread.
                    with suppress(ValueError):
                        signal.signal(signum, self._on_signal)
                        previous[signum] = handler
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._mailbox.put(128 + signum)

    def _report(self, message: str, error: BaseException | None = None) -> None:
        # A logger that raises must not cost an issue its end.
        with suppress(BaseException):
            self._logger.error(message, exc_info=error)
