"""`IssueQueue` by one thread: what it hands out in which order, and which marks it accepts."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from random import Random

import pytest

from pytest_littleloops.reference.model import PRIORITIES, IllegalTransition, Issue, IssueState
from pytest_littleloops.reference.queue import IssueQueue

TERMINAL = ("completed", "failed", "cancelled", "interrupted")


def mark(issues: IssueQueue, issue_id: str, state: str) -> None:
    """Ask for a state by its name."""
    requests: dict[str, Callable[[str], None]] = {
        "queued": issues.requeue,
        "completed": issues.mark_completed,
        "failed": issues.mark_failed,
        "cancelled": issues.mark_cancelled,
        "interrupted": issues.mark_interrupted,
    }
    requests[state](issue_id)


def queue_with(state: str | None) -> IssueQueue:
    """Return a queue in which BUG-229 has the state, or is unknown for None."""
    issues = IssueQueue()
    if state is None:
        return issues
    issues.add(Issue("BUG-229"))
    if state != "queued":
        issues.get(block=False)
    if state not in ("queued", "in_progress"):
        mark(issues, "BUG-229", state)
    return issues


def taken(issues: IssueQueue) -> list[str]:
    """Take all that waits."""
    return [issues.get(block=False).issue_id for _ in range(issues.qsize())]


def test_queue_hands_out_by_priority_and_first_in_first_out_inside_one() -> None:
    """P0 comes first whenever it was added; among equals the elder does."""
    issues = IssueQueue()
    for number, priority in enumerate(["P3", "P5", "P0", "P3", "P1", "P0", "P4", "P2"]):
        issues.add(Issue(f"BUG-{number}", priority))
    expected = ["BUG-2", "BUG-5", "BUG-4", "BUG-7", "BUG-0", "BUG-3", "BUG-6", "BUG-1"]
    assert issues.queued_ids == expected
    assert taken(issues) == expected


def test_queue_gives_the_issue_that_was_added_and_marks_it_in_progress() -> None:
    """It is the same object, and from the moment it is taken it is in progress."""
    issues = IssueQueue()
    issue = Issue("BUG-229", title="lost")
    assert issues.add(issue) is True
    assert issues.state_of("BUG-229") == "queued"
    assert issues.get() is issue
    assert issues.state_of("BUG-229") == "in_progress"


@pytest.mark.parametrize("state", ["queued", "in_progress", *TERMINAL])
def test_queue_does_not_add_a_known_id_twice(state: str) -> None:
    """Whatever became of the first, a second issue of that id changes nothing."""
    issues = queue_with(state)
    assert issues.add(Issue("BUG-229", "P0")) is False
    assert issues.states() == {"BUG-229": state}
    assert issues.qsize() == (state == "queued")


def test_queue_adds_many_and_says_how_many_were_new() -> None:
    """Known ids and repetitions do not count."""
    issues = queue_with("failed")
    added = issues.add_many(Issue(issue_id) for issue_id in ["BUG-1", "BUG-229", "BUG-2", "BUG-1"])
    assert added == 2
    assert issues.queued_ids == ["BUG-1", "BUG-2"]


def test_queue_reads_an_iterable_that_itself_uses_the_queue() -> None:
    """The iterable is not read in the middle of a step."""
    issues = IssueQueue()

    def candidates() -> Iterator[Issue]:
        yield Issue("BUG-1")
        assert issues.add(Issue("BUG-2"))

    assert issues.add_many(candidates()) == 1
    assert issues.queued_ids == ["BUG-2", "BUG-1"]


@pytest.mark.parametrize("junk", ["BUG-229", None, 229])
def test_queue_refuses_what_is_no_issue(junk: object) -> None:
    """The message shows what was given, and nothing is queued."""
    issues = IssueQueue()
    with pytest.raises(TypeError) as caught:
        issues.add_many([Issue("BUG-1"), junk])  # type: ignore[list-item]
    assert str(caught.value) == f"only an Issue can be queued, not {junk!r}"
    with pytest.raises(TypeError):
        issues.add(junk)  # type: ignore[arg-type]
    assert issues.states() == {}


@pytest.mark.parametrize(("block", "timeout"), [(False, None), (False, -1), (True, 0), (True, 0.001)])
def test_queue_that_is_empty_raises_the_exception_of_the_standard_library(
    block: bool, timeout: float | None
) -> None:
    """Whoever knows `queue.Queue` knows what to catch."""
    issues = queue_with("completed")
    with pytest.raises(queue.Empty):
        issues.get(block, timeout)


def test_queue_refuses_a_negative_timeout() -> None:
    """It would be a mistake in the caller's sum; the issue that waits is left alone."""
    issues = queue_with("queued")
    with pytest.raises(ValueError, match=r"^timeout must not be negative: -1$"):
        issues.get(timeout=-1)
    assert issues.states() == {"BUG-229": "queued"}


