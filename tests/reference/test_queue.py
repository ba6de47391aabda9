"""The reference `IssueQueue`: order, one state at any moment, no transition that contradicts another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState
from pytest_littleloops.reference.queue import IssueQueue

TIMEOUT = 10.0
ANYWHERE = [None, *IssueState]
TERMINAL = [state for state in IssueState if state.is_terminal]

MARKS: dict[str, Callable[[IssueQueue, str], None]] = {
    "completed": IssueQueue.mark_completed,
    "failed": IssueQueue.mark_failed,
    "cancelled": IssueQueue.mark_cancelled,
    "interrupted": IssueQueue.mark_interrupted,
    "queued": IssueQueue.requeue,
}
LEGAL = {
    "completed": {"in_progress", "completed"},
    "failed": {"in_progress", "failed"},
    "cancelled": {"queued", "in_progress", "cancelled"},
    "interrupted": {"queued", "in_progress", "interrupted"},
    "queued": {"in_progress", "completed", "failed", "cancelled", "interrupted"},
}


def queue_with(issue_id: str, state: IssueState | None) -> IssueQueue:
    """Give a queue in which `issue_id` is in `state`; None: it does not know it."""
    issues = IssueQueue()
    if state is None:
        return issues
    issues.add(Issue(issue_id))
    if state is not IssueState.QUEUED:
        issues.get(block=False)
        if state is not IssueState.IN_PROGRESS:
            MARKS[state](issues, issue_id)
    return issues


def taken(issues: IssueQueue) -> list[str]:
    """Take all that is there and give the ids in their order."""
    order = []
    while not issues.empty():
        order.append(issues.get(block=False).issue_id)
    return order


class Taker:
    """A thread that waits in `get`; `result` is what it took, once it took something."""

    def __init__(self, issues: IssueQueue, timeout: float | None) -> None:
        self._issues = issues
        self._timeout = timeout
        self._taken: list[Issue] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        self._taken.append(self._issues.get(timeout=self._timeout))

    @property
    def result(self) -> Issue:
        """The issue it took; fails if it took none."""
        self._thread.join(TIMEOUT)
        assert self._taken, "nobody woke the waiter"
        return self._taken[0]


def announce_waits(issues: IssueQueue) -> threading.Semaphore:
    """Have the queue tell of each thread that begins to wait.

    It tells under the queue's lock, which the wait gives up only afterwards: whoever hears of it and
    adds an issue then cannot overtake the wait.
    """
    waiting = threading.Semaphore(0)
    original = issues._changed.wait

    def announced_wait(timeout: float | None = None) -> bool:
        waiting.release()
        return original(timeout)

    issues._changed.wait = announced_wait  # type: ignore[method-assign]
    return waiting


def test_issue_queue_add_queues_an_issue() -> None:
    """An issue that was added is queued and counted."""
    issues = IssueQueue()
    assert issues.add(Issue("BUG-229")) is True
    assert issues.state_of("BUG-229") is IssueState.QUEUED
    assert issues.qsize() == 1
    assert not issues.empty()


@pytest.mark.parametrize("state", IssueState)
def test_issue_queue_add_refuses_a_known_id(state: IssueState) -> None:
    """An id that is known is not added again, whatever state it is in, and keeps that state."""
    issues = queue_with("BUG-229", state)
    assert issues.add(Issue("BUG-229", "P0")) is False
    assert issues.states() == {"BUG-229": state}


@pytest.mark.parametrize("junk", ["BUG-229", None])
def test_issue_queue_refuses_what_is_no_issue(junk: Issue) -> None:
    """A bare id is refused, as it has no priority; one among several keeps all of them out."""
    issues = IssueQueue()
    with pytest.raises(TypeError, match=f"^only an Issue can be queued, not {junk!r}$"):
        issues.add(junk)
    with pytest.raises(TypeError, match=f"^only an Issue can be queued, not {junk!r}$"):
        issues.add_many([Issue("BUG-1"), junk])
    assert issues.states() == {}


def test_issue_queue_add_many_reads_an_iterable_that_uses_the_queue() -> None:
    """The issues are read before the first is added, so what reading them does is done by then."""
    issues = IssueQueue()

    def candidates() -> Iterator[Issue]:
        yield Issue("BUG-1")
        assert issues.add(Issue("BUG-2"))

    assert issues.add_many(candidates()) == 1
    assert issues.queued_ids == ["BUG-2", "BUG-1"]


def test_issue_queue_add_many_goes_through_add() -> None:
    """Whoever overrides `add`, to write each issue down, misses none."""

    class Noting(IssueQueue):
        def __init__(self) -> None:
            super().__init__()
            self.noted: list[str] = []

        def add(self, issue: Issue) -> bool:
            self.noted.append(issue.issue_id)
            return super().add(issue)

    issues = Noting()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2")])
    assert issues.noted == ["BUG-1", "BUG-2"]


def test_issue_queue_add_many_counts_the_new_ones() -> None:
    """Of several issues those that were unknown are counted; all kinds of iterables will do."""
    issues = queue_with("BUG-2", IssueState.COMPLETED)
    assert issues.add_many(Issue(f"BUG-{number}") for number in (1, 2, 3, 1)) == 2
    assert issues.queued_ids == ["BUG-1", "BUG-3"]


def test_issue_queue_get_takes_and_marks_in_one_step() -> None:
    """The issue that `get` gives is the one that was added, and is in progress."""
    issues = IssueQueue()
    issue = Issue("BUG-229", "P1", "BUG", "Lost issue", Path("BUG-229.md"))
    issues.add(issue)
    assert issues.get() is issue
    assert issues.states() == {"BUG-229": IssueState.IN_PROGRESS}
    assert issues.empty()


def test_issue_queue_get_gives_p0_first() -> None:
    """The most urgent issue comes first, whenever it was added."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}", f"P{number}") for number in (3, 5, 0, 2, 4, 1))
    assert taken(issues) == ["BUG-0", "BUG-1", "BUG-2", "BUG-3", "BUG-4", "BUG-5"]


