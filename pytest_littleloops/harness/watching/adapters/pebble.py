"""`ThreadPool` and `ProcessPool` of pebble, and their subclasses.

Each call of `schedule`, and so of `submit` and for each chunk of `map`, is an issue of its own, and its
future decides, as in an executor. `close` is no shutdown: what was taken is still done.
"""

from __future__ import annotations

from pytest_littleloops.harness.watching.adapters.origins import comes_from, takes_function
from pytest_littleloops.harness.watching.lifecycle import Lifecycle

_POOL = Lifecycle(dispatched=("schedule",), takes_function=True, shutdown=("stop",))


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of a pool, or None for anything else."""
    if not comes_from(obj, "pebble", ("ThreadPool", "ProcessPool")):
        return None
    return _POOL if takes_function(type(obj), "schedule", "pebble") else None
