"""The recording orchestrator: every completion is in the journal, and the queue is a real one."""

from __future__ import annotations

import queue as standard_queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from pytest_littleloops.harness.factories import IssueFactory, WorkerResults
from pytest_littleloops.harness.gated_pool import GatedPool
from pytest_littleloops.harness.patience import Hang
from pytest_littleloops.harness.recording_orchestrator import RecordingOrchestrator
from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState, WorkerResult
from pytest_littleloops.reference.queue import IssueQueue

TIMEOUT = 10.0
BUG = Issue("BUG-229")
results = WorkerResults()
make_issue = IssueFactory()


@pytest.fixture
def orchestrator() -> RecordingOrchestrator:
    """Give the object behind the `recording_orchestrator` fixture."""
    return RecordingOrchestrator(patience=TIMEOUT)


@pytest.fixture
def pool() -> Iterator[GatedPool]:
    """Give a started pool, shut down when the test ends."""
    with GatedPool(patience=TIMEOUT) as started:
        yield started


class InlinePool:
    """Runs every issue inside `submit`, with success; refuses the ids it was told."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.order: list[str] = []

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> Future[WorkerResult]:
        """Complete the issue before returning."""
        self.order.append(issue.issue_id)
        if issue.issue_id in self.refused:
            raise RuntimeError("can't start new thread")
        future: Future[WorkerResult] = Future()
        future.set_result(results.completed(issue))
        on_complete(future.result())
        return future


def take(orchestrator: RecordingOrchestrator, *issues: Issue) -> None:
    """Put issues in progress without a pool."""
    orchestrator.queue.add_many(issues)
    for _ in issues:
        orchestrator.queue.get(block=False)


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (results.completed(BUG), "completed"),
        (results.closed(BUG), "completed"),
        (results.failed(BUG), "failed"),
        (results.interrupted(BUG), "interrupted"),
    ],
)
def test_completions_mark_the_queue(
    orchestrator: RecordingOrchestrator, result: WorkerResult, state: str
) -> None:
    """Each outcome becomes its state; an interrupted one is no failure."""
    assert isinstance(orchestrator.queue, IssueQueue)
    take(orchestrator, BUG)
    orchestrator.on_worker_complete(result)
    assert orchestrator.queue.state_of("BUG-229") == state
    orchestrator.assert_terminal("BUG-229", state)


def test_completions_are_in_the_journal(orchestrator: RecordingOrchestrator) -> None:
    """In the order of the calls, with the result, the thread and how the call ended."""
    other = make_issue("FEAT-7")
    take(orchestrator, BUG, other)
    first, second = results.completed(BUG), results.failed(other)
    orchestrator.on_worker_complete(first)
    caller = threading.Thread(target=orchestrator.on_worker_complete, args=(second,), name="worker")
    caller.start()
    caller.join(TIMEOUT)
    calls = orchestrator.completions
    assert [call.result for call in calls] == [first, second]
    assert [call.thread for call in calls] == [threading.current_thread().name, "worker"]
    assert [(call.raised, call.has_ended) for call in calls] == [(None, True), (None, True)]
    assert orchestrator.completions_of("FEAT-7") == calls[1:]
    assert orchestrator.completions_of("BUG-1") == ()


def test_raise_on_raises_instead_of_marking(orchestrator: RecordingOrchestrator) -> None:
    """The call is in the journal with what it raised, and the issue stays in progress."""
    take(orchestrator, BUG)
    error = SystemExit(3)
    orchestrator.raise_on("BUG-229", error)
    with pytest.raises(SystemExit) as caught:
        orchestrator.on_worker_complete(results.completed(BUG))
    assert caught.value is error
    assert [call.raised for call in orchestrator.completions_of("BUG-229")] == [error]
    assert orchestrator.queue.state_of("BUG-229") == "in_progress"


def test_raise_on_takes_exceptions_only(orchestrator: RecordingOrchestrator) -> None:
    """A mistake is told where it is made, not in a worker thread."""
    with pytest.raises(TypeError, match=r"^raise_on\(\) takes an exception"):
        orchestrator.raise_on("BUG-229", "no disk")  # type: ignore[arg-type]


def test_a_contradiction_is_raised_and_journalled(orchestrator: RecordingOrchestrator) -> None:
    """A second completion that says otherwise gets what a real orchestrator's queue would say."""
    take(orchestrator, BUG)
    orchestrator.on_worker_complete(results.completed(BUG))
    with pytest.raises(IllegalTransition) as caught:
        orchestrator.on_worker_complete(results.failed(BUG))
    assert [call.raised for call in orchestrator.completions] == [None, caught.value]
    assert orchestrator.queue.state_of("BUG-229") == "completed"


