"""Shrinking: a schedule that fails alike, with fewer switches, then fewer early timeouts, then fewer steps.

A schedule is told by where it deviates from the plainest one, in which each task goes on as long as it can.
A deviation is named by the task that ran and how many steps that had taken, so that it means the same when
others before it are left out. They are left out in halves, quarters and one by one (Zeller, Hildebrandt,
"Simplifying and Isolating Failure-Inducing Input", TSE 2002), and moved. What is left is held against all
schedules with no more deviations, as many as the effort allows (Musuvathi, Qadeer, "Iterative Context
Bounding", PLDI 2007).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType

from pytest_littleloops.simulation.failures import Nondeterministic, Uncontrolled
from pytest_littleloops.simulation.replay import Plainest
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import World

_EXECUTIONS = 150
"""At most so many schedules are tried,"""

_STEPS = 200_000
"""and so many steps taken: not an amount of time, so that the same failure is told alike everywhere."""

_FINE = frozenset({"released", "have put into", "have got from", "started"})
"""Operations of fine worlds alone."""

Place = tuple[int, int, int]
"""Where a choice is: the task that ran, how many steps it had taken, the how-many-eth choice since then."""

Deviations = dict[Place, int]
"""Which task came next where the plainest schedule has another one; in order."""


class Deviating:
    """Chooses and takes down deviations; a chooser and the recorder of the same world."""

    def __init__(self, deviations: Deviations) -> None:
        self.taken: Deviations = {}
        self.others: dict[Place, list[int]] = {}
        """At each choice the tasks that could have been chosen instead."""
        self._wanted = deviations
        self._plainest = Plainest()
        self._steps: dict[int, int] = {}
        self._choices: dict[tuple[int, int], int] = {}

    def choose(self, world: World, options: list[Task]) -> int:
        """As wanted, if that is possible; else as is plainest."""
        plain = chosen = self._plainest.choose(world, options)
        place = self._place(world)
        wanted = self._wanted.get(place)
        if wanted is not None:
            chosen = next((i for i, task in enumerate(options) if task.number == wanted), plain)
        self.note(place, options, chosen, plain)
        return chosen

    def note(self, place: Place, options: list[Task], chosen: int, plain: int) -> None:
        """Take down what was chosen, and what not."""
        self.others[place] = [task.number for i, task in enumerate(options) if i != chosen]
        if chosen != plain:
            self.taken[place] = options[chosen].number

    def _place(self, world: World) -> Place:
        task = -1 if world.current is None else world.current.number
        steps = self._steps.get(task, 0)
        choices = self._choices[task, steps] = self._choices.get((task, steps), 0) + 1
        return task, steps, choices

    # -- as a recorder

    def step(self, task: Task, frame: FrameType) -> None:
        """Count it, if a coarse world has it, too."""
        if task.operation not in _FINE:
            self._steps[task.number] = self._steps.get(task.number, 0) + 1

    def choice(self, chosen: Task, count: int) -> None:
        """Known already."""

    def made(self, name: tuple[int, int], frame: FrameType | None) -> None:
        """Of no concern."""

    def place_of(self, thing: object) -> str:
        """Not known."""
        return ""


class Following(Deviating):
    """Takes choices that were taken before, and takes down where they deviate."""

    def __init__(self, choices: tuple[int, ...]) -> None:
        super().__init__({})
        self._left = iter(choices)

    def choose(self, world: World, options: list[Task]) -> int:
        """As before."""
        plain = self._plainest.choose(world, options)
        chosen = min(next(self._left, plain), len(options) - 1)
        self.note(self._place(world), options, chosen, plain)
        return chosen


Run = Callable[[Deviating, bool], World]
"""Executes one schedule, fine or not."""


class Shrinking:
    """The search for a smaller schedule; `choices` and `is_fine` are those of the smallest one."""

    def __init__(self, run: Run, choices: tuple[int, ...], *, is_fine: bool) -> None:
        self.choices = choices
        self.is_fine = is_fine
        self.switches = 0
        """Of the schedule that was given."""
        self._run = run
        self._deviations: Deviations = {}
        self._others: dict[Place, list[int]] = {}
        self._failure: tuple[object, ...] = ()
        self._cost: tuple[int, ...] = ()
        self._executions = _EXECUTIONS
        self._steps = _STEPS

    def shrink(self) -> None:
        """Search. A schedule that does not fail again stays as it is."""
        following = Following(self.choices)
        world = self._run(following, self.is_fine)
        if world.failure is None or isinstance(world.failure, Uncontrolled | Nondeterministic):
            return
        self._failure = identity(world.failure)
        self._cost = _cost(world)
        self._deviations, self._others = following.taken, following.others
        self.switches = world.switches
        self._coarsen()
        self._descend()
        self._coarsen()
        if self.is_fine:
            self._try_all_smaller(is_fine=False)
        self._try_all_smaller(is_fine=self.is_fine)
        self._descend()

    def _descend(self) -> None:
        while self._leave_out() or self._move():
            pass

    def _coarsen(self) -> None:
        """Do without the steps behind releases."""
        if self.is_fine:
            coarse: Deviations = {}
            for (task, steps, _), chosen in self._deviations.items():
                coarse.setdefault((task, steps, 1), chosen)
            self._try(coarse, is_fine=False)

    def _leave_out(self) -> bool:
        """Leave deviations out, in ever smaller blocks; whether any was."""
        has_shrunk = False
        size = len(self._deviations)
        while size >= 1:
            at = 0
            while at < len(self._deviations):
                items = list(self._deviations.items())
                if self._try(dict(items[:at] + items[at + size :])):
                    has_shrunk = True
                else:
                    at += size
            size //= 2
        return has_shrunk

    def _move(self) -> bool:
        """Move a deviation, have another task come there, or add one; whether that made it smaller."""
        return any(self._try(moved) for moved in self._moves())

    def _moves(self) -> Iterator[Deviations]:
        items = list(self._deviations.items())
        tasks = sorted({task for (task, _, _), _ in items} | {chosen for _, chosen in items})
        for at, ((task, steps, choices), chosen) in enumerate(items):
            before, behind = items[:at], items[at + 1 :]
            for further in (1, 2, 3, 5, 8, -1, -2, -3, -5, -8):
                if steps + further >= 0:
                    yield dict([*before, ((task, steps + further, 1), chosen), *behind])
            for other in tasks:
                if other not in (chosen, task):
                    yield dict([*before, ((task, steps, choices), other), *behind])
        for place, others in self._others.items():
            for other in others if place not in self._deviations else ():
                yield {**self._deviations, place: other}

    def _try_all_smaller(self, *, is_fine: bool) -> None:
        """No deviation, then one, then two, as long as these are not more."""
        waiting = deque[Deviations]([{}])
        while waiting and self._has_more and len(waiting[0]) <= len(self._deviations):
            deviations = waiting.popleft()
            chooser = Deviating(deviations)
            self._accept(chooser, is_fine)
            places = list(chooser.others)
            if deviations:
                last = next(reversed(deviations))
                del places[: places.index(last) + 1 if last in places else None]
            waiting.extend(
                {**deviations, place: other} for place in places for other in chooser.others[place]
            )

    @property
    def _has_more(self) -> bool:
        return self._executions > 0 and self._steps > 0

    def _try(self, deviations: Deviations, *, is_fine: bool | None = None) -> bool:
        """Whether this schedule fails alike and is smaller; then it is the one to go on with."""
        if not self._has_more or deviations == self._deviations:
            return False
        return self._accept(Deviating(deviations), self.is_fine if is_fine is None else is_fine)

    def _accept(self, chooser: Deviating, is_fine: bool) -> bool:
        world = self._run(chooser, is_fine)
        self._executions -= 1
        self._steps -= world.steps
        if isinstance(world.failure, Uncontrolled):
            # It takes as long as the patience lasts.
            self._executions = 0
        if world.failure is None or identity(world.failure) != self._failure:
            return False
        cost = _cost(world)
        if cost >= self._cost:
            return False
        self._cost, self.is_fine = cost, is_fine
        self._deviations, self._others = chooser.taken, chooser.others
        self.choices = tuple(world.choices)
        return True


def _cost(world: World) -> tuple[int, int, int]:
    return world.switches, world.early, world.steps


def identity(failure: BaseException | None) -> tuple[object, ...]:
    """What tells one failure from another: the class, the code if it has one, and else the line."""
    # A class that the scenario makes is another one in each schedule.
    kind = type(failure).__module__, type(failure).__qualname__
    first, *_ = str(failure).split(None, 1) or [""]
    code = first if re.fullmatch(r"LL\d{3}", first) else None
    place = None
    traceback = None if failure is None or code is not None else failure.__traceback__
    while traceback is not None:
        place = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    return *kind, code, place
