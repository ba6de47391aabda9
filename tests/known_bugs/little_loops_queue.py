"""The `IssuePriorityQueue` of little-loops."""

from __future__ import annotations

import importlib
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_littleloops.contract import IssueQueueContract

parallel: Any = importlib.import_module("little_loops.parallel")
parser: Any = importlib.import_module("little_loops.issue_parser")


class Queue(parallel.IssuePriorityQueue):  # type: ignore[misc]
    """Gives out issues where it has items, and raises where it returns None."""

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[str, Any] = {}

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the next issue. Raises `queue.Empty`."""
        item = super().get(block, timeout)
        if item is None:
            raise queue.Empty
        self._given[item.issue_info.issue_id] = item.issue_info
        return item.issue_info

    def requeue(self, issue_id: str) -> None:
        """Take an issue back that was given out."""
        super().requeue(self._given[issue_id])


class TestLittleLoopsQueue(IssueQueueContract):
    """With issues of its own."""

    def make_issue(self, issue_id: str) -> Any:
        """An issue of its own."""
        return self.make_urgent_issue(issue_id, "P3")

    def make_urgent_issue(self, issue_id: str, priority: str) -> Any:
        """An issue of its own, of this priority."""
        return parser.IssueInfo(Path(f"{issue_id}.md"), "bugs", priority, issue_id, "An issue")

    @pytest.fixture
    def queue_factory(self) -> Callable[[], Any]:
        """An empty queue."""
        return Queue
