"""The pool behind `cancellable_pool`: each issue ends when and how the test says, and none hangs."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError

import pytest

from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.fakes.gated_pool import GatedPool
from pytest_littleloops.harness.patience import Hang
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.threads import IssueThreads

TIMEOUT = 10.0
SHORT = 0.02
ISSUE = Issue("BUG-7")
OTHER = Issue("BUG-8")


@pytest.fixture
def pool() -> Iterator[GatedPool]:
    """Give a started pool of two workers."""
    with GatedPool(max_workers=2, patience=TIMEOUT) as pool:
        yield pool


def is_gone(pool: GatedPool) -> bool:
    """True if all threads of a pool have ended."""
    assert isinstance(pool._executor, IssueThreads)
    return not any(thread.is_alive() for thread in pool._executor.threads)


def test_it_is_a_reference_pool_of_four_workers() -> None:
    """All but the process function is the real pool's."""
    pool = GatedPool()
    assert isinstance(pool, WorkerPool)
    assert (pool.max_workers, pool.is_started) == (4, False)


def test_work_waits_until_it_is_released(pool: GatedPool) -> None:
    """Nothing ends by itself; released work is a success."""
    future = pool.submit(ISSUE)
    pool.wait_until_running("BUG-7")
    assert future.running()
    pool.release("BUG-7")
    assert future.result(TIMEOUT) == WorkerResults().completed(ISSUE)


def test_release_gives_the_result_that_is_wanted(pool: GatedPool) -> None:
    """The future and the completion carry the very object."""
    heard: list[WorkerResult] = []
    result = WorkerResults().closed(ISSUE)
    future = pool.submit(ISSUE, heard.append)
    pool.release("BUG-7", result)
    assert future.result(TIMEOUT) is result
    assert pool.drain(TIMEOUT)
    assert heard == [result]


def test_fail_has_the_work_raise(pool: GatedPool) -> None:
    """The pool makes a failed result of it."""
    future = pool.submit(ISSUE)
    pool.fail("BUG-7", ValueError("no disk"))
    result = future.result(TIMEOUT)
    assert (result.success, result.error) == (False, "no disk")


def test_crash_has_the_work_exit(pool: GatedPool) -> None:
    """By default it raises SystemExit, which an `except Exception` does not see."""
    future = pool.submit(ISSUE)
    pool.crash("BUG-7")
    result = future.result(TIMEOUT)
    assert (result.success, result.error) == (False, "the worker of BUG-7 crashed")


def test_crash_raises_what_is_wanted(pool: GatedPool) -> None:
    """Any exception will do."""
    future = pool.submit(ISSUE)
    pool.crash("BUG-7", KeyboardInterrupt("Ctrl-C"))
    assert future.result(TIMEOUT).error == "Ctrl-C"


def test_cancel_reaches_what_waits_for_a_worker() -> None:
    """It is the pool's own: its completion says interrupted, its future is cancelled."""
    heard: list[WorkerResult] = []
    with GatedPool(max_workers=1, patience=TIMEOUT) as pool:
        pool.submit(ISSUE)
        future = pool.submit(OTHER, heard.append)
        assert pool.cancel("BUG-8")
        with pytest.raises(CancelledError):
            future.result(0)
    assert [(result.issue_id, result.interrupted) for result in heard] == [("BUG-8", True)]


def test_cancel_interrupts_what_waits_at_its_gate(pool: GatedPool) -> None:
    """Whether a worker has taken it by then is nobody's business: its completion is interrupted."""
    heard: list[WorkerResult] = []
    future = pool.submit(ISSUE, heard.append)
    pool.wait_until_running("BUG-7")
    assert pool.cancel("BUG-7")
    assert future.result(TIMEOUT).interrupted
    assert pool.drain(TIMEOUT)
    assert [(result.success, result.interrupted) for result in heard] == [(False, True)]


def test_cancel_of_what_is_not_there_opens_no_gate(pool: GatedPool) -> None:
    """An issue that was never submitted, or has ended, is not cancelled."""
    assert not pool.cancel("BUG-7")
    future = pool.submit(ISSUE)
    pool.release("BUG-7")
    assert future.result(TIMEOUT).success
    assert pool.drain(TIMEOUT)
    assert not pool.cancel("BUG-7")


def test_cancel_of_what_was_released_is_refused(pool: GatedPool) -> None:
    """Its gate is open: it ends by its own result."""
    may_end = threading.Event()
    future = pool.submit(ISSUE, lambda result: may_end.wait(TIMEOUT))
    pool.release("BUG-7")
    assert future.result(TIMEOUT).success
    assert not pool.cancel("BUG-7")
    may_end.set()


