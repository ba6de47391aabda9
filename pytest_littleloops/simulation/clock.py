"""The clock of a world, as `time` has it: nobody waits for it."""

from __future__ import annotations

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.membership import own_world
from pytest_littleloops.simulation.tasks import CLOCK


def monotonic() -> float:
    """The virtual time, in seconds."""
    world = own_world()
    return real.monotonic() if world is None else world.read_clock()


def epoch() -> float:
    """The virtual time since 1970, in seconds; all worlds of an exploration begin when that began."""
    world = own_world()
    # A whole number is added, so that differences are rounded alike in every process.
    return real.epoch() if world is None else world.began + world.read_clock()


def sleep(seconds: float) -> None:
    """Let virtual time pass."""
    world = own_world()
    if world is None:
        real.sleep(seconds)
        return
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    world.point("sleep", CLOCK, None, world.deadline(seconds))
