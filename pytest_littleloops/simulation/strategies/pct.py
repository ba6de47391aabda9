"""Probabilistic concurrency testing: random priorities, and moments at which a running task loses its own.

Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of
Finding Bugs" (ASPLOS 2010): a bug that needs d ordering constraints is found in a run of n tasks and k
steps with a chance of at least 1 / (n * k^(d-1)).
"""

from __future__ import annotations

import random

from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import Chooser, World

_SPINS = 500
"""So many choices in a row a task may win before it makes room for the others."""


class ProbabilisticConcurrencyTesting:
    """PCT of depth 3 by default; the number of steps is that of the longest schedule so far."""

    is_fine = True
    seen = 0.0
    traces = 0

    def __init__(self, seed: int, depth: int = 3) -> None:
        self._seed = seed
        self._depth = depth
        self._steps = 50

    def chooser(self, number: int) -> Chooser:
        """New priorities and new moments of change for each schedule."""
        generator = random.Random(f"pct {self._seed} {number}")
        changes = {generator.randrange(1, self._steps + 1) for _ in range(self._depth - 1)}
        return _Priorities(generator, changes)

    def learn(self, world: World) -> None:
        """How long schedules are."""
        self._steps = max(self._steps, world.steps)


class _Priorities:
    def __init__(self, generator: random.Random, changes: set[int]) -> None:
        self._random = generator.random
        self._changes = changes
        self._priorities: dict[int, float] = {}
        self._lowest = 0.0
        self._seen = 0
        self._in_a_row = 0
        self._last = -1

    def choose(self, world: World, options: list[Task]) -> int:
        priorities = self._priorities
        for task in options:
            if task.number not in priorities:
                priorities[task.number] = self._random()
        # A step may lie between two choices: whatever changes there changes at the next one.
        if self._changes and any(self._seen < change <= world.steps for change in self._changes):
            running = world.current
            if running is not None:
                self._lowest -= 1
                priorities[running.number] = self._lowest
        self._seen = world.steps
        index = max(range(len(options)), key=lambda index: priorities[options[index].number])
        chosen = options[index].number
        self._in_a_row = self._in_a_row + 1 if chosen == self._last else 0
        self._last = chosen
        if self._in_a_row > _SPINS:
            # It polls for what only another task can bring about: as if it were at a point of change.
            self._in_a_row = 0
            self._lowest -= 1
            priorities[chosen] = self._lowest
        return index
