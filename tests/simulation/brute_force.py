"""Every schedule, one after the other, without any reduction: what a search is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_littleloops import Exploration, explore
from pytest_littleloops.simulation.strategies import STRATEGIES
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import World

Program = Callable[[set[object]], None]
"""Runs once, and adds what came of it."""


class BruteForce:
    """All options of all choices; also behind each release if it is fine."""

    def __init__(self, is_fine: bool) -> None:
        self.is_fine = is_fine
        self.seen = 0.0
        self.traces = 0
        self._path: list[tuple[int, int]] = []
        """At each choice: which option, and of how many."""
        self._depth = 0

    def chooser(self, number: int) -> BruteForce | None:
        """The next one; None after the last one."""
        self._depth = 0
        return None if self.seen else self

    def choose(self, world: World, options: list[Task]) -> int:
        """The option on the path; beyond its end the first one. That a thread begins is no choice."""
        for position, task in enumerate(options):
            if task.operation == "start":
                return position
        if self._depth == len(self._path):
            self._path.append((0, len(options)))
        chosen, count = self._path[self._depth]
        assert count == len(options)
        self._depth += 1
        return chosen

    def learn(self, world: World) -> None:
        """Go to the next path."""
        while self._path:
            chosen, count = self._path.pop()
            if chosen + 1 < count:
                self._path.append((chosen + 1, count))
                return
        self.seen = 1.0


@contextmanager
def known_brute_force() -> Iterator[None]:
    """The strategies of this file have names in this block."""
    STRATEGIES["brute"] = lambda settings: BruteForce(False)
    STRATEGIES["fine brute"] = lambda settings: BruteForce(True)
    try:
        yield
    finally:
        del STRATEGIES["brute"], STRATEGIES["fine brute"]


def seen_by(strategy: str, program: Program, *, early_timeouts: int = 2) -> tuple[set[object], Exploration]:
    """All that came of it, and what the search says; it must have come to its end."""
    outcomes: set[object] = set()
    with known_brute_force():
        found = explore(
            lambda: program(outcomes), strategy=strategy, schedules=300_000, early_timeouts=early_timeouts
        )
    found.raise_for_failure()
    assert found.exhaustive
    return outcomes, found