def test_a_gate_may_be_opened_before_its_issue_is_submitted(pool: GatedPool) -> None:
    """Then the work ends as soon as it begins."""
    pool.fail("BUG-7", ValueError("no disk"))
    assert pool.submit(ISSUE).result(TIMEOUT).error == "no disk"


def test_opening_holds_for_every_submission(pool: GatedPool) -> None:
    """Those that wait and those that come later end alike."""
    waiting = [pool.submit(ISSUE), pool.submit(ISSUE)]
    result = WorkerResults().failed(ISSUE)
    pool.release("BUG-7", result)
    assert all(future.result(TIMEOUT) is result for future in (*waiting, pool.submit(ISSUE)))


def test_gates_of_two_issues_are_two(pool: GatedPool) -> None:
    """Releasing one leaves the other where it is."""
    first, second = pool.submit(ISSUE), pool.submit(OTHER)
    pool.release("BUG-8")
    assert second.result(TIMEOUT).success
    assert not first.done()


def test_opening_again_for_the_same_changes_nothing(pool: GatedPool) -> None:
    """Equal results, or the very same exception, are the same."""
    error = ValueError("no disk")
    for _ in range(2):
        pool.release("BUG-7")
        pool.release("BUG-8", WorkerResults().completed(OTHER))
        pool.fail("BUG-9", error)
        pool.crash("BUG-10")
    assert pool.submit(ISSUE).result(TIMEOUT).success


def test_opening_again_for_something_else_is_refused(pool: GatedPool) -> None:
    """The message has both, and what was said first holds."""
    pool.release("BUG-7")
    with pytest.raises(ValueError, match="gate") as caught:
        pool.fail("BUG-7", ValueError("no disk"))
    assert str(caught.value) == (
        "the gate of BUG-7 was opened by release() before, and cannot be by fail() with "
        "ValueError('no disk')\n"
        "  next step: use another id, since all work on this one ends alike"
    )
    assert pool.submit(ISSUE).result(TIMEOUT).success


def test_another_result_is_something_else(pool: GatedPool) -> None:
    """A second result is not ignored in silence."""
    pool.release("BUG-7", WorkerResults().completed(ISSUE))
    with pytest.raises(ValueError, match=r"by release\(\) with WorkerResult\(.* be by release\(\)\n"):
        pool.release("BUG-7")


def test_after_a_shutdown_it_is_too_late(pool: GatedPool) -> None:
    """A gate that the shutdown has opened says so."""
    pool.submit(ISSUE)
    pool.wait_until_running("BUG-7")
    pool.shutdown()
    with pytest.raises(ValueError, match=r"by shutdown\(\) before, and cannot be by crash\(\)\n"):
        pool.crash("BUG-7")


@pytest.mark.parametrize("error", ["no disk", None, ValueError])
def test_fail_takes_an_exception(pool: GatedPool, error: object) -> None:
    """The message shows what was given, and an example."""
    with pytest.raises(TypeError) as caught:
        pool.fail("BUG-7", error)  # type: ignore[arg-type]
    example = "for example ValueError('no disk')"
    assert str(caught.value) == f"fail() takes an exception, {example}, not {error!r}"


def test_fail_leaves_exits_to_crash(pool: GatedPool) -> None:
    """What is no `Exception` is no failure; the message says who takes it."""
    with pytest.raises(TypeError) as caught:
        pool.fail("BUG-7", SystemExit(3))  # type: ignore[arg-type]
    assert str(caught.value) == "fail() takes an Exception, not SystemExit(3); crash() takes any exception"


def test_crash_takes_an_exception(pool: GatedPool) -> None:
    """The message shows what was given."""
    with pytest.raises(TypeError, match=r"^crash\(\) takes an exception, .*, not 'no disk'$"):
        pool.crash("BUG-7", "no disk")  # type: ignore[arg-type]


def test_release_takes_a_result(pool: GatedPool) -> None:
    """The message shows what was given."""
    with pytest.raises(TypeError, match=r"^release\(\) takes a WorkerResult or nothing, not True$"):
        pool.release("BUG-7", True)  # type: ignore[arg-type]


def test_gates_are_found_by_id(pool: GatedPool) -> None:
    """An issue in the place of its id would be a gate that nobody waits at."""
    calls: dict[str, Callable[[], None]] = {
        "release()": lambda: pool.release(ISSUE),  # type: ignore[arg-type]
        "fail()": lambda: pool.fail(ISSUE, ValueError()),  # type: ignore[arg-type]
        "crash()": lambda: pool.crash(ISSUE),  # type: ignore[arg-type]
        "wait_until_running()": lambda: pool.wait_until_running(ISSUE),  # type: ignore[arg-type]
    }
    for name, call in calls.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"{name} takes the id of an issue, for example 'BUG-229', not {ISSUE!r}"