def test_issue_queue_get_is_first_in_first_out_inside_a_priority() -> None:
    """Of two that are equally urgent the one that waits longer comes first."""
    issues = IssueQueue()
    ids = [("ENH-9", "P1"), ("BUG-1", "P2"), ("BUG-8", "P1"), ("BUG-0", "P1"), ("ENH-3", "P2")]
    issues.add_many(Issue(issue_id, priority) for issue_id, priority in ids)
    assert taken(issues) == ["ENH-9", "BUG-8", "BUG-0", "BUG-1", "ENH-3"]


@pytest.mark.parametrize(("block", "timeout"), [(False, None), (False, -1.0), (True, 0.0), (True, 0.001)])
def test_issue_queue_get_raises_empty(block: bool, timeout: float | None) -> None:
    """Without an issue, and without time to wait for one, it is the standard library's `Empty`."""
    with pytest.raises(queue.Empty):
        IssueQueue().get(block, timeout)


def test_issue_queue_get_refuses_a_negative_timeout() -> None:
    """A negative time to wait is a mistake, as it is for the standard library's queues."""
    with pytest.raises(ValueError, match=r"timeout must not be negative, but is -0\.5"):
        IssueQueue().get(timeout=-0.5)


def test_issue_queue_get_passes_an_interrupted_wake_up_on() -> None:
    """If Ctrl-C strikes a waiter that was just woken, another one gets the issue it was woken for."""
    issues = IssueQueue()
    waiting = announce_waits(issues)
    taker = Taker(issues, None)
    assert waiting.acquire(timeout=TIMEOUT)

    def interrupted_wait(timeout: float | None = None) -> bool:
        # The wake-up that `add` sends is used up by this waiter, as if it stood before the other one.
        notify = issues._changed.notify
        issues._changed.notify = lambda n=1: None  # type: ignore[method-assign]
        issues.add(Issue("BUG-229"))
        issues._changed.notify = notify  # type: ignore[method-assign]
        raise KeyboardInterrupt

    issues._changed.wait = interrupted_wait  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        issues.get()
    assert taker.result == Issue("BUG-229")


