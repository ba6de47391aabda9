"""Shutting down: at every point, waiting or not, cancelling or not, never at the cost of a completion."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_littleloops.harness.fakes.manual_executor import ManualExecutor
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0
EVERY_WAITER = {"as_completed", "result", "wait"}


class GatedWork:
    """A process function that succeeds once its gate is open and notes whose body began, and where."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.is_running = threading.Event()
        self.begun: list[str] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, issue: Issue) -> WorkerResult:
        """Work on `issue`."""
        self.begun.append(issue.issue_id)
        self.threads.add(threading.current_thread())
        self.is_running.set()
        assert self.gate.wait(TIMEOUT)
        return WorkerResult(issue.issue_id, True, "", Path())


class Journal:
    """A completion that notes each result as the issue and how it ended."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, result: WorkerResult) -> None:
        """Hear of one result."""
        ending = "completed" if result.success else "interrupted" if result.interrupted else "failed"
        self.heard.append((result.issue_id, ending))


@pytest.fixture
def work(start_pool: Callable[..., WorkerPool]) -> Iterator[GatedWork]:
    """Give a gated process function whose gate opens at the latest when the test ends."""
    gated = GatedWork()
    yield gated
    gated.gate.set()


@pytest.fixture
def journal() -> Journal:
    """Give a completion that keeps what it heard."""
    return Journal()


@pytest.fixture
def busy_pool(start_pool: Callable[..., WorkerPool], work: GatedWork, journal: Journal) -> WorkerPool:
    """Give a pool whose one worker is inside the body of ENH-1 while BUG-2 and BUG-3 wait."""
    pool = start_pool(work, max_workers=1)
    for issue_id in ("ENH-1", "BUG-2", "BUG-3"):
        pool.submit(Issue(issue_id), journal)
    assert work.is_running.wait(TIMEOUT)
    return pool


def test_pool_shutdown_waits_for_running_and_waiting_work(
    busy_pool: WorkerPool,
    work: GatedWork,
    journal: Journal,
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """By default a shutdown returns when all that was accepted has ended and has been heard of."""
    woken = on_idle_wait(busy_pool, work.gate.set)
    busy_pool.shutdown()
    assert journal.heard == [("ENH-1", "completed"), ("BUG-2", "completed"), ("BUG-3", "completed")]
    assert busy_pool.active_count == 0
    assert woken == [True]


def test_pool_shutdown_waits_until_a_completion_has_returned(
    start_pool: Callable[..., WorkerPool],
    work: GatedWork,
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """A completion that still runs is waited for although its future is done."""
    may_return = threading.Event()
    is_called = threading.Event()
    order: list[str] = []

    def callback(result: WorkerResult) -> None:
        is_called.set()
        assert may_return.wait(TIMEOUT)
        order.append("completion returned")

    work.gate.set()
    pool = start_pool(work)
    future = pool.submit(Issue("BUG-229"), callback)
    assert is_called.wait(TIMEOUT)
    assert future.done()
    on_idle_wait(pool, may_return.set)
    pool.shutdown()
    order.append("shutdown returned")
    assert order == ["completion returned", "shutdown returned"]


def test_pool_shutdown_ends_its_own_threads(
    busy_pool: WorkerPool, work: GatedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shutdown that waits has joined every thread of the pool, which is more than that they end soon."""
    joined: set[threading.Thread] = set()
    original = threading.Thread.join

    def join(thread: threading.Thread, timeout: float | None = None) -> None:
        original(thread, timeout)
        joined.add(thread)

    monkeypatch.setattr(threading.Thread, "join", join)
    work.gate.set()
    busy_pool.shutdown()
    assert len(work.threads) == 1
    assert joined == work.threads
    assert not [thread for thread in work.threads if thread.is_alive()]


def test_pool_shutdown_without_waiting_returns_at_once_and_loses_nothing(
    busy_pool: WorkerPool, work: GatedWork, journal: Journal
) -> None:
    """Without waiting it returns while work runs, and all of it ends with a completion later."""
    busy_pool.shutdown(wait=False)
    assert busy_pool.active_count == 3
    assert journal.heard == []
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert journal.heard == [("ENH-1", "completed"), ("BUG-2", "completed"), ("BUG-3", "completed")]


