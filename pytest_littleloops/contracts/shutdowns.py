"""What a shutdown owes, and what is left behind when all is over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, THIRD, promise
from pytest_littleloops.contracts.outcomes import (
    OUTCOMES,
    raising,
)
from pytest_littleloops.contracts.work import WorkContract, await_future
from pytest_littleloops.harness.trial import NotOffered, Trial, wait_until
from pytest_littleloops.simulation.inside import is_in_world


class ShutdownPromises(WorkContract):
    """Shutdowns at any time, refusals, and the end."""

    @promise(faults=("shutdown",))
    def test_a_shutdown_at_any_time_drops_no_issue(self, pool: Callable[..., None]) -> None:
        """Waiting or not, cancelling or not."""

        def steps(trial: Trial) -> None:
            if not hasattr(trial.subject, "shutdown"):
                raise NotOffered("it has no shutdown()")
            trial.submit(FIRST)
            trial.nemesis.shutdown(trial.subject)
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("waits", [True, False], ids=["waiting", "not waiting"])
    @pytest.mark.parametrize("cancels", [True, False], ids=["cancelling", "not cancelling"])
    def test_a_shutdown_drops_no_issue_that_waits(
        self, pool: Callable[..., None], waits: bool, cancels: bool
    ) -> None:
        """Behind one that is being worked on."""

        def steps(trial: Trial) -> None:
            with trial.held(FIRST) as go:
                trial.aside(partial(trial.submit, FIRST))
                wait_until(lambda: FIRST in trial.begun, trial.patience)
                trial.aside(partial(trial.submit, SECOND))
                wait_until(lambda: SECOND in trial.futures, 0.05)
                ending = trial.aside(partial(trial.shut_down, wait=waits, cancels=cancels), "shutdown")
                go()
                trial.await_thread(
                    ending, "LL302", SECOND, "is waited for by a shutdown that does not return"
                )
                trial.end()

        pool(steps)

    @promise()
    def test_a_completion_that_raises_stops_no_shutdown(self, pool: Callable[..., None]) -> None:
        """Of three, the second of which is dropped and its completion raises."""

        def steps(trial: Trial) -> None:
            trial.ledger.allow("LL103")
            with trial.held(FIRST) as go:
                trial.aside(partial(trial.submit, FIRST))
                wait_until(lambda: FIRST in trial.begun, trial.patience)
                trial.aside(partial(trial.submit, SECOND, lambda result: raising(KeyError, "stage")))
                if not wait_until(lambda: SECOND in trial.futures, 0.5):
                    raise NotOffered("its submit() returns when the work is done")
                trial.submit(THIRD)
                with suppress(KeyError):
                    trial.shut_down(wait=False, cancels=True)
                go()
                trial.end()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("way", ["result", "wait", "as_completed"])
    def test_whoever_waits_is_woken_by_a_shutdown_that_cancels(
        self, pool: Callable[..., None], way: str
    ) -> None:
        """`done()`, `wait()` and `as_completed()` agree about what was dropped."""

        def steps(trial: Trial) -> None:
            with trial.held(FIRST) as go:
                future = self.queued_behind(trial)
                waiter = trial.aside(partial(await_future, future, way), "waiter")
                trial.shut_down(wait=False, cancels=True)
                go()
                trial.await_thread(
                    waiter,
                    "LL105",
                    SECOND,
                    "was dropped by the shutdown, and who waits for it is not woken",
                )
                trial.end()

        pool(steps)

    @promise()
    def test_a_second_shutdown_changes_nothing(self, pool: Callable[..., None]) -> None:
        """At the same time, and afterwards."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            trial.aside(trial.shut_down, "other shutdown")
            trial.shut_down()
            trial.end()

        pool(steps)

    @promise()
    def test_a_submission_after_the_shutdown_is_refused_or_completed(
        self, pool: Callable[..., None]
    ) -> None:
        """Refused, it leaves nothing that runs."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            trial.shut_down()
            trial.submit(SECOND)
            trial.judge()

        pool(steps)

    @promise(faults=("submit-rejected",))
    @pytest.mark.parametrize("behind", ["alone", "another behind it"])
    def test_a_submission_that_finds_no_thread_leaves_nothing(
        self, pool: Callable[..., None], behind: str
    ) -> None:
        """`can't start new thread`: it is refused and not run, or accepted and completed."""

        def steps(trial: Trial) -> None:
            if not is_in_world():
                trial.nemesis.arm("submit-rejected")
            with trial.nemesis.thread_starts(anywhere=True):
                trial.submit(FIRST)
                if behind != "alone":
                    trial.submit(SECOND)
                trial.judge()
            trial.end()

        pool(steps)

    @promise()
    def test_a_pool_that_is_dropped_owes_its_completions(self, pool: Callable[..., None]) -> None:
        """The caller keeps no name for it."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            trial.submit(SECOND)
            bury = trial.drop()
            trial.judge()
            bury()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("outcome", ["well", "an exception"])
    def test_nothing_is_left_behind(self, pool: Callable[..., None], outcome: str) -> None:
        """No thread, no process, no worktree, and no future that nobody ended."""

        def steps(trial: Trial) -> None:
            if outcome in OUTCOMES:
                trial.works[FIRST] = OUTCOMES[outcome]
            trial.submit(FIRST)
            trial.submit(SECOND)
            trial.shut_down()
            trial.judge()
            trial.left_behind()

        pool(steps, 2)
