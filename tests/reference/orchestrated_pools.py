"""Pools for the tests of the orchestrator, which need no threads: each does what its test says.

An orchestrator that has no news asks its pool for `active_count`. That is the moment in which a
`StepPool` takes the next step of its test, so that everything happens in one thread and in one order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import Defer, Orchestrator
from pytest_littleloops.reference.queue import IssueQueue

TIMEOUT = 10.0

Completion = Callable[[WorkerResult], object]
Step = Callable[[], object]
AnyOrchestrator = TypeVar("AnyOrchestrator", bound=Orchestrator)


def succeed(issue: Issue) -> WorkerResult:
    """Work on nothing and succeed."""
    return result_of(issue.issue_id)


def result_of(issue_id: str, success: bool = True, *, interrupted: bool = False) -> WorkerResult:
    """Return a result that says no more than how it went."""
    return WorkerResult(issue_id, success, "", Path(), interrupted=interrupted)


def queue_of(*issues: Issue | str) -> IssueQueue:
    """Return a queue of these issues, or issues with these ids."""
    queue = IssueQueue()
    queue.add_many(Issue(issue) if isinstance(issue, str) else issue for issue in issues)
    return queue


class Pool:
    """Keeps what it is given. Owes every completion that it did not deliver, and never says otherwise."""

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.completions: dict[str, Completion] = {}
        self.cancellable: set[str] = set()
        self.cancel_asked: list[str] = []

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Keep it."""
        self.submitted.append(issue.issue_id)
        self.completions[issue.issue_id] = on_complete

    def cancel(self, issue_id: str) -> bool:
        """Interrupt it if the test said that it can be."""
        self.cancel_asked.append(issue_id)
        if issue_id not in self.cancellable:
            return False
        self.complete(result_of(issue_id, False, interrupted=True))
        return True

    @property
    def active_count(self) -> int:
        """How many completions are owed."""
        return len(self.completions)

    def complete(self, result: WorkerResult) -> None:
        """Deliver a completion."""
        self.completions.pop(result.issue_id)(result)

    def finish(self, issue_id: str, success: bool = True) -> None:
        """Deliver the completion of an issue."""
        self.complete(result_of(issue_id, success))


class StepPool(Pool):
    """Takes one step of the test whenever the orchestrator waits in vain; none left is a failure."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.steps = list(steps)
        self.waits = 0

    @property
    def active_count(self) -> int:
        """How many completions were owed before the step."""
        owed = len(self.completions)
        self.waits += 1
        assert self.steps, f"waits for {sorted(self.completions)}, and no step is left"
        self.steps.pop(0)()
        return owed


class InlinePool(Pool):
    """Works on an issue inside `submit`, as pools do that have no threads."""

    def __init__(self, process: Callable[[Issue], WorkerResult] = succeed) -> None:
        super().__init__()
        self._process = process

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Work and deliver."""
        super().submit(issue, on_complete)
        self.complete(self._process(issue))


def orchestrate(
    queue: IssueQueue,
    pool: Pool,
    *,
    max_in_flight: int | None = None,
    p0_sequential: bool = False,
    defer: Defer | None = None,
) -> Orchestrator:
    """Return an orchestrator that waits no longer than a millisecond before it asks its pool."""
    return hasten(
        Orchestrator(queue, pool, max_in_flight=max_in_flight, p0_sequential=p0_sequential, defer=defer)
    )


def hasten(orchestrator: AnyOrchestrator) -> AnyOrchestrator:
    """Have it wait no longer than a millisecond for news."""
    orchestrator._poll_seconds = 0.001
    return orchestrator
