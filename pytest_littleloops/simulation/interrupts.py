"""Signals during an exploration: Ctrl-C, and the alarm by which a runner ends a test that takes too long.

What their handlers raise in the explorer's thread is raised only while that waits for a schedule to end, or
between two. Anywhere else it could be lost in a finalizer, or leave names half exchanged.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from pytest_littleloops.simulation.membership import current_world

_HELD_BACK = [getattr(signal, name) for name in ("SIGINT", "SIGALRM") if hasattr(signal, name)]


class Interrupts:
    """A context manager around an exploration; does nothing in a thread that gets no signals."""

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._pending: list[int] = []

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _HELD_BACK:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            # Unless somebody has put another one there meanwhile.
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        if exc is None:
            self.raise_pending()

    def raise_pending(self) -> None:
        """Let what was held back have its say."""
        while self._pending:
            number = self._pending.pop()
            self._handlers[number](number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        world = current_world()
        if self._pending or (world is not None and world.is_waited_for):
            # The second Ctrl-C is not held back.
            self._pending.clear()
            self._handlers[number](number, frame)
        else:
            self._pending.append(number)
