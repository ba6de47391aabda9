"""Choices that are no matter of the order of tasks: whether a fault strikes, and which.

Each is put to the chooser as races, which every strategy, the search for a proof, the shrinking and the
tokens know already: a task of its own writes, and whoever has to choose reads whether it has. Several ways
are halved until one is left, so that of n ways there are n traces and no more, and a sampler takes each
about as often. The first way, that nothing happens, is taken by whoever is never overtaken: shrinking to
the fewest switches comes to the fewest faults.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_littleloops.simulation.membership import own_world
from pytest_littleloops.simulation.trace import Key
from pytest_littleloops.simulation.world import World


class Choice:
    """One of two halves of the ways, while that is chosen."""

    __slots__ = ("_first", "_second", "is_second", "name")

    def __init__(self, name: Key, first: Sequence[str], second: Sequence[str]) -> None:
        self.name = name
        self.is_second = False
        self._first, self._second = first, second

    @property
    def way(self) -> str:
        """The way, if this was the last halving."""
        left = self._second if self.is_second else self._first
        return left[0] if len(left) == 1 else ""


def choose(*ways: str) -> int:
    """The index of one of several ways, by whoever explores: each of them in some schedule.

    The first one is the plain one, and told by no story. Outside of a world, and in one that is ending,
    that is taken.
    """
    world = own_world()
    if world is None or world.is_ending:
        return 0
    told = ("", *ways[1:])
    low, high = 0, len(ways)
    while high - low > 1:
        middle = (low + high + 1) // 2
        choice = Choice(world.new_name(), told[low:middle], told[middle:high])
        low, high = (middle, high) if _is_second(world, choice) else (low, middle)
    return low


def _is_second(world: World, choice: Choice) -> bool:
    def write() -> None:
        choice.is_second = True

    writer = world.spawn("a choice", write, is_daemon=False)
    # Its one step is announced before it begins.
    writer.operation, writer.thing = "write", choice
    world.point("read", choice)
    return choice.is_second