def test_pool_shutdown_without_waiting_ends_the_threads_later(
    busy_pool: WorkerPool, work: GatedWork
) -> None:
    """The pool's threads end by themselves once the work is done."""
    busy_pool.shutdown(wait=False)
    work.gate.set()
    for thread in work.threads:
        thread.join(TIMEOUT)
    assert not [thread for thread in work.threads if thread.is_alive()]
    assert len(work.threads) == 1


def test_pool_shutdown_with_cancelling_interrupts_what_waits(
    busy_pool: WorkerPool, work: GatedWork, journal: Journal
) -> None:
    """What waits is interrupted before the shutdown returns, what runs runs on."""
    busy_pool.shutdown(wait=False, cancel_pending=True)
    assert journal.heard == [("BUG-2", "interrupted"), ("BUG-3", "interrupted")]
    assert busy_pool.active_count == 1
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert journal.heard[2:] == [("ENH-1", "completed")]
    assert work.begun == ["ENH-1"]


def test_pool_shutdown_with_cancelling_waits_for_what_runs(
    busy_pool: WorkerPool,
    work: GatedWork,
    journal: Journal,
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """Cancelling and waiting together: the running issue ends before the shutdown returns."""
    on_idle_wait(busy_pool, work.gate.set)
    busy_pool.shutdown(cancel_pending=True)
    assert journal.heard == [("BUG-2", "interrupted"), ("BUG-3", "interrupted"), ("ENH-1", "completed")]
    assert work.begun == ["ENH-1"]


def test_pool_shutdown_with_cancelling_releases_waiters(
    busy_pool: WorkerPool, block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]]
) -> None:
    """`done`, `wait`, `as_completed` and `result` agree on what a shutdown cancelled."""
    future = busy_pool.submit(Issue("BUG-229"))
    released = block_waiters(future)
    busy_pool.shutdown(wait=False, cancel_pending=True)
    assert future.done()
    assert released() == EVERY_WAITER


def test_pool_shutdown_releases_waiters_of_what_ends(
    busy_pool: WorkerPool,
    work: GatedWork,
    block_waiters: Callable[[Future[WorkerResult]], Callable[[], set[str]]],
) -> None:
    """Who waits for an issue that a shutdown lets end is released with its result."""
    future = busy_pool.submit(Issue("BUG-229"))
    released = block_waiters(future)
    busy_pool.shutdown(wait=False)
    work.gate.set()
    assert released() == EVERY_WAITER
    assert future.result(0).success


def test_pool_shutdown_may_be_repeated(busy_pool: WorkerPool, work: GatedWork, journal: Journal) -> None:
    """A second shutdown may cancel what the first let wait, a third finds nothing to do."""
    busy_pool.shutdown(wait=False)
    busy_pool.shutdown(wait=False, cancel_pending=True)
    assert journal.heard == [("BUG-2", "interrupted"), ("BUG-3", "interrupted")]
    work.gate.set()
    busy_pool.shutdown()
    assert journal.heard[2:] == [("ENH-1", "completed")]
    busy_pool.shutdown()
    assert len(journal.heard) == 3


