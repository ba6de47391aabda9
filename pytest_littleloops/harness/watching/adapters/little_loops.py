"""The queue, pool and orchestrator of little-loops.

Its orchestrator keeps completion and state apart: `_on_worker_complete` is handed to the pool for parallel
work only, so for a sequential issue the queue's marks alone decide.
"""

from __future__ import annotations

from pytest_littleloops.harness.watching.lifecycle import Lifecycle

_QUEUE = Lifecycle(
    submitted=("add",),
    started=("get",),
    completed=("mark_completed",),
    failed=("mark_failed",),
    requeued=("requeue",),
)
_POOL = Lifecycle(
    dispatched=("submit",),
    work=("_process_issue",),
    shutdown=("shutdown",),
    idle=("active_count",),
)
_ORCHESTRATOR = Lifecycle(parts=("queue", "worker_pool"))
_BY_NAME = {
    "IssuePriorityQueue": _QUEUE,
    "WorkerPool": _POOL,
    "ParallelOrchestrator": _ORCHESTRATOR,
}


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of one of the three, or of a subclass of theirs; None for anything else."""
    for one in type(obj).__mro__:
        if one.__module__.partition(".")[0] == "little_loops" and one.__name__ in _BY_NAME:
            return _BY_NAME[one.__name__]
    return None
