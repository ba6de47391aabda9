"""Queues with one defect each, made from the sound one."""

from __future__ import annotations

import heapq
import queue
import threading
from collections import deque
from dataclasses import dataclass, field

from pytest_littleloops import Issue

from .registry import flawed
from .sound import COMPLETED, IN_PROGRESS, QUEUED, SoundQueue


@flawed(
    "LL301",
    "get() pops the issue and marks it in a second step; in between it is neither queued nor in progress.",
    kind="queue",
    bug="early idle",
    also=("LL101",),
    race=True,
)
class PopThenMarkQueue(SoundQueue):
    """Keeps what is queued in the heap alone, and states of what was taken only."""

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the first issue, then mark it in progress; raises queue.Empty."""
        with self._lock:
            if not self._arrived.wait_for(lambda: self._heap, timeout if block else 0):
                raise queue.Empty
            issue_id = heapq.heappop(self._heap)[2]
            del self._states[issue_id]
        with self._lock:
            self._states[issue_id] = IN_PROGRESS
            return self._issues[issue_id]


@flawed(
    "LL202",
    "A mark is taken whatever the state: completed becomes failed and failed becomes completed.",
    kind="queue",
    bug="accounting drift, starvation",
)
class UnguardedMarksQueue(SoundQueue):
    """Writes down the last mark."""

    def _mark(self, issue_id: str, target: str) -> None:
        with self._lock:
            is_taken = self._states.get(issue_id) not in (None, QUEUED)
            if is_taken and target != QUEUED:
                self._states[issue_id] = target
                return
        super()._mark(issue_id, target)


@flawed(
    "LL101",
    "requeue() writes the state queued, but get() never hands the issue out again.",
    kind="queue",
    bug="accounting drift, starvation",
    also=("LL303",),
)
class RequeueForgetsQueue(SoundQueue):
    """Changes the state and leaves the heap as it is."""

    def requeue(self, issue_id: str) -> None:
        """Mark the issue as queued again."""
        super().requeue(issue_id)
        with self._lock:
            self._heap = [entry for entry in self._heap if entry[2] != issue_id]
            heapq.heapify(self._heap)


@flawed(
    "LL202",
    "Adding a known id queues it again, out of whatever terminal state it is in.",
    kind="queue",
    bug="double execution",
    also=("LL201",),
)
class ReAddResetsQueue(SoundQueue):
    """Knows only the ids that are queued or in progress."""

    def add(self, issue: Issue) -> bool:
        """Queue an issue; False if it is queued or in progress."""
        with self._lock:
            if self._states.get(issue.issue_id) in (QUEUED, IN_PROGRESS):
                return False
            self._enqueue(issue)
            return True


@dataclass(eq=False, slots=True)
class _Waiter:
    event: threading.Event = field(default_factory=threading.Event)
    issue_id: str = ""


@flawed(
    "LL101",
    "add() hands the issue to a waiting get(), which times out at that moment and drops it.",
    kind="queue",
    bug="timeout race",
    also=("LL303",),
    race=True,
)
class HandOffQueue(SoundQueue):
    """Gives a new issue to the first waiter, in progress already."""

    def __init__(self) -> None:
        super().__init__()
        self._waiters: deque[_Waiter] = deque()

    def _enqueue(self, issue: Issue) -> None:
        if not self._waiters:
            super()._enqueue(issue)
            return
        waiter = self._waiters.popleft()
        self._issues[issue.issue_id] = issue
        self._states[issue.issue_id] = IN_PROGRESS
        waiter.issue_id = issue.issue_id
        waiter.event.set()

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the first issue, or wait to be given one; raises queue.Empty."""
        with self._lock:
            if self._heap or not block:
                return self._pop()
            waiter = _Waiter()
            self._waiters.append(waiter)
        if waiter.event.wait(timeout):
            return self._issues[waiter.issue_id]
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        raise queue.Empty

    def _pop(self) -> Issue:
        if not self._heap:
            raise queue.Empty
        issue_id = heapq.heappop(self._heap)[2]
        self._states[issue_id] = IN_PROGRESS
        return self._issues[issue_id]


@flawed(
    "LL101",
    "add() wakes a waiter only if the queue was empty; of two issues added at once one wakes nobody.",
    kind="queue",
    bug="accounting drift, starvation",
    also=("LL303", "LL302"),
    race=True,
)
class OneWakeupQueue(SoundQueue):
    """Saves a notify when issues are there already."""

    def _enqueue(self, issue: Issue) -> None:
        self._issues[issue.issue_id] = issue
        self._states[issue.issue_id] = QUEUED
        heapq.heappush(self._heap, (issue.priority, next(self._order), issue.issue_id))
        if len(self._heap) == 1:
            self._arrived.notify()


