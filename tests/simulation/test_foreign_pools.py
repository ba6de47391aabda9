"""Pools that nobody changed: the one of multiprocessing, and pebble's; also their own known bugs."""

from __future__ import annotations

import importlib.metadata
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest

from pytest_littleloops.simulation.cell import Cell
from pytest_littleloops.simulation.explore import explore
from pytest_littleloops.simulation.failures import Deadlock, NoProgress
from tests.simulation.scenarios import sound


def fail(number: int) -> int:
    """A job that fails."""
    raise ArithmeticError(number)


def ignore(args: threading.ExceptHookArgs) -> None:
    """A hook of a program that lives on when a thread of it dies."""


def map_in_both_ways() -> None:
    """At once, one after the other, and as they come."""
    with ThreadPool(2) as pool:
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
        assert list(pool.imap(abs, [-1, -2])) == [1, 2]
        assert sorted(pool.imap_unordered(abs, [-1, -2])) == [1, 2]


def apply_with_callbacks() -> None:
    """Each is called once, before the pool has been joined."""
    heard: list[object] = []
    with ThreadPool(2) as pool:
        good = [pool.apply_async(abs, (-number,), callback=heard.append) for number in (1, 2)]
        bad = pool.apply_async(fail, (3,), error_callback=lambda error: heard.append(type(error)))
        assert [one.get() for one in good] == [1, 2]
        with pytest.raises(ArithmeticError):
            bad.get()
        pool.close()
        pool.join()
    assert sorted(map(str, heard)) == ["1", "2", "<class 'ArithmeticError'>"]


@pytest.mark.parametrize("scenario", [map_in_both_ways, apply_with_callbacks])
def test_a_pool_of_multiprocessing_is_clean(scenario: Callable[[], None]) -> None:
    """Its five kinds of threads are tasks, and the pipe by which it wakes them is within the process."""
    sound(scenario)


def test_jobs_of_a_pool_of_multiprocessing_race() -> None:
    """So they are controlled; a lock mends them."""

    def scenario(*, is_locked: bool) -> None:
        cell, lock = Cell(0), threading.Lock()

        def increment(_: int) -> None:
            if is_locked:
                with lock:
                    cell.set(cell.get() + 1)
            else:
                cell.set(cell.get() + 1)

        with ThreadPool(2) as pool:
            pool.map(increment, range(2), chunksize=1)
        assert cell.get() == 2, "an update was lost"

    assert "an update was lost" in str(explore(lambda: scenario(is_locked=False)).failure)
    sound(lambda: scenario(is_locked=True))


def test_a_pool_of_multiprocessing_whose_callback_raises_loses_all_other_jobs() -> None:
    """Its one thread for results dies; who waits for another job does so for ever: LL302 or LL303."""

    def scenario(callback: Callable[[int], object]) -> None:
        threading.excepthook = ignore
        with ThreadPool(2) as pool:
            pool.apply_async(abs, (-1,), callback=callback)
            assert pool.apply_async(abs, (-2,)).get() == 2

    begin = time.monotonic()
    failure = explore(lambda: scenario(fail), strategy="pct", patience=60).failure
    assert time.monotonic() - begin < 30
    assert isinstance(failure, Deadlock | NoProgress)
    assert ".get() == 2" in str(failure)
    sound(lambda: scenario(abs))


def test_a_thread_of_a_pool_that_dies_fails_the_schedule() -> None:
    """Where nobody took over the hook, that is what is found first."""

    def scenario() -> None:
        with ThreadPool(1) as pool:
            pool.apply_async(abs, (-1,), callback=fail)
            pool.close()
            pool.join()

    assert isinstance(explore(scenario).failure, ArithmeticError)


def test_a_deadlock_in_a_pool_of_multiprocessing_is_found_at_once() -> None:
    """LL302: its pipe is within the process, so that nobody outside can end the wait."""

    def scenario() -> None:
        with ThreadPool(1) as pool:
            pool.apply_async(threading.Event().wait).get()

    begin = time.monotonic()
    result = explore(scenario, patience=60)
    assert time.monotonic() - begin < 30
    assert isinstance(result.failure, Deadlock)
    assert ": wait for a connection" in str(result.failure)
    assert result.outside == ()


@pytest.fixture
def pebble_pool() -> Any:
    """The pool of pebble."""
    return pytest.importorskip("pebble", reason="pebble is not installed").ThreadPool


def is_pebble(*versions: str) -> bool:
    """Whether one of these versions is installed."""
    try:
        return importlib.metadata.version("pebble") in versions
    except importlib.metadata.PackageNotFoundError:
        return False


def test_a_pool_of_pebble_is_clean(pebble_pool: Any) -> None:
    """Jobs, a failure, and a map."""

    def scenario() -> None:
        with pebble_pool(2) as pool:
            futures = [pool.schedule(abs, args=(-number,)) for number in range(3)]
            bad = pool.schedule(fail, args=(3,))
            assert [future.result() for future in futures] == [0, 1, 2]
            assert isinstance(bad.exception(), ArithmeticError)

    sound(scenario)


def test_jobs_of_a_pool_of_pebble_race(pebble_pool: Any) -> None:
    """So they are controlled."""

    def scenario() -> None:
        cell = Cell(0)
        with pebble_pool(2) as pool:
            for future in [pool.schedule(lambda: cell.set(cell.get() + 1)) for _ in range(2)]:
                future.result()
        assert cell.get() == 2, "an update was lost"

    assert "an update was lost" in str(explore(scenario).failure)


@pytest.mark.skipif(not is_pebble("5.0.5"), reason="pebble 5.0.5 has this bug, and is not installed")
def test_a_job_of_pebble_that_exits_leaves_its_future_running(pebble_pool: Any) -> None:
    """The pool's manager wakes up now and then, so it is LL303 for who waits; that is no other's bug."""

    def scenario(job: Callable[[], object]) -> None:
        with pebble_pool(1) as pool:
            pool.schedule(job).result()

    result = explore(lambda: scenario(sys.exit), max_steps=2_000)
    assert isinstance(result.failure, Deadlock | NoProgress)
    assert "pool.schedule(job).result()" in str(result.failure)
    sound(lambda: scenario(int))


@pytest.mark.skipif(
    not is_pebble("5.0.5", "5.2.3"), reason="pebble 5.0.5 and 5.2.3 have this bug, and are not installed"
)
def test_a_job_of_pebble_that_is_cancelled_kills_its_worker(pebble_pool: Any) -> None:
    """Between the worker's look at it and its start; who then closes the pool waits for ever: LL303."""

    def scenario() -> None:
        with pebble_pool(1) as pool:
            pool.schedule(int).cancel()

    assert isinstance(explore(scenario).failure, InvalidStateError)

    def live_on() -> None:
        threading.excepthook = ignore
        scenario()

    assert isinstance(explore(live_on, max_steps=2_000).failure, NoProgress)
