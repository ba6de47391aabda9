"""Whatever a process function does, its submission ends in one completion and its worker lives on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0


class SilentError(Exception):
    """An error whose text is empty."""

    def __str__(self) -> str:
        return ""


class NamelessError(Exception):
    """An error that says nothing in either way."""

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return ""


class UnreadableError(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise ValueError("no text")


class LethalError(Exception):
    """An error whose text takes the thread along that asks for it."""

    def __str__(self) -> str:
        raise SystemExit("no text")


class Shapeless:
    """An object that raises when it is asked what it is."""

    def __getattribute__(self, name: str) -> object:
        raise LookupError("no class")


def completed(issue_id: str) -> WorkerResult:
    """Give the result of a success."""
    return WorkerResult(issue_id, True, f"fix/{issue_id}", Path("worktree"))


def run_with_an_innocent(
    start_pool: Callable[..., WorkerPool], body: Callable[[], object]
) -> tuple[WorkerResult, WorkerResult]:
    """Run `body` as BUG-229 before an innocent FEAT-7 on one worker, and give BUG-229's two results.

    The first is what the completion heard, the second what the future holds. Checked here, as it holds for
    all outcomes: one completion each, the same thread for both, nothing owed, no completion that raised.
    """
    threads: list[threading.Thread] = []
    heard: dict[str, list[WorkerResult]] = {"BUG-229": [], "FEAT-7": []}

    def process(issue: Issue) -> WorkerResult:
        threads.append(threading.current_thread())
        if issue.issue_id == "FEAT-7":
            return completed("FEAT-7")
        outcome: WorkerResult = body()  # type: ignore[assignment]
        return outcome

    pool = start_pool(process, max_workers=1)
    future = pool.submit(Issue("BUG-229"), heard["BUG-229"].append)
    innocent = pool.submit(Issue("FEAT-7"), heard["FEAT-7"].append)
    assert innocent.result(TIMEOUT) == completed("FEAT-7")
    assert pool.drain(TIMEOUT)
    assert heard["FEAT-7"] == [completed("FEAT-7")]
    assert len(heard["BUG-229"]) == 1
    assert len(threads) == 2
    assert threads[0] is threads[1]
    assert pool.callback_errors == ()
    return heard["BUG-229"][0], future.result(TIMEOUT)


def test_pool_delivers_a_success(start_pool: Callable[..., WorkerPool]) -> None:
    """The result of the process function reaches the completion and the future unchanged."""
    result = completed("BUG-229")
    heard, held = run_with_an_innocent(start_pool, lambda: result)
    assert heard is result
    assert held is result


def test_pool_delivers_a_reported_failure(start_pool: Callable[..., WorkerPool]) -> None:
    """A failed result that the process function returned itself is passed on as it is."""
    result = WorkerResult("BUG-229", False, "fix/BUG-229", Path("worktree"), error="3 tests fail")
    heard, held = run_with_an_innocent(start_pool, lambda: result)
    assert heard is result
    assert held is result


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad worktree"), "bad worktree"),
        (ValueError(), "ValueError()"),
        (KeyError(""), "''"),
        (SystemExit(3), "3"),
        (SystemExit(), "SystemExit()"),
        (KeyboardInterrupt(), "KeyboardInterrupt()"),
        (GeneratorExit(), "GeneratorExit()"),
        (StopIteration(), "StopIteration()"),
        (StopAsyncIteration("no more"), "no more"),
        (asyncio.CancelledError(), "CancelledError()"),
        (concurrent.futures.CancelledError(), "CancelledError()"),
        (concurrent.futures.InvalidStateError("done"), "done"),
        (concurrent.futures.BrokenExecutor("not mine"), "not mine"),
        (pytest.fail.Exception("told to"), "told to"),
        (SilentError("hush"), "SilentError('hush')"),
        (NamelessError(), "NamelessError"),
        (UnreadableError(), "UnreadableError, whose text cannot be read"),
        (LethalError(), "LethalError, whose text cannot be read"),
    ],
    ids=lambda argument: argument if isinstance(argument, str) else type(argument).__name__,
)
def test_pool_turns_what_the_worker_raises_into_a_failed_result(
    start_pool: Callable[..., WorkerPool], error: BaseException, text: str
) -> None:
    """Any exception ends in one failed result with a text, and the next issue runs on the same thread."""

    def body() -> object:
        raise error

    heard, held = run_with_an_innocent(start_pool, body)
    assert heard == WorkerResult("BUG-229", False, "", Path(), error=text)
    assert held is heard


@pytest.mark.parametrize(
    ("junk", "claim"),
    [
        (None, "the process function returned NoneType, not a WorkerResult"),
        (True, "the process function returned bool, not a WorkerResult"),
        ({"issue_id": "BUG-229"}, "the process function returned dict, not a WorkerResult"),
        (WorkerResult, "the process function returned type, not a WorkerResult"),
        (completed("BUG-230"), "the process function returned the result of 'BUG-230', not of 'BUG-229'"),
        (Shapeless(), "no class"),
    ],
    ids=["none", "bool", "dict", "class", "other-issue", "shapeless"],
)
def test_pool_turns_junk_into_a_failed_result(
    start_pool: Callable[..., WorkerPool], junk: object, claim: str
) -> None:
    """A value that is not this issue's result is a failure that says what came instead."""
    heard, held = run_with_an_innocent(start_pool, lambda: junk)
    assert heard == WorkerResult("BUG-229", False, "", Path(), error=claim)
    assert held is heard


