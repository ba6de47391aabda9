"""What a world says when a schedule cannot go on: claim, what every task does, next step."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_littleloops.simulation.failures import Deadlock, NoProgress, StepLimit, Uncontrolled
from pytest_littleloops.simulation.frames import current_frames, in_user_code, stack_lines
from pytest_littleloops.simulation.tasks import Task

if TYPE_CHECKING:
    from pytest_littleloops.simulation.world import World

MANY_JUMPS = 10
"""So many times in the second half of its steps only the clock could go on: a run makes no progress."""


def deadlock(world: World) -> Deadlock:
    """Nobody can go on, and no clock will wake anybody."""
    names = ", ".join(task.name for task in world.live if not task.is_daemon)
    waits = "waits" if "," not in names else "wait"
    return Deadlock(
        f"LL302 deadlock: {names} {waits} for ever\n{stacks(world)}\n{_beside(world)}"
        "  next: see what each of them waits for, and who should have woken it"
    )


def _beside(world: World) -> str:
    # One of them may be whom they wait for: then it is to be started inside.
    carriers = {task.carrier.ident for task in world.live} | {world.maker}
    active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
    names = [thread.name for ident, thread in active.items() if ident not in carriers]
    return f"  beside the exploration, and not waited for: {', '.join(names)}\n" if names else ""


def out_of_steps(world: World) -> NoProgress | StepLimit:
    """The steps are used up: without progress, or in the middle of it."""
    half = world.max_steps // 2
    if len(world.jumps) == MANY_JUMPS and world.jumps[0] > half and world.last_wake < half:
        return NoProgress(
            f"LL303 no-progress: after {world.max_steps:,} steps only clocks still move\n{stacks(world)}\n"
            "  next: see who waits again and again, and what it should have been told; if that is a time\n"
            "  of datetime.now(): it stands still here, use time.time() or time.monotonic()"
        )
    return StepLimit(f"the schedule was cut off after {world.max_steps:,} steps")


def stuck(world: World) -> Uncontrolled:
    """The running task has reached no step for as long as the patience lasts."""
    task = world.current
    name = "nobody" if task is None else task.name
    place = "" if task is None else _place(task)
    return Uncontrolled(
        f"LL502 uncontrolled: {name} reached no step of the engine for {world.patience:g} s "
        f"of real time{place}\n"
        f"{stacks(world, running=task)}\n"
        "  next: replace what blocks or computes there, or give it a timeout; if it is a lock, make it\n"
        "  inside the scenario or hold it in a module; nothing is certified"
    )


def waits_outside(world: World, task: Task) -> Uncontrolled:
    """Nobody can go on but by something outside of the world, which did not come."""
    return Uncontrolled(
        f"LL502 uncontrolled: {task.name} waited {world.patience:g} s of real time for something outside "
        f"of the exploration{_place(task)}\n{stacks(world)}\n"
        "  next: replace what it waits for, or give it a timeout; nothing is certified"
    )


def stacks(world: World, running: Task | None = None) -> str:
    """Every living task: what it does or waits for, and its stack."""
    frames = current_frames()
    lines = []
    for task in world.live:
        frame = frames.get(task.carrier.ident)
        called = "" if frame is None else in_user_code(frame)[0]
        if task is running:
            said = "runs"
        elif called and task.operation != "start":
            said = f"in {called}"
        else:
            said = task.said("" if world.recorder is None else world.recorder.place_of(task.thing))
        lines.append(f"  {task.name}: {said}")
        lines += ["  " + line for line in stack_lines(frame)]
    return "\n".join(lines)


def _place(task: Task) -> str:
    frame = current_frames().get(task.carrier.ident)
    place = "" if frame is None else in_user_code(frame)[1]
    return f", at {place}" if place else ""
