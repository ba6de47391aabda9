"""The pools of a test: made ready, ended with it, and never waited for without a bound."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.fakes.manual_executor import ManualExecutor
from pytest_littleloops.harness.fakes.pool_factory import PoolFactory, succeed, wait_until_ended
from pytest_littleloops.harness.patience import Hang
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.threads import IssueThreads

TIMEOUT = 10.0
SHORT = 0.02
ISSUE = Issue("BUG-7")


class Stuck:
    """A process function, a completion or a done-callback that stays until it is let go."""

    def __init__(self) -> None:
        self.is_there = threading.Event()
        self._may_go = threading.Event()

    def work(self, issue: Issue) -> WorkerResult:
        """Be the process function of a stuck worker."""
        self.stay()
        return succeed(issue)

    def stay(self, *ignored: object) -> None:
        """Return when it is let go."""
        self.is_there.set()
        assert self._may_go.wait(TIMEOUT)

    def let_go(self) -> None:
        """Let it end, now and from now on."""
        self._may_go.set()


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """Give something stuck, and let it go at the end so that no thread outlives the test."""
    before = set(threading.enumerate())
    stuck = Stuck()
    yield stuck
    stuck.let_go()
    # A thread left running would raise into the next test.
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def own_threads(pool: WorkerPool) -> tuple[threading.Thread, ...]:
    """The threads that a pool has started for itself."""
    assert isinstance(pool._executor, IssueThreads)
    return pool._executor.threads


def test_a_pool_is_started() -> None:
    """It accepts work at once, and works for as many as two issues at a time."""
    with PoolFactory() as make_pool:
        pool = make_pool()
        assert (pool.is_started, pool.max_workers) == (True, 2)


def test_without_a_process_every_issue_succeeds() -> None:
    """The result is the one that `worker_result.completed` makes."""
    with PoolFactory() as make_pool:
        assert make_pool().submit(ISSUE).result(TIMEOUT) == WorkerResults().completed(ISSUE)


def test_a_process_is_used() -> None:
    """What the test gives does the work."""
    with PoolFactory() as make_pool:
        pool = make_pool(lambda issue: WorkerResults().failed(issue), 1)
        assert pool.max_workers == 1
        assert not pool.submit(ISSUE).result(TIMEOUT).success


def test_other_keywords_reach_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    """An executor and a logger are the pool's, as if it had been made by hand."""
    manual = ManualExecutor()

    def complain(result: WorkerResult) -> None:
        raise ValueError("no disk")

    with PoolFactory() as make_pool, caplog.at_level(logging.ERROR, "mine"):
        pool = make_pool(max_workers=1, executor=manual, logger=logging.getLogger("mine"))
        pool.submit(ISSUE, complain)
        assert manual.run_all() == 1
    assert [record.name for record in caplog.records] == ["mine"]


def test_the_default_process_can_travel() -> None:
    """An executor of other processes pickles what it runs."""
    assert pickle.loads(pickle.dumps(succeed)) is succeed


