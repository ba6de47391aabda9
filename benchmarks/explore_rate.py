"""Schedules a second on an unmodified `ThreadPoolExecutor`, over native runs of the same scenario.

Claim: at least 0.8, with two jobs, two workers and a canceller. The two take turns, so each pair gives a
ratio; the median is printed. Also printed: the share of the steps that touch a lock of the operating
system, which are those at which the running task changes.
"""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from pytest_littleloops import explore
from pytest_littleloops.simulation.explorer import Explorer
from pytest_littleloops.simulation.settings import Settings
from pytest_littleloops.simulation.strategies import STRATEGIES

RUNS = 1000
PAIRS = 9
CLAIM = 0.8


def scenario() -> None:
    """Two jobs on two workers, one of which somebody cancels if it is not too late."""
    with ThreadPoolExecutor(2) as executor:
        futures = [executor.submit(abs, number) for number in (-1, -2)]
        canceller = threading.Thread(target=futures[1].cancel)
        canceller.start()
        canceller.join()
        assert futures[0].result() == 1
        assert futures[1].cancelled() or futures[1].result() == 2


def native() -> float:
    """Runs a second on real threads."""
    begin = time.perf_counter()
    for _ in range(RUNS):
        scenario()
    return RUNS / (time.perf_counter() - begin)


def explored(strategy: str, seed: int) -> float:
    """Schedules a second in an exploration, warm-up and all."""
    begin = time.perf_counter()
    schedules = 0
    while schedules < RUNS:
        # A search that has come to its end begins again.
        result = explore(scenario, schedules=RUNS - schedules, strategy=strategy, seed=seed)
        result.raise_for_failure()
        schedules += result.schedules
    return RUNS / (time.perf_counter() - begin)


def shares(strategy: str) -> tuple[float, float]:
    """Steps a schedule, and the share of them at which the running task changes."""
    explorer = Explorer(scenario, Settings(schedules=200, strategy=strategy))
    schedules = explorer.run().schedules
    return explorer.steps / schedules, explorer.switches / explorer.steps


def main() -> None:
    """Print a line for each strategy."""
    native()
    for strategy in STRATEGIES:
        rates = [(native(), explored(strategy, seed)) for seed in range(PAIRS if strategy == "auto" else 3)]
        ratios = [ours / plain for plain, ours in rates]
        plain, ours = (statistics.median(column) for column in zip(*rates, strict=True))
        steps, share = shares(strategy)
        claim = f"; at least {CLAIM}" if strategy == "auto" else ""
        print(
            f"{strategy:<6} {ours:6,.0f} schedules/s, native {plain:6,.0f}: "
            f"ratio {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f}{claim}); "
            f"{steps:.0f} steps a schedule, {share:.0%} of them touch an OS lock"
        )


if __name__ == "__main__":
    main()
