"""Executors of `concurrent.futures`, and their subclasses.

Each call of `submit` is an issue of its own, named after an issue among the arguments or after the
function. No completion is owed, so the future decides: its end is the issue's.
"""

from __future__ import annotations

import inspect
from concurrent.futures import Executor

from pytest_littleloops.harness.watching.lifecycle import Lifecycle


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of an executor, or None for anything else."""
    if not isinstance(obj, Executor) or not _takes_function(type(obj)):
        return None
    return Lifecycle(dispatched=("submit",), shutdown=("shutdown",), takes_function=True)


def _takes_function(executor: type) -> bool:
    # A pool may be a subclass of an executor whose own submit takes an issue and a completion.
    definer = next(one for one in executor.__mro__ if "submit" in vars(one))
    if definer.__module__.startswith("concurrent.futures"):
        return True
    names = list(inspect.signature(executor.submit).parameters)[1:2]  # type: ignore[attr-defined]
    return bool(set(names) & {"fn", "func", "function", "callable", "task", "args"})