def test_junk_is_journalled_and_raises(orchestrator: RecordingOrchestrator) -> None:
    """A lossy pool may complete with anything: the call is seen, and belongs to no issue."""
    with pytest.raises(AttributeError):
        orchestrator.on_worker_complete(None)  # type: ignore[arg-type]
    (call,) = orchestrator.completions
    assert isinstance(call.raised, AttributeError)
    assert orchestrator.completions_of("BUG-229") == ()


def test_slow_blocks_until_proceed(orchestrator: RecordingOrchestrator, pool: GatedPool) -> None:
    """The call is in the journal from its beginning, and owed by the pool until it returns."""
    orchestrator.slow("BUG-229")
    orchestrator.slow("BUG-229")
    pool.release("BUG-229")
    orchestrator.submit_all(pool, [BUG])
    orchestrator.wait_until_called("BUG-229")
    (call,) = orchestrator.completions_of("BUG-229")
    assert (call.has_ended, pool.active_count) == (False, 1)
    orchestrator.proceed("BUG-229")
    orchestrator.wait_for_all()
    orchestrator.assert_terminal("BUG-229", IssueState.COMPLETED)


def test_slow_and_raise_on_go_together(orchestrator: RecordingOrchestrator) -> None:
    """A slow completion that is let go raises what it was told to."""
    orchestrator.slow("BUG-229")
    orchestrator.raise_on("BUG-229", ValueError("no disk"))
    orchestrator.proceed("BUG-229")
    with pytest.raises(ValueError, match="no disk"):
        orchestrator.on_worker_complete(results.completed(BUG))


def test_slow_is_bounded() -> None:
    """A completion that nobody lets go ends as a Hang that says what was not called."""
    orchestrator = RecordingOrchestrator(patience=0)
    take(orchestrator, BUG)
    orchestrator.slow("BUG-229")
    with pytest.raises(Hang, match=r"proceed\('BUG-229'\), its completion being slow"):
        orchestrator.on_worker_complete(results.completed(BUG))
    assert isinstance(orchestrator.completions[0].raised, Hang)


def test_proceed_needs_a_slow_issue(orchestrator: RecordingOrchestrator) -> None:
    """A misspelt id is told at once, with what to call first."""
    with pytest.raises(LookupError, match=r"^no completion of BUG-1 is slow; call slow\('BUG-1'\) first$"):
        orchestrator.proceed("BUG-1")


def test_wait_until_called_is_bounded() -> None:
    """A completion that does not come is a failure that names the issue."""
    orchestrator = RecordingOrchestrator(patience=0)
    with pytest.raises(Hang, match=r"on_worker_complete\(\) to be called for BUG-229"):
        orchestrator.wait_until_called("BUG-229")


def test_wait_until_called_works_for_any_issue(orchestrator: RecordingOrchestrator) -> None:
    """An issue need not be slow, and the call may be over."""
    take(orchestrator, BUG)
    orchestrator.on_worker_complete(results.completed(BUG))
    orchestrator.wait_until_called("BUG-229")


