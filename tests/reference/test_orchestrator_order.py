"""`Orchestrator` with issues that may not start yet: put off by `defer`, or a P0 that runs alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue
from tests.reference.orchestrated_pools import (
    InlinePool,
    StepPool,
    hasten,
    orchestrate,
    queue_of,
    result_of,
    succeed,
)


class Conflicts:
    """A `defer` that keeps certain pairs of issues apart, and remembers what it was asked."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.pairs = pairs
        self.asked: list[tuple[str, set[str]]] = []

    def __call__(self, issue: Issue, in_flight: frozenset[str]) -> bool:
        """Put it off while its counterpart is in flight."""
        self.asked.append((issue.issue_id, set(in_flight)))
        return any(issue.issue_id in pair and in_flight.intersection(pair) for pair in self.pairs)


def test_orchestrator_puts_an_issue_off_until_another_has_ended() -> None:
    """It is asked about with the ids in flight, and again when these have changed."""
    queue = queue_of("BUG-1", "BUG-2")
    defer = Conflicts(("BUG-1", "BUG-2"))
    pool = StepPool(lambda: pool.finish("BUG-1"), lambda: pool.finish("BUG-2"))
    orchestrator = orchestrate(queue, pool, defer=defer)
    assert orchestrator.run() == ExitCode.OK
    assert defer.asked == [("BUG-1", set()), ("BUG-2", {"BUG-1"}), ("BUG-2", set())]
    assert queue.completed_ids == ["BUG-1", "BUG-2"]
    assert orchestrator.put_off == []


def test_orchestrator_starts_others_past_one_that_is_put_off() -> None:
    """The one that is put off is back in the queue; it neither blocks the others nor is it in progress."""
    queue = queue_of("BUG-1", Issue("BUG-2", "P3"), Issue("BUG-3", "P5"))

    def step() -> None:
        assert pool.submitted == ["BUG-1", "BUG-3"]
        assert queue.states()["BUG-2"] == "queued"
        pool.finish("BUG-1")

    pool = StepPool(step, lambda: pool.finish("BUG-2"), lambda: pool.finish("BUG-3"))
    assert orchestrate(queue, pool, defer=Conflicts(("BUG-1", "BUG-2"))).run() == ExitCode.OK
    assert pool.submitted == ["BUG-1", "BUG-3", "BUG-2"]


def test_orchestrator_does_not_ask_again_before_something_has_ended() -> None:
    """However often it waits in vain, nothing has changed."""
    queue = queue_of("BUG-1", "BUG-2")
    defer = Conflicts(("BUG-1", "BUG-2"))

    def look() -> None:
        assert len(defer.asked) == 2

    pool = StepPool(look, look, look, lambda: pool.finish("BUG-1"), lambda: pool.finish("BUG-2"))
    assert orchestrate(queue, pool, defer=defer).run() == ExitCode.OK
    assert len(defer.asked) == 3


def test_orchestrator_starts_what_is_added_past_what_was_put_off() -> None:
    """A new issue is found behind those that wait, and these are not asked about for that."""
    queue = queue_of("BUG-1", "BUG-2")
    defer = Conflicts(("BUG-1", "BUG-2"))

    def look() -> None:
        assert pool.submitted == ["BUG-1", "BUG-3"]
        assert [issue_id for issue_id, _ in defer.asked] == ["BUG-1", "BUG-2", "BUG-3"]

    pool = StepPool(
        lambda: queue.add(Issue("BUG-3")),
        look,
        lambda: pool.finish("BUG-1"),
        lambda: pool.finish("BUG-2"),
        lambda: pool.finish("BUG-3"),
    )
    assert orchestrate(queue, pool, max_in_flight=3, defer=defer).run() == ExitCode.OK


def test_orchestrator_finds_a_new_issue_although_one_that_was_put_off_is_gone() -> None:
    """That fewer wait than were put off does not mean that nothing is new."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    defer = Conflicts(("BUG-1", "BUG-2"), ("BUG-1", "BUG-3"))

    def exchange() -> None:
        assert queue.cancel_queued("BUG-2")
        queue.add(Issue("BUG-4"))

    pool = StepPool(
        exchange,
        lambda: pool.finish("BUG-4"),
        lambda: pool.finish("BUG-1"),
        lambda: pool.finish("BUG-3"),
    )
    assert orchestrate(queue, pool, defer=defer).run() == ExitCode.OK
    assert pool.submitted == ["BUG-1", "BUG-4", "BUG-3"]


def test_orchestrator_leaves_an_issue_queued_that_is_put_off_although_nothing_is_in_flight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not lost, not spun on and not passed over in silence."""
    queue = queue_of("BUG-1", "BUG-2")
    asked: list[str] = []

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        asked.append(issue.issue_id)
        return issue.issue_id == "BUG-1"

    orchestrator = orchestrate(queue, InlinePool(), defer=defer)
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "queued", "BUG-2": "completed"}
    assert orchestrator.put_off == ["BUG-1"]
    assert caplog.messages == ["BUG-1 stays queued: it was put off although nothing is in flight"]
    assert asked == ["BUG-1", "BUG-2", "BUG-1"]


