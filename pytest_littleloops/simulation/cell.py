"""A shared variable that the engine sees."""

from __future__ import annotations

import itertools
from typing import Generic, TypeVar

from pytest_littleloops.simulation import membership, real

Value = TypeVar("Value")

_from_before = itertools.count(1)
"""Numbers the cells that were made outside of a world."""


class Cell(Generic[Value]):
    """A shared variable: `get`, `set` and `compare_exchange` are points of an exploration.

    Outside of one it is an ordinary variable behind a lock. Thread-safe.
    """

    def __init__(self, value: Value) -> None:
        self._value = value
        self._lock = real.allocate_lock()
        world = membership.own_world()
        self.name = (-2, next(_from_before)) if world is None else world.new_name()

    def get(self) -> Value:
        """The value."""
        self._point("read")
        return self._value

    def set(self, value: Value) -> None:
        """Give it another value."""
        self._point("write")
        with self._lock:
            self._value = value

    def compare_exchange(self, expected: Value, new: Value) -> bool:
        """Set `new` if the value is `expected`; True if it was. One indivisible step."""
        self._point("compare and exchange")
        with self._lock:
            if self._value != expected:
                world = membership.own_world()
                if world is not None and world.trace is not None:
                    world.trace.only_reads(self.name)
                return False
            self._value = new
            return True

    def __repr__(self) -> str:
        return f"Cell({self._value!r})"

    def _point(self, operation: str) -> None:
        world = membership.own_world()
        if world is not None and not world.is_over:
            world.point(operation, self)
