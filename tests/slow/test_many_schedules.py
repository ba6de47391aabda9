"""What takes many schedules: run by `make nightly`, since the first tier has no time for it."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pytest_littleloops import explore
from pytest_littleloops.simulation import carriers, real
from tests.simulation.test_explore import cancel_one_of_two


@pytest.mark.parametrize("strategy", ["auto", "pct", "pos", "random"])
def test_the_fixed_pool_is_clean_under_ten_thousand_schedules(strategy: str) -> None:
    """The unmodified executor with the bug fixed and a canceller."""
    result = explore(cancel_one_of_two(swallows=False), schedules=10_000, strategy=strategy)
    result.raise_for_failure()
    assert result.summary() == "sampled, 10,000 schedules"


def test_a_thousand_explorations_leave_nothing_behind() -> None:
    """No thread beside the carriers, no name, no growing memory."""

    def scenario() -> None:
        with ThreadPoolExecutor(2) as executor:
            executor.submit(abs, 1)

    names = (threading.Lock, threading.Thread.__hash__, time.sleep, Future.__hash__)
    for _ in range(20):
        explore(scenario, schedules=3)
    gc.collect()
    threads, objects, modules = threading.active_count(), len(gc.get_objects()), set(vars(threading))
    for _ in range(1000):
        explore(scenario, schedules=3)
    gc.collect()
    assert threading.active_count() == threads
    assert len(gc.get_objects()) <= objects + 500
    assert len(carriers._idle) < 10
    assert (threading.Lock, threading.Thread.__hash__, time.sleep, Future.__hash__) == names
    assert set(vars(threading)) == modules
    assert isinstance(threading.Lock(), real.LockType)
