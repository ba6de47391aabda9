"""Small random programs of waits that may end by their timeout; a brute force says what they can do."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable

from pytest_littleloops import Cell
from tests.simulation.scenarios import in_threads

Operation = tuple[str, float]


class TimedProgram:
    """Two or three threads, each with one or two operations on an event, a lock, a queue and a cell."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        names = sorted(name[3:] for name in vars(_Run) if name.startswith("do_"))
        self.threads = [
            [(draw.choice(names), draw.choice((1.0, 1.0, 2.0))) for _ in range(draw.randint(1, 2))]
            for _ in range(draw.choice((2, 2, 3)))
        ]

    def __call__(self, outcomes: set[object]) -> None:
        """Run it once, and add what its threads have seen."""
        run = _Run()
        seen: list[list[object]] = [[] for _ in self.threads]

        def thread(number: int) -> Callable[[], None]:
            def work() -> None:
                for name, seconds in self.threads[number]:
                    seen[number].append(getattr(run, f"do_{name}")(seconds))

            return work

        in_threads(*[thread(number) for number in range(len(self.threads))])
        outcomes.add((tuple(map(tuple, seen)), run.cell.get()))


class _Run:
    """The objects of one run, and what may be done with them."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.changed = threading.Condition()
        self.lock = threading.Lock()
        self.items: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.cell = Cell(0)

    def do_wait(self, seconds: float) -> object:
        return self.event.wait(seconds), self.cell.get()

    def do_fire(self, seconds: float) -> object:
        self.event.set()
        return None

    def do_sleep(self, seconds: float) -> object:
        time.sleep(seconds)
        return self.cell.get()

    def do_write(self, seconds: float) -> object:
        self.cell.set(int(seconds))
        return None

    def do_hold(self, seconds: float) -> object:
        got = self.lock.acquire(timeout=seconds)
        if got:
            time.sleep(1)
            self.lock.release()
        return got

    def do_await(self, seconds: float) -> object:
        with self.changed:
            return self.changed.wait(seconds)

    def do_notify(self, seconds: float) -> object:
        with self.changed:
            self.changed.notify()
        return None

    def do_get(self, seconds: float) -> object:
        try:
            return self.items.get(timeout=seconds)
        except queue.Empty:
            return "nothing"

    def do_put(self, seconds: float) -> object:
        self.items.put(int(seconds))
        return None
