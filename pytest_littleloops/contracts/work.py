"""What is owed by whatever works on what is submitted to it: pools and executors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, as_completed, wait
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, THIRD, Contract, missing, promise
from pytest_littleloops.contracts.outcomes import (
    OF_THE_WORK,
    OUTCOMES,
    Unpicklable,
    die,
    raising,
    unpicklable,
)
from pytest_littleloops.harness.trial import NotOffered, Trial, wait_until
from pytest_littleloops.simulation.inside import is_in_world, patiently


class WorkContract(Contract):
    """The promises of whatever works on what is submitted to it."""

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

    # -- how a job ends

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
        """Six of them, at once."""

        def steps(trial: Trial) -> None:
            for number in range(6):
                trial.submit(f"BUG-{number + 1}")
            trial.end()

        pool(steps, 2)

    @promise()
    def test_two_submissions_of_one_issue_are_two(self, pool: Callable[..., None]) -> None:
        """Each is completed, neither hides the other; a pool may refuse the second."""

        def steps(trial: Trial) -> None:
            trial.submit(FIRST)
            trial.submit(FIRST)
            if self.pool_has_ended(trial):
                accepted = 2 - len(trial.refused)
                if trial.completed.count(FIRST) < accepted:
                    trial.broken("LL102", FIRST, "was submitted twice and completed once")

        pool(steps)

    @staticmethod
    def pool_has_ended(trial: Trial) -> bool:
        """Shut it down and wait for what it owes."""
        trial.shut_down()
        trial.ledger.settle(trial.patience)
        return True

    # -- completions

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

    # -- cancelling

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

        pool(steps)

    @promise()
    def test_a_cancel_forgets_none_of_two_submissions(self, pool: Callable[..., None]) -> None:
        """Both wait, and are of one issue."""

        def steps(trial: Trial) -> None:
            trial.needs("cancel")
            with trial.held(FIRST) as go:
                self._queued_behind(trial)
                trial.submit(SECOND)
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
                future = self._queued_behind(trial)
                before = trial.aside(partial(_await_future, future, way), "waiter")
                trial.cancel(SECOND)
                go()
                trial.await_thread(
                    before, "LL402", SECOND, "was cancelled, and who waits for it is not woken"
                )
                later = trial.aside(partial(_await_future, future, way), "later waiter")
                trial.await_thread(
                    later, "LL402", SECOND, "was cancelled, and who waits for it is not woken"
                )
                trial.end()

        pool(steps)

    def _queued_behind(self, trial: Trial) -> Future[Any]:
        """The future of SECOND, which waits behind FIRST."""
        trial.aside(partial(trial.submit, FIRST))
        wait_until(lambda: FIRST in trial.begun, trial.patience)
        trial.aside(partial(trial.submit, SECOND))
        if not wait_until(lambda: SECOND in trial.futures, 0.5):
            raise NotOffered("its submit() returns when the work is done")
        future: Future[Any] = trial.future_of(SECOND)
        return future

    # -- shutting down

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
                future = self._queued_behind(trial)
                waiter = trial.aside(partial(_await_future, future, way), "waiter")
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
            trial.drop()
            trial.judge()

        pool(steps)

    @promise()
    @pytest.mark.parametrize("outcome", ["well", "an exception"])
    def test_nothing_is_left_behind(self, pool: Callable[..., None], outcome: str) -> None:
        """No thread, and no future that nobody ended."""

        def steps(trial: Trial) -> None:
            if outcome in OUTCOMES:
                trial.works[FIRST] = OUTCOMES[outcome]
            trial.submit(FIRST)
            trial.submit(SECOND)
            trial.shut_down()
            trial.judge()
            trial.left_behind()

        pool(steps, 2)


class WorkerPoolContract(WorkContract):
    """What a pool owes that is made by `pool_factory(process, max_workers)`.

    It has `submit(issue, on_complete)`, and as far as it offers them `cancel(issue_id)`, `shutdown(wait,
    cancel_pending)`, `active_count`, and futures that `submit` returns.
    """

    _factory = "pool_factory"
    pool_factory = pytest.fixture(missing("pool_factory", "lambda process, max_workers: MyPool(process)"))

    def put_on_trial(self, trial: Trial, factory: Callable[..., object], max_workers: int) -> None:
        """A pool is given the process function."""
        trial.put(factory(trial.process, max_workers))


class ExecutorContract(WorkContract):
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


def _await_future(future: Future[Any], way: str) -> None:
    if way == "wait":
        wait([future])
    elif way == "as_completed":
        list(as_completed([future]))
    else:
        with suppress(CancelledError):
            future.exception()
