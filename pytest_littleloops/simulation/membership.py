"""Which world a thread is part of: the one that is running, if it is a task of that, else none."""

from __future__ import annotations

import os

from pytest_littleloops.simulation import carriers, real
from pytest_littleloops.simulation.failures import TaskKilled
from pytest_littleloops.simulation.world import World

_worlds: list[World] = []
"""The world that is running, if one is."""


def enter(world: World) -> None:
    """Make this the world in which objects are made."""
    _worlds.append(world)


def leave() -> None:
    """There is no world any more."""
    _worlds.pop()


def current_world() -> World | None:
    """The world that is running, if one is."""
    return _worlds[-1] if _worlds else None


def own_world() -> World | None:
    """The world that the calling thread is part of; None for a thread that merely runs beside it.

    Whoever runs beside (a test runner's timer, the receiver of a channel) gets what is real.
    """
    if not _worlds:
        return None
    world = _worlds[-1]
    task = world.current
    ident = real.get_ident()
    if ident == (world.maker if task is None else task.carrier.ident):
        return world
    if ident in carriers.left_behind:
        # It belongs to a world that has ended, and does not come to life in another one.
        raise TaskKilled
    return None


def _forget_in_child() -> None:
    # Of all threads only the one that forked lives on in the child, and it owes nothing to a world.
    for world in _worlds:
        world.is_over = world.is_forked = True
    _worlds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