def test_pool_shutdown_twice_at_once_returns_twice(
    busy_pool: WorkerPool,
    work: GatedWork,
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """Of two threads that wait in a shutdown both are released."""
    both_wait = threading.Semaphore(0)
    on_idle_wait(busy_pool, both_wait.release)
    threads = [threading.Thread(target=busy_pool.shutdown, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert both_wait.acquire(timeout=TIMEOUT)
    work.gate.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not [thread for thread in threads if thread.is_alive()]


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("cancel_pending", [True, False])
def test_pool_shutdown_of_an_idle_pool_returns(
    start_pool: Callable[..., WorkerPool], work: GatedWork, wait: bool, cancel_pending: bool
) -> None:
    """A pool that was never given work can be shut down, and accepts nothing afterwards."""
    pool = start_pool(work)
    pool.shutdown(wait=wait, cancel_pending=cancel_pending)
    with pytest.raises(RuntimeError, match=r"^BUG-229 was not accepted: this WorkerPool was shut down$"):
        pool.submit(Issue("BUG-229"))


def test_pool_shutdown_before_start_is_final(work: GatedWork) -> None:
    """A pool that was shut down before its start never starts."""
    pool = WorkerPool(work)
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"^this WorkerPool was shut down; make a new one$"):
        pool.start()
    assert not pool.is_started
    with pytest.raises(RuntimeError, match=r"^BUG-229 was not accepted: this WorkerPool was shut down$"):
        pool.submit(Issue("BUG-229"))


@pytest.mark.parametrize("cancel_pending", [True, False])
def test_pool_shutdown_from_a_completion_does_not_wait_for_itself(
    busy_pool: WorkerPool, work: GatedWork, journal: Journal, cancel_pending: bool
) -> None:
    """A completion that shuts the pool down goes on, and what was accepted is heard of."""
    returned = threading.Event()

    def callback(result: WorkerResult) -> None:
        busy_pool.shutdown(wait=True, cancel_pending=cancel_pending)
        returned.set()

    busy_pool.submit(Issue("BUG-4"), callback)
    busy_pool.submit(Issue("BUG-5"), journal)
    work.gate.set()
    assert returned.wait(TIMEOUT)
    assert busy_pool.drain(TIMEOUT)
    assert busy_pool.callback_errors == ()
    assert journal.heard[3:] == [("BUG-5", "interrupted" if cancel_pending else "completed")]


@pytest.mark.parametrize("cancel_pending", [True, False])
def test_pool_shutdown_from_a_process_function_does_not_wait_for_itself(
    start_pool: Callable[..., WorkerPool], journal: Journal, cancel_pending: bool
) -> None:
    """A body that shuts its own pool down goes on to its result, and what waited is heard of."""
    both_submitted = threading.Event()
    pools: list[WorkerPool] = []

    def process(issue: Issue) -> WorkerResult:
        assert both_submitted.wait(TIMEOUT)
        pools[0].shutdown(wait=True, cancel_pending=cancel_pending)
        return WorkerResult(issue.issue_id, True, "", Path())

    pools.append(start_pool(process, max_workers=1))
    pools[0].submit(Issue("ENH-1"), journal)
    pools[0].submit(Issue("BUG-2"), journal)
    both_submitted.set()
    assert pools[0].drain(TIMEOUT)
    assert sorted(journal.heard) == [
        ("BUG-2", "interrupted" if cancel_pending else "completed"),
        ("ENH-1", "completed"),
    ]


def test_pool_shutdown_from_the_completion_of_what_it_cancels_ends(
    busy_pool: WorkerPool, work: GatedWork, journal: Journal
) -> None:
    """A cancelled issue's completion may shut the pool down again: each issue is still heard of once."""

    def callback(result: WorkerResult) -> None:
        journal(result)
        busy_pool.shutdown(wait=True, cancel_pending=True)

    busy_pool.submit(Issue("BUG-4"), callback)
    busy_pool.submit(Issue("BUG-5"), journal)
    busy_pool.shutdown(wait=False, cancel_pending=True)
    assert [issue_id for issue_id, _ in journal.heard] == ["BUG-2", "BUG-3", "BUG-4", "BUG-5"]
    assert {ending for _, ending in journal.heard} == {"interrupted"}


def test_pool_shutdown_from_a_done_callback_returns(busy_pool: WorkerPool, work: GatedWork) -> None:
    """A done-callback on a submission's future may shut the pool down, in the worker that calls it."""
    returned = threading.Event()

    def callback(future: Future[WorkerResult]) -> None:
        busy_pool.shutdown()
        returned.set()

    busy_pool.submit(Issue("BUG-229")).add_done_callback(callback)
    later = busy_pool.submit(Issue("FEAT-7"))
    work.gate.set()
    assert returned.wait(TIMEOUT)
    assert later.result(TIMEOUT).success


def test_pool_refuses_a_submission_from_a_completion_after_shutdown(
    busy_pool: WorkerPool, work: GatedWork
) -> None:
    """A completion that submits more work to a stopped pool gets the refusal, which is kept."""
    busy_pool.submit(Issue("BUG-4"), lambda result: busy_pool.submit(Issue("BUG-5")))
    busy_pool.shutdown(wait=False)
    work.gate.set()
    assert busy_pool.drain(TIMEOUT)
    assert [(issue_id, str(error)) for issue_id, error in busy_pool.callback_errors] == [
        ("BUG-4", "BUG-5 was not accepted: this WorkerPool was shut down")
    ]
    assert "BUG-5" not in work.begun


def test_pool_shutdown_survives_completions_that_raise(
    busy_pool: WorkerPool, work: GatedWork, journal: Journal
) -> None:
    """A `SystemExit` out of one cancelled issue's completion leaves none of the others behind."""
    error = SystemExit(1)

    def callback(result: WorkerResult) -> None:
        raise error

    busy_pool.submit(Issue("BUG-4"), callback)
    busy_pool.submit(Issue("BUG-5"), journal)
    busy_pool.shutdown(wait=False, cancel_pending=True)
    assert journal.heard[2:] == [("BUG-5", "interrupted")]
    assert busy_pool.callback_errors == (("BUG-4", error),)


def test_pool_shutdown_leaves_the_executor_of_somebody_else_alone(
    start_pool: Callable[..., WorkerPool], work: GatedWork
) -> None:
    """An executor that was handed in still takes work after the pool has stopped."""
    work.gate.set()
    with ThreadPoolExecutor(1) as executor:
        pool = start_pool(work, executor=executor)
        pool.submit(Issue("BUG-229"))
        pool.shutdown()
        assert executor.submit(int, "7").result(TIMEOUT) == 7


def test_pool_as_a_context_waits_at_the_end(work: GatedWork, journal: Journal) -> None:
    """Leaving the `with` block lets everything end, waits for it and stops the pool."""
    with WorkerPool(work, max_workers=1) as pool:
        assert pool.is_started
        for issue_id in ("ENH-1", "BUG-2"):
            pool.submit(Issue(issue_id), journal)
        work.gate.set()
    assert journal.heard == [("ENH-1", "completed"), ("BUG-2", "completed")]
    assert pool.is_started
    with pytest.raises(RuntimeError):
        pool.submit(Issue("BUG-3"))


def test_pool_as_a_context_cancels_what_waits_if_its_block_fails(
    work: GatedWork,
    journal: Journal,
    on_idle_wait: Callable[[WorkerPool, Callable[[], object]], list[bool]],
) -> None:
    """Leaving by an exception interrupts what waits, lets what runs end, and passes the exception on."""

    def fail_amid_work() -> None:
        with WorkerPool(work, max_workers=1) as pool:
            for issue_id in ("ENH-1", "BUG-2"):
                pool.submit(Issue(issue_id), journal)
            assert work.is_running.wait(TIMEOUT)
            on_idle_wait(pool, work.gate.set)
            raise LookupError("mine")

    with pytest.raises(LookupError, match=r"^mine$"):
        fail_amid_work()
    assert journal.heard == [("BUG-2", "interrupted"), ("ENH-1", "completed")]
    assert work.begun == ["ENH-1"]


@pytest.mark.parametrize("is_foreign", [False, True], ids=["own threads", "an executor"])
def test_pool_shutdown_cancels_what_is_just_being_submitted(is_foreign: bool) -> None:
    """A cancelling shutdown in the middle of `submit` finds the issue: its body does not start."""
    begun: list[str] = []
    heard: list[WorkerResult] = []

    def process(issue: Issue) -> WorkerResult:
        begun.append(issue.issue_id)
        return WorkerResult(issue.issue_id, True, "", Path())

    executor = ManualExecutor()
    pool = WorkerPool(process, executor=executor if is_foreign else None)
    pool.start()
    carrier = executor if is_foreign else pool._executor
    submit: Callable[..., object] = carrier.submit  # type: ignore[union-attr]

    def submit_and_shut_down(*arguments: object) -> object:
        if is_foreign:
            accepted = submit(*arguments)
            pool.shutdown(wait=False, cancel_pending=True)
            return accepted
        pool.shutdown(wait=False, cancel_pending=True)
        raise RuntimeError("cannot schedule new futures after shutdown")

    carrier.submit = submit_and_shut_down  # type: ignore[union-attr, method-assign]
    future = pool.submit(Issue("BUG-229"), heard.append)
    executor.run_all()
    assert future.cancelled()
    assert [(result.success, result.interrupted) for result in heard] == [(False, True)]
    assert begun == []
    assert pool.active_count == 0
