"""The contracts of a worker pool and of an executor."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_littleloops.contracts.base import missing
from pytest_littleloops.contracts.cancelling import CancelPromises
from pytest_littleloops.contracts.completions import CompletionPromises
from pytest_littleloops.contracts.jobs import JobPromises
from pytest_littleloops.contracts.shutdowns import ShutdownPromises
from pytest_littleloops.harness.trial import Trial


class AllPromises(ShutdownPromises, CancelPromises, CompletionPromises, JobPromises):
    """All of whatever works on what is submitted to it; pytest runs those of the last base first."""


class WorkerPoolContract(AllPromises):
    """What a pool owes that is made by `pool_factory(process, max_workers)`.

    It has `submit(issue, on_complete)`, and as far as it offers them `cancel(issue_id)`, `shutdown(wait,
    cancel_pending)`, `active_count`, and futures that `submit` returns.
    """

    _factory = "pool_factory"
    pool_factory = pytest.fixture(missing("pool_factory", "lambda process, max_workers: MyPool(process)"))

    def put_on_trial(self, trial: Trial, factory: Callable[..., object], max_workers: int) -> None:
        """A pool is given the process function."""
        trial.put(factory(trial.process, max_workers))


class ExecutorContract(AllPromises):
    """What a `concurrent.futures.Executor` owes that is made by `executor_factory(max_workers)`.

    No completion is owed, so the future decides; where a promise is about completions, a done-callback
    is in their place.
    """

    _factory = "executor_factory"
    executor_factory = pytest.fixture(
        missing("executor_factory", "lambda max_workers: MyExecutor(max_workers)")
    )

    def put_on_trial(self, trial: Trial, factory: Callable[..., object], max_workers: int) -> None:
        """An executor is given the process function with each issue."""
        trial.put(factory(max_workers), takes_function=True)
