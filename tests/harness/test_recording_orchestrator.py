"""The orchestrator that only records: what it journals, what it marks, and what it leaves to the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.fakes.gated_pool import GatedPool
from pytest_littleloops.harness.fakes.recording_orchestrator import CompletionCall, RecordingOrchestrator
from pytest_littleloops.harness.patience import Hang
from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
SHORT = 0.02
ISSUE = Issue("BUG-7")
OTHER = Issue("BUG-8")
TERMINAL = "completed, failed, cancelled, interrupted"
RESULTS = WorkerResults()

Done = Callable[[WorkerResult], object]


class InlinePool:
    """Works on an issue in the call of `submit`; its parameters have names of its own."""

    def __init__(self, process: Callable[[Issue], WorkerResult] = RESULTS.completed) -> None:
        self._work = process
        self.taken: list[str] = []

    def submit(self, work: Issue, done: Done) -> str:
        """Complete at once; what is returned is no future."""
        self.taken.append(work.issue_id)
        done(self._work(work))
        return f"ticket of {work.issue_id}"


class SilentPool:
    """Accepts an issue and never completes it, unless the test does."""

    def __init__(self) -> None:
        self.owed: list[tuple[Issue, Done]] = []

    def submit(self, issue: Issue, done: Done) -> None:
        """Keep the issue."""
        self.owed.append((issue, done))


class RefusingPool(InlinePool):
    """Refuses one issue."""

    def __init__(self, refused: str, error: BaseException) -> None:
        super().__init__()
        self._refused = refused
        self._error = error

    def submit(self, work: Issue, done: Done) -> str:
        """Raise for the one, complete the others."""
        if work.issue_id == self._refused:
            raise self._error
        return super().submit(work, done)


@pytest.fixture
def orchestrator() -> RecordingOrchestrator:
    """Give the orchestrator behind the `recording_orchestrator` fixture."""
    return RecordingOrchestrator(patience=TIMEOUT)


@pytest.fixture
def hasty() -> RecordingOrchestrator:
    """Give one that soon loses its patience."""
    return RecordingOrchestrator(patience=SHORT)


@pytest.fixture
def gated() -> Iterator[GatedPool]:
    """Give a real pool whose issues wait for the test."""
    with GatedPool(patience=TIMEOUT) as pool:
        yield pool


def call_in_thread(orchestrator: RecordingOrchestrator, result: WorkerResult) -> threading.Thread:
    """A started thread that completes an issue."""
    thread = threading.Thread(
        target=orchestrator.on_worker_complete, args=(result,), name="worker-3", daemon=True
    )
    thread.start()
    return thread


# What a completion does.


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (RESULTS.completed(ISSUE), "completed"),
        (RESULTS.closed(ISSUE), "completed"),
        (RESULTS.failed(ISSUE), "failed"),
        (RESULTS.interrupted(ISSUE), "interrupted"),
        (RESULTS.completed(ISSUE, interrupted=True), "interrupted"),
    ],
)
def test_a_completion_marks_the_queue_by_its_result(
    orchestrator: RecordingOrchestrator, result: WorkerResult, state: str
) -> None:
    """Interruption comes first, then success decides."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.on_worker_complete(result)
    assert orchestrator.queue.state_of("BUG-7") == state