@pytest.mark.parametrize("timeout", [None, TIMEOUT], ids=["for-ever", "bounded"])
def test_issue_queue_get_wakes_for_an_issue_that_is_added(timeout: float | None) -> None:
    """Who waits for an issue gets the next one that comes."""
    issues = IssueQueue()
    waiting = announce_waits(issues)
    taker = Taker(issues, timeout)
    assert waiting.acquire(timeout=TIMEOUT)
    issues.add(Issue("BUG-229"))
    assert taker.result == Issue("BUG-229")


def test_issue_queue_get_wakes_for_an_issue_that_is_requeued() -> None:
    """Who waits for an issue gets one that comes back."""
    issues = queue_with("BUG-229", IssueState.FAILED)
    waiting = announce_waits(issues)
    taker = Taker(issues, None)
    assert waiting.acquire(timeout=TIMEOUT)
    issues.requeue("BUG-229")
    assert taker.result == Issue("BUG-229")
    assert issues.state_of("BUG-229") is IssueState.IN_PROGRESS


def test_issue_queue_get_wakes_as_many_as_there_are_issues() -> None:
    """Two that wait get one issue each when two come at once."""
    issues = IssueQueue()
    waiting = announce_waits(issues)
    takers = [Taker(issues, None), Taker(issues, None)]
    for _ in takers:
        assert waiting.acquire(timeout=TIMEOUT)
    issues.add_many([Issue("BUG-1"), Issue("BUG-2")])
    assert {taker.result.issue_id for taker in takers} == {"BUG-1", "BUG-2"}


def test_issue_queue_get_waits_on_when_its_issue_is_cancelled() -> None:
    """A waiter that was woken for an issue which is gone again waits for the next."""
    issues = IssueQueue()
    waiting = announce_waits(issues)
    taker = Taker(issues, None)
    assert waiting.acquire(timeout=TIMEOUT)
    with issues._changed:
        issues.add(Issue("BUG-1"))
        issues.mark_cancelled("BUG-1")
    assert waiting.acquire(timeout=TIMEOUT)
    issues.add(Issue("BUG-2"))
    assert taker.result == Issue("BUG-2")


def test_issue_queue_get_gives_an_issue_to_one_taker() -> None:
    """Several threads that take at once share the issues out: none is taken twice and none is left."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}") for number in range(400))
    shares: list[list[str]] = [[] for _ in range(4)]
    start = threading.Barrier(4, timeout=TIMEOUT)

    def take(share: list[str]) -> None:
        start.wait()
        try:
            while True:
                share.append(issues.get(block=False).issue_id)
        except queue.Empty:
            pass

    threads = [threading.Thread(target=take, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    taken_ids = [issue_id for share in shares for issue_id in share]
    assert sorted(taken_ids) == sorted(f"BUG-{number}" for number in range(400))
    assert issues.in_progress_count == 400


@pytest.mark.parametrize("current", ANYWHERE, ids=str)
@pytest.mark.parametrize("requested", MARKS)
def test_issue_queue_changes_a_state_only_where_it_is_legal(
    current: IssueState | None, requested: str
) -> None:
    """Each mark works from the states it may be made in; from others it raises and changes nothing."""
    issues = queue_with("BUG-229", current)
    if current is not None and current in LEGAL[requested]:
        MARKS[requested](issues, "BUG-229")
        assert issues.states() == {"BUG-229": requested}
    else:
        before = issues.states()
        with pytest.raises(IllegalTransition, match=r"BUG-229 cannot (go from|become)") as caught:
            MARKS[requested](issues, "BUG-229")
        assert (caught.value.current, caught.value.requested) == (current, requested)
        assert issues.states() == before
        assert taken(issues) == ["BUG-229"] * (current is IssueState.QUEUED)


@pytest.mark.parametrize("state", TERMINAL)
def test_issue_queue_repeats_a_mark_without_effect(state: IssueState) -> None:
    """The same terminal state once more is no contradiction: the order of arrival stays."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2")])
    for issue_id in taken(issues):
        MARKS[state](issues, issue_id)
    MARKS[state](issues, "BUG-1")
    assert issues._ids(state) == ["BUG-1", "BUG-2"]


