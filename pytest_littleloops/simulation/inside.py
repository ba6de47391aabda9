"""What code that runs inside a world may ask and say: whether there is one, and how it waits.

For the harness, whose fixtures run inside worlds and outside of them. Outside, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_littleloops.simulation.membership import current_world, own_world


def is_in_world() -> bool:
    """Whether the calling thread is a task of a world."""
    return own_world() is not None


def enabled_faults() -> tuple[str, ...]:
    """What may go wrong in the world of the calling task; nothing outside of one."""
    world = own_world()
    return () if world is None else world.faults


def will_go_on(ident: int | None) -> bool | None:
    """Whether the task on the thread of this number goes on: True at once, False only if another acts.

    None if there is no such task, or if it waits for a time that is told.
    """
    world = current_world()
    for task in () if world is None else world.live:
        if task.carrier.ident == ident:
            if task.wants is None or not task.wants.held:
                return True
            return False if task.deadline is None else None
    return None


@contextmanager
def unseen() -> Iterator[None]:
    """What the calling task does in this block is no part of the story that is told of a schedule."""
    world = own_world()
    task = None if world is None else world.current
    if task is None:
        yield
        return
    was_unseen, task.is_unseen = task.is_unseen, True
    try:
        yield
    finally:
        task.is_unseen = was_unseen


@contextmanager
def patiently() -> Iterator[None]:
    """Timed waits of the calling task in this block end only when nothing else can go on.

    Elsewhere a wait may end early although what it waits for would still come: the choice that finds
    races of timeouts. The patience of a test harness is no such race.
    """
    world = own_world()
    task = None if world is None else world.current
    if task is None:
        yield
        return
    was_patient, task.is_patient = task.is_patient, True
    try:
        yield
    finally:
        task.is_patient = was_patient