def test_orchestrator_asks_anew_about_what_the_last_run_left() -> None:
    """What was put off may start in the next run."""
    queue = queue_of("BUG-229")
    answers = [False, True]
    orchestrator = orchestrate(queue, InlinePool(), defer=lambda issue, in_flight: answers.pop())
    assert orchestrator.run() == ExitCode.FAILED
    assert orchestrator.put_off == ["BUG-229"]
    assert orchestrator.run() == ExitCode.OK
    assert orchestrator.put_off == []


def test_orchestrator_forgets_what_the_last_run_left_when_it_is_stopped() -> None:
    """Then the issue is not put off any more, but interrupted."""
    queue = queue_of("BUG-229")
    orchestrator = orchestrate(queue, InlinePool(), defer=lambda issue, in_flight: True)
    assert orchestrator.run() == ExitCode.FAILED
    assert orchestrator.put_off == ["BUG-229"]
    orchestrator.stop()
    assert orchestrator.run() == ExitCode.STOPPED
    assert orchestrator.put_off == []
    assert queue.states() == {"BUG-229": "interrupted"}


def test_orchestrator_asks_again_if_something_ended_while_it_asked() -> None:
    """An answer about issues of which one has ended meanwhile is an old one."""
    queue = queue_of("BUG-1", "BUG-2")
    in_flight_when_asked: list[set[str]] = []

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-2":
            in_flight_when_asked.append(set(in_flight))
            if in_flight:
                pool.finish("BUG-1")
        return bool(in_flight)

    pool = StepPool(lambda: pool.finish("BUG-2"))
    assert orchestrate(queue, pool, defer=defer).run() == ExitCode.OK
    assert in_flight_when_asked == [{"BUG-1"}, set()]