def test_a_completion_is_journalled(orchestrator: RecordingOrchestrator) -> None:
    """The journal has the result itself, who called, and how the call ended."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    result = RESULTS.completed(ISSUE)
    call_in_thread(orchestrator, result).join(TIMEOUT)
    call = CompletionCall(result=result, thread="worker-3", raised=None, has_ended=True)
    assert orchestrator.completions == (call,)
    assert orchestrator.completions[0].result is result


def test_the_journal_is_in_the_order_of_the_calls(orchestrator: RecordingOrchestrator) -> None:
    """All issues share it, and each can be asked for alone."""
    orchestrator.submit_all(InlinePool(), [ISSUE, OTHER])
    orchestrator.on_worker_complete(RESULTS.closed(ISSUE))
    assert [call.result.issue_id for call in orchestrator.completions] == ["BUG-7", "BUG-8", "BUG-7"]
    assert [call.result.should_close for call in orchestrator.completions_of("BUG-7")] == [False, True]
    assert orchestrator.completions_of("BUG-9") == ()


def test_the_journal_is_a_copy(orchestrator: RecordingOrchestrator) -> None:
    """What was read does not change under the reader."""
    before = orchestrator.completions
    orchestrator.submit_all(InlinePool(), [ISSUE])
    assert before == ()


def test_a_contradictory_completion_raises_and_is_journalled(orchestrator: RecordingOrchestrator) -> None:
    """The pool hears of it, as it would in production; the first mark stays."""
    orchestrator.submit_all(InlinePool(), [ISSUE])
    with pytest.raises(IllegalTransition) as caught:
        orchestrator.on_worker_complete(RESULTS.failed(ISSUE))
    first, second = orchestrator.completions
    assert (first.raised, second.raised) == (None, caught.value)
    assert orchestrator.queue.state_of("BUG-7") == "completed"


def test_a_completion_of_an_unknown_issue_raises_and_is_journalled(
    orchestrator: RecordingOrchestrator,
) -> None:
    """Nobody submitted it, so the queue refuses the mark."""
    with pytest.raises(IllegalTransition, match="it was never added"):
        orchestrator.on_worker_complete(RESULTS.completed(ISSUE))
    assert isinstance(orchestrator.completions[0].raised, IllegalTransition)


@pytest.mark.parametrize("junk", [None, "BUG-7", RESULTS.completed(ISSUE, success=True).to_dict()])
def test_a_completion_without_an_id_raises_and_is_journalled(
    orchestrator: RecordingOrchestrator, junk: object
) -> None:
    """What a faulty pool hands over is refused with a sight of it, and kept."""
    with pytest.raises(TypeError) as caught:
        orchestrator.on_worker_complete(junk)  # type: ignore[arg-type]
    assert str(caught.value) == f"on_worker_complete() takes a WorkerResult, not {junk!r}"
    assert orchestrator.completions[0].result is junk
    assert str(orchestrator.completions[0]).startswith(repr(junk))


def test_results_of_other_projects_need_not_know_interruption(orchestrator: RecordingOrchestrator) -> None:
    """An id and a success are enough."""

    class TheirResult:
        issue_id = "BUG-7"
        success = False

    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.on_worker_complete(TheirResult())  # type: ignore[arg-type]
    orchestrator.assert_terminal("BUG-7", "failed")


# raise_on, slow, proceed.


@pytest.mark.parametrize("error", [KeyError("stage"), SystemExit(3)])
def test_raise_on_raises_instead_of_marking(
    orchestrator: RecordingOrchestrator, error: BaseException
) -> None:
    """Each call raises the very exception, and is journalled."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.raise_on("BUG-7", error)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            orchestrator.on_worker_complete(RESULTS.completed(ISSUE))
        assert caught.value is error
    assert [call.raised for call in orchestrator.completions] == [error, error]
    assert orchestrator.queue.state_of("BUG-7") == "in_progress"


def test_raise_on_concerns_one_issue(orchestrator: RecordingOrchestrator) -> None:
    """Others are marked as ever."""
    orchestrator.raise_on("BUG-8", KeyError("stage"))
    orchestrator.submit_all(InlinePool(), [ISSUE])
    orchestrator.assert_terminal("BUG-7", "completed")


def test_raise_on_takes_an_exception(orchestrator: RecordingOrchestrator) -> None:
    """The message shows what was given."""
    with pytest.raises(TypeError, match=r"^raise_on\(\) takes an exception, .*, not 'stage'$"):
        orchestrator.raise_on("BUG-7", "stage")  # type: ignore[arg-type]