def test_submit_all_goes_through_the_queue(orchestrator: RecordingOrchestrator, pool: GatedPool) -> None:
    """Each issue is in progress, each future belongs to the issue of its place."""
    issues = [make_issue("BUG-1"), make_issue("BUG-2", priority="P0"), make_issue("BUG-3")]
    futures = orchestrator.submit_all(pool, iter(issues))
    assert orchestrator.queue.in_progress_ids == ["BUG-1", "BUG-2", "BUG-3"]
    for issue in issues:
        pool.release(issue.issue_id)
    orchestrator.wait_for_all()
    assert [future.result(TIMEOUT).issue_id for future in futures] == ["BUG-1", "BUG-2", "BUG-3"]
    assert orchestrator.queue.completed_count == 3


def test_submit_all_works_with_a_pool_that_runs_inline(orchestrator: RecordingOrchestrator) -> None:
    """The completion may come before `submit` returns."""
    futures = orchestrator.submit_all(InlinePool(), make_issue.many(3))
    orchestrator.wait_for_all(0)
    assert all(future.result(0).success for future in futures)
    assert len(orchestrator.completions) == 3


def test_submit_all_dispatches_more_urgent_work_along(orchestrator: RecordingOrchestrator) -> None:
    """What waited in the queue before goes where its priority says, and gets no future here."""
    orchestrator.queue.add_many([Issue("BUG-1", priority="P0"), Issue("BUG-2", priority="P5")])
    pool = InlinePool()
    (future,) = orchestrator.submit_all(pool, [BUG])
    assert pool.order == ["BUG-1", "BUG-229"]
    assert future.result(0).issue_id == "BUG-229"
    assert orchestrator.queue.queued_ids == ["BUG-2"]


def test_submit_all_takes_an_issue_that_waits_already(orchestrator: RecordingOrchestrator) -> None:
    """One that was added by hand, or requeued, is dispatched as a new one."""
    orchestrator.queue.add(BUG)
    orchestrator.submit_all(InlinePool(), [BUG])
    orchestrator.queue.requeue("BUG-229")
    orchestrator.submit_all(InlinePool(), [BUG])
    assert len(orchestrator.completions_of("BUG-229")) == 2


def test_submit_all_refuses_an_issue_that_is_not_waiting(orchestrator: RecordingOrchestrator) -> None:
    """The queue would not hand it out again; the message says what to do."""
    orchestrator.submit_all(InlinePool(), [BUG])
    with pytest.raises(ValueError, match="BUG-229 cannot be submitted") as caught:
        orchestrator.submit_all(InlinePool(), [BUG])
    assert str(caught.value) == (
        "BUG-229 cannot be submitted: in this queue it is completed already\n"
        "  next step: queue.requeue('BUG-229') first, or submit it to the pool by hand"
    )


def test_submit_all_marks_a_refused_issue_failed(orchestrator: RecordingOrchestrator) -> None:
    """What the pool raises comes out at once; the issues behind it are not in the queue yet."""
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        orchestrator.submit_all(InlinePool("BUG-2"), [Issue("BUG-1"), Issue("BUG-2"), Issue("BUG-3")])
    assert orchestrator.queue.states() == {"BUG-1": "completed", "BUG-2": "failed"}
    orchestrator.wait_for_all(0)


def test_submit_all_gives_back_what_a_refusal_left_behind(orchestrator: RecordingOrchestrator) -> None:
    """If an issue that went along is refused, the one it went before waits again."""
    orchestrator.queue.add(Issue("BUG-1", priority="P0"))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        orchestrator.submit_all(InlinePool("BUG-1"), [BUG])
    assert orchestrator.queue.states() == {"BUG-1": "failed", "BUG-229": "queued"}


def test_submit_all_survives_a_pool_that_completes_and_raises(
    orchestrator: RecordingOrchestrator,
) -> None:
    """The completion has decided the state, and the caller hears what the pool raised."""

    class Torn(InlinePool):
        def submit(
            self, issue: Issue, on_complete: Callable[[WorkerResult], object]
        ) -> Future[WorkerResult]:
            super().submit(issue, on_complete)
            raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="can't start new thread"):
        orchestrator.submit_all(Torn(), [BUG])
    orchestrator.assert_terminal("BUG-229", "completed")
    orchestrator.wait_for_all(0)


