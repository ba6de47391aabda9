"""Depth first: every schedule with at most so many preemptions, one after the other.

It proves where it finishes, and says nothing of the rest where it does not: without a reduction it visits
each order of independent steps by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_littleloops.simulation.failures import Nondeterministic, StepLimit
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import Chooser, World


@dataclass(slots=True)
class _Node:
    order: list[int]
    """Indices of options, the running task's first: the ones behind it are preemptions."""
    position: int
    costs_preemption: bool
    tasks: list[int]
    """The options, by the numbers of their tasks."""


class DepthFirst:
    """All schedules, or with `preemptions` those that take a task its turn at most so often."""

    is_fine = False
    seen = 0.0
    traces = 0

    def __init__(self, preemptions: int | None) -> None:
        self._preemptions = preemptions
        self._path: list[_Node] = []
        self._is_finished = self._is_partial = False
        self._descent: _Descent | None = None

    def chooser(self, number: int) -> Chooser | None:
        """The next path; None after the last one."""
        if self._is_finished:
            return None
        self._descent = _Descent(self._path, self._preemptions)
        return self._descent

    def learn(self, world: World) -> None:
        """Go back to the deepest choice that has an alternative left."""
        if self._descent is not None and self._descent.depth < len(self._path) and world.failure is None:
            world.failure = Nondeterministic(
                f"a schedule ended after {self._descent.depth} of the {len(self._path)} choices "
                "that it shares with the one before it"
            )
        is_partial = isinstance(world.failure, StepLimit) or bool(world.outside or world.leftovers)
        self._is_partial = self._is_partial or is_partial
        while self._path:
            node = self._path[-1]
            node.position += 1
            if node.position < len(node.order):
                return
            self._path.pop()
        self._is_finished = True
        self.seen = 0.0 if self._is_partial else 1.0


class _Descent:
    def __init__(self, path: list[_Node], preemptions: int | None) -> None:
        self._path = path
        self._left = preemptions
        self.depth = 0

    def choose(self, world: World, options: list[Task]) -> int:
        tasks = [task.number for task in options]
        if self.depth == len(self._path):
            # One that could go on only if its time ran out early has given its turn away by itself.
            running = next(
                (i for i, task in enumerate(options) if task is world.current and not world.is_early(task)),
                None,
            )
            others = [i for i in range(len(options)) if i != running]
            order = others if running is None else [running, *others]
            if running is not None and self._left is not None and self._left <= 0:
                order = [running]
            self._path.append(_Node(order, 0, running is not None, tasks))
        node = self._path[self.depth]
        if node.tasks != tasks:
            world.fail(Nondeterministic(f"choice {self.depth + 1} had other options a schedule ago"))
            return 0
        self.depth += 1
        if node.costs_preemption and node.position > 0 and self._left is not None:
            self._left -= 1
        return node.order[node.position]
