"""The `ThreadPool` of pebble."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from pytest_littleloops.contract import WorkerPoolContract
from tests.known_bugs.results import completes

pebble: Any = importlib.import_module("pebble")


class PebbleThreads:
    """Its futures complete."""

    def __init__(self, process: Callable[[Any], Any], max_workers: int) -> None:
        self._process = process
        self._pool = pebble.ThreadPool(max_workers)

    def submit(self, issue: Any, on_complete: Callable[[Any], object]) -> Any:
        """Have one of its threads work on the issue."""
        future = self._pool.schedule(self._process, args=(issue,))
        future.add_done_callback(completes(issue, on_complete))
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Take no more."""
        self._pool.close()
        if wait:
            self._pool.join()


class TestPebbleThreads(WorkerPoolContract):
    """Threads that a loop of its own looks after."""

    @pytest.fixture
    def pool_factory(self) -> Callable[..., PebbleThreads]:
        """A pool of so many threads."""
        return PebbleThreads
