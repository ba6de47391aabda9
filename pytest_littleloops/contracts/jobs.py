"""How a job ends: every one is completed once, and costs no other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, promise
from pytest_littleloops.contracts.outcomes import (
    OF_THE_WORK,
    OUTCOMES,
    Unpicklable,
    die,
    raising,
    unpicklable,
)
from pytest_littleloops.contracts.work import WorkContract
from pytest_littleloops.harness.trial import NotOffered, Trial, wait_until
from pytest_littleloops.simulation.inside import is_in_world


class JobPromises(WorkContract):
    """How jobs end."""

    @promise()
    def test_work_is_accepted(self, pool: Callable[..., None]) -> None:
        """By a pool that is started and has nothing else to do: whoever refuses all work loses none."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            if FIRST in trial.refused:
                trial.broken("LL104", FIRST, f"was refused without need: {trial.refused[FIRST]!r}")
            trial.end()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("outcome", OUTCOMES)
    def test_every_job_is_completed_once_however_it_ends(
        self, pool: Callable[..., None], outcome: str
    ) -> None:
        """And an innocent one behind it, too."""

        def steps(trial: Trial) -> None:
            trial.works[FIRST] = OUTCOMES[outcome]
            trial.submit(FIRST)
            trial.submit(SECOND)
            trial.end()
            if outcome != "junk" and trial.ledger.states().get(FIRST) == "completed":
                trial.broken("LL202", FIRST, "was told as completed, and its work had raised")

        pool(steps)

    @promise(faults=OF_THE_WORK)
    def test_no_job_is_lost_whatever_goes_wrong_in_the_work(self, pool: Callable[..., None]) -> None:
        """In any order of two jobs and two workers."""

        def steps(trial: Trial) -> None:
            if self.in_processes:
                raise NotOffered("its work is done in processes, where no schedule is explored")
            for issue_id in (FIRST, SECOND):
                trial.works[issue_id] = partial(trial.nemesis.job, self.make_issue(issue_id))
                trial.submit(issue_id)
            trial.end()

        pool(steps, 2)

    @promise()
    @pytest.mark.parametrize("what", ["the issue", "its class", "its result", "its error"])
    def test_what_cannot_be_pickled_is_refused_or_completed(
        self, pool: Callable[..., None], what: str
    ) -> None:
        """Where it has to be sent to a process; and an innocent issue behind it is completed."""

        def steps(trial: Trial) -> None:
            if not self.in_processes:
                raise NotOffered("its work is done in threads, to which nothing is sent")
            if what == "its result":
                trial.works[FIRST] = Unpicklable
            elif what == "its error":
                trial.works[FIRST] = partial(raising, ValueError, Unpicklable)
            issue = self.make_issue(FIRST)
            if what == "the issue":
                issue = unpicklable(issue, TypeError("cannot pickle '_thread.lock' object"))
            elif what == "its class":
                issue = unpicklable(issue, AttributeError("Can't pickle local object"))
            trial.submit(FIRST, issue=issue)
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    def test_a_process_that_dies_strands_no_issue(self, pool: Callable[..., None]) -> None:
        """Neither its own nor one behind it; whether that is worked on is the pool's to say."""

        def steps(trial: Trial) -> None:
            if not self.in_processes:
                raise NotOffered("its work is done in threads, which nobody can kill")
            trial.works[FIRST] = die
            trial.submit(FIRST)
            trial.submit(SECOND)
            trial.end()

        pool(steps)

    @promise()
    def test_the_full_capacity_returns_after_jobs_that_exit(self, pool: Callable[..., None]) -> None:
        """Two workers, two jobs that exit, and then two jobs that wait for each other."""

        def steps(trial: Trial) -> None:
            for issue_id in ("BUG-201", "BUG-202"):
                trial.works[issue_id] = OUTCOMES["SystemExit"]
                trial.submit(issue_id)
            with trial.held(FIRST) as go_first, trial.held(SECOND) as go_second:
                # Each by a caller of its own, as the work may be done by the caller.
                for issue_id in (FIRST, SECOND):
                    trial.aside(partial(trial.submit, issue_id))
                # Sooner than the first of them gives up.
                if not wait_until(lambda: {FIRST, SECOND} <= set(trial.begun), trial.patience / 2):
                    trial.broken(
                        "LL106", SECOND, "waits for a worker, of which fewer are left than there were"
                    )
                go_first()
                go_second()
            trial.end()

        pool(steps, 2)

    @promise()
    def test_more_jobs_than_workers_are_all_completed(self, pool: Callable[..., None]) -> None:
        """Six of them at once, and forty for real."""

        def steps(trial: Trial) -> None:
            for number in range(6 if is_in_world() else 40):
                trial.submit(f"BUG-{number + 1}")
            trial.end()

        pool(steps, 2)

    @promise()
    def test_two_submissions_of_one_issue_are_two(self, pool: Callable[..., None]) -> None:
        """Each is completed, neither hides the other; a pool may refuse the second."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            trial.submit(FIRST)
            trial.shut_down()
            trial.ledger.settle(trial.patience)
            if trial.completed.count(FIRST) < 2 - len(trial.refused):
                trial.broken("LL102", FIRST, "was submitted twice and completed once")

        pool(steps)
