"""Executors of `concurrent.futures`, and their subclasses.

Each call of `submit` is an issue of its own, named after an issue among the arguments or after the
function. No completion is owed, so the future decides: its end is the issue's.
"""

from __future__ import annotations

from concurrent.futures import Executor

from pytest_littleloops.harness.watching.adapters.origins import takes_function
from pytest_littleloops.harness.watching.lifecycle import Lifecycle


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of an executor, or None for anything else."""
    if not isinstance(obj, Executor) or not takes_function(type(obj), "submit", "concurrent.futures"):
        return None
    return Lifecycle(dispatched=("submit",), shutdown=("shutdown",), takes_function=True)
