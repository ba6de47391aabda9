"""What a cancel means, to the job and to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, promise
from pytest_littleloops.contracts.work import WorkContract, await_future
from pytest_littleloops.harness.trial import Trial


class CancelPromises(WorkContract):
    """Cancels at any time."""

    @promise()
    @pytest.mark.parametrize("by", ["the pool", "its future"])
    def test_a_cancelled_issue_is_completed_once_and_not_worked_on(
        self, pool: Callable[..., None], by: str
    ) -> None:
        """If the cancel was accepted; at any time, from behind its submission on."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            trial.submit(SECOND)
            accepted: list[str] = []
            begun: list[bool] = []

            def cancel() -> None:
                if trial.cancel(SECOND, by_future=by == "its future"):
                    begun.append(SECOND in trial.begun)
                    accepted.append(SECOND)

            trial.aside(cancel, "canceller")
            trial.end()
            if accepted and SECOND in trial.begun and not begun[0]:
                trial.broken("LL304", SECOND, "was worked on after its cancellation had been accepted")
            state = trial.ledger.states().get(SECOND)
            if not accepted and state in ("failed", "cancelled", "interrupted"):
                trial.broken(
                    "LL202", SECOND, f"is {state}, though its cancel was refused and its work went well"
                )

        pool(steps)

    @promise()
    @pytest.mark.parametrize("raises", [False, True], ids=["in peace", "with completions that raise"])
    def test_a_cancel_forgets_none_of_two_submissions(
        self, pool: Callable[..., None], raises: bool
    ) -> None:
        """Both wait, and are of one issue."""

        def steps(trial: Trial) -> None:
            trial.needs("cancel")

            def complete(result: object) -> None:
                if raises:
                    raise KeyError("stage")

            if raises:
                trial.ledger.allow("LL103")
            with trial.held(FIRST) as go:
                self.queued_behind(trial, complete)
                trial.submit(SECOND, complete)
                with suppress(KeyError):
                    trial.cancel(SECOND)
                go()
                trial.end()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("way", ["result", "wait", "as_completed"])
    def test_whoever_waits_for_a_cancelled_issue_is_woken(
        self, pool: Callable[..., None], way: str
    ) -> None:
        """Who waited before it was cancelled, and who asks later."""

        def steps(trial: Trial) -> None:
            with trial.held(FIRST) as go:
                future = self.queued_behind(trial)
                before = trial.aside(partial(await_future, future, way), "waiter")
                trial.cancel(SECOND)
                go()
                trial.await_thread(
                    before, "LL402", SECOND, "was cancelled, and who waits for it is not woken"
                )
                later = trial.aside(partial(await_future, future, way), "later waiter")
                trial.await_thread(
                    later, "LL402", SECOND, "was cancelled, and who waits for it is not woken"
                )
                trial.end()

        pool(steps)
