"""The reference `IssueQueue`: which issues there are, which state each is in, which comes next.

One lock guards all of it, and every change of a state is made in one place, `_transition`, which knows
the legal ones. Nothing of anybody else is called while the lock is held.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Iterable

from pytest_littleloops.reference.model import PRIORITIES, IllegalTransition, Issue, IssueState

_MAY_BECOME: dict[IssueState, frozenset[IssueState | None]] = {
    IssueState.QUEUED: frozenset({None, IssueState.IN_PROGRESS} | {s for s in IssueState if s.is_terminal}),
    IssueState.IN_PROGRESS: frozenset({IssueState.QUEUED}),
    IssueState.COMPLETED: frozenset({IssueState.IN_PROGRESS}),
    IssueState.FAILED: frozenset({IssueState.IN_PROGRESS}),
    IssueState.CANCELLED: frozenset({IssueState.QUEUED, IssueState.IN_PROGRESS}),
    IssueState.INTERRUPTED: frozenset({IssueState.QUEUED, IssueState.IN_PROGRESS}),
}
"""Each state, and those from which an issue may get there. None: not known before."""


class IssueQueue:
    """Hands out issues, P0 first and first-in-first-out inside a priority, and knows how each ended.

    Taking an issue and marking it in progress is one step, so every issue that was added is in exactly
    one state at any moment. A terminal state is left by `requeue` only. All methods may be called from
    any thread, and each takes the same time however many issues there are, unless it lists them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._issues: dict[str, Issue] = {}
        self._states: dict[str, IssueState] = {}
        # Dictionaries as ordered sets: a count, and leaving from the middle, cost nothing.
        self._ids_in: dict[IssueState, dict[str, None]] = {state: {} for state in IssueState}
        # Ordered dictionaries, since a plain one walks over everything it ever handed out to find its
        # first; and no deques, since an issue that is cancelled would have to be left in them.
        self._waiting: dict[str, OrderedDict[str, Issue]] = {name: OrderedDict() for name in PRIORITIES}

    def add(self, issue: Issue) -> bool:
        """Queue `issue`; False, and nothing changes, if its id is known already, in any state.

        Raises TypeError if it is no `Issue`.
        """
        _check_issue(issue)
        with self._changed:
            if issue.issue_id in self._states:
                return False
            self._issues[issue.issue_id] = issue
            self._transition(issue.issue_id, IssueState.QUEUED)
            return True

    def add_many(self, issues: Iterable[Issue]) -> int:
        """Queue those whose ids are not known yet, in their order; how many that were.

        Raises TypeError if one of them is no `Issue`; then none is queued.
        """
        # Read before the first is added: the iterable is foreign code, and may use this queue.
        candidates = list(issues)
        for issue in candidates:
            _check_issue(issue)
        # Through add(), so that whoever overrides or watches it hears of each.
        return sum(self.add(issue) for issue in candidates)

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the next issue; it is in progress from then on, and the caller's to have marked.

        If there is none it waits for one, at most `timeout` seconds, unless `block` is False.

        Raises `queue.Empty` of the standard library if none came, ValueError for a negative `timeout`.
        """
        if block and timeout is not None and timeout < 0:
            raise ValueError(f"timeout must not be negative, but is {timeout}")
        with self._changed:
            if block:
                self._wait_for_queued(timeout)
            for waiting in self._waiting.values():
                if waiting:
                    issue = next(iter(waiting.values()))
                    self._transition(issue.issue_id, IssueState.IN_PROGRESS)
                    return issue
        raise queue.Empty

    def mark_completed(self, issue_id: str) -> None:
        """Note that the work succeeded. Repeating it changes nothing, as for the other marks.

        Raises IllegalTransition, and nothing changes, unless the issue is in progress.
        """
        self._transition(issue_id, IssueState.COMPLETED)

    def mark_failed(self, issue_id: str) -> None:
        """Note that the work failed.

        Raises IllegalTransition, and nothing changes, unless the issue is in progress.
        """
        self._transition(issue_id, IssueState.FAILED)

    def mark_cancelled(self, issue_id: str) -> None:
        """Note that somebody asked for this issue not to be worked on; if it waits, it stays here.

        Raises IllegalTransition, and nothing changes, unless the issue is queued or in progress.
        """
        self._transition(issue_id, IssueState.CANCELLED)

    def mark_interrupted(self, issue_id: str) -> None:
        """Note that a shutdown ended this issue for now; if it waits, it stays here.

        Raises IllegalTransition, and nothing changes, unless the issue is queued or in progress.
        """
        self._transition(issue_id, IssueState.INTERRUPTED)

    def requeue(self, issue_id: str) -> None:
        """Queue an issue again, behind all others of its priority.

        Raises IllegalTransition, and nothing changes, if it is queued already or was never added.
        """
        self._transition(issue_id, IssueState.QUEUED)

    def state_of(self, issue_id: str) -> IssueState:
        """The state of one issue. Raises KeyError if it was never added."""
        with self._changed:
            state = self._states.get(issue_id)
        if state is None:
            raise KeyError(f"{issue_id} was never added to this queue")
        return state

    def states(self) -> dict[str, IssueState]:
        """The state of every issue at one moment, in the order in which they were added."""
        with self._changed:
            return dict(self._states)

    def empty(self) -> bool:
        """True if no issue waits to be taken."""
        return self.qsize() == 0

    def qsize(self) -> int:
        """How many issues wait to be taken."""
        return self._count(IssueState.QUEUED)

    @property
    def queued_ids(self) -> list[str]:
        """The issues that wait, first queued first, whatever their priority."""
        return self._ids(IssueState.QUEUED)

    @property
    def in_progress_ids(self) -> list[str]:
        """The issues that were taken and not marked yet, first taken first."""
        return self._ids(IssueState.IN_PROGRESS)

    @property
    def completed_ids(self) -> list[str]:
        """The issues that are completed, first marked first; likewise the next three."""
        return self._ids(IssueState.COMPLETED)

    @property
    def failed_ids(self) -> list[str]:
        """The issues that are failed."""
        return self._ids(IssueState.FAILED)

    @property
    def cancelled_ids(self) -> list[str]:
        """The issues that are cancelled."""
        return self._ids(IssueState.CANCELLED)

    @property
    def interrupted_ids(self) -> list[str]:
        """The issues that are interrupted."""
        return self._ids(IssueState.INTERRUPTED)

    @property
    def queued_count(self) -> int:
        """How many issues are queued."""
        return self._count(IssueState.QUEUED)

    @property
    def in_progress_count(self) -> int:
        """How many issues are in progress."""
        return self._count(IssueState.IN_PROGRESS)

    @property
    def completed_count(self) -> int:
        """How many issues are completed."""
        return self._count(IssueState.COMPLETED)

    @property
    def failed_count(self) -> int:
        """How many issues are failed."""
        return self._count(IssueState.FAILED)

    @property
    def cancelled_count(self) -> int:
        """How many issues are cancelled."""
        return self._count(IssueState.CANCELLED)

    @property
    def interrupted_count(self) -> int:
        """How many issues are interrupted."""
        return self._count(IssueState.INTERRUPTED)

    def _wait_for_queued(self, timeout: float | None) -> None:
        try:
            self._changed.wait_for(self.qsize, timeout)
        except BaseException:
            # Ctrl-C may come just after a wake-up, which nobody else would get for the same issue.
            self._changed.notify()
            raise

    def _ids(self, state: IssueState) -> list[str]:
        with self._changed:
            return list(self._ids_in[state])

    def _count(self, state: IssueState) -> int:
        with self._changed:
            return len(self._ids_in[state])

    def _transition(self, issue_id: str, requested: IssueState) -> None:
        with self._changed:
            current = self._states.get(issue_id)
            # Two that say the same do not contradict each other.
            if current is requested and requested.is_terminal:
                return
            if issue_id not in self._issues or current not in _MAY_BECOME[requested]:
                raise IllegalTransition(issue_id, current, requested)
            issue = self._issues[issue_id]
            waiting = self._waiting[issue.priority]
            if current is not None:
                del self._ids_in[current][issue_id]
            if current is IssueState.QUEUED:
                del waiting[issue_id]
            self._states[issue_id] = requested
            self._ids_in[requested][issue_id] = None
            if requested is IssueState.QUEUED:
                waiting[issue_id] = issue
                self._changed.notify()


def _check_issue(issue: object) -> None:
    if not isinstance(issue, Issue):
        raise TypeError(f"only an Issue can be queued, not {issue!r}")
