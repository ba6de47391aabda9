"""A task: one thread of a scenario, and the operation that it has announced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pytest_littleloops.simulation import carriers

READ_CLOCK = "read the clock"
CLOCK = "the clock"
"""The object of sleeps and clock reads."""


class Wanted(Protocol):
    """What a task waits for: anything that is held or not."""

    @property
    def held(self) -> bool:
        """Whether a task that wants this has to wait."""
        ...


class Task:
    """One thread of the scenario, from the moment it was started."""

    __slots__ = (
        "carrier",
        "created",
        "deadline",
        "early_left",
        "is_daemon",
        "is_forced",
        "is_jump",
        "is_patient",
        "is_timed_out",
        "is_unseen",
        "kills",
        "name",
        "number",
        "operation",
        "reads",
        "run",
        "started",
        "thing",
        "wants",
    )

    def __init__(
        self,
        parent: Task | None,
        name: str,
        run: Callable[[], None],
        is_daemon: bool,
        early_timeouts: int = 0,
    ) -> None:
        self.number = 1 if parent is None else parent.child_number()
        """The same in every execution of a trace: whose child it is, and the how-many-eth."""
        self.name = name
        self.run = run
        self.is_daemon = is_daemon
        self.carrier = carriers.take()
        self.early_left = early_timeouts
        """So many more of its waits may end early by their timeout; each that ends so is one less."""
        self.is_patient = False
        """Whether its timed waits end only when nothing else can go on."""
        self.is_unseen = False
        """Whether it does now what a watcher of the code under test does, and is no part of the story."""
        self.wants: Wanted | None = None
        self.deadline: float | None = None
        self.is_timed_out = False
        self.is_forced = False
        """Whether its time could run out only as nothing else could go on."""
        self.is_jump = False
        """Whether the clock moved when its time ran out."""
        self.operation = "start"
        self.thing: object = self
        self.created = self.started = 0
        self.reads = 0
        self.kills = 0

    def child_number(self) -> int:
        """The number of the next task that this one starts.

        A path down the tree of tasks as bits: to that of the parent the how-many-eth child is added in
        Elias' gamma code, which no other number begins with. To count tasks as they are started would
        give them other numbers in another order of two independent starts.
        """
        self.started += 1
        return self.number << 2 * self.started.bit_length() - 1 | self.started

    @property
    def may_be_early(self) -> bool:
        """Whether its time may run out although something else could go on."""
        return self.early_left > 0 and not self.is_patient

    def said(self, place: str = "", operation: str = "") -> str:
        """The operation and its object, which was made at `place`; in other words if some are given."""
        operation = operation or self.operation
        if isinstance(self.thing, str | Task):
            return operation
        made = f" from {place}" if place else ""
        return f"{operation} {self.thing!r}{made}"
