"""The gated pool: a real pool in which the test says how the work on each issue ends."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from pytest_littleloops.harness.factories import WorkerResults
from pytest_littleloops.harness.gated_pool import GatedPool
from pytest_littleloops.harness.patience import Hang
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
BUG = Issue("BUG-229")
results = WorkerResults()


@pytest.fixture
def pool() -> Iterator[GatedPool]:
    """Give a started pool of two workers, shut down when the test ends."""
    with GatedPool(max_workers=2, patience=TIMEOUT) as started:
        yield started


def test_gated_pool_is_a_worker_pool(pool: GatedPool) -> None:
    """It may be used wherever a `WorkerPool` may, with its own number of workers."""
    assert isinstance(pool, WorkerPool)
    assert pool.max_workers == 2
    assert GatedPool().max_workers == 4


def test_bodies_wait_for_their_gate(pool: GatedPool) -> None:
    """A submitted issue runs and is owed until the test says how it ends."""
    future = pool.submit(BUG)
    pool.wait_until_running("BUG-229")
    assert (pool.active_count, future.done()) == (1, False)
    pool.release("BUG-229")
    assert future.result(TIMEOUT) == results.completed("BUG-229")


def test_release_takes_the_result_to_return(pool: GatedPool) -> None:
    """Future and completion carry the very result."""
    wanted = results.closed("BUG-229")
    heard: list[WorkerResult] = []
    future = pool.submit(BUG, heard.append)
    pool.release("BUG-229", wanted)
    assert pool.drain(TIMEOUT)
    assert future.result(0) is wanted
    assert heard == [wanted]


def test_fail_raises_in_the_body(pool: GatedPool) -> None:
    """The pool makes a failed result of it, with its text."""
    future = pool.submit(BUG)
    pool.fail("BUG-229", ValueError("no disk"))
    result = future.result(TIMEOUT)
    assert (result.success, result.error) == (False, "no disk")


def test_fail_is_for_exceptions_only(pool: GatedPool) -> None:
    """What is none, and what would pass by `except Exception`, is refused; the gate stays closed."""
    with pytest.raises(TypeError, match=r"^fail\(\) takes an exception"):
        pool.fail("BUG-229", "no disk")  # type: ignore[arg-type]
    with pytest.raises(TypeError) as caught:
        pool.fail("BUG-229", SystemExit(3))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "fail() takes an Exception, not SystemExit(3); crash() takes any BaseException"
    )
    pool.release("BUG-229")


def test_crash_exits_from_the_body(pool: GatedPool) -> None:
    """By default the body raises SystemExit; an innocent later issue still completes."""
    future = pool.submit(BUG)
    pool.crash("BUG-229")
    assert future.result(TIMEOUT).error == "the worker of BUG-229 crashed"
    pool.release("FEAT-7")
    assert pool.submit(Issue("FEAT-7")).result(TIMEOUT).success


def test_crash_takes_any_exception(pool: GatedPool) -> None:
    """Whatever can be raised may be given, and nothing else."""
    pool.crash("BUG-229", KeyboardInterrupt("ctrl-c"))
    assert pool.submit(BUG).result(TIMEOUT).error == "ctrl-c"
    with pytest.raises(TypeError, match=r"^crash\(\) takes an exception"):
        pool.crash("FEAT-7", 3)  # type: ignore[arg-type]


def test_cancel_is_the_pools_own(pool: GatedPool) -> None:
    """An issue that waits for a worker is cancelled; one that runs at its gate is not."""
    for issue_id in ("BUG-1", "BUG-2", "BUG-3"):
        pool.submit(Issue(issue_id))
    pool.wait_until_running("BUG-1")
    pool.wait_until_running("BUG-2")
    assert pool.cancel("BUG-3")
    assert not pool.cancel("BUG-1")


def test_gate_may_be_opened_before_the_issue_is_submitted(pool: GatedPool) -> None:
    """The body then passes through."""
    pool.release("BUG-229")
    assert pool.submit(BUG).result(TIMEOUT).success


def test_gate_is_open_for_every_submission_of_its_issue(pool: GatedPool) -> None:
    """Two submissions of one id end alike, also one that comes later."""
    pool.submit(BUG)
    pool.wait_until_running("BUG-229")
    pool.crash("BUG-229")
    assert [pool.submit(BUG).result(TIMEOUT).success for _ in range(2)] == [False, False]
    assert pool.drain(TIMEOUT)


def test_gate_may_be_opened_again_for_the_same(pool: GatedPool) -> None:
    """To say the same thing twice is no contradiction."""
    error = ValueError("no disk")
    for _ in range(2):
        pool.release("BUG-1")
        pool.release("BUG-2", results.completed("BUG-2", duration=2.0))
        pool.fail("BUG-3", error)
        pool.crash("BUG-4")


def test_gate_cannot_be_opened_for_something_else(pool: GatedPool) -> None:
    """The message has both outcomes and what to do; the first one stays."""
    pool.fail("BUG-229", ValueError("no disk"))
    with pytest.raises(ValueError, match="the gate of BUG-229 is open already") as caught:
        pool.release("BUG-229")
    assert str(caught.value) == (
        "the gate of BUG-229 is open already, and what it was opened for stays\n"
        "  before: fail with ValueError('no disk')\n"
        "  now:    release\n"
        "  next step: give each outcome an issue of its own"
    )
    assert pool.submit(BUG).result(TIMEOUT).error == "no disk"


def test_body_whose_gate_stays_closed_fails_with_a_hang() -> None:
    """After `patience` the issue ends as failed, with a text that says what was not called."""
    with GatedPool(patience=0) as pool:
        result = pool.submit(BUG).result(TIMEOUT)
    assert not result.success
    assert result.error is not None
    first_line = result.error.splitlines()[0]
    assert "waited 0 s" in first_line
    assert "release(), fail() or crash() of BUG-229" in first_line


def test_wait_until_running_is_bounded() -> None:
    """An issue that nobody submits is a failure that says which body did not begin."""
    pool = GatedPool(patience=0)
    with pytest.raises(Hang, match="the body of BUG-229 to begin"):
        pool.wait_until_running("BUG-229")


def test_wait_until_running_returns_for_one_that_has_ended(pool: GatedPool) -> None:
    """It asks whether the body has begun, which stays true."""
    pool.release("BUG-229")
    pool.submit(BUG).result(TIMEOUT)
    pool.wait_until_running("BUG-229")


def test_open_all_interrupts_what_is_closed(pool: GatedPool) -> None:
    """Bodies at a closed gate, and those that come later, end as interrupted; opened gates stay."""
    waiting = pool.submit(BUG)
    pool.wait_until_running("BUG-229")
    pool.release("BUG-2")
    pool.open_all()
    assert waiting.result(TIMEOUT) == results.interrupted("BUG-229")
    assert pool.submit(Issue("BUG-2")).result(TIMEOUT).success
    assert pool.submit(Issue("BUG-3")).result(TIMEOUT).interrupted


def test_shutdown_ends_what_waits_at_closed_gates() -> None:
    """It does not hang: what runs and what waits for a worker ends as interrupted, and is heard of."""
    heard: list[WorkerResult] = []
    with GatedPool(max_workers=1, patience=TIMEOUT) as pool:
        for issue_id in ("BUG-1", "BUG-2"):
            pool.submit(Issue(issue_id), heard.append)
    assert heard == [results.interrupted("BUG-1"), results.interrupted("BUG-2")]
    assert pool.active_count == 0


def test_shutdown_cancels_before_it_opens_the_gates() -> None:
    """With `cancel_pending` what waits for a worker is cancelled, and its body does not begin."""
    pool = GatedPool(max_workers=1, patience=TIMEOUT)
    pool.start()
    running, waiting = pool.submit(Issue("BUG-1")), pool.submit(Issue("BUG-2"))
    pool.wait_until_running("BUG-1")
    pool.shutdown(cancel_pending=True)
    assert running.result(0).interrupted
    with pytest.raises(CancelledError):
        waiting.result(0)


def test_shutdown_without_waiting_leaves_the_gates_closed() -> None:
    """The test goes on saying how each issue ends; nothing more is accepted."""
    with GatedPool(patience=TIMEOUT) as pool:
        future = pool.submit(BUG)
        pool.shutdown(wait=False)
        with pytest.raises(RuntimeError, match="BUG-2 was not accepted"):
            pool.submit(Issue("BUG-2"))
        pool.release("BUG-229")
        assert future.result(TIMEOUT).success


def test_shutdown_from_inside_a_completion_does_not_wait_for_itself(pool: GatedPool) -> None:
    """As on any reference pool; the gates are opened, so that the rest ends too."""
    other = pool.submit(Issue("BUG-2"))
    future = pool.submit(BUG, lambda result: pool.shutdown())
    pool.release("BUG-229")
    assert future.result(TIMEOUT).success
    assert other.result(TIMEOUT).interrupted
    assert pool.drain(TIMEOUT)
    assert pool.callback_errors == ()


def test_shutdown_is_bounded_by_patience() -> None:
    """A completion that does not return is a failure that says how many are owed."""
    may_return, is_called = threading.Event(), threading.Event()

    def complete(result: WorkerResult) -> None:
        is_called.set()
        may_return.wait(TIMEOUT)

    pool = GatedPool(patience=0)
    pool.release("BUG-229")
    pool.start()
    pool.submit(BUG, complete)
    assert is_called.wait(TIMEOUT)
    with pytest.raises(Hang, match="the completions of 1 submissions to return"):
        pool.shutdown()
    may_return.set()
    assert pool.drain(TIMEOUT)
    pool.shutdown()


def test_a_dropped_pool_is_collected_without_the_collector() -> None:
    """No cycle of its own keeps the pool alive when a test drops it."""
    pool = GatedPool()
    is_alive = weakref.ref(pool)
    gc.disable()
    try:
        del pool
        assert is_alive() is None
    finally:
        gc.enable()