def test_pool_survives_as_many_base_exceptions_as_it_has_workers(
    start_pool: Callable[..., WorkerPool],
) -> None:
    """After every worker has met a `SystemExit` the pool works on with all of them."""
    both_run = threading.Barrier(2)
    threads: set[threading.Thread] = set()

    def process(issue: Issue) -> WorkerResult:
        threads.add(threading.current_thread())
        both_run.wait(TIMEOUT)
        if issue.issue_id.startswith("BUG"):
            raise SystemExit
        return completed(issue.issue_id)

    pool = start_pool(process, max_workers=2)
    futures = [pool.submit(Issue(issue_id)) for issue_id in ("BUG-1", "BUG-2", "FEAT-3", "FEAT-4")]
    assert [future.result(TIMEOUT).success for future in futures] == [False, False, True, True]
    assert len(threads) == 2


def test_pool_runs_a_body_once(start_pool: Callable[..., WorkerPool]) -> None:
    """Each accepted submission's body runs once, in the order of submission on one worker."""
    bodies: list[str] = []

    def process(issue: Issue) -> WorkerResult:
        bodies.append(issue.issue_id)
        return completed(issue.issue_id)

    pool = start_pool(process, max_workers=1)
    for number in range(5):
        pool.submit(Issue(f"BUG-{number}"))
    assert pool.drain(TIMEOUT)
    assert bodies == ["BUG-0", "BUG-1", "BUG-2", "BUG-3", "BUG-4"]


def test_pool_lets_two_submissions_of_one_issue_live(start_pool: Callable[..., WorkerPool]) -> None:
    """Two submissions of one id have a body, a future, a mark and a completion each."""
    gate = threading.Event()
    durations = iter([1.0, 2.0])
    first_heard: list[float] = []
    second_heard: list[float] = []

    def process(issue: Issue) -> WorkerResult:
        assert gate.wait(TIMEOUT)
        return WorkerResult(issue.issue_id, True, "", Path(), duration=next(durations))

    pool = start_pool(process, max_workers=1)
    first = pool.submit(Issue("BUG-229"), lambda result: first_heard.append(result.duration))
    second = pool.submit(Issue("BUG-229"), lambda result: second_heard.append(result.duration))
    assert pool.active_count == 2
    assert list(pool._pending_callbacks.values()) == ["BUG-229", "BUG-229"]
    gate.set()
    assert pool.drain(TIMEOUT)
    assert (first.result(0).duration, second.result(0).duration) == (1.0, 2.0)
    assert (first_heard, second_heard) == ([1.0], [2.0])
