"""One test, two pools: the twenty lines with the bug, and the reference pool."""

import threading
from pathlib import Path

import pytest
from mypool import MyPool

from pytest_littleloops import WorkerPool, WorkerResult


def reference_pool(process):
    pool = WorkerPool(process, max_workers=1)
    pool.start()
    return pool


@pytest.mark.parametrize("make_pool", [MyPool, reference_pool])
def test_every_issue_ends(make_pool, ledger, recording_orchestrator, make_issue):
    gate = threading.Event()

    def process(issue):
        gate.wait(10)
        if issue.issue_id == "BUG-102":
            raise ValueError("no such branch")
        return WorkerResult(issue.issue_id, True, "", Path())

    pool = ledger.watch(make_pool(process))
    futures = recording_orchestrator.submit_all(pool, make_issue.many(4))
    futures[-1].cancel()
    gate.set()
    pool.shutdown()
