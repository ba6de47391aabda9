"""Partial order sampling: a random score for each pending operation, drawn anew when it was raced.

Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling" (CAV 2018): the operation with the highest score
goes first; those on the same object, which could have gone instead, get new scores.
"""

from __future__ import annotations

import random

from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import Chooser, World


class PartialOrderSampling:
    """Scores by chance, the same for a seed."""

    is_fine = True
    seen = 0.0
    traces = 0

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def chooser(self, number: int) -> Chooser:
        """New scores for each schedule."""
        return _Scores(random.Random(f"pos {self._seed} {number}"))

    def learn(self, world: World) -> None:
        """Nothing: one sample does not know of another."""


class _Scores:
    def __init__(self, generator: random.Random) -> None:
        self._random = generator.random
        self._scores: dict[int, float] = {}

    def choose(self, world: World, options: list[Task]) -> int:
        scores = self._scores
        for task in options:
            if task.number not in scores:
                scores[task.number] = self._random()
        index = max(range(len(options)), key=lambda index: scores[options[index].number])
        chosen = options[index]
        del scores[chosen.number]
        for task in options:
            if task is not chosen and task.thing is chosen.thing:
                del scores[task.number]
        return index
