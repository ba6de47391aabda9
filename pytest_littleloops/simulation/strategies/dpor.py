"""Optimal dynamic partial order reduction: every Mazurkiewicz trace, once.

Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction" (POPL 2014), and "Source Sets:
A Foundation for Optimal Dynamic Partial Order Reduction" (JACM 2017) for locks. Each schedule is run to its
end; then each race in it, two steps that conflict directly, is turned around: a sequence that leads to the
other order goes into the wakeup tree of the point before the first of the two, unless a task that sleeps
there, one of which all continuations have been seen, could begin that sequence as well.

Optimal for locks, conditions, events and cells. For semaphores and timed waits it is sound, and may begin
schedules that turn out to be parts of others: these are cut off, and counted as blocked.
"""

from __future__ import annotations

from pytest_littleloops.simulation.failures import Blocked, Nondeterministic, StepLimit
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.trace import Accesses, Listener, Trace, are_independent
from pytest_littleloops.simulation.wakeup import Branch, Sequence
from pytest_littleloops.simulation.world import World

_SPINS = 500
"""So many steps in a row a task may take before it makes room for the others."""


_Said = tuple[int, str, object]
"""Which task announced which operation on which object."""


def _said(task: Task) -> _Said:
    thing = task.thing
    return task.number, task.operation, None if thing is task else getattr(thing, "name", None)


class _Node:
    """A point on the path of the current schedule: what was chosen there, and what is still to be."""

    __slots__ = ("accesses", "branches", "done", "said", "sleeping", "task")

    def __init__(self, sleeping: dict[int, Accesses], branches: list[Branch]) -> None:
        self.sleeping = sleeping
        """Tasks of which every continuation from here was seen, and what their next step does."""
        self.branches = branches
        self.task = -1
        self.said: _Said = (-1, "", None)
        self.accesses: Accesses = {}
        """What its step did."""
        self.done = 0
        """How many branches from here are finished."""


class OptimalReduction:
    """The search. `blocked` schedules were cut off, as all that could follow them was seen before."""

    is_fine = False

    def __init__(self) -> None:
        self._path: list[_Node] = []
        self._trace = Trace()
        self._fixed = 0
        """So many nodes of the path are given by the schedule before."""
        self._is_finished = self._is_partial = False
        self.traces = 0
        """How many traces were seen to their end."""

    def chooser(self, number: int) -> _Descent | None:
        """The next schedule; None after the last one."""
        if self._is_finished:
            return None
        self._trace.rewind(max(self._fixed - 1, 0))
        return _Descent(self._path, self._trace)

    def learn(self, world: World) -> None:
        """Turn its races around, and go back to the deepest point that has a branch left."""
        trace = world.trace
        if trace is None or not isinstance(world.failure, StepLimit | Blocked | None):
            return
        if world.failure is None and trace.length < self._fixed:
            world.failure = Nondeterministic(
                f"a schedule ended after {trace.length} of the {self._fixed} steps "
                "that it shares with the one before it"
            )
            return
        # What happens outside of control conflicts with what nobody knows.
        self._is_partial = self._is_partial or bool(world.outside or world.leftovers)
        # The last of a schedule that was cut off did not become a step.
        del self._path[trace.length :]
        for node, accesses in zip(self._path, trace.accesses, strict=False):
            node.accesses = accesses
        if isinstance(world.failure, StepLimit):
            # What was cut off in the middle proves nothing, and is as long as can be.
            self._is_partial = True
        else:
            self.traces += world.failure is None
            self._turn_races_around(trace)
        self._go_back()

    def _turn_races_around(self, trace: Trace) -> None:
        taken = len(self._path)
        everything = (1 << taken) - 1
        after: dict[int, int] = {}
        for first, second in trace.races:
            if first not in after:
                after[first] = trace.after(first)
            steps = everything & ~after[first] & ~((1 << first) - 1) | 1 << second
            sequence = Sequence(trace, steps, second)
            node = self._path[first]
            if not any(sequence.begins_with(task, accesses) for task, accesses in node.sleeping.items()):
                sequence.insert_into(node.branches)

    def _go_back(self) -> None:
        path = self._path
        while path:
            node = path[-1]
            node.sleeping[node.task] = node.accesses
            node.done += 1
            if node.branches:
                node.task = -1
                self._fixed = len(path)
                return
            path.pop()
        self._is_finished = True

    @property
    def seen(self) -> float:
        """An estimate of the share of all schedules that was seen.

        Each point of the current path is taken to have as many equally large branches as are known there:
        Knuth's estimator, applied to the leaves that a depth-first search visits (Kilby, Slaney,
        Thiébaux, Walsh, "Estimating Search Tree Size", AAAI 2006).
        """
        if self._is_finished:
            return 0.0 if self._is_partial else 1.0
        share, seen = 1.0, 0.0
        for node in self._path:
            count = node.done + len(node.branches) + (node.task >= 0)
            seen += share * node.done / count
            share /= count
        return seen


class _Descent(Listener):
    """Follows the path, then a wakeup sequence, then each task as long as it can go on."""

    def __init__(self, path: list[_Node], trace: Trace) -> None:
        self.trace = trace
        trace.listener = self
        self._path = path
        self._in_a_row = 0
        self._last = -1
        self._pending: list[Branch] = []

    def choose(self, world: World, options: list[Task]) -> int:
        """The option that comes next."""
        trace = self.trace
        if trace.count < trace.known:
            number = self._path[trace.count].task
        else:
            trace.close()
            node = self._node()
            if node.task < 0:
                node.task = self._pick(world, node, options)
            number = node.task
        for position, task in enumerate(options):
            if task.number == number:
                return position
        world.fail(Nondeterministic(f"at step {trace.count + 1} task {number} cannot go on any more"))
        return 0

    def _pick(self, world: World, node: _Node, options: list[Task]) -> int:
        while node.branches:
            branch = node.branches.pop(0)
            if any(task.number == branch.task for task in options):
                self._pending = branch.branches
                return branch.task
        awake = [task for task in options if task.number not in node.sleeping]
        if not awake:
            raise world.end_with(Blocked())
        current = world.current
        if current in awake and self._in_a_row < _SPINS and not world.is_early(current):
            return current.number
        others = (task for task in awake if task is not current and not world.is_early(task))
        return next(others, awake[0]).number

    def _node(self) -> _Node:
        """The node of the next step."""
        path, trace = self._path, self.trace
        if trace.count < len(path):
            return path[trace.count]
        sleeping: dict[int, Accesses] = {}
        if path and path[-1].sleeping:
            done, doer = trace.accesses[-1], trace.tasks[-1]
            sleeping = {
                task: accesses
                for task, accesses in path[-1].sleeping.items()
                if task != doer and are_independent(accesses, done)
            }
        node = _Node(sleeping, self._pending)
        self._pending = []
        path.append(node)
        return node

    def follows(self, world: World, task: Task) -> None:
        """The task takes a step that it took in the schedule before, too, or so it should be."""
        if self._path[self.trace.count - 1].said != _said(task):
            facts = f"step {self.trace.count} was another one a schedule ago"
            raise world.end_with(Nondeterministic(facts))

    def begins(self, world: World, task: Task, touched: Accesses) -> None:
        """The task takes its next step."""
        node = self._node()
        number = task.number
        if node.task < 0:
            # The only one that could go on.
            if number in node.sleeping:
                raise world.end_with(Blocked())
            node.task = number
            self._pending = next((one.branches for one in node.branches if one.task == number), [])
            node.branches = []
        node.said = _said(task)
        self._in_a_row = self._in_a_row + 1 if number == self._last else 0
        self._last = number
