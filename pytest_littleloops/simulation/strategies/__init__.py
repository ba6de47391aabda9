"""How the next step is chosen: one strategy a file, all behind one protocol.

A strategy gives a chooser for each schedule, and is told how that schedule went.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pytest_littleloops.simulation.strategies.auto import Auto
from pytest_littleloops.simulation.strategies.dfs import DepthFirst
from pytest_littleloops.simulation.strategies.dpor import OptimalReduction
from pytest_littleloops.simulation.strategies.pct import ProbabilisticConcurrencyTesting
from pytest_littleloops.simulation.strategies.pos import PartialOrderSampling
from pytest_littleloops.simulation.strategies.random_walk import RandomWalk
from pytest_littleloops.simulation.world import Chooser, World

if TYPE_CHECKING:
    from pytest_littleloops.simulation.settings import Settings


class Strategy(Protocol):
    """What an exploration asks for its schedules."""

    @property
    def is_fine(self) -> bool:
        """Whether tasks are to stop behind a release as well in the schedule that comes next."""
        ...

    @property
    def seen(self) -> float:
        """The share of all schedules that was seen, estimated; 1 if that is all, and 0 for samples."""
        ...

    @property
    def traces(self) -> int:
        """How many Mazurkiewicz traces were seen, if it knows; 0 if not."""
        ...

    def chooser(self, number: int) -> Chooser | None:
        """The chooser of schedule `number`, counted from 0; None when there is nothing left to try."""
        ...

    def learn(self, world: World) -> None:
        """Look at the schedule that has just ended."""
        ...


Maker = Callable[["Settings"], Strategy]

STRATEGIES: dict[str, Maker] = {
    "auto": lambda settings: Auto(settings.seed),
    "dpor": lambda settings: OptimalReduction(),
    "pct": lambda settings: ProbabilisticConcurrencyTesting(settings.seed),
    "pos": lambda settings: PartialOrderSampling(settings.seed),
    "random": lambda settings: RandomWalk(settings.seed),
    "dfs": lambda settings: DepthFirst(settings.preemptions),
}
"""What a strategy is called, and how it is made."""
