"""The reference `Orchestrator`: takes issues from a queue, has a pool work on them, marks how they ended.

The thread in `run` decides all that is decided: what starts next, and when the run is over. Workers and
whoever stops the run only put a note into its mailbox; between two notes it sleeps. The lock guards the
books (who was taken, who is in flight). Under it nothing is called but methods of the queue, which never
call back: the pool, `defer` and `on_worker_complete` are always called without it.

Longer than one idea should be, because dispatching, stopping and cancelling are the three parties of
every race there is here, and can only be judged side by side.
"""

from __future__ import annotations

import logging
import queue as standard_queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from types import FrameType
from typing import NamedTuple, Protocol, cast

from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState, WorkerResult
from pytest_littleloops.reference.queue import IssueQueue

POLL_SECONDS = 0.5
"""How long `run` sleeps without news before it looks for itself."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Defer = Callable[[Issue, frozenset[str]], bool]
"""Asked before an issue starts, with the ids in flight; True if it may not start beside these."""


class ExitCode(IntEnum):
    """What `Orchestrator.run` returns, unless a signal stopped it: then 128 and the signal's number."""

    OK = 0
    """Every issue that was taken is completed, or cancelled because `Orchestrator.cancel` asked for it."""
    FAILED = 1
    """Some issue that was taken ended otherwise, or was put off until nothing could change any more."""
    STOPPED = 2
    """`Orchestrator.stop` was called. That counts for more than how the issues ended."""


class Pool(Protocol):
    """What an orchestrator needs of a pool. One with `is_started` False has `start` and `shutdown` too."""

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object], /) -> object:
        """Accept `issue` and call `on_complete` once with its result, or raise and do neither."""
        ...

    def cancel(self, issue_id: str, /) -> bool:
        """Cancel what waits of this issue; its completion is `interrupted`. True if anything waited."""
        ...

    @property
    def active_count(self) -> int:
        """How many completions are owed."""
        ...


class _StartablePool(Protocol):
    def start(self) -> object: ...

    def shutdown(self, *, wait: bool) -> object: ...


class _StopRequest(NamedTuple):
    signum: int | None


@dataclass(slots=True, eq=False)
class _Flight:
    """One issue on its way from the queue through the pool, once."""

    issue: Issue
    cancel_requests: int = 0
    is_reported: bool = False
    is_abandoned: bool = False

    @property
    def issue_id(self) -> str:
        return self.issue.issue_id


