"""The default: samples and a proof in turn, from the first schedule on.

An early budget is not spent in one corner, and whatever has no more than half as many traces as schedules
are allowed is proved. After a proof some more are sampled, since samples stop behind releases, too: data
that no lock and no `Cell` guards is seen only there.
"""

from __future__ import annotations

from pytest_littleloops.simulation.strategies.dpor import OptimalReduction
from pytest_littleloops.simulation.strategies.pct import ProbabilisticConcurrencyTesting
from pytest_littleloops.simulation.strategies.pos import PartialOrderSampling
from pytest_littleloops.simulation.strategies.random_walk import RandomWalk
from pytest_littleloops.simulation.world import Chooser, World

_AFTERWARDS = 200
"""So many are sampled after a proof."""


class Auto:
    """PCT, POS, PCT, a random walk, and again; in between optimal dynamic partial order reduction."""

    def __init__(self, seed: int) -> None:
        pct = ProbabilisticConcurrencyTesting(seed)
        self._samplers = (pct, PartialOrderSampling(seed), pct, RandomWalk(seed))
        self._proof = OptimalReduction()
        self._sampled = 0
        self._left = _AFTERWARDS
        self._proves = False

    @property
    def is_fine(self) -> bool:
        """As the one whose turn it is."""
        return not self._proves

    @property
    def seen(self) -> float:
        """The share of all traces that the proof has seen."""
        return self._proof.seen

    @property
    def traces(self) -> int:
        """How many of them."""
        return self._proof.traces

    def chooser(self, number: int) -> Chooser | None:
        """That of the proof or of the sampler whose turn it is; None some time after a proof."""
        self._proves = number % 2 == 1
        if self._proves:
            chooser = self._proof.chooser(number)
            if chooser is not None:
                return chooser
            self._proves = False
        if self._proof.seen == 1:
            self._left -= 1
            if self._left < 0:
                return None
        self._sampled += 1
        return self._samplers[self._sampled % len(self._samplers)].chooser(self._sampled)

    def learn(self, world: World) -> None:
        """Tell the one whose turn it was, and PCT."""
        if self._proves:
            self._proof.learn(world)
        self._samplers[0].learn(world)
