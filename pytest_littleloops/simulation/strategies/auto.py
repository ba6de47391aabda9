"""The default: samplers in turn, so that an early budget is not spent in one corner."""

from __future__ import annotations

from pytest_littleloops.simulation.strategies.pct import ProbabilisticConcurrencyTesting
from pytest_littleloops.simulation.strategies.pos import PartialOrderSampling
from pytest_littleloops.simulation.strategies.random_walk import RandomWalk
from pytest_littleloops.simulation.world import Chooser, World


class Auto:
    """PCT, POS, PCT, a random walk, and again."""

    is_fine = True

    def __init__(self, seed: int) -> None:
        pct = ProbabilisticConcurrencyTesting(seed)
        self._turns = (pct, PartialOrderSampling(seed), pct, RandomWalk(seed))

    def chooser(self, number: int) -> Chooser:
        """That of the sampler whose turn it is."""
        return self._turns[number % len(self._turns)].chooser(number)

    def learn(self, world: World) -> None:
        """Pass it on."""
        self._turns[0].learn(world)