def test_orchestrator_asks_again_at_once_while_others_are_in_flight() -> None:
    """A completion that came during the dispatch is not waited for a second time."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")
    asked: list[str] = []

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        asked.append(issue.issue_id)
        if asked == ["BUG-1", "BUG-2"]:
            return True
        if asked == ["BUG-1", "BUG-2", "BUG-3"]:
            pool.finish("BUG-1")
        return False

    pool = StepPool(lambda: pool.finish("BUG-2"), lambda: pool.finish("BUG-3"))
    assert orchestrate(queue, pool, max_in_flight=3, defer=defer).run() == ExitCode.OK
    assert pool.submitted == ["BUG-1", "BUG-3", "BUG-2"]
    assert pool.waits == 2


def test_orchestrator_fails_an_issue_about_which_defer_raises() -> None:
    """It is marked and kept with its error; the others are worked on."""
    queue = queue_of("BUG-1", "BUG-2")
    error = ValueError("what issue?")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-1":
            raise error
        return False

    orchestrator = orchestrate(queue, InlinePool(), defer=defer)
    assert orchestrator.run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "failed", "BUG-2": "completed"}
    assert orchestrator.dispatch_errors == {"BUG-1": error}


def test_orchestrator_puts_back_what_it_took_when_it_ends_in_an_exception() -> None:
    """Issues that were put off in the same breath are queued again, not in progress for ever."""
    queue = queue_of("BUG-1", "BUG-2", "BUG-3")

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        if issue.issue_id == "BUG-2":
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        orchestrate(queue, InlinePool(), defer=defer).run()
    assert queue.states() == {"BUG-1": "queued", "BUG-2": "failed", "BUG-3": "queued"}


def test_orchestrator_has_a_p0_run_alone() -> None:
    """It waits until nothing is in flight, and nothing starts before it has ended."""
    queue = queue_of("BUG-1", "BUG-2")

    def add_p0() -> None:
        queue.add_many([Issue("BUG-3", "P4"), Issue("BUG-0", "P0")])
        pool.finish("BUG-1")

    def see_that_it_waits() -> None:
        assert pool.submitted == ["BUG-1", "BUG-2"]
        pool.finish("BUG-2")

    def see_that_it_is_alone() -> None:
        assert list(pool.completions) == ["BUG-0"]
        pool.finish("BUG-0")

    pool = StepPool(add_p0, see_that_it_waits, see_that_it_is_alone, lambda: pool.finish("BUG-3"))
    assert orchestrate(queue, pool, p0_sequential=True).run() == ExitCode.OK
    assert pool.submitted == ["BUG-1", "BUG-2", "BUG-0", "BUG-3"]


def test_orchestrator_runs_p0s_one_after_the_other() -> None:
    """Each waits for the one before it, in the order of the queue."""
    queue = queue_of(Issue("BUG-1", "P0"), Issue("BUG-2", "P0"), Issue("BUG-3", "P1"))

    def finish_the_only_one() -> None:
        (issue_id,) = pool.completions
        pool.finish(issue_id)

    pool = StepPool(*[finish_the_only_one] * 3)
    assert orchestrate(queue, pool, p0_sequential=True).run() == ExitCode.OK
    assert pool.submitted == ["BUG-1", "BUG-2", "BUG-3"]


def test_orchestrator_runs_p0s_side_by_side_unless_told_otherwise() -> None:
    """A P0 is only the first to start."""
    queue = queue_of(Issue("BUG-1", "P0"), Issue("BUG-2", "P0"))

    def see_both() -> None:
        assert list(pool.completions) == ["BUG-1", "BUG-2"]
        pool.finish("BUG-1")

    pool = StepPool(see_both, lambda: pool.finish("BUG-2"))
    assert orchestrate(queue, pool).run() == ExitCode.OK


def test_orchestrator_marks_a_sequential_p0_that_fails(start_pool: Callable[..., WorkerPool]) -> None:
    """Its failure is seen, and what comes after it is worked on."""
    queue = queue_of(Issue("BUG-1", "P0"), "BUG-2")

    def process(issue: Issue) -> WorkerResult:
        if issue.priority == "P0":
            raise SystemExit(1)
        return succeed(issue)

    assert Orchestrator(queue, start_pool(process), p0_sequential=True).run() == ExitCode.FAILED
    assert queue.states() == {"BUG-1": "failed", "BUG-2": "completed"}


def test_orchestrator_asks_about_a_sequential_p0_when_it_is_alone() -> None:
    """Its turn comes when nothing is in flight: only then the answer means something."""
    queue = queue_of(Issue("BUG-1", "P1"))
    defer = Conflicts()
    pool = StepPool(
        lambda: queue.add(Issue("BUG-0", "P0")),
        lambda: pool.finish("BUG-1"),
        lambda: pool.finish("BUG-0"),
    )
    assert orchestrate(queue, pool, p0_sequential=True, defer=defer).run() == ExitCode.OK
    assert defer.asked == [("BUG-1", set()), ("BUG-0", set())]


def test_orchestrator_requeues_a_p0_that_waits_when_it_ends_in_an_exception() -> None:
    """It has not begun, so it is for the next run."""
    queue = queue_of("BUG-1")

    def interrupt() -> None:
        assert queue.states() == {"BUG-1": "in_progress", "BUG-0": "in_progress"}
        raise KeyboardInterrupt

    pool = StepPool(lambda: queue.add(Issue("BUG-0", "P0")), interrupt)
    with pytest.raises(KeyboardInterrupt):
        orchestrate(queue, pool, p0_sequential=True).run()
    assert queue.states() == {"BUG-1": "in_progress", "BUG-0": "queued"}


def test_orchestrator_is_content_when_its_queue_is_emptied_by_somebody_else() -> None:
    """An issue that is gone when it is to be taken was somebody else's."""

    class ContestedQueue(IssueQueue):
        """Has its only issue taken by another one at the last moment."""

        def get(self, block: bool = True, timeout: float | None = None) -> Issue:
            """Take it twice."""
            super().get(block=False)
            return super().get(block, timeout)

    queue = ContestedQueue()
    queue.add(Issue("BUG-229"))
    assert hasten(Orchestrator(queue, InlinePool())).run() == ExitCode.OK
    assert queue.states() == {"BUG-229": "in_progress"}


def test_orchestrator_keeps_an_issue_apart_from_another_on_threads(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """Issues of one half never run beside issues of the other."""
    running: set[str] = set()
    mixed: list[set[str]] = []

    def process(issue: Issue) -> WorkerResult:
        running.add(issue.issue_id)
        together = set(running)
        if len({issue_id.split("-")[0] for issue_id in together}) > 1:
            mixed.append(together)
        running.discard(issue.issue_id)
        return result_of(issue.issue_id)

    def defer(issue: Issue, in_flight: frozenset[str]) -> bool:
        return any(other.split("-")[0] != issue.issue_id.split("-")[0] for other in in_flight)

    queue = queue_of(*(f"{kind}-{number}" for number in range(25) for kind in ("BUG", "ENH")))
    orchestrator = Orchestrator(queue, start_pool(process, max_workers=4), defer=defer)
    assert orchestrator.run() == ExitCode.OK
    assert queue.completed_count == 50
    assert mixed == []
