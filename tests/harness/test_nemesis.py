"""The nemesis: each fault strikes when it is told to, and in an exploration in every way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import ProcessPoolExecutor
from functools import partial
from typing import Any

import pytest

from pytest_littleloops import (
    CompletionFailed,
    Issue,
    Ledger,
    ManualExecutor,
    Nemesis,
    WorkerDied,
    WorkerPool,
    WorkerResult,
    WorkFailed,
    explore,
)
from tests.harness.lossy_pools import SwallowingPool, succeed

BUG = Issue("BUG-229")


@pytest.fixture
def nemesis() -> Nemesis:
    """One that lets slow work go on after a moment."""
    return Nemesis(patience=0.05)


def test_nothing_strikes_by_itself(nemesis: Nemesis) -> None:
    """A job succeeds, a completion is called, an executor works."""
    heard: list[WorkerResult] = []
    nemesis.callback(heard.append)(nemesis.job(BUG))
    assert [(one.issue_id, one.success) for one in heard] == [("BUG-229", True)]
    with nemesis.executor() as executor:
        assert executor.submit(pow, 2, 10).result(5) == 1024


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("worker-raises", WorkFailed),
        ("worker-raises-base", SystemExit),
        ("worker-hangs", WorkFailed),
        ("worker-dies", WorkerDied),
    ],
)
def test_work_that_raises(nemesis: Nemesis, fault: str, error: type[BaseException]) -> None:
    """The one issue that it was armed for, once."""
    nemesis.arm(fault, "BUG-229")
    assert nemesis.job(Issue("BUG-1")).success
    with pytest.raises(error, match="BUG-229"):
        nemesis.job(BUG)
    assert nemesis.job(BUG).success


def test_work_that_raises_what_it_is_given(nemesis: Nemesis) -> None:
    """Any issue, as often as it was said."""
    nemesis.arm("worker-raises-base", times=2, error=KeyboardInterrupt("now"))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt, match="now"):
            nemesis.job(BUG)
    assert nemesis.job(BUG).success


def test_work_that_returns_junk_and_work_that_is_slow(nemesis: Nemesis) -> None:
    """Junk is None; what is slow succeeds when it is let go, or the patience has ended."""
    nemesis.arm("worker-returns-junk")
    assert nemesis.job(BUG) is None
    nemesis.arm("worker-slow")
    assert nemesis.job(BUG).success
    patient = Nemesis(patience=60)
    patient.arm("worker-slow")
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(patient.job, BUG)
        assert not wait([future], timeout=0.02).done
        patient.release()
        assert future.result(5).success


def die(fault: str) -> WorkerResult:
    """The work of a process of its own."""
    nemesis = Nemesis()
    nemesis.arm(fault)
    return nemesis.job(BUG)


def test_a_worker_process_is_gone() -> None:
    """Which its executor hears from the operating system."""
    with ProcessPoolExecutor(1) as executor, pytest.raises(BrokenExecutor):
        executor.submit(die, "worker-dies").result(30)


def test_a_completion_raises_when_it_has_done_its_work(nemesis: Nemesis) -> None:
    """So that it is known what it was called with."""
    heard: list[WorkerResult] = []
    nemesis.arm("completion-raises")
    with pytest.raises(CompletionFailed, match="BUG-229"):
        nemesis.callback(heard.append)(succeed(BUG))
    assert len(heard) == 1


def test_an_executor_rejects_a_submission(nemesis: Nemesis) -> None:
    """Of an issue among the arguments, and nothing of it runs."""
    with nemesis.executor() as executor:
        nemesis.arm("submit-rejected", "BUG-229")
        assert executor.submit(succeed, Issue("BUG-1")).result(5).success
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(succeed, BUG)
        assert executor.submit(succeed, BUG).result(5).success


def test_an_executor_breaks_with_all_that_is_in_flight(nemesis: Nemesis) -> None:
    """What waits and what runs fails, what has ended stays, and nothing more is taken."""
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(10)

    with nemesis.executor(ThreadPoolExecutor(1)) as executor:
        ended = executor.submit(int)
        assert ended.result(5) == 0
        running, waiting, cancelled = (executor.submit(work) for _ in range(3))
        assert begun.wait(5)
        assert cancelled.cancel()
        nemesis.arm("executor-breaks")
        last = executor.submit(int)
        go.set()
        for future in (running, waiting, last):
            with pytest.raises(BrokenExecutor):
                future.result(5)
        futures: list[Future[Any]] = [running, waiting, last, cancelled, ended]
        assert len(wait(futures, timeout=5).done) == 5
        with pytest.raises(BrokenExecutor):
            executor.submit(int)
    assert ended.result(0) == 0


def test_a_faulty_executor_that_is_shut_down_wakes_those_who_wait(nemesis: Nemesis) -> None:
    """Which the standard library's own does not, if it cancels."""
    inner = ManualExecutor()
    executor = nemesis.executor(inner)
    futures = [executor.submit(int) for _ in range(2)]
    assert futures[0].cancel()
    executor.shutdown(wait=False, cancel_futures=True)
    assert len(wait(futures, timeout=5).done) == 2
    assert all(future.cancelled() for future in futures)