def test_a_slow_completion_waits_until_it_may_proceed(orchestrator: RecordingOrchestrator) -> None:
    """It is in the journal before it goes on, and marks nothing until then."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.slow("BUG-7")
    thread = call_in_thread(orchestrator, RESULTS.completed(ISSUE))
    orchestrator.wait_until_called("BUG-7")
    assert not orchestrator.completions[0].has_ended
    assert orchestrator.queue.state_of("BUG-7") == "in_progress"
    orchestrator.proceed("BUG-7")
    thread.join(TIMEOUT)
    assert orchestrator.completions[0].has_ended
    assert orchestrator.queue.state_of("BUG-7") == "completed"


def test_slow_again_waits_again(hasty: RecordingOrchestrator) -> None:
    """Proceeding ends slowness for good, unless it is asked for anew."""
    hasty.submit_all(SilentPool(), [ISSUE])
    hasty.slow("BUG-7")
    hasty.proceed("BUG-7")
    hasty.on_worker_complete(RESULTS.completed(ISSUE))
    hasty.slow("BUG-7")
    with pytest.raises(Hang):
        hasty.on_worker_complete(RESULTS.completed(ISSUE))


def test_slow_twice_is_slow_once(orchestrator: RecordingOrchestrator) -> None:
    """One proceed releases a call that waits since the first."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.slow("BUG-7")
    thread = call_in_thread(orchestrator, RESULTS.completed(ISSUE))
    orchestrator.wait_until_called("BUG-7")
    orchestrator.slow("BUG-7")
    orchestrator.proceed("BUG-7")
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_slow_completion_may_raise_afterwards(orchestrator: RecordingOrchestrator) -> None:
    """Both can be asked for; slowness comes first."""
    orchestrator.slow("BUG-7")
    orchestrator.raise_on("BUG-7", KeyError("stage"))
    orchestrator.proceed("BUG-7")
    with pytest.raises(KeyError):
        orchestrator.on_worker_complete(RESULTS.completed(ISSUE))


def test_slowness_is_bounded(hasty: RecordingOrchestrator) -> None:
    """A call that nobody lets go raises a hang into the pool, and marks nothing."""
    hasty.submit_all(SilentPool(), [ISSUE])
    hasty.slow("BUG-7")
    claim = r" 0\.02 s for proceed\(\) to be called for the slow completion of BUG-7, in vain\n"
    with pytest.raises(Hang, match=claim) as caught:
        hasty.on_worker_complete(RESULTS.completed(ISSUE))
    assert hasty.completions[0].raised is caught.value
    assert hasty.queue.state_of("BUG-7") == "in_progress"


def test_proceed_needs_slowness(orchestrator: RecordingOrchestrator) -> None:
    """A misspelled id would otherwise be found only when patience ends."""
    with pytest.raises(LookupError) as caught:
        orchestrator.proceed("BUG-7")
    assert str(caught.value) == ("no completion of BUG-7 waits for proceed(); call slow() for it first")


def test_wait_until_called_is_bounded(hasty: RecordingOrchestrator) -> None:
    """A completion that never comes is a hang."""
    claim = r"^hang: waited 0\.02 s for on_worker_complete\(\) to be called for BUG-7, in vain\n"
    with pytest.raises(Hang, match=claim):
        hasty.wait_until_called("BUG-7")


def test_issues_are_named_by_id(orchestrator: RecordingOrchestrator) -> None:
    """An issue in the place of its id would never be met again."""
    calls: dict[str, Callable[[], object]] = {
        "completions_of()": lambda: orchestrator.completions_of(ISSUE),  # type: ignore[arg-type]
        "raise_on()": lambda: orchestrator.raise_on(ISSUE, KeyError()),  # type: ignore[arg-type]
        "slow()": lambda: orchestrator.slow(ISSUE),  # type: ignore[arg-type]
        "proceed()": lambda: orchestrator.proceed(ISSUE),  # type: ignore[arg-type]
        "wait_until_called()": lambda: orchestrator.wait_until_called(ISSUE),  # type: ignore[arg-type]
        "assert_terminal()": lambda: orchestrator.assert_terminal(ISSUE),  # type: ignore[arg-type]
    }
    for name, call in calls.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"{name} takes the id of an issue, for example 'BUG-229', not {ISSUE!r}"


