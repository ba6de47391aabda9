"""A schedule as a story: which task did what, at which line of the user's code, in which order.

Taken down only while a schedule is replayed to be told, since looking for lines costs more than the steps.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType

from pytest_littleloops.simulation.sites import is_standard_library
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.world import World

_SHOWN = 60
"""So many lines of a story are shown: its last ones."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__))


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: the task, what it called, and where the user's code called it (`file:line`)."""

    task: str
    what: str
    place: str


class Story:
    """Takes down the steps of one schedule; `fingerprint` differs where two took other paths."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.fingerprint = 1

    def step(self, world: World, task: Task, frame: FrameType) -> None:
        """A task has announced an operation."""
        self.steps.append(Step(task.name, *_in_user_code(task, frame)))

    def choice(self, chosen: Task, count: int) -> None:
        """One of `count` options was chosen."""
        self.fingerprint = zlib.crc32(
            f"{chosen.number} {chosen.operation} {count}".encode(), self.fingerprint
        )


def tell(steps: Sequence[Step], switches: int) -> str:
    """The story as text: a line for each call, the task's name where it changes."""
    lines = list(_lines(steps))
    left_out = len(lines) - _SHOWN
    shown = lines[max(left_out, 0) :]
    if not shown:
        return ""
    widths = [max(len(line[column]) for line in shown) for column in range(3)]
    count = f"{switches} switch{'es' * (switches != 1)} of task"
    text = [f"  the schedule, {len(steps)} steps with {count}:"]
    if left_out > 0:
        text.append(f"    ({left_out} lines before these)")
    previous = ""
    for number, task, what, place in shown:
        name = task if task != previous else ""
        previous = task
        row = f"    {number:>{widths[0]}}  {name:<{widths[1]}}  {what:<{widths[2]}}  {place}"
        text.append(row.rstrip())
    return "\n".join(text)


def _lines(steps: Sequence[Step]) -> Iterator[tuple[str, str, str, str]]:
    previous = None
    # What goes on inside the standard library alone is told only where there is nothing else.
    is_all_library = not any(step.place for step in steps)
    for number, step in enumerate(steps, 1):
        if step != previous and (step.place or is_all_library):
            yield str(number), step.task, step.what, step.place
        previous = step


def _in_user_code(task: Task, frame: FrameType) -> tuple[str, str]:
    # From the inside out: the call that the innermost line of the user made is what happened.
    called = None
    one: FrameType | None = frame
    while one is not None:
        code = one.f_code
        kind = _kind(code.co_filename)
        if kind == "user":
            place = f"{os.path.basename(code.co_filename)}:{one.f_lineno}"
            return (task.said() if called is None else _name(called)), place
        if kind == "library" and not code.co_name.startswith("_bootstrap"):
            called = code
        one = one.f_back
    if called is None:
        return task.operation, ""
    return f"{task.operation} in {_name(called)}", ""


def _name(code: CodeType) -> str:
    return (
        getattr(code, "co_qualname", code.co_name).replace("__enter__", "enter").replace("__exit__", "exit")
    )


@cache
def _kind(file: str) -> str:
    if is_standard_library(file):
        return "library"
    if file.startswith(_PACKAGE) and not file.startswith(os.path.join(_PACKAGE, "reference")):
        return "ours"
    runners = (f"{os.sep}_pytest{os.sep}", f"{os.sep}pluggy{os.sep}")
    return "ours" if any(part in file for part in runners) else "user"