def test_submit_all_from_many_threads_keeps_futures_and_issues_together(
    orchestrator: RecordingOrchestrator,
) -> None:
    """Whoever submits an issue gets its future, whatever the others submit meanwhile."""
    wrong: list[str] = []

    def submit(first: int) -> None:
        for number in range(first, first + 10):
            issue = Issue(f"BUG-{number}", priority=f"P{number % 6}")
            (future,) = orchestrator.submit_all(InlinePool(), [issue])
            if future.result(0).issue_id != issue.issue_id:
                wrong.append(issue.issue_id)

    threads = [threading.Thread(target=submit, args=(first,)) for first in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert wrong == []
    assert orchestrator.queue.completed_count == 40


def test_submit_all_does_not_wait_for_an_issue_that_somebody_took(
    orchestrator: RecordingOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another thread takes it straight from the queue, that is an error and no hang."""

    def steal(issue: Issue) -> bool:
        is_added = add(issue)
        orchestrator.queue.get(block=False)
        return is_added

    add = orchestrator.queue.add
    monkeypatch.setattr(orchestrator.queue, "add", steal)
    monkeypatch.setattr(orchestrator.queue, "state_of", lambda issue_id: IssueState.QUEUED)
    with pytest.raises(standard_queue.Empty):
        orchestrator.submit_all(InlinePool(), [BUG])


def test_wait_for_all_waits_for_nothing_at_first(orchestrator: RecordingOrchestrator) -> None:
    """Without a submission nothing is owed."""
    orchestrator.wait_for_all(0)


def test_wait_for_all_counts_completions_that_raise(
    orchestrator: RecordingOrchestrator, pool: GatedPool
) -> None:
    """A raised completion has ended, so nobody waits for it."""
    orchestrator.raise_on("BUG-229", ValueError("no disk"))
    pool.release("BUG-229")
    orchestrator.submit_all(pool, [BUG])
    orchestrator.wait_for_all()
    assert [call.has_ended for call in orchestrator.completions] == [True]


def test_wait_for_all_names_what_is_owed(orchestrator: RecordingOrchestrator, pool: GatedPool) -> None:
    """When time is up the failure says whose completions are missing, and only those."""
    orchestrator.submit_all(InlinePool(), [Issue("BUG-3")])
    orchestrator.submit_all(pool, [Issue("BUG-2"), Issue("BUG-1")])
    with pytest.raises(Hang, match=r"waited 0 s for the completions of BUG-1, BUG-2"):
        orchestrator.wait_for_all(0)


def test_wait_for_all_counts_two_submissions_of_one_issue(
    orchestrator: RecordingOrchestrator, pool: GatedPool
) -> None:
    """The first completion of two is not enough."""
    orchestrator.submit_all(pool, [BUG])
    orchestrator.queue.requeue("BUG-229")
    orchestrator.submit_all(InlinePool(), [BUG])
    with pytest.raises(Hang, match="the completions of BUG-229"):
        orchestrator.wait_for_all(0)
    pool.release("BUG-229")
    orchestrator.wait_for_all()
    assert len(orchestrator.completions_of("BUG-229")) == 2


def test_wait_for_all_is_not_misled_by_a_completion_too_many(
    orchestrator: RecordingOrchestrator, pool: GatedPool
) -> None:
    """A second completion of one issue does not stand for that of another."""
    orchestrator.submit_all(InlinePool(), [BUG])
    orchestrator.on_worker_complete(results.completed(BUG))
    orchestrator.submit_all(pool, [Issue("BUG-1")])
    orchestrator.on_worker_complete(results.completed(BUG))
    with pytest.raises(Hang, match="the completions of BUG-1"):
        orchestrator.wait_for_all(0)


@pytest.mark.parametrize("state", [None, "completed", IssueState.COMPLETED])
def test_assert_terminal_accepts_what_is_so(
    orchestrator: RecordingOrchestrator, state: IssueState | str | None
) -> None:
    """A state may be given as text, as a member, or not at all."""
    orchestrator.submit_all(InlinePool(), [BUG])
    orchestrator.assert_terminal("BUG-229", state)


@pytest.mark.parametrize("state", ["complete", "queued", IssueState.IN_PROGRESS])
def test_assert_terminal_knows_terminal_states_only(
    orchestrator: RecordingOrchestrator, state: str
) -> None:
    """A wrong word is a mistake in the test, not a failure, and the right ones are listed."""
    with pytest.raises(ValueError, match="is no terminal state") as caught:
        orchestrator.assert_terminal("BUG-229", state)
    assert str(caught.value) == (
        f"'{state}' is no terminal state; these are: completed, failed, cancelled, interrupted"
    )


def test_assert_terminal_of_an_unknown_issue(orchestrator: RecordingOrchestrator) -> None:
    """An id that was never added is told so."""
    with pytest.raises(AssertionError) as caught:
        orchestrator.assert_terminal("BUG-1")
    assert str(caught.value) == (
        "BUG-1 is unknown, not in a terminal state\n"
        "  the queue says: it was never added\n"
        "  completions: 0\n"
        "  next step: submit_all(pool, [...]) with BUG-1 among the issues"
    )


def test_assert_terminal_of_an_issue_without_completion(orchestrator: RecordingOrchestrator) -> None:
    """What was never completed is in progress for ever."""
    take(orchestrator, BUG)
    with pytest.raises(AssertionError) as caught:
        orchestrator.assert_terminal("BUG-229")
    assert str(caught.value) == (
        "BUG-229 is in_progress, not in a terminal state\n"
        "  the queue says: in_progress\n"
        "  completions: 0\n"
        "  next step: wait_for_all() before asserting; if that hangs, "
        "find where the pool lost the completion"
    )


def test_assert_terminal_of_an_issue_in_another_state(orchestrator: RecordingOrchestrator) -> None:
    """The completions that decided the state are listed with their errors."""
    take(orchestrator, BUG)
    orchestrator.on_worker_complete(results.failed(BUG, "no disk"))
    name = threading.current_thread().name
    with pytest.raises(AssertionError) as caught:
        orchestrator.assert_terminal("BUG-229", "completed")
    assert str(caught.value) == (
        "BUG-229 is failed, not completed\n"
        "  the queue says: failed\n"
        "  completions: 1\n"
        f"    1. failed, no disk, called in {name}; it returned\n"
        "  next step: see which of the completions above marked it, and with what result"
    )


def test_assert_terminal_of_an_issue_whose_completion_raised(
    orchestrator: RecordingOrchestrator,
) -> None:
    """What the completion raised is in the message."""
    take(orchestrator, BUG)
    orchestrator.raise_on("BUG-229", ValueError("no disk"))
    with pytest.raises(ValueError, match="no disk"):
        orchestrator.on_worker_complete(results.completed(BUG))
    name = threading.current_thread().name
    with pytest.raises(AssertionError) as caught:
        orchestrator.assert_terminal("BUG-229")
    assert str(caught.value) == (
        "BUG-229 is in_progress, not in a terminal state\n"
        "  the queue says: in_progress\n"
        "  completions: 1\n"
        f"    1. completed, called in {name}; it raised ValueError: no disk\n"
        "  next step: have the completion mark the issue also where it raises"
    )


def test_assert_terminal_of_an_issue_whose_completion_runs(
    orchestrator: RecordingOrchestrator, pool: GatedPool
) -> None:
    """A slow completion is not a lost one, and the message says how to let it go."""
    orchestrator.slow("BUG-229")
    pool.release("BUG-229")
    orchestrator.submit_all(pool, [BUG])
    orchestrator.wait_until_called("BUG-229")
    with pytest.raises(AssertionError) as caught:
        orchestrator.assert_terminal("BUG-229")
    lines = str(caught.value).splitlines()
    assert lines[3].endswith("; it has not ended")
    assert lines[4] == (
        "  next step: proceed('BUG-229') if it is slow, then wait_for_all(), before asserting"
    )
    orchestrator.proceed("BUG-229")
