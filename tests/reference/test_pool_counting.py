"""`active_count` and `drain`: nothing owed means that every completion has returned."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def succeed(issue: Issue) -> WorkerResult:
    """Work on nothing and succeed."""
    return WorkerResult(issue.issue_id, True, "", Path())


def test_pool_counts_a_submission_before_its_executor_knows_of_it(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """When the executor is handed the work it is counted already, so no moment of it goes unseen."""
    counts: list[int] = []

    class CountingExecutor(Executor):
        """Reads the pool's count and runs nothing."""

        def submit(
            self, fn: Callable[Parameters, Returned], /, *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> Future[Returned]:
            """Read the count."""
            counts.append(pool.active_count)
            return Future()

    pool = start_pool(succeed, executor=CountingExecutor())
    pool.submit(Issue("BUG-1"))
    pool.submit(Issue("BUG-1"))
    assert counts == [1, 2]
    assert pool.active_count == 2


def test_pool_counts_a_submission_until_its_completion_has_returned(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """Inside the body and inside the completion it counts, after both it does not."""
    counts: list[tuple[str, int]] = []
    pools: list[WorkerPool] = []

    def process(issue: Issue) -> WorkerResult:
        counts.append(("body", pools[0].active_count))
        return succeed(issue)

    pools.append(start_pool(process))
    pools[0].submit(Issue("BUG-229"), lambda result: counts.append(("completion", pools[0].active_count)))
    assert pools[0].drain(TIMEOUT)
    counts.append(("drained", pools[0].active_count))
    assert counts == [("body", 1), ("completion", 1), ("drained", 0)]


def test_pool_counts_a_done_future_whose_completion_still_runs(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """That the future is done does not end what is owed; that the completion returns does."""
    is_called, may_return = threading.Event(), threading.Event()

    def callback(result: WorkerResult) -> None:
        is_called.set()
        assert may_return.wait(TIMEOUT)

    pool = start_pool(succeed)
    future = pool.submit(Issue("BUG-229"), callback)
    assert is_called.wait(TIMEOUT)
    assert future.done()
    assert pool.active_count == 1
    assert pool.drain(0) is False
    may_return.set()
    assert pool.drain(TIMEOUT)
    assert pool.callback_errors == ()


def test_pool_counts_a_cancelled_submission_until_its_completion_has_returned(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """A cancellation, too, is owed its completion first."""
    gate = threading.Event()
    counts: list[int] = []

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        return succeed(issue)

    pool = start_pool(process, max_workers=1)
    pool.submit(Issue("ENH-1"))
    pool.submit(Issue("BUG-229"), lambda result: counts.append(pool.active_count))
    was_cancelled = pool.cancel("BUG-229")
    counts.append(pool.active_count)
    gate.set()
    assert was_cancelled
    assert counts == [2, 1]


def test_pool_is_not_idle_while_a_completion_submits_more(start_pool: Callable[..., WorkerPool]) -> None:
    """A completion that submits the next issue hands on what is owed: a drain waits for that one too."""
    heard: list[str] = []
    pool = start_pool(succeed)

    def callback(result: WorkerResult) -> None:
        number = int(result.issue_id.removeprefix("BUG-"))
        if number < 5:
            pool.submit(Issue(f"BUG-{number + 1}"), callback)
        heard.append(result.issue_id)

    pool.submit(Issue("BUG-1"), callback)
    assert pool.drain(TIMEOUT)
    assert heard == ["BUG-1", "BUG-2", "BUG-3", "BUG-4", "BUG-5"]
    assert pool.callback_errors == ()


def test_pool_drain_waits_until_nothing_is_owed(
    start_pool: Callable[..., WorkerPool],
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """A drain that has to wait is woken by the last completion."""
    gate = threading.Event()
    heard: list[WorkerResult] = []

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        return succeed(issue)

    pool = start_pool(process)
    pool.submit(Issue("BUG-1"), heard.append)
    pool.submit(Issue("BUG-2"), heard.append)
    woken = on_idle_wait(pool, gate.set)
    assert pool.drain(TIMEOUT) is True
    assert woken == [True]
    assert [result.issue_id for result in heard] == ["BUG-1", "BUG-2"]


@pytest.mark.parametrize("timeout", [0, 0.001, -1])
def test_pool_drain_gives_up_after_its_timeout(
    start_pool: Callable[..., WorkerPool], timeout: float
) -> None:
    """Work that outlasts the timeout makes the answer False, and nothing else happens."""
    gate = threading.Event()

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        return succeed(issue)

    pool = start_pool(process)
    future = pool.submit(Issue("BUG-229"))
    assert pool.drain(timeout) is False
    assert pool.active_count == 1
    gate.set()
    assert future.result(TIMEOUT).success


def test_pool_drain_of_an_idle_pool_is_true_at_once() -> None:
    """A pool that owes nothing is drained, also before its start."""
    assert WorkerPool(succeed).drain(0) is True


@pytest.mark.parametrize("place", ["body", "completion", "done-callback"])
def test_pool_drain_inside_its_own_work_raises(start_pool: Callable[..., WorkerPool], place: str) -> None:
    """A worker that waited for its own pool would wait for itself: it gets an error instead."""
    texts: list[str] = []
    gate = threading.Event()
    pools: list[WorkerPool] = []

    def drain(where: str) -> None:
        if where == place:
            with pytest.raises(RuntimeError) as caught:
                pools[0].drain(TIMEOUT)
            texts.append(str(caught.value))

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        drain("body")
        return succeed(issue)

    pools.append(start_pool(process))
    future = pools[0].submit(Issue("BUG-229"), lambda result: drain("completion"))
    future.add_done_callback(lambda future: drain("done-callback"))
    gate.set()
    pools[0].shutdown()
    assert texts == ["drain() from inside this pool's own work would wait for itself"]


def test_pool_drain_inside_a_cancelled_completion_raises(start_pool: Callable[..., WorkerPool]) -> None:
    """A completion that runs in the thread that cancelled would wait for itself just the same."""
    gate = threading.Event()

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        return succeed(issue)

    pool = start_pool(process, max_workers=1)
    pool.submit(Issue("ENH-1"))
    pool.submit(Issue("BUG-229"), lambda result: pool.drain(TIMEOUT))
    was_cancelled = pool.cancel("BUG-229")
    gate.set()
    assert was_cancelled
    assert [type(error) for _, error in pool.callback_errors] == [RuntimeError]


def test_pool_drain_inside_the_work_of_another_pool_waits(start_pool: Callable[..., WorkerPool]) -> None:
    """Only the pool's own work is refused: a worker may wait for a second pool."""
    inner = start_pool(succeed)
    heard: list[WorkerResult] = []

    def process(issue: Issue) -> WorkerResult:
        inner.submit(issue, heard.append)
        assert inner.drain(TIMEOUT)
        return heard[0]

    outer = start_pool(process)
    assert outer.submit(Issue("BUG-229")).result(TIMEOUT) == succeed(Issue("BUG-229"))


def test_pool_counts_500_submissions_from_8_threads_exactly(start_pool: Callable[..., WorkerPool]) -> None:
    """Under load every submission has one body and one completion, and the count returns to nothing."""
    bodies: list[str] = []
    heard: list[str] = []
    counts: list[int] = []

    def process(issue: Issue) -> WorkerResult:
        bodies.append(issue.issue_id)
        counts.append(pool.active_count)
        if issue.priority == "P0":
            raise SystemExit
        return succeed(issue)

    pool = start_pool(process, max_workers=4)
    start_line = threading.Barrier(8)

    def submit_share(first: int) -> None:
        start_line.wait(TIMEOUT)
        for number in range(first, 500, 8):
            issue = Issue(f"BUG-{number}", priority="P0" if number % 7 == 0 else "P3")
            pool.submit(issue, lambda result: heard.append(result.issue_id))

    threads = [threading.Thread(target=submit_share, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert pool.drain(TIMEOUT)
    once_each = Counter({f"BUG-{number}": 1 for number in range(500)})
    assert Counter(bodies) == once_each
    assert Counter(heard) == once_each
    assert min(counts) >= 1
    assert pool.active_count == 0


def test_pool_that_nobody_holds_any_more_owes_its_completions() -> None:
    """Dropping the last reference while work is queued loses none of it."""
    gate, is_running, all_heard = threading.Event(), threading.Event(), threading.Event()
    heard: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        is_running.set()
        assert gate.wait(TIMEOUT)
        return succeed(issue)

    def hear(result: WorkerResult) -> None:
        heard.append(result.issue_id)
        if len(heard) == 4:
            all_heard.set()

    pool = WorkerPool(process, max_workers=1)
    pool.start()
    for number in range(4):
        pool.submit(Issue(f"BUG-{number}"), hear)
    assert is_running.wait(TIMEOUT)
    del pool
    gc.collect()
    gate.set()
    assert all_heard.wait(TIMEOUT)
    assert heard == ["BUG-0", "BUG-1", "BUG-2", "BUG-3"]