def test_a_thread_does_not_start(nemesis: Nemesis) -> None:
    """In the block, if the calling thread starts it."""
    nemesis.arm("submit-rejected")
    with nemesis.thread_starts():
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=int).start()
        thread = threading.Thread(target=int)
        thread.start()
        thread.join(5)
    assert threading.Thread.start.__qualname__ == "Thread.start"


def test_callers_by_hand(nemesis: Nemesis) -> None:
    """In a plain test they act at once, and say what came of it."""
    future = Future[int]()
    assert nemesis.cancel(future) is True
    pool = started(succeed)
    assert nemesis.cancel(pool, "BUG-229") is False
    nemesis.shutdown(pool, wait=True)
    with pytest.raises(RuntimeError):
        pool.submit(BUG)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("worker-sings", "there is no fault 'worker-sings'; the faults are worker-raises, "),
        ("cancel", r"'cancel' is not to be armed: call nemesis.cancel\(\)"),
        ("timeout", "'timeout' is not to be armed"),
    ],
)
def test_a_fault_that_cannot_be_armed(nemesis: Nemesis, fault: str, text: str) -> None:
    """The error says what there is."""
    with pytest.raises(ValueError, match=text):
        nemesis.arm(fault)


def one_issue(
    make: Callable[[Callable[[Issue], WorkerResult]], WorkerPool | SwallowingPool], heard: list[str]
) -> None:
    """Submit one, with all that may go wrong."""
    nemesis = Nemesis(note=lambda issue_id, fault: heard.append(fault))
    with Ledger() as ledger:
        ledger.allow("LL103")
        pool = ledger.watch(make(nemesis.job))
        completions: list[WorkerResult] = []
        future = pool.submit(BUG, nemesis.callback(completions.append))
        nemesis.cancel(future)
        pool.shutdown(wait=True)
        nemesis.close()
        assert len(completions) == 1, f"{len(completions)} completions"


def started(process: Callable[[Issue], WorkerResult]) -> WorkerPool:
    """A reference pool."""
    pool = WorkerPool(process, max_workers=1)
    pool.start()
    return pool


OF_A_JOB = ("worker-raises", "worker-raises-base", "worker-returns-junk", "worker-slow", "worker-dies")


@pytest.mark.parametrize("faults", [*[(fault,) for fault in OF_A_JOB], OF_A_JOB, ("cancel",)])
def test_the_reference_pool_keeps_its_promise(faults: tuple[str, ...]) -> None:
    """Proved, and each of the faults has struck in some schedule."""
    heard: list[str] = []
    found = explore(partial(one_issue, started, heard), faults=faults, schedules=4_000)
    found.raise_for_failure()
    assert (found.verdict, set(heard)) == ("proved", set(faults))


@pytest.mark.parametrize("fault", ["worker-raises", "worker-raises-base", "cancel"])
def test_a_fault_shows_what_a_pool_loses(fault: str) -> None:
    """The seed's pool swallows any of them; without the fault it has nothing to swallow."""
    assert explore(partial(one_issue, SwallowingPool, []), schedules=100).failure is None
    found = explore(partial(one_issue, SwallowingPool, []), faults=(fault,))
    assert "0 completions" in str(found.failure) or str(found.failure).startswith("LL102")
    assert explore(partial(one_issue, SwallowingPool, []), replay=found.token).verdict == "failed"


def test_a_shutdown_at_any_point_waiting_or_not() -> None:
    """With each combination of what the pool takes."""
    seen = set[tuple[bool, bool]]()

    class Pool:
        def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
            seen.add((wait, cancel_pending))

    def scenario() -> None:
        nemesis = Nemesis()
        nemesis.shutdown(Pool())
        nemesis.close()

    assert explore(scenario, strategy="dpor", faults=("shutdown",)).verdict == "proved"
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


def test_executors_are_of_any_kind(nemesis: Nemesis) -> None:
    """A faulty one is an executor to whoever is given it."""
    with WorkerPool(nemesis.job, executor=nemesis.executor()) as pool:
        nemesis.arm("submit-rejected")
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(BUG)
        assert pool.submit(BUG).result(5).success
    assert isinstance(nemesis.executor(), Executor)
