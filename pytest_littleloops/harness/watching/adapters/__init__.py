"""What the ledger knows of particular libraries, one module each.

Each module but `origins` has one function, `pytest_littleloops_lifecycle(obj)`, and is registered as a
plugin of that hook when a test first uses the ledger; a plugin of the user's has the same form. An adapter
imports no library for an object that does not come from it.
"""

from __future__ import annotations

from pytest_littleloops.harness.watching.adapters import (
    concurrent_futures,
    little_loops,
    multiprocessing_pool,
    pebble,
    reference,
    standard_queue,
)
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, usual_lifecycle

ADAPTERS = (
    reference,
    concurrent_futures,
    little_loops,
    multiprocessing_pool,
    standard_queue,
    pebble,
)
"""The adapters that come with the package."""


def describe(obj: object) -> Lifecycle:
    """The lifecycle of `obj` without pytest: the first adapter that knows it, or its usual names."""
    for adapter in ADAPTERS:
        lifecycle: Lifecycle | None = adapter.pytest_littleloops_lifecycle(obj)
        if lifecycle is not None:
            return lifecycle
    return usual_lifecycle(obj)