def test_wait_until_running_returns_also_afterwards(pool: GatedPool) -> None:
    """Work that was quick has begun nevertheless."""
    pool.release("BUG-7")
    pool.submit(ISSUE).result(TIMEOUT)
    pool.wait_until_running("BUG-7")


def test_wait_until_running_is_bounded() -> None:
    """Work that never begins is a hang with all stacks."""
    with GatedPool(patience=SHORT) as pool, pytest.raises(Hang) as caught:
        pool.wait_until_running("BUG-7")
    text = str(caught.value)
    assert text.startswith("hang: waited 0.02 s for the work on BUG-7 to begin, in vain\n")
    assert "thread MainThread" in text


def test_waiting_at_a_gate_is_bounded() -> None:
    """Work that nobody releases fails, and says what it waited for."""
    pool = GatedPool(patience=SHORT)
    pool.start()
    error = pool.submit(ISSUE).result(TIMEOUT).error
    WorkerPool.shutdown(pool)
    assert error is not None
    claim = "hang: waited 0.02 s for release(), fail() or crash() to be called for BUG-7, in vain\n"
    assert error.startswith(claim)


def test_a_waiting_shutdown_opens_the_gates(pool: GatedPool) -> None:
    """What waits at a gate is interrupted; what was opened before ends as the test said."""
    closed, failed = pool.submit(ISSUE), pool.submit(OTHER)
    pool.wait_until_running("BUG-7")
    pool.fail("BUG-8", ValueError("no disk"))
    pool.shutdown()
    assert closed.result(0) == WorkerResults().interrupted(ISSUE)
    assert failed.result(0).error == "no disk"
    assert is_gone(pool)


def test_what_begins_during_a_waiting_shutdown_is_interrupted_too() -> None:
    """Without a cancellation the shutdown runs what waits, and nobody is there to release it."""
    with GatedPool(max_workers=1, patience=TIMEOUT) as pool:
        futures = [pool.submit(ISSUE), pool.submit(OTHER)]
        pool.wait_until_running("BUG-7")
    assert [future.result(0).interrupted for future in futures] == [True, True]
    assert is_gone(pool)


def test_a_cancelling_shutdown_cancels_before_it_opens() -> None:
    """What waits for a worker is cancelled for sure, not raced for by a worker set free."""
    pool = GatedPool(max_workers=1, patience=TIMEOUT)
    pool.start()
    running, waiting = pool.submit(ISSUE), pool.submit(OTHER)
    pool.wait_until_running("BUG-7")
    pool.shutdown(cancel_pending=True)
    assert running.result(0).interrupted
    assert waiting.cancelled()


def test_an_exception_of_the_block_cancels_what_waits() -> None:
    """As in any pool."""
    pool = GatedPool(max_workers=1, patience=TIMEOUT).__enter__()
    pool.submit(ISSUE)
    pool.wait_until_running("BUG-7")
    waiting = pool.submit(OTHER)
    pool.__exit__(KeyError, KeyError("stage"), None)
    assert waiting.cancelled()
    assert is_gone(pool)


def test_a_shutdown_that_does_not_wait_opens_nothing(pool: GatedPool) -> None:
    """What runs is still the test's to end."""
    future = pool.submit(ISSUE)
    pool.wait_until_running("BUG-7")
    pool.shutdown(wait=False)
    pool.release("BUG-7")
    assert future.result(TIMEOUT).success


def test_a_shutdown_does_not_wait_for_ever_for_a_completion() -> None:
    """A completion that does not return is a hang that names its issue."""
    may_return = threading.Event()
    pool = GatedPool(patience=SHORT)
    pool.start()
    pool.release("BUG-7")
    pool.submit(ISSUE, lambda result: may_return.wait(TIMEOUT))
    with pytest.raises(Hang, match=r"^hang: waited 0\.02 s for the completion of BUG-7, in vain\n"):
        pool.shutdown()
    may_return.set()
    # Without the bound, which is too short for a busy machine.
    WorkerPool.shutdown(pool)


def test_a_shutdown_from_a_completion_opens_the_gates_and_returns(pool: GatedPool) -> None:
    """Inside the pool's own work there is nothing to wait for but itself."""
    waiting = pool.submit(OTHER)
    pool.wait_until_running("BUG-8")
    pool.submit(ISSUE, lambda result: pool.shutdown())
    pool.release("BUG-7")
    assert waiting.result(TIMEOUT).interrupted
    assert pool.callback_errors == ()


def test_a_shutdown_before_the_start_returns() -> None:
    """There is nothing to open."""
    GatedPool().shutdown()


def test_a_dropped_pool_is_collected() -> None:
    """It does not hold itself, so no collector is needed to find it."""
    gc.disable()
    try:
        pool = GatedPool()
        gone = weakref.ref(pool)
        del pool
        assert gone() is None
    finally:
        gc.enable()
