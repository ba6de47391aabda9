"""Two bugs of little-loops 1.47.0 that need one certain order of events: each test is run under many.

Every test runs on little-loops, unmodified, and once more on the reference pool or queue of
pytest-littleloops. None says a word about the bug: the marker finds the order, and the ledger sees what is
broken by it. Without the marker each test passes on real threads, nearly always.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from little_loops.issue_parser import IssueInfo
from little_loops.parallel import IssuePriorityQueue
from scenarios import Project, succeeds

import pytest_littleloops as reference
from pytest_littleloops import Ledger


class LittleLoops:
    """A pool, a queue and an issue of little-loops."""

    queue = IssuePriorityQueue

    @staticmethod
    def pool(folder: Project) -> Any:
        """Start a pool whose work succeeds."""
        return folder.pool(succeeds)

    @staticmethod
    def issue(name: str) -> IssueInfo:
        """Make an issue as it would be read from a file."""
        return IssueInfo(Path(f"P2-{name}.md"), "bugs", "P2", name, "Found in a file")


class Reference:
    """The same of pytest-littleloops."""

    queue = reference.IssueQueue
    issue = reference.Issue

    @staticmethod
    def pool(folder: Project) -> Any:
        """Start a pool whose work succeeds."""
        pool = reference.WorkerPool(lambda issue: reference.WorkerResult(issue.issue_id, True, "", Path()))
        pool.start()
        return pool


class OwnWorker:
    """A worker that takes issues out of the queue itself; it is idle when the queue says that all is done.

    In little-loops the thread that takes an issue is the one that asks the queue, which hides the bug.
    """

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")

    def submit(self, issue: Any, on_complete: Callable[[str], None]) -> None:
        """Queue an issue, and have the worker take one."""
        self.queue.add(issue)
        self._executor.submit(self._take, issue.issue_id, on_complete)

    def _take(self, issue_id: str, on_complete: Callable[[str], None]) -> None:
        self.queue.get()
        on_complete(issue_id)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued and nothing in progress."""
        return self.queue.empty() and self.queue.in_progress_count == 0

    def shutdown(self, wait: bool = True) -> None:
        """Let the worker end what it was given."""
        self._executor.shutdown(wait)


pytestmark = [
    pytest.mark.explore(schedules=1000),
    pytest.mark.parametrize("system", [LittleLoops, Reference]),
]


def test_wait_for_the_pool(system: Any, folder: Project, ledger: Ledger) -> None:
    pool = ledger.watch(system.pool(folder))
    results: list[object] = []

    pool.submit(system.issue("BUG-701"), results.append)
    # As the orchestrator waits at the end of its run.
    while pool.active_count > 0:
        time.sleep(0.1)
    pool.shutdown(wait=True)


def test_wait_for_the_queue(system: Any, ledger: Ledger) -> None:
    worker = ledger.watch(OwnWorker(system.queue()))

    worker.submit(system.issue("BUG-711"), worker.queue.mark_completed)
    while not worker.is_idle:
        time.sleep(0.1)
    worker.shutdown(wait=True)
