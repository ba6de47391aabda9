"""What a completion may do: raise, submit, cancel, shut down."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, THIRD, promise
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
        """Nor do three of them: that of the next job still comes, and once."""

        def steps(trial: Trial) -> None:
            trial.ledger.allow("LL103")
            for issue_id in (FIRST, THIRD, "BUG-104"):
                trial.submit(issue_id, lambda result: raising(error, "stage"))
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("count", [1, 6])
    def test_a_completion_may_submit(self, pool: Callable[..., None], count: int) -> None:
        """Without waiting for itself, also where there is no room for so many: it may be refused."""

        def steps(trial: Trial) -> None:
            more = [f"BUG-{200 + number}" for number in range(count)]

            def submit(result: object) -> None:
                for issue_id in more:
                    trial.submit(issue_id)

            trial.submit(FIRST, submit)
            wait_until(lambda: {*more} <= {*trial.completed, *trial.refused}, trial.patience)
            trial.end()

        pool(steps)

    @promise()
    def test_a_completion_may_submit_during_a_shutdown(self, pool: Callable[..., None]) -> None:
        """It is refused, or completed; and so is what the completion of that one submits."""

        def steps(trial: Trial) -> None:
            with trial.held(FIRST) as go:

                def submit_two(result: object) -> None:
                    trial.submit(SECOND, lambda result: trial.submit(THIRD))

                trial.aside(partial(trial.submit, FIRST, submit_two))
                wait_until(lambda: FIRST in trial.begun, trial.patience)
                trial.aside(trial.shut_down, "shutdown")
                go()
                trial.judge()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("which", [SECOND, FIRST], ids=["another", "itself"])
    def test_a_completion_may_cancel(self, pool: Callable[..., None], which: str) -> None:
        """Another issue, whose completion is still called once, or its own: that is too late."""

        def steps(trial: Trial) -> None:
            with trial.held(FIRST) as go:
                trial.aside(partial(trial.submit, FIRST, lambda result: trial.cancel(which)))
                wait_until(lambda: FIRST in trial.begun, trial.patience)
                trial.aside(partial(trial.submit, SECOND))
                wait_until(lambda: SECOND in trial.futures or SECOND in trial.completed, 0.05)
                futures = [trial.futures.get(one) for one in {which, SECOND}]
                has_futures = all(hasattr(one, "add_done_callback") for one in futures)
                if not hasattr(trial.subject, "cancel") and not has_futures:
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
            shut_down = trial.shutdown_by(wait=waits)
            trial.submit(FIRST, lambda result: shut_down())
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    def test_idle_means_that_nothing_is_owed(self, pool: Callable[..., None]) -> None:
        """Whoever looks at any time: at `active_count`, at `is_idle()`, at `drain(timeout)`."""

        def steps(trial: Trial) -> None:
            offered = [one for one in ("active_count", "is_idle", "drain") if hasattr(trial.subject, one)]
            if not offered:
                raise NotOffered("it has no active_count, is_idle() or drain()")

            def look() -> None:
                for _ in range(4):
                    for name in offered:
                        answer = getattr(trial.subject, name)
                        if callable(answer):
                            _ = answer(0.01) if name == "drain" else answer()

            looking = trial.aside(look, "observer")
            # Also from where it is called.
            trial.submit(FIRST, lambda result: getattr(trial.subject, "active_count", 0))
            trial.submit(SECOND)
            with patiently():
                looking.join(trial.patience)
            look()
            trial.end()

        pool(steps, 2)