LEGAL = {
    *[("in_progress", state) for state in ("queued", *TERMINAL)],
    *[(state, "queued") for state in TERMINAL],
    *[("queued", state) for state in ("cancelled", "interrupted")],
    *[(state, state) for state in TERMINAL],
}
EVERY_MARK = [
    (current, requested)
    for current in (None, "queued", "in_progress", *TERMINAL)
    for requested in ("queued", *TERMINAL)
]


@pytest.mark.parametrize(("current", "requested"), [pair for pair in EVERY_MARK if pair in LEGAL])
def test_queue_accepts_every_legal_mark(current: str, requested: str) -> None:
    """The issue is in the requested state then, and counted there once."""
    issues = queue_with(current)
    mark(issues, "BUG-229", requested)
    assert issues.states() == {"BUG-229": requested}
    assert getattr(issues, f"{requested}_ids") == ["BUG-229"]
    assert {state for state, count in counts(issues).items() if count} == {requested}
    assert sum(counts(issues).values()) == 1


@pytest.mark.parametrize(("current", "requested"), [pair for pair in EVERY_MARK if pair not in LEGAL])
def test_queue_refuses_every_contradictory_mark(current: str | None, requested: str) -> None:
    """The error names id, from and to, and nothing has changed."""
    issues = queue_with(current)
    states, counted = issues.states(), counts(issues)
    with pytest.raises(IllegalTransition) as caught:
        mark(issues, "BUG-229", requested)
    error = caught.value
    assert (error.issue_id, error.current, error.requested) == ("BUG-229", current, requested)
    assert (issues.states(), counts(issues)) == (states, counted)


def counts(issues: IssueQueue) -> dict[IssueState, int]:
    """Return all six counts by state."""
    return {
        IssueState.QUEUED: issues.queued_count,
        IssueState.IN_PROGRESS: issues.in_progress_count,
        IssueState.COMPLETED: issues.completed_count,
        IssueState.FAILED: issues.failed_count,
        IssueState.CANCELLED: issues.cancelled_count,
        IssueState.INTERRUPTED: issues.interrupted_count,
    }


def test_queue_lists_and_counts_the_issues_of_each_state() -> None:
    """Each issue is in one list; lists of ids are in the order of addition."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}") for number in range(8))
    for _ in range(6):
        issues.get()
    for issue_id, state in zip(
        ["BUG-3", "BUG-2", "BUG-1", "BUG-0", "BUG-4"], [*TERMINAL, "failed"], strict=True
    ):
        mark(issues, issue_id, state)
    assert issues.queued_ids == ["BUG-6", "BUG-7"]
    assert issues.in_progress_ids == ["BUG-5"]
    assert issues.completed_ids == ["BUG-3"]
    assert issues.failed_ids == ["BUG-2", "BUG-4"]
    assert issues.cancelled_ids == ["BUG-1"]
    assert issues.interrupted_ids == ["BUG-0"]
    assert list(counts(issues).values()) == [2, 1, 1, 2, 1, 1]


def test_queue_is_empty_when_nothing_waits() -> None:
    """What is in progress does not wait."""
    issues = queue_with("queued")
    assert (issues.empty(), issues.qsize()) == (False, 1)
    issues.get()
    assert (issues.empty(), issues.qsize()) == (True, 0)


def test_queue_gives_copies_of_its_states() -> None:
    """What a caller does to them does not reach the queue."""
    issues = queue_with("queued")
    issues.states().clear()
    issues.queued_ids.clear()
    assert issues.states() == {"BUG-229": "queued"}


def test_queue_knows_no_state_of_an_id_that_was_never_added() -> None:
    """The message says which id it was."""
    with pytest.raises(KeyError) as caught:
        IssueQueue().state_of("BUG-404")
    assert caught.value.args == ("BUG-404 was never added to this queue",)


@pytest.mark.parametrize("state", ["in_progress", *TERMINAL])
def test_queue_puts_a_requeued_issue_behind_its_equals(state: str) -> None:
    """It waits behind all of its own priority, and before those of a lower one."""
    issues = queue_with(state)
    issues.add_many([Issue("BUG-5", "P5"), Issue("BUG-3", "P3"), Issue("BUG-2", "P2")])
    issues.requeue("BUG-229")
    assert issues.queued_ids == ["BUG-2", "BUG-3", "BUG-229", "BUG-5"]
    assert taken(issues) == ["BUG-2", "BUG-3", "BUG-229", "BUG-5"]


@pytest.mark.parametrize("state", ["cancelled", "interrupted"])
def test_queue_never_hands_out_what_ended_while_it_waited(state: str) -> None:
    """Its place is skipped, wherever in the row it was."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}") for number in range(5))
    for issue_id in ("BUG-0", "BUG-2"):
        mark(issues, issue_id, state)
    assert issues.queued_ids == ["BUG-1", "BUG-3", "BUG-4"]
    assert taken(issues) == ["BUG-1", "BUG-3", "BUG-4"]
    with pytest.raises(queue.Empty):
        issues.get(block=False)


