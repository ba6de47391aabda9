"""What the promises about pools and executors share: how one is made, fed and put on trial."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, as_completed, wait
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, Contract
from pytest_littleloops.harness.trial import NotOffered, Trial, wait_until


class WorkContract(Contract):
    """Whatever works on what is submitted to it: made by a factory, and judged promise by promise."""

    _factory: ClassVar[str]

    def put_on_trial(self, trial: Trial, factory: Callable[..., object], max_workers: int) -> None:
        """Make the object, and have the trial watch it."""
        raise NotImplementedError

    @pytest.fixture
    def pool(self, kept: Trial, request: pytest.FixtureRequest) -> Callable[..., None]:
        """Does the steps of a promise with a new object: `pool(steps, max_workers)`."""
        factory = request.getfixturevalue(self._factory)

        def run(steps: Callable[[Trial], object], max_workers: int = 1) -> None:
            def all_steps() -> None:
                self.put_on_trial(kept, factory, max_workers)
                steps(kept)

            self.run_on_trial(kept, all_steps, request)

        return run

    def queued_behind(
        self, trial: Trial, on_complete: Callable[[Any], object] | None = None
    ) -> Future[Any]:
        """The future of SECOND, which waits behind FIRST."""
        trial.aside(partial(trial.submit, FIRST))
        wait_until(lambda: FIRST in trial.begun, trial.patience)
        trial.aside(partial(trial.submit, SECOND, on_complete))
        if not wait_until(lambda: SECOND in trial.futures, 0.5):
            raise NotOffered("its submit() returns when the work is done")
        future: Future[Any] = trial.future_of(SECOND)
        return future


def await_future(future: Future[Any], way: str) -> None:
    """Wait for a future to end, whatever its end is: by `result`, `wait` or `as_completed`."""
    if way == "wait":
        wait([future])
    elif way == "as_completed":
        list(as_completed([future]))
    else:
        with suppress(CancelledError):
            future.exception()
