"""What an orchestrator needs of a queue and of a pool; protocols only."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from pytest_littleloops import Issue

from .base import Completion, ResultFuture


class QueueLike(Protocol):
    """What an orchestrator needs of a queue."""

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take an issue, or raise queue.Empty."""
        ...

    def mark_completed(self, issue_id: str) -> None:
        """The issue has succeeded."""
        ...

    def mark_failed(self, issue_id: str) -> None:
        """The issue has failed."""
        ...

    def mark_interrupted(self, issue_id: str) -> None:
        """The run ended before the issue did."""
        ...

    @property
    def in_progress_ids(self) -> Collection[str]:
        """The issues that were taken and not marked yet."""
        ...


class PoolLike(Protocol):
    """What an orchestrator needs of a pool."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue or raise."""
        ...

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues."""
        ...

    @property
    def active_count(self) -> int:
        """How many completions are owed."""
        ...
