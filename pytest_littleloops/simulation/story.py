"""A schedule as a story: which task did what, at which line of the user's code, in which order.

Taken down only while a schedule is replayed to be told, since looking for lines costs more than the steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

from pytest_littleloops.simulation.frames import in_user_code, user_place
from pytest_littleloops.simulation.tasks import CLOCK, Task

_SHOWN = 60
"""So many lines of a story are shown: its last ones."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: the task, what it called, and where the user's code called it (`file:line`)."""

    task: str
    what: str
    place: str


_OF_RELEASES = frozenset({"release", "released", "have put into", "have got from"})


class Story:
    """Takes down the steps of one schedule; `fingerprint` differs where two took other paths."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.fingerprint = 1
        self._places: dict[tuple[int, int], str] = {}
        self._made: dict[str, int] = {}

    def made(self, name: tuple[int, int], frame: FrameType | None) -> None:
        """An object of this name was made."""
        place = user_place(frame)
        if place:
            count = self._made[place] = self._made.get(place, 0) + 1
            self._places[name] = place if count == 1 else f"{place} (number {count} from there)"

    def place_of(self, thing: object) -> str:
        """Where it was made, in the user's code; empty if that is not known."""
        name = getattr(thing, "name", None)
        return self._places.get(name, "") if isinstance(name, tuple) else ""

    def step(self, task: Task, frame: FrameType) -> None:
        """A task does what it has announced."""
        called, place = in_user_code(frame)
        if place and not called:
            called = task.said(self.place_of(task.thing))
        if task.operation in _OF_RELEASES:
            # That it was acquired says enough.
            called = ""
        if task.is_timed_out and called and task.thing != CLOCK:
            called += ", whose time ran out"
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