def test_wrong_arguments_are_the_pools_to_refuse() -> None:
    """Nothing is checked twice, and nothing is left to be ended."""
    with PoolFactory() as make_pool:
        with pytest.raises(ValueError, match="max_workers must be at least 1, not 0"):
            make_pool(max_workers=0)
        with pytest.raises(TypeError, match="process must be callable"):
            make_pool(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_over", [False, True], ids=["before", "after"])
def test_outside_its_block_it_makes_none(is_over: bool) -> None:
    """A pool that nobody would end is not made; the message says where to call it."""
    make_pool = PoolFactory()
    if is_over:
        with make_pool:
            pass
    with pytest.raises(RuntimeError) as caught:
        make_pool()
    assert str(caught.value) == (
        "this PoolFactory ends no pool now, so it makes none; call it inside its own `with` block"
    )


def test_at_the_end_pools_accept_nothing_and_their_threads_are_gone() -> None:
    """Each pool is shut down, and waited for."""
    with PoolFactory() as make_pool:
        pools = [make_pool(), make_pool()]
        for pool in pools:
            pool.submit(ISSUE)
    for pool in pools:
        with pytest.raises(RuntimeError, match="was shut down"):
            pool.submit(ISSUE)
        assert len(own_threads(pool)) == 1
        assert not own_threads(pool)[0].is_alive()


def test_at_the_end_what_waits_is_cancelled(stuck: Stuck) -> None:
    """What runs is waited for, what has not begun hears that it was interrupted."""
    heard: list[WorkerResult] = []

    def hear(result: WorkerResult) -> None:
        heard.append(result)
        stuck.let_go()

    with PoolFactory() as make_pool:
        pool = make_pool(stuck.work, 1)
        running = pool.submit(ISSUE)
        assert stuck.is_there.wait(TIMEOUT)
        waiting = pool.submit(Issue("BUG-8"), hear)
    assert (running.result(0).success, waiting.cancelled()) == (True, True)
    assert [(result.issue_id, result.interrupted) for result in heard] == [("BUG-8", True)]


def test_a_pool_that_was_shut_down_before_is_no_trouble() -> None:
    """The test may have done it itself."""
    with PoolFactory() as make_pool:
        make_pool().shutdown()


def test_an_executor_that_was_handed_in_stays_its_owners() -> None:
    """Its threads are not the pool's, so nobody waits for them."""
    with ThreadPoolExecutor(1) as threads:
        with PoolFactory() as make_pool:
            make_pool(executor=threads).submit(ISSUE)
        assert threads.submit(lambda: 7).result(TIMEOUT) == 7


def test_an_exception_of_the_block_passes() -> None:
    """The pools are ended all the same."""
    make_pool = PoolFactory().__enter__()
    pool = make_pool()
    with pytest.raises(KeyError, match="stage"), make_pool:
        raise KeyError("stage")
    with pytest.raises(RuntimeError, match="was shut down"):
        pool.submit(ISSUE)


@pytest.fixture
def hasty() -> PoolFactory:
    """Give an open factory that soon loses its patience."""
    return PoolFactory(patience=SHORT).__enter__()


def text_at_the_end_of(make_pool: PoolFactory) -> str:
    """What the hang says in which leaving the block of a factory ends."""
    with pytest.raises(Hang) as caught:
        make_pool.__exit__(None, None, None)
    return str(caught.value)


def test_a_completion_that_stays_owed_is_a_hang(hasty: PoolFactory, stuck: Stuck) -> None:
    """It names the issue, and shows where the worker is."""
    hasty().submit(ISSUE, stuck.stay)
    assert stuck.is_there.wait(TIMEOUT)
    text = text_at_the_end_of(hasty)
    assert text.startswith("hang: waited 0.02 s for the completion of BUG-7, in vain\n")
    assert "in stay" in text.partition("thread issue-worker_0:")[2]


def test_all_owed_issues_are_named(hasty: PoolFactory, stuck: Stuck) -> None:
    """Each once, in the order in which they were submitted."""
    pool = hasty(stuck.work, 3)
    for issue in (ISSUE, Issue("BUG-8"), ISSUE):
        pool.submit(issue)
    pool.shutdown(wait=False)
    with pytest.raises(Hang, match=" for the completion of BUG-7, BUG-8, in vain\n"):
        wait_until_ended(pool, SHORT)


def test_a_completion_that_blocks_the_cancelling_is_a_hang(hasty: PoolFactory, stuck: Stuck) -> None:
    """What waits is cancelled by a thread of its own, so that this is bounded as well."""
    hasty(executor=ManualExecutor()).submit(ISSUE, stuck.stay)
    text = text_at_the_end_of(hasty)
    claim = "shutdown(wait=False, cancel_pending=True) of a pool to return"
    assert text.startswith(f"hang: waited 0.02 s for {claim}, in vain\n")
    assert "in stay" in text.partition("daemon thread shutdown-of-pool:")[2]


def test_a_thread_that_lives_on_is_a_hang(hasty: PoolFactory, stuck: Stuck) -> None:
    """Every completion has returned, but something else keeps the worker."""
    begin = threading.Event()

    def work(issue: Issue) -> WorkerResult:
        assert begin.wait(TIMEOUT)
        return succeed(issue)

    hasty(work).submit(ISSUE).add_done_callback(stuck.stay)
    begin.set()
    assert stuck.is_there.wait(TIMEOUT)
    claim = "thread issue-worker_0 of a pool that was shut down to end"
    assert text_at_the_end_of(hasty).startswith(f"hang: waited 0.02 s for {claim}, in vain\n")


def test_after_a_hang_the_other_pools_are_ended_too(hasty: PoolFactory, stuck: Stuck) -> None:
    """The first hang is told, and costs no other pool its end."""
    for issue in (ISSUE, Issue("BUG-8")):
        hasty(stuck.work).submit(issue)
    last = hasty()
    last.submit(Issue("BUG-9"))
    assert "for the completion of BUG-7, in vain" in text_at_the_end_of(hasty)
    thread = own_threads(last)[0]
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_pool_may_wait_for_another() -> None:
    """All pools are shut down before one is waited for, so what one cancels may release another."""
    cancelled = threading.Event()
    manual = ManualExecutor()

    def work(issue: Issue) -> WorkerResult:
        assert cancelled.wait(TIMEOUT)
        return succeed(issue)

    with PoolFactory() as make_pool:
        future = make_pool(work).submit(ISSUE)
        make_pool(executor=manual).submit(Issue("BUG-8"), lambda result: cancelled.set())
    assert future.result(0) == WorkerResult("BUG-7", True, "parallel/bug-7", Path(".worktrees/bug-7"))
