"""The `ThreadPool` of `multiprocessing.pool`."""

from __future__ import annotations

import multiprocessing.pool
from collections.abc import Callable
from typing import Any

import pytest

from pytest_littleloops.contract import WorkerPoolContract
from tests.known_bugs.results import result_of


class ResultThreadPool:
    """Its callbacks are the completions."""

    def __init__(self, process: Callable[[Any], Any], max_workers: int) -> None:
        self._process = process
        self._pool = multiprocessing.pool.ThreadPool(max_workers)

    def submit(self, issue: Any, on_complete: Callable[[Any], object]) -> None:
        """Have one of its threads work on the issue."""

        def returned(value: Any) -> None:
            on_complete(result_of(issue, lambda: value))

        def raised(error: BaseException) -> None:
            on_complete(result_of(issue, lambda: _raise(error)))

        self._pool.apply_async(self._process, (issue,), callback=returned, error_callback=raised)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more."""
        self._pool.close()
        if wait:
            self._pool.join()


def _raise(error: BaseException) -> object:
    raise error


class TestMultiprocessingThreadPool(WorkerPoolContract):
    """One thread hands out all results."""

    @pytest.fixture
    def pool_factory(self) -> Callable[..., ResultThreadPool]:
        """A pool of so many threads."""
        return ResultThreadPool