# submit_all.


def test_submit_all_dispatches_through_the_queue(orchestrator: RecordingOrchestrator) -> None:
    """Every issue is in progress when its pool gets it."""
    seen: list[dict[str, IssueState]] = []

    def process(issue: Issue) -> WorkerResult:
        seen.append(orchestrator.queue.states())
        return RESULTS.completed(issue)

    orchestrator.submit_all(InlinePool(process), [ISSUE, OTHER])
    assert seen == [
        {"BUG-7": IssueState.IN_PROGRESS, "BUG-8": IssueState.QUEUED},
        {"BUG-7": IssueState.COMPLETED, "BUG-8": IssueState.IN_PROGRESS},
    ]


def test_submit_all_gives_what_submit_returned(orchestrator: RecordingOrchestrator) -> None:
    """Futures or not, it is the pool's own answer."""
    assert orchestrator.submit_all(InlinePool(), [ISSUE, OTHER]) == ["ticket of BUG-7", "ticket of BUG-8"]


def test_submit_all_submits_the_urgent_first_and_answers_in_order(
    orchestrator: RecordingOrchestrator,
) -> None:
    """The queue decides the order of dispatch, the caller that of the answers."""
    pool = InlinePool()
    urgent = Issue("BUG-9", priority="P0")
    answers = orchestrator.submit_all(pool, [ISSUE, urgent, OTHER])
    assert pool.taken == ["BUG-9", "BUG-7", "BUG-8"]
    assert answers == ["ticket of BUG-7", "ticket of BUG-9", "ticket of BUG-8"]


def test_submit_all_submits_what_waits_as_well(orchestrator: RecordingOrchestrator) -> None:
    """Nothing stays behind in the queue; its answers come last."""
    orchestrator.queue.add(Issue("BUG-1"))
    orchestrator.queue.add(ISSUE)
    answers = orchestrator.submit_all(InlinePool(), [OTHER, ISSUE])
    assert answers == ["ticket of BUG-8", "ticket of BUG-7", "ticket of BUG-1"]


def test_submit_all_works_with_the_reference_pool(
    orchestrator: RecordingOrchestrator, gated: GatedPool
) -> None:
    """The completion is passed by position, so that any pool understands it."""
    futures: list[Future[WorkerResult]] = orchestrator.submit_all(gated, [ISSUE, OTHER])
    gated.crash("BUG-7")
    gated.release("BUG-8")
    orchestrator.wait_for_all()
    assert [future.result(TIMEOUT).success for future in futures] == [False, True]
    orchestrator.assert_terminal("BUG-7", "failed")
    orchestrator.assert_terminal("BUG-8", "completed")


@pytest.mark.parametrize("error", [RuntimeError("pool is full"), KeyboardInterrupt()])
def test_a_refused_issue_is_the_callers_to_mark(
    orchestrator: RecordingOrchestrator, error: BaseException
) -> None:
    """The exception comes at once, and nothing is repaired: a test of LL104 sees what was lost."""
    issues = [ISSUE, OTHER, Issue("BUG-9")]
    with pytest.raises(type(error)) as caught:
        orchestrator.submit_all(RefusingPool("BUG-8", error), issues)
    assert caught.value is error
    assert orchestrator.queue.states() == {
        "BUG-7": IssueState.COMPLETED,
        "BUG-8": IssueState.IN_PROGRESS,
        "BUG-9": IssueState.QUEUED,
    }