@pytest.mark.parametrize("mark", ["cancelled", "interrupted"])
def test_issue_queue_does_not_hand_out_what_ended_while_it_waited(mark: str) -> None:
    """An issue that was cancelled or interrupted in the queue is not taken; its neighbours are."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2"), Issue("BUG-3")])
    MARKS[mark](issues, "BUG-2")
    assert issues.qsize() == 2
    assert taken(issues) == ["BUG-1", "BUG-3"]
    assert issues.state_of("BUG-2") == mark


def test_issue_queue_requeue_goes_to_the_tail_of_its_priority() -> None:
    """An issue that comes back stands behind its equals and before the less urgent."""
    issues = IssueQueue()
    for issue_id, priority in [("BUG-1", "P1"), ("BUG-2", "P1"), ("BUG-3", "P2")]:
        issues.add(Issue(issue_id, priority))
    issues.requeue(issues.get().issue_id)
    assert issues.queued_ids == ["BUG-2", "BUG-3", "BUG-1"]
    assert taken(issues) == ["BUG-2", "BUG-1", "BUG-3"]


def test_issue_queue_hands_an_issue_out_once_per_requeue() -> None:
    """Cancelled in the queue and requeued, an issue is there once, in its new place."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2")])
    issues.mark_cancelled("BUG-1")
    issues.requeue("BUG-1")
    assert taken(issues) == ["BUG-2", "BUG-1"]


def test_issue_queue_keeps_nothing_of_what_left() -> None:
    """However often issues leave the queue from its middle, what it keeps does not grow."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2")])
    for _ in range(100):
        issues.mark_cancelled("BUG-2")
        issues.requeue("BUG-2")
    assert sum(len(waiting) for waiting in issues._waiting.values()) == 2
    assert sum(len(ids) for ids in issues._ids_in.values()) == 2


def test_issue_queue_state_of_names_an_unknown_issue() -> None:
    """An id that was never added has no state, and the message says why."""
    with pytest.raises(KeyError, match="BUG-229 was never added to this queue"):
        IssueQueue().state_of("BUG-229")


def test_issue_queue_states_lists_in_the_order_of_adding() -> None:
    """All states at once, whatever has happened since, and as a copy."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2", "P0"), Issue("BUG-3")])
    issues.mark_completed(issues.get().issue_id)
    states = issues.states()
    assert list(states.items()) == [("BUG-1", "queued"), ("BUG-2", "completed"), ("BUG-3", "queued")]
    states.clear()
    assert len(issues.states()) == 3


def test_issue_queue_lists_and_counts_each_state() -> None:
    """There is a list and a count for each of the six states."""
    issues = IssueQueue()
    issues.add_many(Issue(f"BUG-{number}") for number in range(21))
    ends = ["completed"] * 1 + ["failed"] * 2 + ["cancelled"] * 3 + ["interrupted"] * 4
    for end in ends:
        MARKS[end](issues, issues.get().issue_id)
    for _ in range(5):
        issues.get()
    assert issues.completed_ids == ["BUG-0"]
    assert issues.failed_ids == ["BUG-1", "BUG-2"]
    assert issues.cancelled_ids == ["BUG-3", "BUG-4", "BUG-5"]
    assert issues.interrupted_ids == ["BUG-6", "BUG-7", "BUG-8", "BUG-9"]
    assert issues.in_progress_ids == [f"BUG-{number}" for number in range(10, 15)]
    assert issues.queued_ids == [f"BUG-{number}" for number in range(15, 21)]
    assert (issues.completed_count, issues.failed_count, issues.cancelled_count) == (1, 2, 3)
    assert (issues.interrupted_count, issues.in_progress_count, issues.queued_count) == (4, 5, 6)


def test_issue_queue_lists_in_the_order_of_arrival() -> None:
    """Who ended first is listed first, whoever was added or taken first."""
    issues = IssueQueue()
    issues.add_many([Issue("BUG-1"), Issue("BUG-2"), Issue("BUG-3")])
    taken(issues)
    for issue_id in ("BUG-3", "BUG-1", "BUG-2"):
        issues.mark_failed(issue_id)
    assert issues.failed_ids == ["BUG-3", "BUG-1", "BUG-2"]
