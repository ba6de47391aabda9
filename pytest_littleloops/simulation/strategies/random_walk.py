"""A random walk: each possible step is as likely as the others.

It hardly ever delays a task for long, so it misses what needs that; sample with PCT or POS first.
"""

from __future__ import annotations

import random

from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import Chooser, World


class RandomWalk:
    """Chooses by chance, the same for a seed."""

    is_fine = True
    seen = 0.0
    traces = 0

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def chooser(self, number: int) -> Chooser:
        """A walk of its own for each schedule."""
        return _Walk(random.Random(f"walk {self._seed} {number}"))

    def learn(self, world: World) -> None:
        """Nothing: one walk does not know of another."""


class _Walk:
    def __init__(self, generator: random.Random) -> None:
        self._random = generator.random

    def choose(self, world: World, options: list[Task]) -> int:
        return int(self._random() * len(options))
