"""How the next step is chosen: one strategy a file, all behind one protocol.

A strategy gives a chooser for each schedule, and is told how that schedule went.
"""

from __future__ import annotations

from typing import Protocol

from pytest_littleloops.simulation.strategies.auto import Auto
from pytest_littleloops.simulation.strategies.dfs import DepthFirst
from pytest_littleloops.simulation.strategies.pct import ProbabilisticConcurrencyTesting
from pytest_littleloops.simulation.strategies.pos import PartialOrderSampling
from pytest_littleloops.simulation.strategies.random_walk import RandomWalk
from pytest_littleloops.simulation.world import Chooser, World


class Strategy(Protocol):
    """What an exploration asks for its schedules."""

    is_fine: bool
    """Whether tasks are to stop behind a release as well: sampled, that finds more."""

    def chooser(self, number: int) -> Chooser | None:
        """The chooser of schedule `number`, counted from 0; None when there is nothing left to try."""
        ...

    def learn(self, world: World) -> None:
        """Look at the schedule that has just ended."""
        ...


NAMES = ("auto", "pct", "pos", "random", "dfs")


def strategy_named(name: str, seed: int, preemptions: int | None) -> Strategy:
    """A new strategy of this name. Raises ValueError listing the names there are."""
    if name == "auto":
        return Auto(seed)
    if name == "pct":
        return ProbabilisticConcurrencyTesting(seed)
    if name == "pos":
        return PartialOrderSampling(seed)
    if name == "random":
        return RandomWalk(seed)
    if name == "dfs":
        return DepthFirst(preemptions)
    raise ValueError(f"there is no strategy {name!r}; the strategies are {', '.join(NAMES)}")
