"""A schedule as a story: which task did what, at which line of the user's code, in which order.

Taken down only while a schedule is replayed to be told, since looking for lines costs more than the steps.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType

from pytest_littleloops.simulation.sites import is_standard_library
from pytest_littleloops.simulation.tasks import Task

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
        self._places: dict[tuple[int, int], str] = {}

    def made(self, name: tuple[int, int], frame: FrameType | None) -> None:
        """An object of this name was made."""
        place = _user_place(frame)
        if place:
            self._places[name] = place

    def place_of(self, thing: object) -> str:
        """Where it was made, in the user's code; empty if that is not known."""
        name = getattr(thing, "name", None)
        return self._places.get(name, "") if isinstance(name, tuple) else ""

    def step(self, task: Task, frame: FrameType) -> None:
        """A task does what it has announced."""
        called, place = _in_user_code(frame)
        if place and not called:
            called = task.said(self.place_of(task.thing))
        self.steps.append(Step(task.name, called, place))

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
    for number, step in enumerate(steps, 1):
        if step.what and step != previous:
            yield str(number), step.task, step.what, step.place
            previous = step


def _user_place(frame: FrameType | None) -> str:
    while frame is not None and _kind(frame.f_code.co_filename) != "user":
        frame = frame.f_back
    return "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def _in_user_code(frame: FrameType) -> tuple[str, str]:
    """What was called, and at which line of the user's.

    From the inside out: the call that the innermost line of the user made is what happened. Where the
    user has no line, the innermost call outside of `threading` is; a thread that begins or ends has none.
    """
    outermost = innermost = None
    one: FrameType | None = frame
    while one is not None:
        code = one.f_code
        kind = _kind(code.co_filename)
        if kind == "user":
            return ("" if outermost is None else _name(outermost)), _user_place(one)
        if kind == "library":
            outermost = code
            if innermost is None and code.co_filename != threading.__file__:
                innermost = code
        one = one.f_back
    is_telling = innermost is not None and not innermost.co_name.startswith("_")
    return (_name(innermost) if innermost is not None and is_telling else ""), ""


def _name(code: CodeType) -> str:
    name = getattr(code, "co_qualname", code.co_name)
    return name.replace("_PySimpleQueue", "SimpleQueue")


@cache
def _kind(file: str) -> str:
    # What dataclasses and the like generate has such a name.
    if file.startswith("<") and not file.startswith("<frozen"):
        return "ours"
    if is_standard_library(file):
        return "library"
    if file.startswith(_PACKAGE) and not file.startswith(os.path.join(_PACKAGE, "reference")):
        return "ours"
    runners = (f"{os.sep}_pytest{os.sep}", f"{os.sep}pluggy{os.sep}")
    return "ours" if any(part in file for part in runners) else "user"