def test_after_a_refusal_the_rest_can_be_dispatched(orchestrator: RecordingOrchestrator) -> None:
    """What waits behind a refused issue is not lost."""
    with pytest.raises(RuntimeError):
        orchestrator.submit_all(RefusingPool("BUG-7", RuntimeError()), [ISSUE, OTHER])
    assert orchestrator.submit_all(InlinePool(), []) == ["ticket of BUG-8"]


def test_a_second_submission_needs_a_requeue(orchestrator: RecordingOrchestrator) -> None:
    """The message says where the issue stands, and nothing else was added."""
    orchestrator.submit_all(InlinePool(), [ISSUE])
    with pytest.raises(ValueError, match="again") as caught:
        orchestrator.submit_all(InlinePool(), [OTHER, ISSUE])
    assert str(caught.value) == (
        "submit_all() does not submit BUG-7 again, which is completed already\n"
        "  next step: queue.requeue('BUG-7') in between, or an id of its own"
    )
    assert "BUG-8" not in orchestrator.queue.states()
    orchestrator.queue.requeue("BUG-7")
    assert orchestrator.submit_all(InlinePool(), [ISSUE]) == ["ticket of BUG-7"]


def test_an_issue_given_twice_is_refused(orchestrator: RecordingOrchestrator) -> None:
    """A queue holds an issue once, so one of the two would vanish without a word."""
    with pytest.raises(ValueError, match=r"^submit_all\(\) does not submit BUG-7 again, which is given al"):
        orchestrator.submit_all(InlinePool(), [ISSUE, ISSUE])


def test_what_is_no_issue_is_refused(orchestrator: RecordingOrchestrator) -> None:
    """The message shows it."""
    with pytest.raises(TypeError, match=r"^submit_all\(\) takes a pool and issues, not 'BUG-7'$"):
        orchestrator.submit_all(InlinePool(), ["BUG-7"])  # type: ignore[list-item]


