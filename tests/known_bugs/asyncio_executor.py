"""The `run_in_executor` of an asyncio loop, as a pool of threads whose completions come in the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_littleloops.contract import WorkerPoolContract
from tests.known_bugs.results import completes

Completion = Callable[[Any], object]


class LoopPool:
    """A loop in a thread of its own, and the threads of its executor."""

    def __init__(self, process: Callable[[Any], Any], max_workers: int) -> None:
        self._process = process
        self._executor = ThreadPoolExecutor(max_workers)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._owed = 0
        self._is_closed = False

    def submit(self, issue: Any, on_complete: Completion) -> None:
        """Have the loop hand the issue to the executor. Raises RuntimeError once it is shut down."""
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the pool is shut down")
            self._owed += 1
            self._loop.call_soon_threadsafe(self._begin, issue, on_complete)

    def _begin(self, issue: Any, on_complete: Completion) -> None:
        future = self._loop.run_in_executor(self._executor, self._process, issue)
        future.add_done_callback(completes(issue, on_complete))
        future.add_done_callback(self._count)

    def _count(self, future: asyncio.Future[Any]) -> None:
        with self._lock:
            self._owed -= 1
            self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if self._is_closed and not self._owed:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more, and end the loop behind the last completion."""
        with self._lock:
            self._is_closed = True
            self._stop_if_idle()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()
            self._executor.shutdown()


class TestLoopPool(WorkerPoolContract):
    """A loop waits in the system, where no schedule is controlled."""

    is_explored = False

    @pytest.fixture
    def pool_factory(self) -> Callable[..., LoopPool]:
        """A loop with so many threads."""
        return LoopPool
