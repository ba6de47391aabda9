"""What the observers of one ledger share: submission numbers, what is owed, and where each thread is."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_littleloops.harness.accounts.journal import Journal, Kind


@dataclass(frozen=True, slots=True)
class Owed:
    """A submission that was accepted and whose completion has not returned yet."""

    issue_id: str
    pool: int
    """The `id` of the pool that owes it."""
    accepted: int
    """The how-many-eth to be accepted, to compare with an idle claim's beginning."""


class Observations:
    """What the observers of one ledger share: the journal, submission numbers, what is owed.

    Thread-safe without a lock: every step is one operation on a dictionary or a counter.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.owed: dict[int, Owed] = {}
        self.futures: weakref.WeakValueDictionary[int, Future[object]] = weakref.WeakValueDictionary()
        self.born: dict[int, Future[object]] = {}
        """The future that an executor made for each submission, until `submit` returns."""
        self.returned: dict[int, int] = {}
        """The `id` of the future that each submission returned."""
        self.accepted = 0
        self.raised: set[int] = set()
        """The submissions whose completion has raised."""
        self._settled: set[int] = set()
        self._early: Counter[str] = Counter()
        """Completions that came for an issue before its `submit` returned."""
        self._numbers = itertools.count(1)
        self._acceptances = itertools.count(1)
        self._local = threading.local()

    def next_number(self) -> int:
        """A new submission's number."""
        return next(self._numbers)

    def accept(self, number: int, issue_id: str, pool: object) -> None:
        """Note that a completion is owed from now on, unless it came before `submit` returned."""
        if self._early[issue_id] > 0:
            self._early[issue_id] -= 1
            return
        accepted = next(self._acceptances)
        self.owed[number] = Owed(issue_id, id(pool), accepted)
        self.accepted = max(self.accepted, accepted)
        if number in self._settled:
            self.settle(number)

    def settle(self, number: int) -> None:
        """Note that the completion of this submission has returned, or raised."""
        self._settled.add(number)
        if self.owed.pop(number, None) is not None:
            self._settled.discard(number)

    def settle_issue(self, issue_id: str) -> None:
        """Note that a completion which is not bound to a submission has returned: the oldest one's."""
        for number, owed in list(self.owed.items()):
            if owed.issue_id == issue_id:
                self.settle(number)
                return
        self._early[issue_id] += 1

    def claimed_idle(self, pool: object, before: int, claim: str) -> None:
        """Note each completion that `pool` owed all through a call that claimed that nothing is owed.

        `before` is `accepted` as read when the call began. A claim from inside the pool's own work
        is none: what calls it is itself still owed.
        """
        if not self.owed or self.is_own_work():
            return
        for number, owed in list(self.owed.items()):
            if owed.pool == id(pool) and owed.accepted <= before:
                self.journal.append(Kind.IDLE, owed.issue_id, number, detail=claim)

    @contextmanager
    def own_work(self) -> Iterator[None]:
        """Mark the calling thread as inside a process function or a completion."""
        self._local.depth = getattr(self._local, "depth", 0) + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    def is_own_work(self) -> bool:
        """True in a thread that is inside `own_work`."""
        return self.depth > 0

    @property
    def depth(self) -> int:
        """How deep the calling thread is inside process functions and completions."""
        depth: int = getattr(self._local, "depth", 0)
        return depth

    @contextmanager
    def completing(self, number: int, issue_id: str | None) -> Iterator[bool]:
        """Whether this is a completion of its own, and not what another one calls for the same issue.

        A completion that is kept (number 0) and called from inside another one for the same issue is
        the same: both the pool's argument and the orchestrator's method are watched.
        """
        outer: list[str | None] = self._local.__dict__.setdefault("completing", [])
        is_own = number != 0 or outer[-1:] != [issue_id]
        outer.append(issue_id)
        try:
            yield is_own
        finally:
            outer.pop()

    @property
    def dispatch(self) -> tuple[int, str] | None:
        """The submission, number and issue, that the calling thread is dispatching."""
        dispatch: tuple[int, str] | None = getattr(self._local, "dispatch", None)
        return dispatch

    @contextmanager
    def dispatching(self, number: int, issue_id: str) -> Iterator[None]:
        """Attribute futures that the calling thread brings forth to this submission."""
        outer = self.dispatch
        self._local.dispatch = number, issue_id
        try:
            yield
        finally:
            self._local.dispatch = outer
