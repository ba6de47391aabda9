"""`Pool` and `ThreadPool` of `multiprocessing.pool`, and their subclasses.

Each call of `apply_async`, and so of `apply`, is an issue of its own. Its end is heard through the pool's
own callbacks, since an `AsyncResult` tells nobody. `close` is no shutdown: what was taken is still done.

The others (`map`, `starmap`, `imap` and their kin) cut an iterable into chunks and tell of no single one
how it ended, so they are left alone.
"""

from __future__ import annotations

import inspect

from pytest_littleloops.harness.watching.adapters.origins import comes_from, takes_function
from pytest_littleloops.harness.watching.lifecycle import Lifecycle

_ENDS = ("callback", "error_callback")


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of a pool, or None for anything else."""
    if not comes_from(obj, "multiprocessing.pool", ("Pool",)) or not _is_heard(type(obj)):
        return None
    return Lifecycle(
        dispatched=("apply_async",),
        takes_function=True,
        ends=_ENDS,
        shutdown=("terminate",),
        idle=("join",),
    )


def _is_heard(pool: type) -> bool:
    # A subclass may submit in a way of its own.
    if not takes_function(pool, "apply_async", "multiprocessing.pool"):
        return False
    return set(_ENDS) <= set(inspect.signature(pool.apply_async).parameters)  # type: ignore[attr-defined]
