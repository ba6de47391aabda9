"""What the tests of the engine share."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_littleloops import Exploration, explore

CLEAN = ("proved", "sampled")
"""The verdicts of a scenario without a fault."""


def in_threads(*functions: Callable[[], object]) -> None:
    """Each in a thread of its own, until all have ended."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sound(scenario: Callable[[], object], schedules: int = 30, patience: float = 10.0) -> Exploration:
    """Assert that a scenario is clean."""
    result = explore(scenario, schedules=schedules, patience=patience)
    result.raise_for_failure()
    assert result.verdict in CLEAN
    return result
