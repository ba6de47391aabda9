"""A schedule as a story: which task did what, at which line of the user's code, in which order.

Taken down only while a schedule is replayed to be told, since looking for lines costs more than the steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pytest_littleloops.simulation.choices import Choice
from pytest_littleloops.simulation.frames import in_user_code, user_place
from pytest_littleloops.simulation.tasks import CLOCK, Task

_SHOWN = 60
"""So many lines of a story are shown: its last ones."""

_LONGEST = 12
"""So many lines have the longest blocks that are looked for again right behind them."""

_OFTEN = 3
"""So many times a block comes in a row before it is shown once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: the task, what it called, and where the user's code called it (`file:line`)."""

    task: str
    what: str
    place: str
    part: str = ""
    """Which part of the schedule begins with it, if one does."""
    is_aside: bool = False
    """Whether it is told only if another task came before it."""


_UNTOLD = frozenset({"release", "end", "ask for"})
"""That it was acquired, or has begun, says enough; and what is asked before it is joined."""

_BEHIND = {
    "released": "the release of",
    "have put into": "a put into",
    "have got from": "a get from",
    "started": "the start of a thread",
}
"""Where a task goes on is told only if it had lost its turn there."""


class Story:
    """Takes down the steps of one schedule; `fingerprint` differs where two took other paths."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.fingerprint = 1
        self._places: dict[tuple[int, int], str] = {}
        self._made: dict[str, int] = {}
        self._part = ""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What begins here is a part of its own, if there is a step in it."""
        self._part = name
        try:
            yield
        finally:
            self._part = ""

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
        behind = _BEHIND.get(task.operation)
        if behind is not None:
            called = f"goes on behind {task.said(self.place_of(task.thing), behind)}"
        elif isinstance(task.thing, Choice):
            called = f"fault: {task.thing.way}" if task.thing.way else ""
        elif called == "Condition.wait" and not task.is_timed_out:
            # The one call that gives others their turn in the midst of it.
            called += " begins" if task.operation == "release" else " ends"
        elif task.operation in _UNTOLD:
            called = ""
        if task.is_timed_out and called and task.thing != CLOCK:
            called += ", whose time ran out"
        self.steps.append(Step(task.name, called, place, self._part, behind is not None))
        self._part = ""

    def choice(self, chosen: Task, count: int) -> None:
        """One of `count` options was chosen."""
        self.fingerprint = zlib.crc32(
            f"{chosen.number} {chosen.operation} {count}".encode(), self.fingerprint
        )


_Row = tuple[str, str, str, str]
"""The number of a step, its task, what it did and where."""


def tell(steps: Sequence[Step], switches: int) -> str:
    """The story as text: a line for each call, the task's name where it changes."""
    lines = list(_folded(list(_lines(steps))))
    left_out = len(lines) - _SHOWN
    shown = lines[max(left_out, 0) :]
    if not shown:
        return ""
    rows = [line for line in shown if not isinstance(line, str)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    count = f"{switches} switch{'es' * (switches != 1)} of task"
    text = [f"  the schedule, {len(steps)} step{'s' * (len(steps) != 1)} with {count}:"]
    if left_out > 0:
        text.append(f"    ({left_out} lines before these)")
    previous = ""
    for line in shown:
        if isinstance(line, str):
            text.append(f"    {'':{widths[0]}}  {line}")
            previous = ""
            continue
        number, task, what, place = line
        name = task if task != previous else ""
        previous = task
        row = f"    {number:>{widths[0]}}  {name:<{widths[1]}}  {what:<{widths[2]}}  {place}"
        text.append(row.rstrip())
    return "\n".join(text)


def _lines(steps: Sequence[Step]) -> Iterator[_Row | str]:
    previous = None
    part = ""
    for number, step in enumerate(steps, 1):
        part = step.part or part
        call = step.task, step.what, step.place
        is_aside = step.is_aside and step.task == steps[number - 2].task
        if step.what and not is_aside and (part or call != previous):
            if part:
                yield f"({part})"
            yield str(number), *call
            previous, part = call, ""


def _folded(lines: Sequence[_Row | str]) -> Iterator[_Row | str]:
    """The lines, of which a block that comes again and again is shown once."""
    # The number of a step is another one each time.
    keys = [line if isinstance(line, str) else line[1:] for line in lines]
    at = 0
    while at < len(lines):
        length, times = _repeated(keys, at)
        yield from lines[at : at + length]
        if times > 1:
            yield f"(these {length} lines {times} times)"
        at += length * times


def _repeated(keys: Sequence[object], at: int) -> tuple[int, int]:
    """How many lines the block has that begins here, and how many times it comes in a row."""
    best = 1, 1
    # A line alone does not come twice in a row.
    for length in range(2, _LONGEST + 1):
        block = keys[at : at + length]
        times = 1
        while keys[at + times * length : at + (times + 1) * length] == block:
            times += 1
        if times >= _OFTEN and length * times > best[0] * best[1]:
            best = length, times
    return best
