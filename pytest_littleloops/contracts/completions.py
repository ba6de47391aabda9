"""What a completion may do: raise, submit, cancel, shut down."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, promise
from pytest_littleloops.contracts.outcomes import (
    raising,
)
from pytest_littleloops.contracts.work import WorkContract
from pytest_littleloops.harness.trial import NotOffered, Trial, wait_until
from pytest_littleloops.simulation.inside import patiently


class CompletionPromises(WorkContract):
    """What completions may do, and what idle means."""

    @promise()
    @pytest.mark.parametrize("error", [KeyError, SystemExit])
    def test_a_completion_that_raises_stops_no_other(
        self, pool: Callable[..., None], error: type[BaseException]
    ) -> None:
        """That of the next job still comes, and that one comes once."""

        def steps(trial: Trial) -> None:
            trial.ledger.allow("LL103")
            trial.submit(FIRST, lambda result: raising(error, "stage"))
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    def test_a_completion_may_submit(self, pool: Callable[..., None]) -> None:
        """Without waiting for itself."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST, lambda result: trial.submit(SECOND))
            wait_until(lambda: SECOND in trial.completed or SECOND in trial.refused, trial.patience)
            trial.end()

        pool(steps)

    @promise()
    def test_a_completion_may_cancel(self, pool: Callable[..., None]) -> None:
        """Another issue, whose completion is still called once."""

        def steps(trial: Trial) -> None:
            with trial.held(FIRST) as go:
                trial.aside(partial(trial.submit, FIRST, lambda result: trial.cancel(SECOND)))
                wait_until(lambda: FIRST in trial.begun, trial.patience)
                trial.aside(partial(trial.submit, SECOND))
                wait_until(lambda: SECOND in trial.futures or SECOND in trial.completed, 0.05)
                if not hasattr(trial.subject, "cancel") and not hasattr(
                    trial.futures.get(SECOND), "add_done_callback"
                ):
                    # Said here: raised in the completion it would be the completion's own failure.
                    raise NotOffered("it has no cancel(), and no future of what waits")
                go()
                trial.end()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("waits", [True, False], ids=["waiting", "not waiting"])
    def test_a_completion_may_shut_down(self, pool: Callable[..., None], waits: bool) -> None:
        """It does not wait for itself, whatever it is told; and what was accepted is still completed."""

        def steps(trial: Trial) -> None:
            if waits:
                # That it cannot wait for itself it may say.
                trial.ledger.allow("LL103")
            trial.submit(FIRST, lambda result: trial.shut_down(wait=waits))
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    def test_idle_means_that_nothing_is_owed(self, pool: Callable[..., None]) -> None:
        """Whoever looks at `active_count` at any time."""

        def steps(trial: Trial) -> None:
            if not hasattr(trial.subject, "active_count"):
                raise NotOffered("it has no active_count")

            def look() -> None:
                for _ in range(4):
                    count = trial.subject.active_count
                    _ = count() if callable(count) else count

            looking = trial.aside(look, "observer")
            trial.submit(FIRST)
            trial.submit(SECOND)
            with patiently():
                looking.join(trial.patience)
            look()
            trial.end()

        pool(steps, 2)
