"""A `ProcessPoolExecutor` carries the work: what a child can do to an issue, and to those beside it.

The children are spawned, not forked: a fork of a process with threads may deadlock, and newer versions
of Python warn of it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 60.0


def work_in_child(issue: Issue) -> WorkerResult:
    """Do in a child process what the issue's title says."""
    if issue.title == "raise":
        raise ValueError("bad worktree")
    if issue.title == "exit":
        raise SystemExit(3)
    if issue.title == "die":
        os._exit(1)
    if issue.path is not None:
        issue.path.touch()
    result = WorkerResult(issue.issue_id, True, f"by {os.getpid()}", Path("worktree"))
    if issue.title == "unpicklable":
        result.stdout = lambda: "nothing that travels"  # type: ignore[assignment]
    return result


def make_executor() -> ProcessPoolExecutor:
    """Make an executor with one spawned child."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessPoolExecutor]:
    """Give one executor to all tests that leave it whole, since a child takes long to start."""
    with make_executor() as executor:
        yield executor


def run_and_then_an_innocent(
    start_pool: Callable[..., WorkerPool], executor: ProcessPoolExecutor, title: str
) -> WorkerResult:
    """Give the one result that the completion of a BUG-229 of this title heard; the child lives on."""
    heard: list[WorkerResult] = []
    pool = start_pool(work_in_child, executor=executor)
    future = pool.submit(Issue("BUG-229", title=title), heard.append)
    innocent = pool.submit(Issue("FEAT-7"))
    assert innocent.result(TIMEOUT).success
    assert innocent.result(0).branch_name != f"by {os.getpid()}"
    assert pool.drain(TIMEOUT)
    assert len(heard) == 1
    assert future.result(0) is heard[0]
    assert pool.callback_errors == ()
    return heard[0]


def test_pool_brings_a_success_back_from_a_child(
    start_pool: Callable[..., WorkerPool], executor: ProcessPoolExecutor
) -> None:
    """The result that the child made is the one that is heard."""
    result = run_and_then_an_innocent(start_pool, executor, "succeed")
    assert result == WorkerResult("BUG-229", True, result.branch_name, Path("worktree"))


@pytest.mark.parametrize(("title", "text"), [("raise", "bad worktree"), ("exit", "3")])
def test_pool_brings_a_failure_back_from_a_child(
    start_pool: Callable[..., WorkerPool], executor: ProcessPoolExecutor, title: str, text: str
) -> None:
    """An exception in the child, `SystemExit` too, is a failed result and leaves the child alive."""
    result = run_and_then_an_innocent(start_pool, executor, title)
    assert result == WorkerResult("BUG-229", False, "", Path(), error=text)


def test_pool_fails_a_result_that_cannot_travel(
    start_pool: Callable[..., WorkerPool], executor: ProcessPoolExecutor
) -> None:
    """A result that the child cannot pickle is a failure that says so."""
    result = run_and_then_an_innocent(start_pool, executor, "unpicklable")
    assert not result.success
    assert not result.interrupted
    assert result.error
    assert "lambda" in result.error


def test_pool_fails_a_process_function_that_cannot_travel(
    start_pool: Callable[..., WorkerPool], executor: ProcessPoolExecutor
) -> None:
    """A process function that cannot be pickled fails its issue, and the executor stays whole."""
    heard: list[WorkerResult] = []
    pool = start_pool(lambda issue: work_in_child(issue), executor=executor)
    result = pool.submit(Issue("BUG-229"), heard.append).result(TIMEOUT)
    assert pool.drain(TIMEOUT)
    assert not result.success
    assert result.error
    assert "lambda" in result.error
    assert heard == [result]
    assert executor.submit(int, "7").result(TIMEOUT) == 7


def test_pool_fails_everything_in_flight_when_a_child_dies(start_pool: Callable[..., WorkerPool]) -> None:
    """The child of one issue dies: that one and those behind it end failed, what comes later is refused."""
    heard: list[WorkerResult] = []
    with make_executor() as executor:
        pool = start_pool(work_in_child, executor=executor)
        futures = [
            pool.submit(Issue("BUG-1", title="die"), heard.append),
            pool.submit(Issue("FEAT-2"), heard.append),
            pool.submit(Issue("FEAT-3"), heard.append),
        ]
        results = [future.result(TIMEOUT) for future in futures]
        assert pool.drain(TIMEOUT)
        with pytest.raises(BrokenProcessPool):
            pool.submit(Issue("FEAT-4"), heard.append)
        assert not pool._pending_callbacks
        assert pool.cancel("FEAT-4") is False
    assert [result.success for result in results] == [False, False, False]
    assert all(result.error and "terminated abruptly" in result.error for result in results)
    assert sorted(result.issue_id for result in heard) == ["BUG-1", "FEAT-2", "FEAT-3"]


def test_pool_lets_no_ghost_run_when_a_process_cannot_start(
    start_pool: Callable[..., WorkerPool], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The executor keeps what it queued before its child failed to start: that body never runs either."""
    heard: list[WorkerResult] = []
    ghost, innocent = tmp_path / "ghost", tmp_path / "innocent"
    original = multiprocessing.process.BaseProcess.start

    def refuse(process: multiprocessing.process.BaseProcess) -> None:
        monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", original)
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
    with make_executor() as executor:
        pool = start_pool(work_in_child, executor=executor)
        with pytest.raises(BlockingIOError, match=r"^no more processes$"):
            pool.submit(Issue("BUG-229", path=ghost), heard.append)
        assert not pool._pending_callbacks
        assert pool.submit(Issue("FEAT-7", path=innocent), heard.append).result(TIMEOUT).success
        assert pool.drain(TIMEOUT)
    assert [result.issue_id for result in heard] == ["FEAT-7"]
    assert [path.name for path in tmp_path.iterdir()] == ["innocent"]


def test_an_executor_that_lost_its_manager_is_given_no_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own thread could not be started: it takes work from then on, and never does it."""
    executor = make_executor()
    start = threading.Thread.start

    def fail_once(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    with WorkerPool(work_in_child, executor=executor) as pool:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(Issue("BUG-101"))
        with pytest.raises(RuntimeError, match="BUG-102 was not accepted: the executor has no thread"):
            pool.submit(Issue("BUG-102"))
        assert pool.active_count == 0
    # Nobody else would end them.
    for child in (executor._processes or {}).values():
        child.kill()
        child.join(TIMEOUT)
