"""What the observers of one ledger share: submission numbers, what is owed, and where each thread is."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
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
        self.futures: weakref.WeakValueDictionary[int, object] = weakref.WeakValueDictionary()
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

    def keep(self, number: int, result: object) -> None:
        """Keep, weakly, what tells by `done()` or `ready()` whether this submission has ended."""
        with suppress(TypeError):
            self.futures[number] = result

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
    def completed(self) -> str | None:
        """The issue whose completion the calling thread is inside of."""
        outer: list[str | None] = getattr(self._local, "completing", [])
        return outer[-1] if outer else None

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


@dataclass(slots=True)
class Held:
    """An item that a queue has taken in, and that nobody has marked yet."""

    issue_id: str
    accepted: int = 0
    """The how-many-eth to be accepted; 0 while `put` has not returned."""


class Takings:
    """What one queue holds, and which thread took what, to tell for whom a mark without an argument is.

    For the issue that the calling thread is completing, if that was taken here. Otherwise for what the
    thread took last: a consumer marks what it is at, so what it passed over stays unmarked. A thread
    that holds nothing marks what is held longest, since whoever takes may leave the marking to others.
    So never are more issues left unmarked than marks are missing.

    Thread-safe without a lock: every step is one operation on a dictionary, a list or a deque.
    """

    def __init__(self, observations: Observations) -> None:
        self._observations = observations
        self._held: dict[int, Held] = {}
        # Numbers of items. Found by one way, they stay in the others; what is not held is passed over.
        self._waiting: dict[str, list[int]] = {}
        self._taken: dict[str, list[int]] = {}
        self._taken_by: defaultdict[threading.Thread, deque[int]] = defaultdict(deque)
        self._by_age: deque[int] = deque()
        self._blanks: deque[None] = deque()
        self._blanks_of: defaultdict[threading.Thread, deque[None]] = defaultdict(deque)
        self._acceptances = itertools.count(1)
        self._accepted = 0

    def next_number(self) -> int:
        """A new item's number, to be told to the journal before `put`: from then on it may be taken."""
        return self._observations.next_number()

    def put(self, number: int, issue_id: str) -> None:
        """Note that an item is about to be taken in."""
        self._held[number] = Held(issue_id)
        self._waiting.setdefault(issue_id, []).append(number)

    def accept(self, number: int) -> None:
        """Note that it was taken in."""
        accepted = next(self._acceptances)
        held = self._held.get(number)
        if held is not None:
            held.accepted = accepted
        self._accepted = max(self._accepted, accepted)

    def withdraw(self, number: int, issue_id: str) -> int:
        """Note that it was not; returns its number.

        That is another one if an item of the same issue, put in at the same time, was taken for it.
        """
        waiting = self._waiting[issue_id]
        try:
            waiting.remove(number)
        except ValueError:
            with suppress(IndexError):
                number = waiting.pop()
        self._held.pop(number, None)
        return number

    def take(self, issue_id: str) -> int:
        """Note that the calling thread was handed an item; returns its number."""
        number = self._next(functools.partial(self._waiting.setdefault(issue_id, []).pop, 0))
        if not number:  # from before the watch
            number = self._observations.next_number()
            self._held[number] = Held(issue_id)
        self._keep(number, issue_id)
        return number

    def put_blank(self) -> None:
        """Note that an item without an id, a sentinel, is about to be taken in."""
        self._blanks.append(None)

    def take_blank(self) -> None:
        """Note that the calling thread was handed one, or, where none was put in, that there was none."""
        with suppress(IndexError):
            self._blanks_of[threading.current_thread()].append(self._blanks.pop())

    def mark(self, issue_id: str | None) -> tuple[int, str] | None:
        """Note a mark by the calling thread, for an issue or, for None, without an argument.

        Returns the number of the item that it is for, with its issue, or None: for a sentinel, or for
        nothing that is known here.
        """
        named = issue_id or self._observations.completed
        if named is not None and (found := self._claim(self._taken.get(named, []).pop)):
            return found
        if issue_id is not None:
            return None
        mine = self._taken_by[threading.current_thread()]
        if found := self._claim(mine.pop):
            return found
        with suppress(IndexError):
            self._blanks_of[threading.current_thread()].pop()
            return None
        return self._claim(self._by_age.popleft)

    def refuse(self, number: int, issue_id: str) -> None:
        """Note that the queue refused a mark: the item is held again."""
        self._held[number] = Held(issue_id)
        self._keep(number, issue_id)

    def claimed_idle(self) -> Callable[[str], None]:
        """Called when a claim that nothing is held begins; call what it returns when it was made.

        Notes what was held all through it.
        """
        before = self._accepted

        def note(claim: str) -> None:
            for number, held in list(self._held.items()):
                if 0 < held.accepted <= before:
                    self._observations.journal.append(Kind.IDLE, held.issue_id, number, detail=claim)

        return note

    def _keep(self, number: int, issue_id: str) -> None:
        self._taken.setdefault(issue_id, []).append(number)
        self._taken_by[threading.current_thread()].append(number)
        self._by_age.append(number)

    def _next(self, pop: Callable[[], int]) -> int:
        with suppress(IndexError):
            while (number := pop()) not in self._held:
                pass
            return number
        return 0

    def _claim(self, pop: Callable[[], int]) -> tuple[int, str] | None:
        while number := self._next(pop):
            # Of two threads that found it at once one has it.
            if (held := self._held.pop(number, None)) is not None:
                return number, held.issue_id
        return None