def test_two_threads_submit_each_issue_once(orchestrator: RecordingOrchestrator) -> None:
    """Whoever takes an issue out of the queue submits it; none is submitted twice, none left behind."""
    pool = InlinePool()
    barrier = threading.Barrier(2)

    def dispatch(numbers: range) -> None:
        barrier.wait(TIMEOUT)
        orchestrator.submit_all(pool, [Issue(f"BUG-{number}") for number in numbers])

    threads = [threading.Thread(target=dispatch, args=(numbers,)) for numbers in (range(40), range(40, 80))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(pool.taken) == sorted(f"BUG-{number}" for number in range(80))


# wait_for_all.


def test_nothing_submitted_is_nothing_to_wait_for(hasty: RecordingOrchestrator) -> None:
    """It returns at once."""
    hasty.wait_for_all()


def test_wait_for_all_waits_for_the_end_of_a_completion(
    orchestrator: RecordingOrchestrator, gated: GatedPool
) -> None:
    """A call that has begun is not enough."""
    orchestrator.slow("BUG-7")
    orchestrator.submit_all(gated, [ISSUE])
    gated.release("BUG-7")
    orchestrator.wait_until_called("BUG-7")
    with pytest.raises(Hang):
        orchestrator.wait_for_all(timeout=0)
    orchestrator.proceed("BUG-7")
    orchestrator.wait_for_all()
    assert orchestrator.completions[0].has_ended


def test_wait_for_all_counts_a_completion_that_raised(hasty: RecordingOrchestrator) -> None:
    """It has ended, in whatever way."""
    hasty.raise_on("BUG-7", KeyError("stage"))
    hasty.submit_all(SilentPool(), [ISSUE])
    with pytest.raises(KeyError):
        hasty.on_worker_complete(RESULTS.completed(ISSUE))
    hasty.wait_for_all()


def test_a_completion_that_raises_into_submit_is_settled_once(hasty: RecordingOrchestrator) -> None:
    """Where a pool works inline, its submit raises what the completion did; both are one issue less."""
    hasty.raise_on("BUG-7", KeyError("stage"))
    with pytest.raises(KeyError):
        hasty.submit_all(InlinePool(), [ISSUE])
    hasty.wait_for_all()


def test_wait_for_all_names_the_missing(hasty: RecordingOrchestrator) -> None:
    """A pool that lost issues shows as a hang that says which."""
    pool = SilentPool()
    hasty.submit_all(pool, [ISSUE, OTHER, Issue("BUG-9")])
    issue, done = pool.owed[1]
    done(RESULTS.completed(issue))
    claim = r"^hang: waited 0\.02 s for the completion of BUG-7, BUG-9 to end, in vain\n"
    with pytest.raises(Hang, match=claim):
        hasty.wait_for_all()


def test_wait_for_all_takes_a_timeout(orchestrator: RecordingOrchestrator) -> None:
    """It is used in the place of patience, and named."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    with pytest.raises(Hang, match=r"^hang: waited 0\.01 s for "):
        orchestrator.wait_for_all(0.01)


def test_wait_for_all_does_not_wait_for_what_was_refused(hasty: RecordingOrchestrator) -> None:
    """The pool owes it nothing, nor what stayed behind in the queue."""
    with pytest.raises(RuntimeError):
        hasty.submit_all(RefusingPool("BUG-7", RuntimeError()), [ISSUE, OTHER])
    hasty.wait_for_all()


def test_wait_for_all_counts_submissions(hasty: RecordingOrchestrator) -> None:
    """An issue that was submitted again is owed a completion again."""
    pool = SilentPool()
    hasty.submit_all(pool, [ISSUE])
    hasty.queue.requeue("BUG-7")
    hasty.submit_all(pool, [ISSUE])
    hasty.on_worker_complete(RESULTS.completed(ISSUE))
    with pytest.raises(Hang, match="the completion of BUG-7 to end"):
        hasty.wait_for_all()
    hasty.on_worker_complete(RESULTS.completed(ISSUE))
    hasty.wait_for_all()


def test_a_completion_too_many_pays_for_nothing_later(hasty: RecordingOrchestrator) -> None:
    """It is not held against the next submission of its issue."""
    hasty.submit_all(InlinePool(), [ISSUE])
    hasty.on_worker_complete(RESULTS.completed(ISSUE))
    hasty.queue.requeue("BUG-7")
    hasty.submit_all(SilentPool(), [ISSUE])
    with pytest.raises(Hang, match="the completion of BUG-7 to end"):
        hasty.wait_for_all()


# assert_terminal.


def complaint(orchestrator: RecordingOrchestrator, state: IssueState | str | None = None) -> str:
    """The text of the failed assertion about BUG-7."""
    with pytest.raises(AssertionError) as caught:
        orchestrator.assert_terminal("BUG-7", state)
    return str(caught.value)


def test_assert_terminal_passes_for_any_terminal_state(orchestrator: RecordingOrchestrator) -> None:
    """A state is a string, an `IssueState`, or left out."""
    orchestrator.submit_all(InlinePool(RESULTS.interrupted), [ISSUE])
    orchestrator.assert_terminal("BUG-7")
    orchestrator.assert_terminal("BUG-7", "interrupted")
    orchestrator.assert_terminal("BUG-7", IssueState.INTERRUPTED)


def test_assert_terminal_counts_marks_by_hand(orchestrator: RecordingOrchestrator) -> None:
    """The queue decides, not the journal."""
    orchestrator.queue.add(ISSUE)
    orchestrator.queue.mark_cancelled("BUG-7")
    orchestrator.assert_terminal("BUG-7", "cancelled")


@pytest.mark.parametrize("state", ["done", "queued", IssueState.IN_PROGRESS, ""])
def test_assert_terminal_knows_four_states(orchestrator: RecordingOrchestrator, state: str) -> None:
    """Anything else is a mistake of the test; the message lists the four."""
    with pytest.raises(ValueError, match="terminal") as caught:
        orchestrator.assert_terminal("BUG-7", state)
    assert str(caught.value) == f"{str(state)!r} is no terminal state; those are {TERMINAL}"


def test_an_issue_that_the_queue_never_had(orchestrator: RecordingOrchestrator) -> None:
    """The id may be misspelled."""
    assert complaint(orchestrator) == (
        "BUG-7 should be in a terminal state, but the queue never had it\n"
        "  no completion was called for it\n"
        "  next step: check the id, or dispatch the issue with submit_all()"
    )


def test_an_issue_that_still_waits(orchestrator: RecordingOrchestrator) -> None:
    """Nobody took it out of the queue."""
    orchestrator.queue.add(ISSUE)
    assert complaint(orchestrator, "completed") == (
        "BUG-7 should be completed, but the queue says queued\n"
        "  no completion was called for it\n"
        "  next step: dispatch it: submit_all(pool, []) submits whatever waits"
    )


def test_an_issue_whose_completion_was_never_called(orchestrator: RecordingOrchestrator) -> None:
    """It runs still, or the pool has lost it."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    assert complaint(orchestrator) == (
        "BUG-7 should be in a terminal state, but the queue says in_progress\n"
        "  no completion was called for it\n"
        "  next step: wait_for_all() before asserting; if that hangs, the pool has lost the completion"
    )


