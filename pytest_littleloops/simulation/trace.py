"""The Mazurkiewicz trace of one execution: what each step touched, what came before what, and which races.

Two executions are the same trace if they differ only in the order of steps that do not conflict. Two steps
conflict if they touch one object and are not both reads of it. A step begins with the operation that its
task announced, and goes on to the next announcement: what it does in between that others could notice (the
release of a lock, the start of a timed wait) belongs to it.

Sets of steps are the bits of whole numbers. For the some 80 steps of a typical schedule that is the
cheapest representation Python has: a join of two vector clocks is one `|`, and "before" is one shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_littleloops.simulation.tasks import CLOCK, Task

if TYPE_CHECKING:
    from pytest_littleloops.simulation.world import World

READ, ACQUIRE, RELEASE, WRITE = 1, 2, 4, 8
"""What a step does to an object. All but reads are changes."""
CHANGE = ACQUIRE | RELEASE | WRITE

Key = tuple[int, ...]
"""The name of an object, the same in every execution."""

Accesses = dict[Key, int]
"""What a step does to each object that it touches."""

CLOCK_KEY: Key = (-3, 0)
END_KEY: Key = (-3, 1)
"""The end of the world, when only daemons are left: it takes from them what they could have done."""
OUTSIDE_KEY: Key = (-3, 2)
"""All that is not under control, as if it were one object."""

_KINDS = {
    "acquire": ACQUIRE,
    "release": RELEASE,
    "end": RELEASE,
    "look at": READ,
    "join": READ,
    "read": READ,
}
"""Of operations that do one thing to one object; what is missing here changes its object."""


class _Record:
    """What has been done to one object so far."""

    __slots__ = ("acquirer", "all_before", "change_before", "changer", "is_free_again", "readers")

    def __init__(self) -> None:
        self.changer = -1
        """The last step that changed it."""
        self.acquirer = -1
        """The last step that acquired it."""
        self.is_free_again = False
        """Whether the last change was a release."""
        self.readers: list[int] = []
        """The steps that have read it since."""
        self.change_before = 0
        """What came before the last change, and that itself."""
        self.all_before = 0
        """What came before any of these steps, and they themselves."""


class Listener:
    """Hears of each step before it happens, when all that came before it is settled."""

    def begins(self, world: World, task: Task, touched: Accesses) -> None:
        """The task takes its next step now, and what it has announced touches this."""


class Trace:
    """The trace of the execution that is under way. Steps are numbered from 0."""

    def __init__(self, listener: Listener | None = None) -> None:
        self.tasks: list[int] = []
        """The task of each step."""
        self.accesses: list[Accesses] = []
        self.before: list[int] = []
        """The steps before each step, and itself."""
        self.races: list[tuple[int, int]] = []
        """Pairs of steps that conflict directly, and could be turned around."""
        self.early: list[int] = []
        """The steps in which a time ran out although something else could have gone on."""
        self.timeouts = 0
        """All steps in which a time ran out."""
        self._never_done = 0
        self._listener = listener
        self._records: dict[Key, _Record] = {}
        self._past: dict[int, int] = {}
        """The steps that came before whatever a task does next."""
        self._is_open = False
        self._touched: Accesses = {}
        self._started: list[int] = []
        self._enablers: list[int] = []
        self._can_wait = self._is_timed = self._is_bounded = self._is_barrier = False

    # -- while the world runs

    def begin(self, world: World, task: Task) -> None:
        """The task takes the step that it has announced."""
        if self._is_open:
            self.close()
        touched = announced(task)
        if self._listener is not None:
            self._listener.begins(world, task, touched)
        self._is_open = True
        self.tasks.append(task.number)
        self._touched = touched
        self._can_wait = task.wants is not None
        self._is_timed = self._is_bounded = False
        if task.is_timed_out:
            touched[CLOCK_KEY] = WRITE if task.is_jump else READ
            self.timeouts |= 1 << len(self.before)
            if task.is_overtaking:
                self.early.append(len(self.before))
            # Nobody else could go on, and a bound keeps it from ever happening earlier.
            self._is_barrier = task.is_jump and not task.is_overtaking and world.early_timeouts <= 0
        elif task.deadline is not None:
            self._is_timed = True
            self._is_bounded = world.early_timeouts <= 0

    def touch(self, key: Key, kind: int) -> None:
        """The current step does this, too."""
        touched = self._touched
        touched[key] = touched.get(key, 0) | kind

    def only_reads(self, key: Key) -> None:
        """The current step has found that it changes nothing there."""
        self._touched[key] = READ

    def starts(self, task: Task) -> None:
        """The current step has started a task."""
        self._started.append(task.number)

    def follows(self, step: int) -> None:
        """The current step could not have happened without that one."""
        self._enablers.append(step)

    @property
    def length(self) -> int:
        """How many steps were taken; `tasks` and `before` go on with those that never were."""
        return len(self.before) - self._never_done

    @property
    def current(self) -> int:
        """The number of the current step."""
        return len(self.before)

    def moment(self, task: Task) -> int:
        """How many steps came before what a task does now: the same in every execution of this trace."""
        record = self._records.get(CLOCK_KEY)
        before = self._past.get(task.number, 0) | (0 if record is None else record.change_before)
        return before.bit_count()

    def close(self) -> None:
        """The current step is over: see what it raced with."""
        if not self._is_open:
            return
        self._is_open = False
        number = len(self.before)
        task = self.tasks[number]
        touched = self._touched
        past = self._past.get(task, 0)
        self.accesses.append(touched)
        rivals, joined = self._rivals(touched, past)
        if self._is_bounded:
            # Its time could have run out early, had that not happened elsewhere too often.
            rivals += [step for step in self.early if not past >> step & 1 and step not in rivals]
        before = past | joined | 1 << number
        if self._is_barrier:
            before = (2 << number) - 1
        self.before.append(before)
        self._past[task] = before
        for kept in rivals:
            self.races.append((kept, number))
        for key, kind in touched.items():
            self._note(key, kind, number, before)
        for started in self._started:
            self._past[started] = before
        if self._started:
            self._started = []
        if self._enablers:
            self._enablers = []
        self._is_barrier = False

    def _rivals(self, touched: Accesses, past: int) -> tuple[list[int], int]:
        """The steps that these accesses are in a race with, and what comes before them."""
        records = self._records
        rivals: list[int] = []
        joined = enabled_by = 0
        can_wait, is_first = self._can_wait, True
        for step in self._enablers:
            enabled_by |= self.before[step]
            if (self._is_timed or not can_wait) and not past >> step & 1:
                rivals.append(step)
        for key, kind in touched.items():
            record = records.get(key)
            if record is None:
                is_first = False
                continue
            if kind == READ:
                joined |= record.change_before
                found: Iterable[int] = (record.changer,)
            else:
                joined |= record.all_before
                found = record.readers or (record.changer,)
            if is_first and can_wait and record.is_free_again and not record.readers:
                # Never against the release, which it waits for: against who had it before.
                found = () if kind == READ else (record.acquirer,)
                enabled_by |= record.change_before
                if self._is_timed:
                    found = (*found, record.changer)
            elif enabled_by and not is_first:
                # What let this step happen cannot come behind it, whatever else the step does.
                found = [step for step in found if step >= 0 and not enabled_by >> step & 1]
            is_first = False
            for step in found:
                if step >= 0 and not past >> step & 1 and step not in rivals:
                    rivals.append(step)
        if len(rivals) > 1 and not self._is_timed:
            # A race that another one is in between of is not to be turned around by itself.
            rivals = [
                step
                for step in rivals
                if not any(self.before[other] >> step & 1 for other in rivals if other != step)
            ]
        return rivals, joined | enabled_by

    def _note(self, key: Key, kind: int, number: int, before: int) -> None:
        record = self._records.get(key)
        if record is None:
            record = self._records[key] = _Record()
        record.all_before |= before
        if kind == READ:
            record.readers.append(number)
            return
        record.changer = number
        record.change_before = record.all_before
        if record.readers:
            record.readers = []
        if kind & ACQUIRE:
            record.acquirer = number
        record.is_free_again = bool(kind & RELEASE)

    # -- when it has ended

    def end(self, world: World) -> None:
        """The execution is over: what was announced and did not happen may be in a race as well."""
        self.close()
        number = len(self.before)
        for task in world.live:
            touched = announced(task)
            self._can_wait, self._is_timed = task.wants is not None, task.deadline is not None
            rivals, _ = self._rivals(touched, self._past.get(task.number, 0))
            if self._is_timed and world.early_timeouts <= 0:
                rivals += [step for step in self.early if step not in rivals]
            if rivals:
                self.tasks.append(task.number)
                self.accesses.append(touched)
                self.before.append(self._past.get(task.number, 0) | 1 << number)
                self.races += [(step, number) for step in rivals]
                self._never_done += 1
                number += 1

    def after(self, step: int) -> int:
        """The steps that come after one, and itself."""
        found, bit = 0, 1 << step
        for number in range(step, len(self.before)):
            if self.before[number] & bit:
                found |= 1 << number
        return found


def announced(task: Task) -> Accesses:
    """What the operation that a task has announced does, as far as that is known beforehand.

    First of all to the object that it waits for, if it does.
    """
    touched: Accesses = {}
    operation, thing = task.operation, task.thing
    if thing is CLOCK:
        touched[CLOCK_KEY] = READ
    elif thing is not task:
        keys = getattr(thing, "keys", None)
        if keys is not None:
            for key, kind in keys(operation, task.is_timed_out):
                touched[key] = kind
        elif task.is_timed_out:
            touched[getattr(thing, "name", OUTSIDE_KEY)] = READ
        elif operation == "try to acquire":
            touched[thing.name] = READ if thing.held else ACQUIRE  # type: ignore[attr-defined]
        else:
            touched[getattr(thing, "name", OUTSIDE_KEY)] = _KINDS.get(operation, WRITE)
    if task.is_daemon:
        touched[END_KEY] = READ
    return touched


def are_independent(some: Accesses, others: Accesses) -> bool:
    """Whether two steps that do this do not conflict."""
    for key, kind in some.items():
        other = others.get(key)
        if other is not None and (kind | other) & CHANGE:
            return False
    return True


def bits(steps: int) -> Iterator[int]:
    """The numbers in a set of steps, in order."""
    while steps:
        lowest = steps & -steps
        yield lowest.bit_length() - 1
        steps ^= lowest
