"""The Mazurkiewicz trace of one execution: what each step touched, what came before what, and which races.

Two executions are the same trace if they differ only in the order of steps that do not conflict. Two steps
conflict if they touch one object and are not both reads of it. A step begins with the operation that its
task announced, and goes on to the next announcement: what it does in between that others could notice (the
release of a lock, the start of a timed wait) belongs to it.

Sets of steps are the bits of whole numbers. For the some 80 steps of a typical schedule that is the
cheapest representation Python has: a join of two vector clocks is one `|`, and "before" is one shift.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    "ask for": READ,
    "join": READ,
    "read": READ,
}
"""Of the operations of locks and cells that do one thing to one object, and are most of all."""


_Record = tuple[int, int, bool, int, int, int, int, int]
"""What has been done to one object so far, all but the third as sets of steps:

* the last step that changed it,
* the last step that acquired it,
* whether the last change was a release,
* the steps that have read it since,
* what came before the last change, and that itself,
* what came before any of its steps, and they themselves,
* all steps that changed it,
* all steps that did anything to it.

A plain tuple, as one is made for each access, and unpacked for most: half the time of an object with slots.
"""

_UNTOUCHED: _Record = (0, 0, False, 0, 0, 0, 0, 0)


_DEPENDING = frozenset({"try to acquire", "let go of", "compare and exchange", "look for an item of"})
"""Operations that do one thing or another, as the object happens to be."""


class Listener:
    """Hears of each step before it happens, when all that came before it is settled."""

    trace: Trace
    """The one to keep."""

    def follows(self, world: World, task: Task) -> None:
        """The task takes a step that the trace knows already, or so it should be."""

    def begins(self, world: World, task: Task, touched: Accesses) -> None:
        """The task takes its next step now, and what it has announced touches this."""


class Trace:
    """The trace of the execution that is under way. Steps are numbered from 0.

    It can be rewound, and then is that of another execution that begins alike. A search in depth has most
    of its steps in common with the execution before: what is known of these is not found out again.
    """

    def __init__(self) -> None:
        self.tasks: list[int] = []
        """The task of each step, and at the end of those that were announced and never came."""
        self.accesses: list[Accesses] = []
        """What each step did."""
        self.possible: list[Accesses] = []
        """What it could have done as well, had it come at another time: a try fails or succeeds."""
        self.before: list[int] = []
        """The steps before each step, and itself."""
        self.races: list[tuple[int, int]] = []
        """Pairs of steps that conflict directly, and could be turned around; not those known already."""
        self.of_task: dict[int, int] = {}
        """The steps of each task."""
        self.count = 0
        """How many steps have begun."""
        self.listener: Listener | None = None
        self.known = 0
        """How many of the steps are known from the execution before."""
        self._records: dict[Key, _Record] = {}
        self._past: dict[int, int] = {}
        # The steps that came before whatever a task does next.
        self._undo: list[tuple[int, int, list[tuple[Key, _Record | None]]]] = []
        # For each step: its task and the past of that, records that it replaced.
        self._moments: list[tuple[int, int]] = []
        self._moments_read = 0
        self._is_open = False
        self._touched: Accesses = {}
        self._possible: Accesses = {}
        self._started: list[int] = []
        self._enablers: list[int] = []
        self._can_wait = self._is_timed = self._is_late = self._is_barrier = False

    def rewind(self, count: int) -> None:
        """Be the trace of an execution whose first `count` steps are known."""
        records = self._records
        for task, past, replaced in reversed(self._undo[count:]):
            self._past[task] = past
            for key, record in reversed(replaced):
                if record is None:
                    del records[key]
                else:
                    records[key] = record
        for steps in (self._undo, self.tasks, self.accesses, self.possible, self.before):
            del steps[count:]
        common = (1 << count) - 1
        for task in self.of_task:
            self.of_task[task] &= common
        while self._moments and self._moments[-1][0] >= count:
            self._moments.pop()
        self.races.clear()
        self.known = count
        self.count = self._moments_read = 0
        self._is_open = self._is_timed = self._is_late = self._is_barrier = False
        self._started, self._enablers = [], []

    # -- while the world runs

    def begin(self, world: World, task: Task) -> None:
        """The task takes the step that it has announced."""
        if self._is_open:
            self.close()
        listener = self.listener
        if self.count < self.known:
            self.count += 1
            if listener is not None:
                listener.follows(world, task)
            return
        self._touched = touched = announced(task)
        self._possible = possible(task)
        if listener is not None:
            listener.begins(world, task, touched)
        self._is_open = True
        self._can_wait = task.wants is not None
        if task.deadline is not None:
            self._begin_timed(task)
        self.tasks.append(task.number)
        self.count += 1

    def _begin_timed(self, task: Task) -> None:
        if not task.is_timed_out:
            self._is_timed = True
            return
        self._is_late = True
        self._touched[CLOCK_KEY] = WRITE if task.is_jump else READ
        # Nobody else could go on: it comes behind all that came before.
        self._is_barrier = task.is_jump and task.is_forced

    def touch(self, key: Key, kind: int) -> None:
        """The current step does this, too."""
        if self._is_open:
            touched = self._touched
            touched[key] = touched.get(key, 0) | kind

    def only_reads(self, key: Key) -> None:
        """The current step has found that it changes nothing there."""
        if self._is_open:
            self._touched[key] = READ

    def starts(self, task: Task) -> None:
        """The current step has started a task."""
        if self._is_open:
            self._started.append(task.number)

    def follows(self, step: int) -> None:
        """The current step could not have happened without that one."""
        if self._is_open:
            self._enablers.append(step)

    @property
    def length(self) -> int:
        """How many steps are over."""
        return self.count - self._is_open

    @property
    def current(self) -> int:
        """The number of the current step."""
        return self.count - 1

    def moment(self, task: Task) -> int:
        """How many steps came before what a task does now: the same in every execution of this trace."""
        if self.count <= self.known and self._moments_read < len(self._moments):
            self._moments_read += 1
            return self._moments[self._moments_read - 1][1]
        before = self._past.get(task.number, 0) | self._records.get(CLOCK_KEY, _UNTOUCHED)[4]
        moment = before.bit_count()
        self._moments.append((self.count - 1, moment))
        self._moments_read += 1
        return moment

    def close(self) -> None:
        """The current step is over: see what it raced with."""
        if not self._is_open:
            return
        self._is_open = False
        number = self.count - 1
        bit = 1 << number
        task = self.tasks[number]
        touched = self._touched
        past = self._past.get(task, 0)
        rivals, joined = self._rivals(touched, past)
        while rivals:
            rival = rivals & -rivals
            self.races.append((rival.bit_length() - 1, number))
            rivals ^= rival
        before = (bit << 1) - 1 if self._is_barrier else past | joined | bit
        self._is_timed = self._is_late = self._is_barrier = False
        self._keep(task, touched, self._possible, before, past)
        if self._started:
            for started in self._started:
                self._past[started] = before
            self._started = []
        if self._enablers:
            self._enablers = []

    def _rivals(self, touched: Accesses, past: int) -> tuple[int, int]:
        """The steps that these accesses are in a race with, and what comes before them."""
        records = self._records
        rivals = joined = enabled_by = 0
        can_wait, is_timed, is_first = self._can_wait, self._is_timed, True
        for step in self._enablers:
            enabled_by |= self.before[step]
            if is_timed or not can_wait:
                rivals |= 1 << step
        for key, kind in touched.items():
            record = records.get(key)
            if record is not None:
                changer, acquirer, is_free_again, readers, change_before, all_before, _, _ = record
                if kind == READ:
                    joined |= change_before
                    found = changer
                else:
                    joined |= all_before
                    # A look that came before what it waited for hides nobody who took before that.
                    found = (readers & ~enabled_by if is_first and can_wait else readers) or changer
                if is_first and can_wait and is_free_again and not readers:
                    # Never against the release, which it waits for: against who had it before.
                    found = 0 if kind == READ else acquirer
                    enabled_by |= change_before
                    if is_timed:
                        found |= changer
                elif enabled_by and not is_first:
                    # What let this step happen cannot come behind it, whatever else the step does.
                    found &= ~enabled_by
                rivals |= found
            is_first = False
        rivals &= ~past
        if rivals & (rivals - 1) and not (is_timed or self._is_late):
            # A race that another one is in between of is not to be turned around by itself. Of a step with
            # a time that can run out the one in between may be none: it could not come before that.
            for step in bits(rivals):
                rivals &= ~(self.before[step] ^ 1 << step)
        return rivals, joined | enabled_by

    def _keep(self, task: int, touched: Accesses, possible: Accesses, before: int, past: int) -> None:
        """Add what is known of a step to what is known."""
        records = self._records
        bit = 1 << len(self.before)
        self.accesses.append(touched)
        self.possible.append(_both(touched, possible) if possible else touched)
        self.before.append(before)
        self._past[task] = before
        replaced = []
        for key, kind in touched.items():
            record = records.get(key)
            replaced.append((key, record))
            changer, acquirer, is_free_again, readers, change_before, all_before, changing, touching = (
                record or _UNTOUCHED
            )
            all_before |= before
            if kind == READ:
                readers |= bit
            else:
                changer, is_free_again, readers = bit, kind & RELEASE != 0, 0
                change_before, changing = all_before, changing | bit
                if kind & ACQUIRE:
                    acquirer = bit
            records[key] = (
                changer,
                acquirer,
                is_free_again,
                readers,
                change_before,
                all_before,
                changing,
                touching | bit,
            )
        if self.listener is not None:
            # Only a search ever asks for these, or rewinds.
            self.of_task[task] = self.of_task.get(task, 0) | bit
            self._undo.append((task, past, replaced))

    # -- when it has ended

    def end(self, world: World) -> None:
        """The execution is over: what was announced and did not happen may be in a race as well."""
        self.close()
        never_done = []
        for task in world.live:
            touched, past = announced(task), self._past.get(task.number, 0)
            self._can_wait, self._is_timed = task.wants is not None, task.deadline is not None
            # Apart, as the end of the world comes behind all else and would hide it: what another daemon
            # took that this one waits for.
            rivals = self._rivals({key: kind for key, kind in touched.items() if key != END_KEY}, past)[0]
            if task.is_daemon:
                rivals |= self._rivals({END_KEY: READ}, past)[0]
            if rivals:
                never_done.append((task.number, touched, possible(task), past, rivals))
        for number, touched, could, past, rivals in never_done:
            step = len(self.before)
            self.races += [(rival, step) for rival in bits(rivals)]
            self.tasks.append(number)
            self._keep(number, touched, could, past | 1 << step, past)

    def after(self, step: int) -> int:
        """The steps that come after one, and itself."""
        found, bit = 0, 1 << step
        for number in range(step, len(self.before)):
            if self.before[number] & bit:
                found |= 1 << number
        return found

    def touching(self, accesses: Accesses) -> int:
        """The steps that conflict with these accesses."""
        found = 0
        for key, kind in accesses.items():
            record = self._records.get(key)
            if record is not None:
                found |= record[6] if kind == READ else record[7]
        return found


def announced(task: Task) -> Accesses:
    """What the operation that a task has announced does, as far as that is known beforehand.

    First of all to the object that it waits for, if it does.
    """
    operation, thing = task.operation, task.thing
    kind = _KINDS.get(operation)
    if kind is not None and not task.is_timed_out:
        touched: Accesses = {thing.name: kind}  # type: ignore[attr-defined]
    elif thing is CLOCK:
        touched = {CLOCK_KEY: READ}
    elif thing is task:
        touched = {}
    elif hasattr(thing, "keys"):
        touched = dict(thing.keys(operation, task.is_timed_out))
    elif task.is_timed_out:
        touched = {getattr(thing, "name", OUTSIDE_KEY): READ}
    elif operation == "try to acquire":
        touched = {thing.name: READ if thing.held else ACQUIRE}  # type: ignore[attr-defined]
    elif operation == "let go of":
        touched = {thing.name: RELEASE if thing.held else READ}  # type: ignore[attr-defined]
    else:
        touched = {getattr(thing, "name", OUTSIDE_KEY): WRITE}
    if task.is_daemon:
        touched[END_KEY] = READ
    return touched


_NOTHING: Accesses = {}


def possible(task: Task) -> Accesses:
    """What the operation that a task has announced may do besides, at another time; mostly nothing."""
    deadline, operation, thing = task.deadline, task.operation, task.thing
    if deadline is None and operation not in _DEPENDING:
        return _NOTHING
    could: Accesses = {}
    if hasattr(thing, "keys"):
        could = _both(dict(thing.keys(operation, True)), dict(thing.keys(operation, False)))
    elif hasattr(thing, "name") and thing is not task:
        could[thing.name] = READ if operation == "join" else WRITE
    if operation == "look for an item of":
        could[thing.head] = WRITE  # type: ignore[attr-defined]
    if deadline is not None:
        could[CLOCK_KEY] = WRITE
    return could


def _both(some: Accesses, others: Accesses) -> Accesses:
    united = dict(some)
    for key, kind in others.items():
        united[key] = united.get(key, 0) | kind
    return united


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
