"""The reference `Orchestrator`: what it takes ends in one state, and its exit code does not lie about it.

`HandPool` stands in for a pool where a test must say when a completion comes, or that it never does. Each
question for its `active_count` means that the run has slept without news and looked around since: that is
how a test knows that nothing more will start.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_littleloops.reference import orchestrator as orchestrator_module
from pytest_littleloops.reference.model import Issue, IssueState, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue

TIMEOUT = 10.0
SIGNALS = [signal.SIGINT, signal.SIGTERM]

StartPool = Callable[..., WorkerPool]


def succeeded(issue_id: str) -> WorkerResult:
    """Give the result of a success."""
    return WorkerResult(issue_id, True, f"fix/{issue_id}", Path("worktree"))


def failed(issue_id: str) -> WorkerResult:
    """Give the result of a failure."""
    return WorkerResult(issue_id, False, "", Path(), error="no luck")


def interrupted(issue_id: str) -> WorkerResult:
    """Give the result of an issue that was cancelled in the pool."""
    return WorkerResult(issue_id, False, "", Path(), error="CancelledError()", interrupted=True)


def queue_of(*issues: Issue | str) -> IssueQueue:
    """Give a queue with these issues; an id stands for an issue with the usual priority."""
    made = IssueQueue()
    made.add_many(Issue(one) if isinstance(one, str) else one for one in issues)
    return made


class Work:
    """A process function: succeeds at once unless told otherwise, and notes whose body began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self._is_running: dict[str, threading.Event] = {}
        self._gates: dict[str, threading.Event] = {}

    def hold(self, *issue_ids: str) -> None:
        """Have these issues wait, once they run, until they are released."""
        for issue_id in issue_ids:
            self._gates[issue_id] = threading.Event()
            self._is_running[issue_id] = threading.Event()

    def wait_until_running(self, issue_id: str) -> None:
        """Return when the body of this issue waits."""
        assert self._is_running[issue_id].wait(TIMEOUT)

    def release(self, *issue_ids: str) -> None:
        """Let these issues go on."""
        for issue_id in issue_ids:
            self._gates[issue_id].set()

    def release_all(self) -> None:
        """Let all issues go on."""
        self.release(*self._gates)

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        self.begun.append(issue.issue_id)
        if issue.issue_id in self._gates:
            self._is_running[issue.issue_id].set()
            assert self._gates[issue.issue_id].wait(TIMEOUT)
        if issue.issue_id in self.raises:
            raise self.raises[issue.issue_id]
        return succeeded(issue.issue_id)


class HandPool:
    """A pool that works on nothing: what is reported, and when, is the test's to say."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.completions: dict[str, Callable[[WorkerResult], object]] = {}
        self.is_cancelling = True
        self.owed = 0
        self._accepted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._polls = threading.Semaphore(0)

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
        """Accept `issue`."""
        self.events.append(f"submit {issue.issue_id}")
        self.completions[issue.issue_id] = on_complete
        self.owed += 1
        self._accepted.put(issue.issue_id)

    def cancel(self, issue_id: str) -> bool:
        """Report `issue_id` interrupted, unless the test has switched that off."""
        self.events.append(f"cancel {issue_id}")
        if self.is_cancelling:
            self.report(interrupted(issue_id))
        return self.is_cancelling

    @property
    def active_count(self) -> int:
        """How many are owed; each question is counted."""
        self._polls.release()
        return self.owed

    def wait_for(self, *issue_ids: str) -> None:
        """Return when these issues, and no other, have been submitted since the last call."""
        accepted = [self._accepted.get(timeout=TIMEOUT) for _ in issue_ids]
        assert accepted == list(issue_ids)
        self.wait_for_nothing()

    def wait_for_nothing(self) -> None:
        """Return when the run has looked around twice; nothing may have been submitted meanwhile."""
        while self._polls.acquire(blocking=False):
            pass
        # One poll may have been under way when the count began; after two there was a whole round.
        for _ in range(3):
            assert self._polls.acquire(timeout=TIMEOUT), "the run does not look around any more"
        assert self._accepted.empty()

    def report(self, result: WorkerResult) -> None:
        """Deliver `result` to the completion of its issue."""
        self.events.append(f"report {result.issue_id}")
        try:
            self.completions[result.issue_id](result)
        finally:
            self.owed -= 1


class InlinePool:
    """A pool whose `submit` returns after the completion, in the same thread."""

    max_workers = 1
    active_count = 0

    def __init__(self, process: Callable[[Issue], WorkerResult]) -> None:
        self._process = process
        self.errors: list[Exception] = []

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
        """Work on `issue` here and now; what its completion raises is kept."""
        result = self._process(issue)
        try:
            on_complete(result)
        except Exception as error:
            self.errors.append(error)

    def cancel(self, issue_id: str) -> bool:
        """Nothing ever waits here."""
        return False


class Run:
    """A call of `run` in a thread of its own."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._outcome: list[int | BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._orchestrator.run())
        except BaseException as error:
            self._outcome.append(error)

    def code(self) -> int:
        """Wait for the end, and give what `run` returned."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive(), "run() does not return"
        outcome = self._outcome[0]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


@pytest.fixture
def work() -> Iterator[Work]:
    """Give a process function that holds nobody any more when the test ends."""
    made = Work()
    yield made
    made.release_all()


@pytest.fixture
def hand_pool(monkeypatch: pytest.MonkeyPatch) -> HandPool:
    """Give a pool in the test's hand, and have runs look around often."""
    monkeypatch.setattr(orchestrator_module, "POLL_SECONDS", 0.001)
    return HandPool()