def test_queue_hands_out_once_what_was_cancelled_and_requeued_while_it_waited() -> None:
    """Its old place does not come to life again: it has lost its turn, and has one turn only."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}") for number in range(4))
    issues.mark_cancelled("BUG-0")
    issues.requeue("BUG-0")
    assert taken(issues) == ["BUG-1", "BUG-2", "BUG-3", "BUG-0"]


def test_queue_keeps_no_places_of_issues_that_ended_while_they_waited() -> None:
    """An issue that is cancelled and requeued for ever does not fill the memory behind one that waits."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-0"), Issue("BUG-1")])
    for _ in range(1000):
        issues.mark_cancelled("BUG-1")
        issues.requeue("BUG-1")
    assert len(issues._lanes["P3"].records) <= 5
    assert taken(issues) == ["BUG-0", "BUG-1"]


def test_queue_keeps_the_order_of_many_when_most_of_them_are_cancelled() -> None:
    """Clearing up leaves the others in their order, and in O(1) a mark it takes no time."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}") for number in range(2000))
    for number in range(2000):
        if number % 10:
            issues.mark_cancelled(f"BUG-{number}")
    assert taken(issues) == [f"BUG-{number}" for number in range(0, 2000, 10)]


@pytest.mark.parametrize("state", [None, "queued", "in_progress", *TERMINAL])
def test_queue_cancels_an_issue_only_if_it_waits(state: str | None) -> None:
    """Whoever asks cannot hit an issue that was taken the moment before."""
    issues = queue_with(state)
    before = issues.states()
    assert issues.cancel_queued("BUG-229") is (state == "queued")
    assert issues.states() == ({"BUG-229": "cancelled"} if state == "queued" else before)


def test_queue_interrupts_all_that_wait() -> None:
    """What is in progress is left alone."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1", "P0"), Issue("BUG-2", "P1"), Issue("BUG-3", "P2")])
    issues.get()
    assert issues.interrupt_queued() == 2
    assert issues.states() == {"BUG-1": "in_progress", "BUG-2": "interrupted", "BUG-3": "interrupted"}
    assert issues.interrupt_queued() == 0


@pytest.mark.parametrize("seed", range(5))
def test_queue_agrees_with_a_simple_one_whatever_is_done(seed: int) -> None:
    """After any steps the same issues wait in the same order, and its stale places are counted."""
    random = Random(seed)
    issues = IssueQueue()
    waiting: dict[str, list[str]] = {priority: [] for priority in PRIORITIES}
    known: dict[str, str] = {}
    for number in range(300):
        step = random.choice(["add", "add", "get", "cancel", "cancel", "requeue"])
        ended = [one for one in known if not any(one in lane for lane in waiting.values())]
        queued = [one for lane in waiting.values() for one in lane]
        if step == "add":
            issue = Issue(f"BUG-{number}", random.choice(PRIORITIES[:3]))
            known[issue.issue_id] = issue.priority
            issues.add(issue)
            waiting[issue.priority].append(issue.issue_id)
        elif step == "requeue" and ended:
            issue_id = random.choice(ended)
            issues.requeue(issue_id)
            waiting[known[issue_id]].append(issue_id)
        elif step == "get" and queued:
            assert issues.get(block=False).issue_id == queued[0]
            waiting[known[queued[0]]].remove(queued[0])
        elif step == "cancel" and queued:
            issue_id = random.choice(queued)
            issues.mark_cancelled(issue_id)
            waiting[known[issue_id]].remove(issue_id)
        assert issues.queued_ids == [one for lane in waiting.values() for one in lane]
        assert issues.queued_count == len(issues.queued_ids)
        for priority, lane in issues._lanes.items():
            assert len(lane.records) - lane.stale == len(waiting[priority])