class Orchestrator:
    """Works through a queue with a pool, until the queue is empty and every completion has come.

    `max_in_flight` is how many issues the pool has at one time: its `max_workers` if not given, or 2.
    With `p0_sequential` a P0 waits until nothing is in flight, and nothing else starts until it ended.
    `defer(issue, in_flight)` is asked before an issue starts: True puts it back, behind its equals, and
    it is asked again when another issue has ended.

    `on_worker_complete` is made to be overridden. `cancel` and `stop` may be called from any thread.

    Raises TypeError for arguments of the wrong kind, ValueError if `max_in_flight` is below 1.
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
            if not hasattr(pool, name):
                raise TypeError(f"pool must have submit, cancel and active_count; {pool!r} has no {name}")
        if max_in_flight is None:
            max_in_flight = getattr(pool, "max_workers", 2)
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int):
            raise TypeError(f"max_in_flight must be an integer, not {max_in_flight!r}")
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        if defer is not None and not callable(defer):
            raise TypeError(f"defer must be callable as defer(issue, in_flight), not {defer!r}")
        self.queue = queue
        self.pool = pool
        self.max_in_flight = max_in_flight
        self._p0_sequential = p0_sequential
        self._defer = defer
        self._logger = logger if logger is not None else logging.getLogger(__name__)
        # Its put is re-entrant: a signal handler may interrupt this very thread inside another put.
        self._mailbox: standard_queue.SimpleQueue[_StopRequest | None] = standard_queue.SimpleQueue()
        self._stops: list[_StopRequest] = []
        # Re-entrant, so that a handler of a signal that interrupts the run may call cancel().
        self._lock = threading.RLock()
        self._is_running = False
        # Out of the queue and not handed to the pool yet: in progress, but cancel() still wins.
        self._taken: dict[str, _Flight] = {}
        # From before the pool can know of it until its completion has returned.
        self._in_flight: dict[str, _Flight] = {}
        self._waiting_p0: _Flight | None = None
        # What defer() said yes to since an issue last ended.
        self._put_off: set[str] = set()
        # A dictionary, because its order is that of the messages at the end.
        self._ran: dict[str, None] = {}
        self._cancelled: set[str] = set()
        self._dispatch_errors: dict[str, BaseException] = {}

    @property
    def put_off(self) -> tuple[str, ...]:
        """The issues that `defer` has put back and that stay queued until another issue ends.

        After `run` those that could not start although nothing was in flight. In the order of adding.
        """
        with self._lock:
            states = self.queue.states()
            return tuple(one for one in states if one in self._put_off and states[one] is IssueState.QUEUED)

    @property
    def dispatch_errors(self) -> Mapping[str, BaseException]:
        """What `pool.submit` or `defer` raised in this run or the last one, by issue."""
        with self._lock:
            return dict(self._dispatch_errors)

    def run(self) -> int:
        """Work until the queue is empty and nothing is in flight; an `ExitCode`, or 128 and a signal.

        Issues that are added meanwhile are worked on too. What the pool refuses is marked failed. So is
        what it still owes when its `active_count` is 0 and no news has come: a run does not wait for a
        pool that lost an issue. A pool that is not started yet is started, and shut down at the end.

        In the main thread SIGINT and SIGTERM work like `stop` as long as this runs.

        Raises RuntimeError if another thread is in `run`, and whatever the pool's `start` raises. If
        `submit` or `defer` raises more than an `Exception`, the issue is marked and the run ends with it.
        """
        with self._lock:
            if self._is_running:
                raise RuntimeError("this Orchestrator is already in run(); wait for it, or make another")
            self._is_running = True
        try:
            if getattr(self.pool, "is_started", True) is not False:
                return self._run()
            pool = cast(_StartablePool, self.pool)
            pool.start()
            try:
                return self._run()
            finally:
                # After a second stop somebody wants this to return at once.
                pool.shutdown(wait=len(self._stops) < 2)
        finally:
            self._is_running = False

    def stop(self) -> None:
        """Have `run` end: nothing more starts, and what is queued or waits in the pool is interrupted.

        What runs is waited for and ends by its own result. A second call ends that too: what is in
        flight is interrupted, `run` returns at once, and completions that come later change nothing.

        Returns at once. Safe from any thread and from a signal handler. Called while nothing runs it
        stops the next run before it starts anything.
        """
        self._mailbox.put(_StopRequest(None))

    def cancel(self, issue_id: str) -> bool:
        """Have `issue_id` not worked on; True if it ends `cancelled`, False if it is too late for that.

        Too late is what runs, what has ended, and what neither waits here nor was taken by this run.
        Completions of what waited in the pool are usually delivered by the calling thread.
        """
        with self._lock:
            if (flight := self._taken.get(issue_id)) is not None:
                flight.cancel_requests += 1
                # A P0 that waits for its turn holds up everybody else.
                self._mailbox.put(None)
                return True
            if (flight := self._in_flight.get(issue_id)) is None:
                return self._cancel_queued(issue_id)
            # Counted, so that a caller who is refused does not take back what another was promised.
            flight.cancel_requests += 1
        is_cancelled = False
        try:
            is_cancelled = self.pool.cancel(issue_id)
        finally:
            with self._lock:
                if not is_cancelled:
                    flight.cancel_requests -= 1
                # Whoever else asked the pool may have been the one whom it obeyed.
                is_cancelled = is_cancelled or issue_id in self._cancelled
        return is_cancelled

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark how an issue ended. Called once for each submission, by the thread that ended it.

        May be overridden, to look at the result or to `requeue` an issue instead of marking it; the
        override calls this one for whatever it does not mark itself. If it raises, the issue is marked
        failed unless it is marked already, and the pool hears of the exception.

        Raises IllegalTransition if the queue knows of another ending, or does not know the issue.
        """
        if result.interrupted and self._is_cancel_requested(result.issue_id):
            self.queue.mark_cancelled(result.issue_id)
            self._cancelled.add(result.issue_id)
        elif result.interrupted:
            self.queue.mark_interrupted(result.issue_id)
        elif result.success:
            self.queue.mark_completed(result.issue_id)
        else:
            self.queue.mark_failed(result.issue_id)

    def _run(self) -> int:
        self._stops = []
        self._put_off = set()
        self._dispatch_errors = {}
        self._ran = dict.fromkeys(self._in_flight)
        try:
            with self._signals_in_mailbox():
                self._work_off()
        finally:
            self._give_back_waiting_p0()
        # A signal may have come after the last look and before its handler was taken away.
        if self._is_stopped():
            self._interrupt_queued()
        return self._exit_code()

    def _work_off(self) -> None:
        while not self._is_stopped():
            self._dispatch()
            if self._stops:
                # Heard while dispatching: that note will not wake anybody again.
                break
            if self._flights():
                self._await_news()
            elif self._is_finished():
                return
        self._give_back_waiting_p0()
        self._interrupt_queued()
        for flight in self._flights():
            try:
                self.pool.cancel(flight.issue_id)
            except Exception as error:
                self._report(f"the pool could not cancel {flight.issue_id}: {error!r}", error)
        while self._flights() and len(self._stops) < 2:
            self._await_news()
        for flight in self._flights():
            flight.is_abandoned = True
            self._end(flight, self.queue.mark_interrupted)

    def _flights(self) -> list[_Flight]:
        with self._lock:
            return list(self._in_flight.values())

    def _is_finished(self) -> bool:
        with self._lock:
            return not self._in_flight and self._waiting_p0 is None and not self._has_unasked()

    def _dispatch(self) -> None:
        set_aside: list[_Flight] = []
        try:
            while not self._is_stopped() and (flight := self._take()) is not None:
                if not self._hand_over(flight):
                    set_aside.append(flight)
        finally:
            # Not before the end: back in the queue they would be taken again at once.
            for flight in set_aside:
                self._leave_taken(flight, self.queue.requeue)

    def _take(self) -> _Flight | None:
        with self._lock:
            if (waiting := self._waiting_p0) is not None:
                if self._in_flight and not waiting.cancel_requests:
                    return None
                self._waiting_p0 = None
                return waiting
            if len(self._in_flight) >= self.max_in_flight or self._is_p0_in_flight():
                return None
            if not self._has_unasked():
                return None
            try:
                # Under the lock, so that cancel() finds an issue either queued or taken.
                issue = self.queue.get(block=False)
            except standard_queue.Empty:
                return None
            flight = self._taken[issue.issue_id] = _Flight(issue)
            self._ran[issue.issue_id] = None
            self._cancelled.discard(issue.issue_id)
            if self._in_flight and self._p0_sequential and issue.priority == "P0":
                self._waiting_p0 = flight
                return None
            return flight

    def _hand_over(self, flight: _Flight) -> bool:
        """Have the pool work on it, or mark it if that is not possible; False if it was put off."""
        try:
            if self._is_put_off(flight):
                return False
            with self._lock:
                is_cancelled = flight.cancel_requests > 0
                self._leave_taken(flight)
                if not is_cancelled:
                    self._in_flight[flight.issue_id] = flight
            if not is_cancelled:
                self.pool.submit(flight.issue, partial(self._deliver, flight))
        except BaseException as error:
            with self._lock:
                self._dispatch_errors[flight.issue_id] = error
                self._leave_taken(flight, self.queue.mark_failed)
                self._end(flight, self.queue.mark_failed)
            self._report(f"{flight.issue_id} could not be started: {error!r}", error)
            if not isinstance(error, Exception):
                raise
        return True

    def _is_put_off(self, flight: _Flight) -> bool:
        if self._defer is None:
            return False
        with self._lock:
            if flight.cancel_requests:
                return False
            if flight.issue_id in self._put_off:
                return True
            # Before the question: what ends while it is asked makes the answer an old one.
            self._put_off.add(flight.issue_id)
            in_flight = frozenset(self._in_flight)
        if self._defer(flight.issue, in_flight):
            return True
        with self._lock:
            self._put_off.discard(flight.issue_id)
        return False

    def _deliver(self, flight: _Flight, result: WorkerResult) -> None:
        """The completion that each submission is given, bound to its flight."""
        with self._lock:
            is_owed = self._in_flight.get(flight.issue_id) is flight and not flight.is_reported
            flight.is_reported = True
        if not is_owed:
            self._report(f"{flight.issue_id}: a completion came that was not owed; it changes nothing")
            return
        try:
            if result.issue_id != flight.issue_id:
                raise ValueError(f"the completion of {flight.issue_id} speaks of {result.issue_id!r}")
            self.on_worker_complete(result)
        except BaseException as error:
            if flight.is_abandoned and isinstance(error, IllegalTransition):
                self._report(f"{flight.issue_id}: its completion came too late: {error}")
                return
            self._end(flight, self.queue.mark_failed)
            raise
        finally:
            # The books first: whoever reads the note, or happens to look before, finds them closed.
            self._end(flight)
            self._mailbox.put(None)

    def _end(self, flight: _Flight, mark: Callable[[str], None] | None = None) -> None:
        """Mark it and close its books, unless that was done, or the issue is on its way anew."""
        with self._lock:
            if self._in_flight.get(flight.issue_id) is not flight:
                return
            del self._in_flight[flight.issue_id]
            self._put_off.clear()
            if mark is not None:
                self._mark(mark, flight.issue_id)

    def _leave_taken(self, flight: _Flight, mark: Callable[[str], None] | None = None) -> None:
        """Mark an issue that is not handed to the pool; `cancelled` if that was promised to somebody."""
        with self._lock:
            if self._taken.pop(flight.issue_id, None) is None:
                return
            if flight.cancel_requests:
                self._cancelled.add(flight.issue_id)
                self._put_off.discard(flight.issue_id)
                mark = self.queue.mark_cancelled
            if mark is not None:
                self._mark(mark, flight.issue_id)

    def _give_back_waiting_p0(self) -> None:
        flight, self._waiting_p0 = self._waiting_p0, None
        if flight is not None:
            self._leave_taken(flight, self.queue.requeue)

    def _interrupt_queued(self) -> None:
        with self._lock:
            self._put_off.clear()
            for issue_id in self.queue.queued_ids:
                self._mark(self.queue.mark_interrupted, issue_id)

    def _cancel_queued(self, issue_id: str) -> bool:
        try:
            is_queued = self.queue.state_of(issue_id) is IssueState.QUEUED
        except KeyError:
            return False
        if not is_queued or not self._mark(self.queue.mark_cancelled, issue_id):
            return False
        self._cancelled.add(issue_id)
        self._put_off.discard(issue_id)
        return True

    def _mark(self, mark: Callable[[str], None], issue_id: str) -> bool:
        """False, and nothing changed, if somebody else has marked it otherwise."""
        try:
            mark(issue_id)
        except IllegalTransition:
            return False
        return True

    def _await_news(self) -> None:
        try:
            self._read(self._mailbox.get(timeout=POLL_SECONDS))
        except standard_queue.Empty:
            # Read before the books: a pool at 0 has returned from every completion, so these are closed.
            if self.pool.active_count == 0:
                self._write_off_unreported()

    def _write_off_unreported(self) -> None:
        with self._lock:
            lost = [flight for flight in self._in_flight.values() if not flight.is_reported]
            for flight in lost:
                self._end(flight, self.queue.mark_failed)
        for flight in lost:
            self._report(f"{flight.issue_id} is lost: the pool went idle and never reported it")

    def _is_stopped(self) -> bool:
        with suppress(standard_queue.Empty):
            while True:
                self._read(self._mailbox.get_nowait())
        return bool(self._stops)

    def _read(self, note: _StopRequest | None) -> None:
        if note is not None:
            self._stops.append(note)

    def _has_unasked(self) -> bool:
        if not self._put_off:
            return not self.queue.empty()
        return any(issue_id not in self._put_off for issue_id in self.queue.queued_ids)

    def _is_p0_in_flight(self) -> bool:
        return self._p0_sequential and any(one.issue.priority == "P0" for one in self._in_flight.values())

    def _is_cancel_requested(self, issue_id: str) -> bool:
        with self._lock:
            flight = self._in_flight.get(issue_id)
            return flight is not None and flight.cancel_requests > 0

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._mailbox.put(_StopRequest(signum))

    @contextmanager
    def _signals_in_mailbox(self) -> Iterator[None]:
        with ExitStack() as restored:
            for signum in _SIGNALS:
                previous = signal.getsignal(signum)
                # None stands for a handler that Python did not set and could not put back.
                if previous is not None:
                    # Only the main thread may set one.
                    with suppress(ValueError):
                        signal.signal(signum, self._on_signal)
                        restored.callback(signal.signal, signum, previous)
            yield

    def _exit_code(self) -> int:
        if self._stops:
            signum = self._stops[0].signum
            return ExitCode.STOPPED if signum is None else 128 + signum
        with self._lock:
            states = self.queue.states()
            by_request = frozenset(self._cancelled)
        code = ExitCode.OK
        for issue_id in self._ran:
            state = states[issue_id]
            if state is IssueState.IN_PROGRESS:
                self._report(f"{issue_id} is still in progress: its completion did not mark it")
            elif state is IssueState.QUEUED:
                self._report(f"{issue_id} was put off although nothing was in flight; it stays queued")
            is_by_request = state is IssueState.CANCELLED and issue_id in by_request
            if state is not IssueState.COMPLETED and not is_by_request:
                code = ExitCode.FAILED
        return code

    def _report(self, message: str, error: BaseException | None = None) -> None:
        # A logger that raises must not cost an issue its mark.
        with suppress(BaseException):
            self._logger.error(message, exc_info=error)