@pytest.fixture
def kept_handlers() -> Iterator[None]:
    """Give the process its handlers of signals back at the end."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


# Working a queue off


def test_orchestrator_works_off_a_queue(work: Work, start_pool: StartPool) -> None:
    """Every issue is worked on once and completed, and the exit code is 0."""
    issues = queue_of(*(f"BUG-{number}" for number in range(50)))
    assert Orchestrator(issues, start_pool(work, max_workers=4)).run() == ExitCode.OK == 0
    assert sorted(work.begun) == sorted(issues.completed_ids)
    assert issues.completed_count == 50


def test_orchestrator_ends_at_once_without_issues(hand_pool: HandPool) -> None:
    """An empty queue is worked off."""
    assert Orchestrator(IssueQueue(), hand_pool).run() == 0
    assert hand_pool.events == []


def test_orchestrator_starts_the_most_urgent_first(work: Work, start_pool: StartPool) -> None:
    """Issues start in the order of the queue."""
    issues = queue_of(Issue("BUG-1", "P3"), Issue("BUG-2", "P1"), Issue("BUG-3", "P0"))
    Orchestrator(issues, start_pool(work, max_workers=1)).run()
    assert work.begun == ["BUG-3", "BUG-2", "BUG-1"]


def test_orchestrator_marks_a_failure(work: Work, start_pool: StartPool) -> None:
    """An issue whose work raises is failed, the others are completed, and the exit code is 1."""
    work.raises["BUG-2"] = RuntimeError("worker crashed")
    issues = queue_of("BUG-1", "BUG-2", "BUG-3")
    assert Orchestrator(issues, start_pool(work)).run() == ExitCode.FAILED == 1
    assert issues.states() == {"BUG-1": "completed", "BUG-2": "failed", "BUG-3": "completed"}


def test_orchestrator_marks_what_somebody_else_cancelled_as_interrupted(hand_pool: HandPool) -> None:
    """A completion that is `interrupted` without a request ends so, and is no success."""
    issues = queue_of("BUG-229")
    run = Run(Orchestrator(issues, hand_pool))
    hand_pool.wait_for("BUG-229")
    hand_pool.cancel("BUG-229")
    assert run.code() == ExitCode.FAILED
    assert issues.states() == {"BUG-229": "interrupted"}


def test_orchestrator_takes_as_many_as_the_pool_has_workers(hand_pool: HandPool) -> None:
    """By default an issue starts when a worker is free: a waiting one could still be cancelled."""
    hand_pool.max_workers = 3  # type: ignore[attr-defined]
    issues = queue_of("BUG-1", "BUG-2", "BUG-3", "BUG-4")
    run = Run(Orchestrator(issues, hand_pool))
    hand_pool.wait_for("BUG-1", "BUG-2", "BUG-3")
    hand_pool.report(succeeded("BUG-2"))
    hand_pool.wait_for("BUG-4")
    for issue_id in ("BUG-1", "BUG-3", "BUG-4"):
        hand_pool.report(succeeded(issue_id))
    assert run.code() == 0


@pytest.mark.parametrize(("max_in_flight", "expected"), [(None, 2), (1, 1), (3, 3)])
def test_orchestrator_takes_as_many_as_it_is_told(
    hand_pool: HandPool, max_in_flight: int | None, expected: int
) -> None:
    """`max_in_flight` is obeyed; without it a pool that does not count its workers gets two."""
    ids = ["BUG-1", "BUG-2", "BUG-3", "BUG-4"]
    run = Run(Orchestrator(queue_of(*ids), hand_pool, max_in_flight=max_in_flight))
    hand_pool.wait_for(*ids[:expected])
    for issue_id in ids:
        hand_pool.report(succeeded(issue_id)) if issue_id in hand_pool.completions else None
    for issue_id in ids[expected:]:
        while issue_id not in hand_pool.completions:
            hand_pool.wait_for_next()
    assert run.code() == 0
