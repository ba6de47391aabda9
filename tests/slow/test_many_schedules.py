"""What takes many schedules: run by `make nightly`, since the first tier has no time for it."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from pytest_littleloops import explore
from pytest_littleloops.simulation import carriers, real
from tests.simulation import yardsticks
from tests.simulation.brute_force import known_brute_force, seen_by
from tests.simulation.hand_written import SMALL, Outcomes
from tests.simulation.small_programs import Outcome, random_program
from tests.simulation.test_dpor import deliver_two_issues
from tests.simulation.test_explore import cancel_one_of_two
from tests.simulation.timed_programs import TimedProgram


@pytest.mark.parametrize("strategy", ["pct", "pos", "random"])
def test_the_fixed_pool_is_clean_under_ten_thousand_schedules(strategy: str) -> None:
    """The unmodified executor with the bug fixed and a canceller."""
    result = explore(cancel_one_of_two(swallows=False), schedules=10_000, strategy=strategy)
    result.raise_for_failure()
    assert result.summary() == "sampled, 10,000 schedules"


def test_a_large_yardstick() -> None:
    """As many executions as traces."""
    found = explore(lambda: yardsticks.last_zero(10), strategy="dpor", schedules=5_000)
    assert found.summary() == "proved, 3,328 schedules, all 3,328 traces"


@pytest.mark.parametrize("program", SMALL)
def test_the_search_sees_all_that_stops_behind_releases_show(program: Callable[[Outcomes], None]) -> None:
    """Where these are no more than a brute force can take."""
    fine = set[object]()
    with known_brute_force():
        found = explore(lambda: program(fine), strategy="fine brute", schedules=50_000)
    found.raise_for_failure()
    outcomes = seen_by("dpor", program)[0]
    assert outcomes == fine if found.exhaustive else outcomes >= fine


@pytest.mark.parametrize("block", range(20))
def test_many_random_programs(block: int) -> None:
    """Two thousand: the outcomes, and the number of traces where that is known."""
    for seed in range(1_000 + block * 100, 1_100 + block * 100):
        program = random_program(seed, is_simple=seed % 2 == 0)
        outcomes = set[Outcome]()
        found = explore(partial(program.scenario, outcomes), strategy="dpor", schedules=100_000)
        found.raise_for_failure()
        assert (outcomes, found.verdict) == (program.outcomes(), "proved"), seed
        assert seed % 2 or found.schedules == program.traces(), seed


@pytest.mark.parametrize("block", range(10))
def test_many_random_programs_of_timed_waits(block: int) -> None:
    """Three hundred, with each number of early timeouts, as far as a brute force can take them."""
    for seed in range(1_000 + block * 10, 1_010 + block * 10):
        program = TimedProgram(seed)
        for early_timeouts in (0, 1, 2):
            expected = set[object]()
            with known_brute_force():
                found = explore(
                    partial(program, expected),
                    strategy="brute",
                    schedules=5_000,
                    early_timeouts=early_timeouts,
                )
            if found.exhaustive:
                outcomes = seen_by("dpor", program, early_timeouts=early_timeouts)[0]
                assert outcomes == expected, (seed, early_timeouts)


@pytest.mark.parametrize(
    ("workers", "cancels", "cancel_pending"), [(1, True, True), (2, False, True), (2, True, False)]
)
def test_the_reference_pool_is_proved(workers: int, cancels: bool, cancel_pending: bool) -> None:
    """Two issues, one and two workers, a canceller, a shutdown that waits or cancels what has not begun."""
    found = explore(
        lambda: deliver_two_issues(workers, cancels=cancels, cancel_pending=cancel_pending),
        strategy="dpor",
        schedules=200_000,
    )
    found.raise_for_failure()
    assert (found.verdict, found.blocked) == ("proved", 0)
    print(found.summary())


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
