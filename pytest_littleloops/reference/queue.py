"""The reference `IssueQueue`: which issues wait, and in which state every other one is.

One lock guards it all. Taking an issue and marking it in progress is one step, so no issue is ever in
neither place. Every change of state passes through `_move`, after it was found legal. What lives here
knows nothing of pools or orchestrators; they call it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable

from pytest_littleloops.reference.model import PRIORITIES, IllegalTransition, Issue, IssueState

_QUEUED = IssueState.QUEUED
_IN_PROGRESS = IssueState.IN_PROGRESS
_TERMINAL = frozenset(state for state in IssueState if state.is_terminal)

_LEGAL_BEFORE: dict[IssueState, frozenset[IssueState]] = {
    IssueState.QUEUED: _TERMINAL | {_IN_PROGRESS},
    IssueState.COMPLETED: frozenset({_IN_PROGRESS}),
    IssueState.FAILED: frozenset({_IN_PROGRESS}),
    IssueState.CANCELLED: frozenset({_QUEUED, _IN_PROGRESS}),
    IssueState.INTERRUPTED: frozenset({_QUEUED, _IN_PROGRESS}),
}
"""From which states a caller may ask for each; `in_progress` is missing, as only `get` leads there."""


def _check(issue: object) -> None:
    if not isinstance(issue, Issue):
        raise TypeError(f"only an Issue can be queued, not {issue!r}")


class _Record:
    """One issue and its state. Requeueing makes a new one, so that an old place in a lane stays stale."""

    __slots__ = ("issue", "state")

    def __init__(self, issue: Issue) -> None:
        self.issue = issue
        self.state = _QUEUED


class _Lane:
    """The records of one priority in their order; those that are queued no more are skipped lazily."""

    __slots__ = ("records", "stale")

    def __init__(self) -> None:
        self.records: deque[_Record] = deque()
        self.stale = 0

    def first(self) -> _Record | None:
        """The record to hand out next, still in its place."""
        records = self.records
        while records:
            if records[0].state is _QUEUED:
                return records[0]
            records.popleft()
            self.stale -= 1
        return None

    def leave_stale(self) -> None:
        """Count a record that will never be handed out; sweep once they are the majority."""
        self.stale += 1
        # A sweep costs as much as the lane is long, and at least half of that many were left before it.
        if self.stale * 2 > len(self.records):
            self.records = deque(record for record in self.records if record.state is _QUEUED)
            self.stale = 0


class IssueQueue:
    """Hands out issues by priority, `P0` first and first-in-first-out inside one, and knows their states.

    A terminal state is left by `requeue` alone. A mark that contradicts what is known raises
    `IllegalTransition` and changes nothing; to repeat the mark of a terminal state is no contradiction.
    All methods may be called from any thread; each is one step. Adding, taking and marking cost the
    same however many issues there are. The lists of ids are copies in the order of addition, except
    `queued_ids`, which is in the order of handing out.
    """

    def __init__(self) -> None:
        # Its lock is re-entrant, so that a signal handler may ask what the code it interrupted asks.
        self._changed = threading.Condition()
        self._records: dict[str, _Record] = {}
        self._lanes = {priority: _Lane() for priority in PRIORITIES}
        self._counts = dict.fromkeys(IssueState, 0)

    def add(self, issue: Issue) -> bool:
        """Queue `issue`; False if its id is already known, in whatever state.

        Raises TypeError for what is no `Issue`.
        """
        _check(issue)
        with self._changed:
            if issue.issue_id in self._records:
                return False
            self._move(issue, None, _QUEUED)
            return True

    def add_many(self, issues: Iterable[Issue]) -> int:
        """Queue all of `issues` whose ids are not yet known, in one step, and return how many that were.

        Raises TypeError if one of them is no `Issue`; none is queued then.
        """
        # Read before locking: the iterable is foreign code.
        candidates = list(issues)
        for candidate in candidates:
            _check(candidate)
        with self._changed:
            return sum(self.add(issue) for issue in candidates)

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the issue that is next and mark it in progress.

        With `block` it waits for one, `timeout` seconds at most if that is given. Raises `queue.Empty`
        if there is none, ValueError for a negative timeout.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError(f"timeout must not be negative: {timeout}")
        with self._changed:
            if block:
                self._wait_for_queued(timeout)
            for lane in self._lanes.values():
                record = lane.first()
                if record is not None:
                    self._move(record.issue, record, _IN_PROGRESS)
                    return record.issue
        raise queue.Empty

    def mark_completed(self, issue_id: str) -> None:
        """End an issue in progress as completed."""
        self._request(issue_id, IssueState.COMPLETED)

    def mark_failed(self, issue_id: str) -> None:
        """End an issue in progress as failed."""
        self._request(issue_id, IssueState.FAILED)

    def mark_cancelled(self, issue_id: str) -> None:
        """End an issue that is queued or in progress as cancelled: somebody asked for that."""
        self._request(issue_id, IssueState.CANCELLED)

    def mark_interrupted(self, issue_id: str) -> None:
        """End an issue that is queued or in progress as interrupted: a shutdown stopped it."""
        self._request(issue_id, IssueState.INTERRUPTED)

    def cancel_queued(self, issue_id: str) -> bool:
        """Mark an issue cancelled if it still waits, in one step; False if it does not, or is unknown."""
        with self._changed:
            record = self._records.get(issue_id)
            if record is None or record.state is not _QUEUED:
                return False
            self.mark_cancelled(issue_id)
            return True

    def interrupt_queued(self) -> int:
        """Mark everything that waits interrupted, in one step, and return how many issues that were."""
        with self._changed:
            waiting = self.queued_ids
            for issue_id in waiting:
                self.mark_interrupted(issue_id)
            return len(waiting)

    def requeue(self, issue_id: str) -> None:
        """Put an issue that is in progress or ended back, behind all that wait with its priority."""
        self._request(issue_id, _QUEUED)

    def state_of(self, issue_id: str) -> IssueState:
        """The state of one issue. Raises KeyError if it was never added."""
        with self._changed:
            record = self._records.get(issue_id)
            if record is None:
                raise KeyError(f"{issue_id} was never added to this queue")
            return record.state

    def states(self) -> dict[str, IssueState]:
        """The state of every issue ever added, as of one moment."""
        with self._changed:
            return {issue_id: record.state for issue_id, record in self._records.items()}

    def empty(self) -> bool:
        """True if no issue waits; there may be some in progress."""
        return self.queued_count == 0

    def qsize(self) -> int:
        """How many issues wait."""
        return self.queued_count

    @property
    def queued_ids(self) -> list[str]:
        """The waiting issues in the order in which `get` would hand them out."""
        with self._changed:
            return [
                record.issue.issue_id
                for lane in self._lanes.values()
                for record in lane.records
                if record.state is _QUEUED
            ]

    @property
    def in_progress_ids(self) -> list[str]:
        """The issues that were taken and have not ended."""
        return self._ids(_IN_PROGRESS)

    @property
    def completed_ids(self) -> list[str]:
        """The issues that ended well."""
        return self._ids(IssueState.COMPLETED)

    @property
    def failed_ids(self) -> list[str]:
        """The issues whose work failed."""
        return self._ids(IssueState.FAILED)

    @property
    def cancelled_ids(self) -> list[str]:
        """The issues whose cancellation was asked for."""
        return self._ids(IssueState.CANCELLED)

    @property
    def interrupted_ids(self) -> list[str]:
        """The issues that a shutdown stopped."""
        return self._ids(IssueState.INTERRUPTED)

    @property
    def queued_count(self) -> int:
        """How many issues wait."""
        return self._count(_QUEUED)

    @property
    def in_progress_count(self) -> int:
        """How many issues were taken and have not ended."""
        return self._count(_IN_PROGRESS)

    @property
    def completed_count(self) -> int:
        """How many issues ended well."""
        return self._count(IssueState.COMPLETED)

    @property
    def failed_count(self) -> int:
        """How many issues failed."""
        return self._count(IssueState.FAILED)

    @property
    def cancelled_count(self) -> int:
        """How many issues were cancelled on request."""
        return self._count(IssueState.CANCELLED)

    @property
    def interrupted_count(self) -> int:
        """How many issues a shutdown stopped."""
        return self._count(IssueState.INTERRUPTED)

    def _request(self, issue_id: str, requested: IssueState) -> None:
        """Change the state of `issue_id` if that is legal, otherwise raise IllegalTransition."""
        with self._changed:
            record = self._records.get(issue_id)
            if record is None:
                raise IllegalTransition(issue_id, None, requested)
            if record.state is requested and requested in _TERMINAL:
                return
            if record.state not in _LEGAL_BEFORE[requested]:
                raise IllegalTransition(issue_id, record.state, requested)
            self._move(record.issue, record, requested)

    def _move(self, issue: Issue, record: _Record | None, state: IssueState) -> None:
        """Change one state: the only place that does. The lock is held, and the change is legal.

        Without a record the issue is new. An issue goes in progress only from the head of its lane.
        """
        lane = self._lanes[issue.priority]
        before = record.state if record is not None else None
        if before is not None:
            self._counts[before] -= 1
        self._counts[state] += 1
        if record is None or state is _QUEUED:
            record = self._records[issue.issue_id] = _Record(issue)
            lane.records.append(record)
            self._changed.notify()
            return
        record.state = state
        if state is _IN_PROGRESS:
            lane.records.popleft()
        elif before is _QUEUED:
            lane.leave_stale()

    def _wait_for_queued(self, timeout: float | None) -> None:
        try:
            self._changed.wait_for(lambda: self._counts[_QUEUED] > 0, timeout)
        except BaseException:
            # Ctrl-C may come after the wake-up: without this nobody would take the issue it was for.
            self._changed.notify()
            raise

    def _ids(self, state: IssueState) -> list[str]:
        with self._changed:
            return [issue_id for issue_id, record in self._records.items() if record.state is state]

    def _count(self, state: IssueState) -> int:
        with self._changed:
            return self._counts[state]
