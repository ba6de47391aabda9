"""The executors and pools of the scoreboard, each under its contract. Run by `scoreboard.py`."""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.pool
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_littleloops import WorkerPool, WorkerResult
from pytest_littleloops.contract import ExecutorContract, WorkerPoolContract
from pytest_littleloops.reference.submission import Process

Completion = Callable[[WorkerResult], object]

SPAWN = multiprocessing.get_context("spawn")
"""A fork of a process with threads may deadlock."""


class TestReferenceOnThreads(WorkerPoolContract):
    """The reference `WorkerPool`."""

    @pytest.fixture
    def pool_factory(self) -> Callable[[Process, int], WorkerPool]:
        """As it is."""
        return lambda process, max_workers: WorkerPool(process, max_workers=max_workers)


class CarriedPool(WorkerPool):
    """A reference pool that shuts the executor down which was made for it."""

    def __init__(self, process: Process, executor: Executor) -> None:
        super().__init__(process, executor=executor)
        self._carrier = executor

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Shut both down."""
        super().shutdown(wait=wait, cancel_pending=cancel_pending)
        # One whose own thread could not start cannot be shut down: that is no loss of the pool's.
        with suppress(RuntimeError):
            self._carrier.shutdown(wait=wait)


class TestReferenceOnProcesses(WorkerPoolContract):
    """The reference `WorkerPool` on a `ProcessPoolExecutor`."""

    in_processes = True

    @pytest.fixture
    def pool_factory(self) -> Callable[[Process, int], WorkerPool]:
        """On spawned processes."""
        return lambda process, max_workers: CarriedPool(
            process, ProcessPoolExecutor(max_workers, mp_context=SPAWN)
        )


class TestThreadPoolExecutor(ExecutorContract):
    """`concurrent.futures.ThreadPoolExecutor`."""

    @pytest.fixture
    def executor_factory(self) -> Callable[[int], Executor]:
        """As it is."""
        return ThreadPoolExecutor


class TestProcessPoolExecutor(ExecutorContract):
    """`concurrent.futures.ProcessPoolExecutor`."""

    in_processes = True

    @pytest.fixture
    def executor_factory(self) -> Callable[[int], Executor]:
        """On spawned processes."""
        return lambda max_workers: ProcessPoolExecutor(max_workers, mp_context=SPAWN)


class MappedThreadPool:
    """A `multiprocessing.pool.ThreadPool` that is spoken to as to a pool of issues."""

    def __init__(self, process: Process, max_workers: int) -> None:
        self._process = process
        self._pool = multiprocessing.pool.ThreadPool(max_workers)

    def submit(self, issue: Any, on_complete: Completion) -> None:
        """Have the issue worked on; the completion is called by both callbacks."""

        def failed(error: object) -> None:
            # Not with its text, as that may raise.
            name = type(error).__name__
            on_complete(WorkerResult(issue.issue_id, False, "", Path(), error=name))

        def ended(result: object) -> None:
            if isinstance(result, WorkerResult):
                on_complete(result)
            else:
                failed(result)

        self._pool.apply_async(self._process, (issue,), callback=ended, error_callback=failed)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more work, and wait for what there is."""
        self._pool.close()
        if wait:
            self._pool.join()


class TestMultiprocessingThreadPool(WorkerPoolContract):
    """`multiprocessing.pool.ThreadPool` with the completion in both callbacks of `apply_async`."""

    @pytest.fixture
    def pool_factory(self) -> Callable[[Process, int], MappedThreadPool]:
        """Through the few lines above."""
        return MappedThreadPool


class Pebble(Executor):
    """A pool of pebble that is spoken to as to an executor."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule a call."""
        future: Future[Any] = self._pool.schedule(fn, args=args, kwargs=kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close or stop it, and join it."""
        if cancel_futures:
            self._pool.stop()
        else:
            self._pool.close()
        if wait:
            self._pool.join()


class TestPebbleThreadPool(ExecutorContract):
    """pebble's `ThreadPool`."""

    @pytest.fixture
    def executor_factory(self) -> Callable[[int], Executor]:
        """Through the few lines above."""
        pebble = importlib.import_module("pebble")
        return lambda max_workers: Pebble(pebble.ThreadPool(max_workers))


class TestPebbleProcessPool(ExecutorContract):
    """pebble's `ProcessPool`."""

    in_processes = True

    @pytest.fixture
    def executor_factory(self) -> Callable[[int], Executor]:
        """Through the few lines above."""
        pebble = importlib.import_module("pebble")
        return lambda max_workers: Pebble(pebble.ProcessPool(max_workers, context=SPAWN))


class TestLoky(ExecutorContract):
    """loky's `ProcessPoolExecutor`."""

    in_processes = True

    @pytest.fixture
    def executor_factory(self) -> Callable[[int], Executor]:
        """As it is."""
        executor: Callable[[int], Executor] = importlib.import_module("loky").ProcessPoolExecutor
        return executor
