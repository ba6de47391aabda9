"""Choosers that follow a path: the plainest one, and one that was taken before."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_littleloops.simulation.failures import Nondeterministic
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import World


class Plainest:
    """Lets each task go on as long as it can."""

    def choose(self, world: World, options: list[Task]) -> int:
        """The running task if it may, else the one that began first."""
        # Those whose time would run out early come last among the options.
        return next(
            (i for i, task in enumerate(options) if task is world.current and not world.is_early(task)), 0
        )


class Replay:
    """Takes the same choices again; fails the world where it has others."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = choices
        self._position = 0

    @property
    def is_used_up(self) -> bool:
        """Whether every choice was met again."""
        return self._position == len(self._choices)

    def divergence(self, what: str) -> Nondeterministic:
        """What to say when the replay left the path."""
        place = "behind" if self.is_used_up else f"at choice {self._position + 1} of"
        return Nondeterministic(f"{place} {len(self._choices)} choices the replay {what}")

    def choose(self, world: World, options: list[Task]) -> int:
        """The choice that was taken here."""
        if self.is_used_up:
            world.fail(self.divergence("goes on, where the schedule had ended"))
            return 0
        if self._choices[self._position] >= len(options):
            world.fail(
                self.divergence(f"had {len(options)} options, where the schedule had another number")
            )
            return 0
        choice = self._choices[self._position]
        self._position += 1
        return choice