@flawed(
    "LL203",
    "A completion for an id that was never added is taken and counted.",
    kind="queue",
    bug="accounting drift, starvation",
)
class UnknownIdQueue(SoundQueue):
    """Takes every completion as it comes."""

    def mark_completed(self, issue_id: str) -> None:
        """Note that the issue has succeeded."""
        with self._lock:
            if issue_id not in self._states:
                self._states[issue_id] = COMPLETED
                return
        super().mark_completed(issue_id)


@flawed(
    "LL202",
    "An issue that is requeued stays in completed_ids while it is queued and in progress again.",
    kind="queue",
    bug="accounting drift, starvation",
)
class RequeueKeepsCompletedQueue(SoundQueue):
    """Keeps the completed ids in a set of their own."""

    def __init__(self) -> None:
        super().__init__()
        self._completed: set[str] = set()

    def mark_completed(self, issue_id: str) -> None:
        """The issue, in progress, has succeeded."""
        super().mark_completed(issue_id)
        with self._lock:
            self._completed.add(issue_id)

    @property
    def completed_ids(self) -> set[str]:
        """The issues that have succeeded."""
        with self._lock:
            return set(self._completed)


@flawed(
    "LL201",
    "get() looks at the first issue and takes it in a second step; two takers may look at the same one.",
    kind="queue",
    bug="double execution",
    also=("LL202",),
    race=True,
)
class PeekThenTakeQueue(SoundQueue):
    """Looks under the lock, takes under the lock, and lets go of it in between."""

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Look at the first issue, then take it; raises queue.Empty."""
        with self._lock:
            if not self._arrived.wait_for(lambda: self._heap, timeout if block else 0):
                raise queue.Empty
            entry = self._heap[0]
        with self._lock:
            if entry in self._heap:
                self._heap.remove(entry)
                heapq.heapify(self._heap)
            self._states[entry[2]] = IN_PROGRESS
            return self._issues[entry[2]]


@flawed(
    "LL101",
    "An issue that is requeued goes before all others, and every other one of its priority is forgotten.",
    kind="queue",
    bug="accounting drift, starvation",
    also=("LL303",),
)
class LastOfItsKindQueue(SoundQueue):
    """Has one place for each priority."""

    def add(self, issue: Issue) -> bool:
        """Queue an issue in the place of its priority; False if it is known."""
        is_taken = super().add(issue)
        with self._lock:
            places = {entry[0]: entry for entry in sorted(self._heap)}
            self._heap = sorted(places.values())
        return is_taken


@flawed(
    "LL302",
    "close() lets no more issues in, and wakes nobody of those who wait for one.",
    kind="queue",
    bug="shutdown loss",
)
class SilentCloseQueue(SoundQueue):
    """Sets a flag that is read before the wait, and never in it."""

    def __init__(self) -> None:
        super().__init__()
        self._is_closed = False

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the first issue; raises queue.Empty, at once if it is closed."""
        return super().get(block and not self._is_closed, timeout)

    def close(self) -> None:
        """Let no more issues in."""
        self._is_closed = True


@flawed(
    "LL302",
    "requeue() puts the issue back, and wakes nobody who waits for one.",
    kind="queue",
    bug="accounting drift, starvation",
    also=("LL101",),
)
class QuietRequeueQueue(SoundQueue):
    """Notifies for what is new alone."""

    def requeue(self, issue_id: str) -> None:
        """Mark the issue as queued again."""
        with self._lock:
            if self._states.get(issue_id) in (None, QUEUED):
                raise KeyError(issue_id)
            self._states[issue_id] = QUEUED
            entry = self._issues[issue_id].priority, next(self._order), issue_id
            heapq.heappush(self._heap, entry)


@flawed(
    "LL201",
    "A queued issue that is marked cancelled stays in the heap, and is handed out.",
    kind="queue",
    bug="cancel race",
    also=("LL202",),
)
class CancelledStaysQueue(SoundQueue):
    """Writes the state down, and does not look into the heap."""

    def mark_cancelled(self, issue_id: str) -> None:
        """Somebody asked for the issue not to be worked on."""
        with self._lock:
            if self._states.get(issue_id) == QUEUED:
                self._states[issue_id] = "cancelled"
                return
        super().mark_cancelled(issue_id)


@flawed(
    "LL201",
    "add() looks whether the id is known, and takes the issue in in a second step.",
    kind="queue",
    bug="double execution",
    also=("LL202",),
    race=True,
)
class CheckThenAddQueue(SoundQueue):
    """Two callers may both find that an issue is new."""

    def add(self, issue: Issue) -> bool:
        """Queue an issue; False if its id is known already."""
        with self._lock:
            if issue.issue_id in self._states:
                return False
        with self._lock:
            self._enqueue(issue)
            return True


@flawed(
    "LL302",
    "A timeout of 0 is taken for none at all.",
    kind="queue",
    bug="timeout race",
)
class ZeroIsForEverQueue(SoundQueue):
    """Reads its timeout with `or`."""

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the first issue; raises queue.Empty."""
        return super().get(block, timeout or None)