def test_an_issue_whose_completion_raised(orchestrator: RecordingOrchestrator) -> None:
    """The facts say what the completion told, who called it, and what it raised."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.raise_on("BUG-7", KeyError("stage"))
    with pytest.raises(KeyError):
        orchestrator.on_worker_complete(RESULTS.failed(ISSUE, "no disk\nat all"))
    assert complaint(orchestrator, "failed") == (
        "BUG-7 should be failed, but the queue says in_progress\n"
        "  completion 1: failed (no disk), called by MainThread, raised KeyError('stage')\n"
        "  next step: mark an issue failed when its completion raises"
    )


def test_an_issue_whose_completion_goes_on(orchestrator: RecordingOrchestrator) -> None:
    """The assertion came too early."""
    orchestrator.submit_all(SilentPool(), [ISSUE])
    orchestrator.slow("BUG-7")
    thread = call_in_thread(orchestrator, RESULTS.completed(ISSUE))
    orchestrator.wait_until_called("BUG-7")
    text = complaint(orchestrator)
    orchestrator.proceed("BUG-7")
    thread.join(TIMEOUT)
    assert text == (
        "BUG-7 should be in a terminal state, but the queue says in_progress\n"
        "  completion 1: completed, called by worker-3, has not ended yet\n"
        "  next step: let the completion end: proceed() if it is slow, then wait_for_all()"
    )


def test_an_issue_in_another_state(orchestrator: RecordingOrchestrator) -> None:
    """All its completions are told, in order."""
    orchestrator.submit_all(InlinePool(), [ISSUE])
    with pytest.raises(IllegalTransition) as caught:
        orchestrator.on_worker_complete(RESULTS.interrupted(ISSUE))
    assert complaint(orchestrator, "failed") == (
        "BUG-7 should be failed, but the queue says completed\n"
        "  completion 1: completed, called by MainThread, returned\n"
        "  completion 2: interrupted (interrupted by a shutdown), called by MainThread, "
        f"raised {caught.value!r}\n"
        "  next step: see which completion above, or which mark by hand, decided that"
    )


def test_a_real_pool_survives_what_completions_raise(orchestrator: RecordingOrchestrator) -> None:
    """An exit of a completion costs the issues behind it nothing."""
    orchestrator.raise_on("BUG-7", SystemExit(3))
    with WorkerPool(RESULTS.completed, max_workers=1) as pool:
        orchestrator.submit_all(pool, [ISSUE, OTHER])
        orchestrator.wait_for_all()
    assert [call.raised is None for call in orchestrator.completions] == [False, True]
    orchestrator.assert_terminal("BUG-8", "completed")
