"""What is owed by whoever takes issues from a queue, has a pool work on them, and marks how they ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import pytest

from pytest_littleloops.contracts.base import FIRST, SECOND, Contract, missing, promise
from pytest_littleloops.contracts.outcomes import OF_THE_WORK, OUTCOMES
from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.ledger import PromiseBroken
from pytest_littleloops.harness.patience import all_stacks
from pytest_littleloops.harness.trial import Trial
from pytest_littleloops.reference.model import Issue
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue
from pytest_littleloops.reference.submission import Process
from pytest_littleloops.simulation.inside import is_in_world, patiently

_OPEN = ("queued", "in_progress")


class OrchestratorContract(Contract):
    """What an orchestrator owes that is made by `orchestrator_factory(queue, pool)`.

    It has `run()`, which returns an exit code: 0 only if every issue that was in the queue is completed.
    It is given a sound `IssueQueue` and a sound `WorkerPool` of the reference system.
    """

    orchestrator_factory = pytest.fixture(missing("orchestrator_factory", "MyOrchestrator"))

    @pytest.fixture
    def run_of(self, kept: Trial, request: pytest.FixtureRequest) -> Callable[..., None]:
        """Runs an orchestrator on these issues, and judges: `run_of(works, ids, ends=...)`."""
        factory = request.getfixturevalue("orchestrator_factory")

        def run(
            prepare: Callable[[Trial], object],
            issues: tuple[Issue, ...] = (Issue(FIRST), Issue(SECOND)),
            *,
            is_good: bool = False,
            is_refused: bool = False,
        ) -> None:
            def all_steps() -> None:
                queue = kept.ledger.watch(IssueQueue())
                process = cast("Process", kept.process)
                executor = kept.nemesis.executor() if is_refused else None
                pool = kept.ledger.watch(WorkerPool(process, max_workers=2, executor=executor))
                for issue in issues:
                    kept.works.offer(issue.issue_id, self.make_result(issue.issue_id))
                    queue.add(issue)
                prepare(kept)
                with executor or nullcontext(), pool:
                    kept.put(factory(queue, pool), must_have=("run",), is_watched=False)
                    code = self._exit_code(kept)
                    early = [one for one, state in queue.states().items() if state in _OPEN]
                    # Whatever is lost altogether is told by the ledger.
                    kept.judge()
                self._judge_code(kept, code, early, queue.states())
                if is_good and code != 0:
                    pytest.fail(f"every issue is completed, so run() has to return 0, not {code!r}")

            self.run_on_trial(kept, all_steps, request)

        return run

    def _exit_code(self, trial: Trial) -> Any:
        codes: list[Any] = []
        running = trial.aside(lambda: codes.append(trial.subject.run()), "run")
        with patiently():
            running.join(trial.patience)
        if running.is_alive():
            trial.ledger.assert_all_terminal()
            remedy = "see where run() stands: what it waits for never comes, or it never looks"
            try:
                claim = "and all others have ended, and run() does not return"
                trial.broken("LL303", FIRST, claim, remedy=remedy)
            except PromiseBroken as broken:
                if not is_in_world():
                    broken.add_note(all_stacks())
                raise
        return codes[0] if codes else None

    def _judge_code(self, trial: Trial, code: Any, early: list[str], states: Mapping[str, str]) -> None:
        for issue_id in early:
            trial.broken("LL301", issue_id, f"had not ended when run() returned {code!r}")
        for issue_id, state in states.items():
            if code == 0 and state != "completed":
                remedy = "return 0 only if every issue is completed: the exit code is all that many read"
                trial.broken("LL101", issue_id, f"is {state}, and run() has returned 0", remedy=remedy)

    @promise()
    @pytest.mark.parametrize("count", [1, 3, 12])
    def test_what_can_be_completed_is(self, run_of: Callable[..., None], count: int) -> None:
        """Issues of all priorities, more than there are workers, and the exit code is 0."""
        issues = tuple(Issue(f"BUG-{101 + number}", f"P{number % 6}") for number in range(count))
        run_of(lambda trial: None, issues, is_good=True)

    @promise()
    @pytest.mark.parametrize("priority", ["P0", "P3"])
    @pytest.mark.parametrize("outcome", OUTCOMES)
    def test_an_issue_that_fails_is_marked_and_told(
        self, run_of: Callable[..., None], outcome: str, priority: str
    ) -> None:
        """However its work ends; the exit code is not 0, and the other issue ends as well."""

        def prepare(trial: Trial) -> None:
            trial.works[FIRST] = OUTCOMES[outcome]

        run_of(prepare, (Issue(FIRST, priority), Issue(SECOND)))

    @promise()
    @pytest.mark.parametrize("priority", ["P0", "P3"])
    @pytest.mark.parametrize("result", ["failed", "interrupted", "closed"])
    def test_every_result_is_marked(self, run_of: Callable[..., None], result: str, priority: str) -> None:
        """Whatever the work returns."""

        def prepare(trial: Trial) -> None:
            trial.works[FIRST] = partial(getattr(WorkerResults(), result), FIRST)

        run_of(prepare, (Issue(FIRST, priority), Issue(SECOND)))

    @promise()
    @pytest.mark.parametrize("priority", ["P0", "P3"])
    @pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
    def test_an_issue_that_the_pool_refuses_is_not_lost(
        self, run_of: Callable[..., None], priority: str, times: int
    ) -> None:
        """The queue gave it out, and `submit` raises; perhaps for the next one too."""

        def prepare(trial: Trial) -> None:
            trial.nemesis.arm("submit-rejected", times=times)

        run_of(prepare, (Issue(FIRST, priority), Issue(SECOND)), is_refused=True)

    @promise(faults=OF_THE_WORK)
    def test_no_issue_is_lost_whatever_goes_wrong_in_the_work(self, run_of: Callable[..., None]) -> None:
        """In any order of two jobs and two workers."""

        def prepare(trial: Trial) -> None:
            for issue_id in (FIRST, SECOND):
                trial.works[issue_id] = partial(trial.nemesis.job, Issue(issue_id))

        run_of(prepare)
