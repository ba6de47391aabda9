"""The reference pool: its futures are its own, so the executor inside it has nothing to add."""

from __future__ import annotations

import dataclasses

from pytest_littleloops.harness.watching.lifecycle import Lifecycle, usual_lifecycle
from pytest_littleloops.reference.pool import WorkerPool


def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """The lifecycle of a reference pool, or None for anything else."""
    if not isinstance(obj, WorkerPool):
        return None
    return dataclasses.replace(usual_lifecycle(obj), observes_executors=False)
