"""What is owed by a queue of issues that knows the state of each."""

from __future__ import annotations

import queue as standard
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, THIRD, Contract, missing, promise
from pytest_littleloops.harness.trial import NotOffered, Trial
from pytest_littleloops.reference.model import Issue
from pytest_littleloops.simulation.inside import patiently

Steps = Callable[[Trial], object]

UNKNOWN = "BUG-999"


class IssueQueueContract(Contract):
    """What a queue owes that is made by `queue_factory()`.

    It has `add(issue)`, `get(block, timeout)` which raises `queue.Empty`, and marks such as
    `mark_completed(id)`; as far as it offers them `requeue(id)`, `state_of(id)`, `in_progress_ids`.
    """

    queue_factory = pytest.fixture(missing("queue_factory", "MyQueue"))

    @pytest.fixture
    def issues(self, kept: Trial, request: pytest.FixtureRequest) -> Callable[[Steps], None]:
        """Does the steps of a promise with a new queue, and judges."""
        factory = request.getfixturevalue("queue_factory")

        def run(steps: Steps) -> None:
            def all_steps() -> None:
                kept.put(factory(), must_have=("add", "get", "mark_completed"))
                steps(kept)
                kept.judge()

            self.run_on_trial(kept, all_steps, request)

        return run

    @promise()
    def test_each_issue_is_handed_out_once(self, issues: Callable[[Steps], None]) -> None:
        """By two takers at once."""

        def steps(trial: Trial) -> None:
            taken: list[str] = []
            for issue_id in (FIRST, SECOND, THIRD):
                trial.subject.add(self.make_issue(issue_id))

            def take_all() -> None:
                while True:
                    try:
                        issue = trial.subject.get(block=False)
                    except standard.Empty:
                        return
                    taken.append(issue.issue_id)
                    trial.subject.mark_completed(issue.issue_id)

            other = trial.aside(take_all, "other taker")
            take_all()
            with patiently():
                other.join(trial.patience)
            for issue_id in set(taken):
                if taken.count(issue_id) > 1:
                    trial.broken("LL201", issue_id, "was handed out more than once")

        issues(steps)

    @promise()
    def test_an_issue_that_is_handed_out_is_in_progress_at_once(
        self, issues: Callable[[Steps], None]
    ) -> None:
        """Nobody finds the queue empty, and nothing in progress, while it is on its way."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs("empty", "in_progress_ids")
            subject.add(self.make_issue(FIRST))
            claims: list[bool] = []

            def look() -> None:
                for _ in range(3):
                    claims.append(bool(subject.empty()) and not subject.in_progress_ids)

            looking = trial.aside(look, "observer")
            subject.get(block=False)
            with patiently():
                looking.join(trial.patience)
            if any(claims):
                trial.broken("LL301", FIRST, "was nowhere: the queue was empty, and nothing in progress")
            subject.mark_completed(FIRST)

        issues(steps)

    @promise()
    @pytest.mark.parametrize("second", ["mark_failed", "mark_cancelled", "mark_interrupted"])
    def test_a_terminal_state_is_left_by_no_mark(
        self, issues: Callable[[Steps], None], second: str
    ) -> None:
        """The contradiction is refused, and the state stays."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs(second)
            subject.add(self.make_issue(FIRST))
            subject.get(block=False)
            subject.mark_completed(FIRST)
            self._must_refuse(trial, "LL202", FIRST, partial(getattr(subject, second), FIRST), second)
            self._must_be(trial, FIRST, "completed")

        issues(steps)

    @promise()
    def test_two_contradictory_marks_at_once(self, issues: Callable[[Steps], None]) -> None:
        """One of them is refused."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs("mark_failed")
            subject.add(self.make_issue(FIRST))
            subject.get(block=False)
            refused: list[BaseException] = []

            def mark(method: str) -> None:
                try:
                    getattr(subject, method)(FIRST)
                except Exception as error:
                    refused.append(error)

            other = trial.aside(partial(mark, "mark_failed"), "other marker")
            mark("mark_completed")
            with patiently():
                other.join(trial.patience)
            if not refused:
                trial.broken("LL202", FIRST, "was marked completed and failed, and neither was refused")

        issues(steps)

    @promise()
    def test_a_mark_of_an_unknown_issue_is_refused(self, issues: Callable[[Steps], None]) -> None:
        """Nobody added it."""

        def steps(trial: Trial) -> None:
            mark = partial(trial.subject.mark_completed, UNKNOWN)
            self._must_refuse(trial, "LL203", UNKNOWN, mark, "mark_completed")
            # What the ledger says of whoever marked it is no news here.
            trial.ledger.allow("LL203")

        issues(steps)

    @promise()
    @pytest.mark.parametrize(
        "mark",
        ["", "mark_failed", "mark_cancelled", "mark_interrupted"],
        ids=["in progress", "failed", "cancelled", "interrupted"],
    )
    def test_what_is_requeued_is_handed_out_again(self, issues: Callable[[Steps], None], mark: str) -> None:
        """Once, out of progress or whatever ended it, and is in no other state meanwhile."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs("requeue")
            subject.add(self.make_issue(FIRST))
            subject.get(block=False)
            if mark:
                trial.needs(mark)
                getattr(subject, mark)(FIRST)
            subject.requeue(FIRST)
            self._must_be(trial, FIRST, "queued")
            for name in ("completed_ids", "failed_ids", "in_progress_ids"):
                if FIRST in getattr(subject, name, ()):
                    trial.broken("LL202", FIRST, f"was requeued, and is still among the {name}")
            self._take(trial, FIRST, "was requeued, and is not handed out again")
            self._must_be_empty(trial, FIRST, "was requeued once, and is handed out twice")
            subject.mark_completed(FIRST)

        issues(steps)

    @promise()
    def test_whoever_waits_is_woken_by_a_requeue(self, issues: Callable[[Steps], None]) -> None:
        """As by an issue that is new."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs("requeue")
            subject.add(self.make_issue(FIRST))
            subject.get(block=False)
            taker = trial.aside(lambda: subject.mark_completed(subject.get().issue_id), "taker")
            subject.requeue(FIRST)
            trial.await_thread(taker, "LL302", FIRST, "was requeued, and who waits for it is not woken")

        issues(steps)

    @promise()
    def test_what_is_cancelled_while_it_is_queued_is_not_handed_out(
        self, issues: Callable[[Steps], None]
    ) -> None:
        """A queue may refuse such a mark."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs("mark_cancelled")
            subject.add(self.make_issue(FIRST))
            try:
                subject.mark_cancelled(FIRST)
            except Exception:
                subject.get(block=False)
                subject.mark_completed(FIRST)
                return
            self._must_be_empty(trial, FIRST, "was cancelled, and is handed out all the same")

        issues(steps)

    @promise()
    def test_an_issue_that_is_added_twice_at_once_is_one(self, issues: Callable[[Steps], None]) -> None:
        """By two callers; one of them may be refused."""

        def steps(trial: Trial) -> None:
            subject = trial.subject

            def add() -> None:
                with suppress(Exception):
                    subject.add(self.make_issue(FIRST))

            other = trial.aside(add, "other caller")
            add()
            with patiently():
                other.join(trial.patience)
            subject.get(block=False)
            self._must_be_empty(trial, FIRST, "was added twice at once, and is handed out twice")
            subject.mark_completed(FIRST)

        issues(steps)

    @promise()
    def test_a_wait_of_no_time_is_none(self, issues: Callable[[Steps], None]) -> None:
        """It raises `queue.Empty`, or hands out what is there."""

        def steps(trial: Trial) -> None:
            subject = trial.subject

            def look() -> None:
                with suppress(standard.Empty):
                    subject.get(True, 0)

            looking = trial.aside(look, "taker")
            trial.await_thread(looking, "LL302", FIRST, "is waited for, by who has no time to wait")
            subject.add(self.make_issue(FIRST))
            subject.get(True, 0)
            subject.mark_completed(FIRST)

        issues(steps)

    @promise()
    def test_what_is_completed_and_requeued_is_completed_no_more(
        self, issues: Callable[[Steps], None]
    ) -> None:
        """Until it is again."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            trial.needs("requeue")
            subject.add(self.make_issue(FIRST))
            subject.get(block=False)
            subject.mark_completed(FIRST)
            subject.requeue(FIRST)
            if FIRST in getattr(subject, "completed_ids", ()):
                trial.broken("LL202", FIRST, "was requeued, and is still among the completed_ids")
            self._take(trial, FIRST, "was requeued, and is not handed out again")
            subject.mark_completed(FIRST)

        issues(steps)

    @promise()
    def test_what_was_added_before_is_not_begun_anew(self, issues: Callable[[Steps], None]) -> None:
        """To add it again changes no terminal state: only a requeue does."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            subject.add(self.make_issue(FIRST))
            subject.get(block=False)
            subject.mark_completed(FIRST)
            try:
                subject.add(self.make_issue(FIRST))
            except Exception:
                return
            self._must_be(trial, FIRST, "completed")
            try:
                subject.get(block=False)
            except standard.Empty:
                return
            trial.broken("LL201", FIRST, "was completed, added again, and handed out once more")

        issues(steps)

    @promise()
    def test_whoever_waits_for_an_issue_is_woken(self, issues: Callable[[Steps], None]) -> None:
        """Two takers by two issues."""

        def steps(trial: Trial) -> None:
            subject = trial.subject

            def take() -> None:
                subject.mark_completed(subject.get().issue_id)

            takers = [trial.aside(take, f"taker {number}") for number in (1, 2)]
            for issue_id in (FIRST, SECOND):
                subject.add(self.make_issue(issue_id))
            for taker in takers:
                trial.await_thread(taker, "LL302", FIRST, "is there, and who waits for it is not woken")

        issues(steps)

    @promise()
    @pytest.mark.parametrize("method", ["get", "join"])
    def test_whoever_waits_is_woken_when_the_queue_is_closed(
        self, issues: Callable[[Steps], None], method: str
    ) -> None:
        """In `join`, once nothing that is open can be marked any more: what is closed gives nothing out."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            close = next((name for name in ("close", "shutdown") if hasattr(subject, name)), None)
            if close is None:
                raise NotOffered("it has no close()")
            trial.needs(method)
            if method == "join":
                subject.add(self.make_issue(FIRST))

            def wait() -> None:
                with suppress(Exception):
                    getattr(subject, method)()

            waiter = trial.aside(wait, "waiter")
            closing = trial.aside(getattr(subject, close), "closer")
            with patiently():
                # Not for long: it may wait for what is open to be marked.
                closing.join(0.05)
            if method == "join":
                # Who may still take it has to mark it; if nobody can, nobody is left to wait for.
                with suppress(Exception):
                    subject.mark_completed(subject.get(block=False).issue_id)
            trial.await_thread(waiter, "LL302", FIRST, f"is waited for in {method}() of a closed queue")
            trial.ledger.allow("LL101")

        issues(steps)

    @promise()
    def test_a_wait_that_runs_out_takes_nothing_along(self, issues: Callable[[Steps], None]) -> None:
        """An issue that comes at that moment is handed out, or still there."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            taken: list[Any] = []

            def take() -> None:
                try:
                    taken.append(subject.get(True, 0.02))
                except standard.Empty:
                    return

            taker = trial.aside(take, "taker")
            subject.add(self.make_issue(FIRST))
            with patiently():
                taker.join(trial.patience)
            if not taken:
                self._take(trial, FIRST, "was added as a wait ran out, and is gone")
            subject.mark_completed(FIRST)

        issues(steps)

    @promise()
    def test_the_most_urgent_comes_first(self, issues: Callable[[Steps], None]) -> None:
        """P0 before P5, and of one priority whichever came first."""

        def steps(trial: Trial) -> None:
            subject = trial.subject
            for issue_id, priority in ((FIRST, "P3"), (SECOND, "P0"), (THIRD, "P3")):
                subject.add(self.make_urgent_issue(issue_id, priority))
            order = [subject.get(block=False).issue_id for _ in range(3)]
            for issue_id in order:
                subject.mark_completed(issue_id)
            assert order == [SECOND, FIRST, THIRD], "P0 comes first, then first in, first out"

        issues(steps)

    def make_urgent_issue(self, issue_id: str, priority: str) -> Any:
        """What is added for an id and a priority; override it if that is no `Issue`."""
        return Issue(issue_id, priority=priority)

    def _take(self, trial: Trial, issue_id: str, claim: str) -> None:
        try:
            trial.subject.get(block=False)
        except standard.Empty:
            trial.broken("LL101", issue_id, claim)

    def _must_be_empty(self, trial: Trial, issue_id: str, claim: str) -> None:
        try:
            trial.subject.get(block=False)
        except standard.Empty:
            return
        trial.broken("LL201", issue_id, claim)

    def _must_refuse(
        self, trial: Trial, code: str, issue_id: str, call: Callable[[], object], method: str
    ) -> None:
        try:
            call()
        except Exception:
            return
        trial.broken(code, issue_id, f"could not be marked, and {method}() did not refuse it")

    def _must_be(self, trial: Trial, issue_id: str, state: str) -> None:
        state_of = getattr(trial.subject, "state_of", None)
        if callable(state_of) and str(state_of(issue_id)) != state:
            trial.broken("LL202", issue_id, f"is {state_of(issue_id)}, where it has to be {state}")
