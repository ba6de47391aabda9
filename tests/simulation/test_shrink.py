"""What a failing schedule is reduced to before it is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from pytest_littleloops import Cell, Exploration, explore
from pytest_littleloops.simulation import shrink
from pytest_littleloops.simulation.schedule import Schedule
from pytest_littleloops.simulation.shrink import Shrinking, identity
from tests.simulation.scenarios import in_threads

SAMPLERS = ("pct", "pos", "random")


def failing(scenario: Callable[[], object], strategy: str, seed: int = 0) -> Exploration:
    """Its exploration, which fails, and whose token replays the same steps."""
    found = explore(scenario, strategy=strategy, seed=seed)
    assert found.verdict == "failed"
    again = explore(scenario, replay=found.token)
    assert (again.verdict, again.steps, again.switches) == ("failed", found.steps, found.switches)
    assert identity(again.failure) == identity(found.failure)
    return found


@pytest.mark.parametrize("strategy", SAMPLERS)
def test_the_fewest_switches(strategy: str) -> None:
    """From the main thread to one, which is interrupted by the other, and back: four."""

    def scenario() -> None:
        cell = Cell(0)

        def increment() -> None:
            cell.set(cell.get() + 1)

        in_threads(increment, increment)
        assert cell.get() == 2

    found = [failing(scenario, strategy, seed) for seed in range(5)]
    assert {one.switches for one in found} == {4}
    assert max(one.unshrunk for one in found) > 4


def test_the_failure_stays_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one that needs fewer switches does not take its place, be it of the same class."""

    def scenario() -> None:
        cell, order = Cell(0), list[str]()

        def add(name: str) -> None:
            before = cell.get()
            order.append(name)
            cell.set(before + 1)

        in_threads(lambda: add("one"), lambda: add("two"))
        assert order != ["two", "one"]
        assert cell.get() == 2

    explorations = {}
    for shrinks in (True, False):
        if not shrinks:
            monkeypatch.setattr(Shrinking, "shrink", lambda self: None)
        explorations[shrinks] = [explore(scenario, strategy="random", seed=seed) for seed in range(5)]
    small, large = ([identity(one.failure) for one in found] for found in explorations.values())
    assert small == large
    assert len(set(small)) == 2


def test_a_deviation_more_may_be_a_switch_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third thread is best run while the main one waits already for another."""
    monkeypatch.setattr(shrink, "_EXECUTIONS", 400)

    def scenario() -> None:
        cell = Cell(0)

        def increment() -> None:
            cell.set(cell.get() + 1)

        in_threads(increment, increment, lambda: None)
        assert cell.get() == 2

    assert {failing(scenario, "random", seed).switches for seed in range(5)} == {5}


def test_what_the_failure_does_not_need_is_left_out() -> None:
    """Neither other tasks in between, nor a time that ran out early."""

    def scenario() -> None:
        cell, other, event = Cell(0), Cell(0), threading.Event()

        def increment() -> None:
            cell.set(cell.get() + 1)

        def work() -> None:
            for number in range(5):
                other.set(number)
            event.wait(1)
            event.wait(1)

        in_threads(work, increment, increment)
        event.set()
        assert cell.get() == 2

    for seed in range(5):
        found = failing(scenario, "random", seed)
        assert found.switches <= 6 < found.unshrunk
        assert "time ran out" not in found.story() or found.story().count("time ran out") == 2


@pytest.mark.parametrize("needs_release", [False, True])
def test_steps_behind_releases_are_left_out_if_that_is_possible(needs_release: bool) -> None:
    """What only happens there is told there."""

    def scenario() -> None:
        lock, seen = threading.Lock(), dict[str, int]()

        def increment() -> None:
            with lock:
                before = seen.get("count", 0)
            # Nobody guards this: without a stop behind the release it is one piece with what is above.
            if needs_release:
                seen["count"] = before + 1
            else:
                with lock:
                    seen["count"] = before + 1

        in_threads(increment, increment)
        assert seen["count"] == 2

    for seed in range(5):
        found = failing(scenario, "random", seed)
        assert found.token is not None
        assert Schedule.from_token(found.token).is_fine is needs_release


def test_a_deadlock_is_shrunk_too() -> None:
    """As it has a code, that is what tells it from others."""

    def scenario() -> None:
        first, second = threading.Lock(), threading.Lock()

        def take(one: threading.Lock, other: threading.Lock) -> None:
            for _ in range(3):
                with one, other:
                    pass

        in_threads(lambda: take(first, second), lambda: take(second, first))

    for strategy in SAMPLERS:
        found = failing(scenario, strategy)
        assert identity(found.failure)[2] == "LL302"
        assert found.switches == 2


def test_the_effort_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of schedules, so that it ends alike on every machine."""
    monkeypatch.setattr(shrink, "_EXECUTIONS", 25)
    runs = 0

    def scenario() -> None:
        nonlocal runs
        runs += 1
        cell = Cell(0)

        def increment() -> None:
            for _ in range(5):
                cell.set(cell.get() + 1)

        in_threads(increment, increment, increment)
        assert cell.get() == 30

    found = explore(scenario, strategy="random")
    # The first run, the replay that confirms it, the one that is followed, and that of what is told.
    assert runs == found.schedules + 4 + 25


def test_no_more_schedules_after_one_that_blocks() -> None:
    """It takes as long as the patience lasts; what was found is told all the same."""
    gate = threading.Lock()
    is_closed = False

    def scenario() -> None:
        nonlocal is_closed
        cell = Cell(0)
        in_threads(lambda: cell.set(1), lambda: cell.set(2))
        if cell.get() == 2 and is_closed:
            time.sleep(0)
            real_gate.acquire()
        is_closed = cell.get() == 1 or is_closed
        assert cell.get() == 2

    real_gate = gate
    gate.acquire()
    began = time.monotonic()
    found = explore(scenario, strategy="random", patience=0.2)
    gate.release()
    assert time.monotonic() - began < 5
    assert found.failure is not None
