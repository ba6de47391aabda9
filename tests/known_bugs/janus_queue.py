"""The queue of janus, as threads see it."""

from __future__ import annotations

import asyncio
import importlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_littleloops.contract import IssueQueueContract

janus: Any = importlib.import_module("janus")


class JanusQueue:
    """Its synchronous side; the loop that it needs runs in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="loop", daemon=True).start()
        self._queue = asyncio.run_coroutine_threadsafe(self._make(), self._loop).result()

    async def _make(self) -> Any:
        return janus.Queue()

    def add(self, issue: Any) -> None:
        """Put it at the end."""
        self._queue.sync_q.put(issue)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the first. Raises `queue.Empty`."""
        try:
            return self._queue.sync_q.get(block, timeout)
        except janus.SyncQueueEmpty:
            raise queue.Empty from None

    def mark_completed(self, issue_id: str) -> None:
        """One less that `join` waits for. Raises ValueError if all are completed."""
        self._queue.sync_q.task_done()

    def join(self) -> None:
        """Wait until all are completed."""
        self._queue.sync_q.join()

    def close(self) -> None:
        """Take no more, and end every wait."""
        self._queue.close()


class TestJanusQueue(IssueQueueContract):
    """A loop waits in the system, where no schedule is controlled."""

    is_explored = False

    @pytest.fixture
    def queue_factory(self) -> Callable[[], JanusQueue]:
        """An empty queue."""
        return JanusQueue
