"""A shared variable that the engine sees."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from pytest_littleloops.simulation import primitives

Value = TypeVar("Value")


class Cell(Generic[Value]):
    """A shared variable: `get`, `set` and `compare_exchange` are points of an exploration.

    Outside of one it is an ordinary variable behind a lock. Thread-safe.
    """

    def __init__(self, value: Value) -> None:
        self._value = value
        self._world = primitives.current_world()
        self._lock = None if self._world is not None else threading.Lock()

    def get(self) -> Value:
        """The value."""
        self._point("read a cell")
        return self._value

    def set(self, value: Value) -> None:
        """Give it another value."""
        self._point("write a cell")
        self._value = value

    def compare_exchange(self, expected: Value, new: Value) -> bool:
        """Set `new` if the value is `expected`; True if it was. One indivisible step."""
        if self._lock is None:
            self._point("exchange a cell")
            return self._exchange(expected, new)
        with self._lock:
            return self._exchange(expected, new)

    def _exchange(self, expected: Value, new: Value) -> bool:
        if self._value != expected:
            return False
        self._value = new
        return True

    def _point(self, operation: str) -> None:
        world = self._world
        if world is not None and not world.is_over:
            world.point(operation)
