"""`multiprocessing.JoinableQueue`, and its subclasses.

What another process puts into it or takes out of it is not seen, so only what this process takes counts,
from the first `task_done()` or `join()` here on.

`queue.Queue`, `LifoQueue` and `PriorityQueue` have the usual names, `task_done` among them, and need no
adapter. `queue.SimpleQueue` is written in C and cannot be watched.
"""

from __future__ import annotations

from pytest_littleloops.harness.watching.adapters.origins import comes_from
from pytest_littleloops.harness.watching.lifecycle import Lifecycle


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of such a queue, or None for anything else."""
    if not comes_from(obj, "multiprocessing.queues", ("JoinableQueue",)):
        return None
    return Lifecycle(started=("get",), done_with=("task_done",), idle=("join",))
