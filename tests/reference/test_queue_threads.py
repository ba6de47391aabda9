"""`IssueQueue` by many threads: waiters wake, and no issue is taken twice or by nobody."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from pytest_littleloops.reference.model import Issue
from pytest_littleloops.reference.queue import IssueQueue

TIMEOUT = 10.0


class WaitingGetters:
    """Threads that block in `get`, known to wait before the constructor returns."""

    def __init__(self, issues: IssueQueue, count: int) -> None:
        self.taken: list[str] = []
        self._waiting = threading.Semaphore(0)
        self._issues = issues
        original = issues._changed.wait

        def announced_wait(timeout: float | None = None) -> bool:
            # Under the queue's lock, which is given up only once this thread is among the waiters.
            self._waiting.release()
            assert original(timeout), "nobody woke this waiter"
            return True

        issues._changed.wait = announced_wait  # type: ignore[method-assign]
        self._threads = [threading.Thread(target=self._take, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._waiting.acquire(timeout=TIMEOUT)

    def _take(self) -> None:
        self.taken.append(self._issues.get(timeout=TIMEOUT).issue_id)

    def join(self) -> list[str]:
        """Wait for all of them and return what they took, sorted."""
        for thread in self._threads:
            thread.join(TIMEOUT + 1)
        return sorted(self.taken)


def add_one_by_one(issues: IssueQueue) -> None:
    """Add two issues in two steps."""
    issues.add(Issue("BUG-1"))
    issues.add(Issue("BUG-2"))


def add_both(issues: IssueQueue) -> None:
    """Add two issues in one step."""
    issues.add_many([Issue("BUG-1"), Issue("BUG-2")])


@pytest.mark.parametrize("add", [add_one_by_one, add_both])
def test_queue_wakes_a_waiter_for_each_added_issue(add: Callable[[IssueQueue], None]) -> None:
    """Two waiters and two issues: nobody is left asleep."""
    issues = IssueQueue()
    getters = WaitingGetters(issues, 2)
    add(issues)
    assert getters.join() == ["BUG-1", "BUG-2"]
    assert issues.in_progress_ids == ["BUG-1", "BUG-2"]


def test_queue_wakes_a_waiter_for_a_requeued_issue() -> None:
    """An issue that is put back is work again."""
    issues = IssueQueue()
    issues.add(Issue("BUG-229"))
    issues.get()
    getters = WaitingGetters(issues, 1)
    issues.requeue("BUG-229")
    assert getters.join() == ["BUG-229"]


def test_queue_waits_without_a_timeout() -> None:
    """The plain `get()` waits as long as it takes."""
    issues = IssueQueue()
    taken: list[Issue] = []
    waiting = threading.Event()
    original = issues._changed.wait

    def announced_wait(timeout: float | None = None) -> bool:
        assert timeout is None
        waiting.set()
        return original(timeout)

    issues._changed.wait = announced_wait  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: taken.append(issues.get()), daemon=True)
    thread.start()
    assert waiting.wait(TIMEOUT)
    issues.add(Issue("BUG-229"))
    thread.join(TIMEOUT)
    assert taken == [Issue("BUG-229")]


def test_queue_passes_on_the_wake_up_of_an_interrupted_waiter() -> None:
    """Ctrl-C in one waiter, just when an issue came for it, does not leave the other one asleep."""
    issues = IssueQueue()
    getters = WaitingGetters(issues, 1)

    def interrupted_wait(timeout: float | None = None) -> bool:
        # Among the waiters before the other thread: the wake-up reaches this one, then the interrupt.
        waiter = threading.Lock()
        assert waiter.acquire()
        issues._changed._waiters.appendleft(waiter)  # type: ignore[attr-defined]
        issues.add(Issue("BUG-229"))
        assert waiter.acquire(blocking=False)
        raise KeyboardInterrupt

    issues._changed.wait = interrupted_wait  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        issues.get()
    assert getters.join() == ["BUG-229"]


def test_queue_hands_each_issue_to_one_of_many_threads() -> None:
    """Eight threads take 800 issues while they are added: each is taken once, in its order of priority."""
    issues = IssueQueue()
    start_line = threading.Barrier(9)
    taken: list[str] = []

    def take() -> None:
        start_line.wait(TIMEOUT)
        for _ in range(100):
            issue_id = issues.get(timeout=TIMEOUT).issue_id
            taken.append(issue_id)
            issues.mark_completed(issue_id)

    threads = [threading.Thread(target=take, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    start_line.wait(TIMEOUT)
    for number in range(800):
        issues.add(Issue(f"BUG-{number}", f"P{number % 6}"))
    for thread in threads:
        thread.join(TIMEOUT)
    assert Counter(taken) == {f"BUG-{number}": 1 for number in range(800)}
    assert issues.completed_count == 800
    assert (issues.queued_count, issues.in_progress_count) == (0, 0)


def test_queue_lets_either_the_taker_or_the_canceller_have_an_issue() -> None:
    """Taken and cancelled at once: it ends cancelled, and is handed out before that or never."""
    for _ in range(50):
        issues = IssueQueue()
        issues.add(Issue("BUG-229"))
        start_line = threading.Barrier(2)
        outcomes: list[str] = []

        def take(
            issues: IssueQueue = issues,
            start_line: threading.Barrier = start_line,
            outcomes: list[str] = outcomes,
        ) -> None:
            start_line.wait(TIMEOUT)
            try:
                outcomes.append(issues.get(block=False).issue_id)
            except queue.Empty:
                outcomes.append("nothing")

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        start_line.wait(TIMEOUT)
        issues.mark_cancelled("BUG-229")
        thread.join(TIMEOUT)
        assert len(outcomes) == 1
        assert issues.states() == {"BUG-229": "cancelled"}
        assert issues.empty()
