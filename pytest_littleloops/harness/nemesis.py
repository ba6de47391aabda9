"""The nemesis: what goes wrong for the code under test.

In an exploration each fault that is enabled is a choice, which the engine makes in every way: a failing
schedule names the faults that struck in it. In a plain test a fault strikes when it is told to.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.fakes.faulty_executor import FaultyExecutor
from pytest_littleloops.harness.watching.lifecycle import find_issue_id
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.choices import choose
from pytest_littleloops.simulation.faults import FAULTS
from pytest_littleloops.simulation.inside import enabled_faults, is_in_world, patiently

Result = TypeVar("Result")

_SLOW = 3_600.0
"""So many virtual seconds slow work takes: longer than every timeout that a test would set."""

_FOR_EVER = 1_000_000.0
"""So many virtual seconds work hangs in an exploration: longer than that, and it has to end."""

_OF_A_JOB = (
    "worker-raises",
    "worker-raises-base",
    "worker-returns-junk",
    "worker-slow",
    "worker-hangs",
    "worker-dies",
)


class WorkFailed(Exception):
    """What work raises that the nemesis made fail."""


class CompletionFailed(Exception):
    """What a completion raises that the nemesis made fail."""


class WorkerDied(BaseException):
    """What ends a worker thread that is to be gone: no exception that a pool would expect."""


class _Shuttable(Protocol):
    @property
    def shutdown(self) -> Callable[..., object]: ...


class Nemesis:
    """Makes jobs, completions, executors and callers go wrong. Thread-safe.

    In an exploration the faults are those of its setting `faults`; any number of them may strike. With
    `arm` a fault strikes for certain, there and in a plain test. `note` is told of each, with the id of
    the issue that it struck.
    """

    def __init__(
        self, *, note: Callable[[str, str], object] = lambda issue_id, fault: None, patience: float = 10.0
    ) -> None:
        self._note = note
        self._patience = patience
        self._results = WorkerResults()
        # Real, as nothing of this is a step of the code under test.
        self._lock = real.allocate_lock()
        self._armed: list[tuple[str, frozenset[str], BaseException | None]] = []
        self._released = threading.Event()
        self._threads: list[threading.Thread] = []

    def arm(self, fault: str, *issue_ids: str, times: int = 1, error: BaseException | None = None) -> None:
        """Have a fault strike the next `times` that it can; with ids, only these issues.

        `error` is what to raise instead of the usual exception. Raises ValueError for a fault that does
        not exist, or that only calling `cancel`, `shutdown` or the engine brings about.
        """
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}; the faults are {', '.join(FAULTS)}")
        if fault in ("cancel", "shutdown", "timeout"):
            raise ValueError(
                f"{fault!r} is not to be armed: call nemesis.cancel() or nemesis.shutdown(), "
                "or explore with early_timeouts"
            )
        with self._lock:
            self._armed += [(fault, frozenset(issue_ids), error)] * times

    def job(self, issue: Issue) -> WorkerResult:
        """A process function: succeeds, unless a fault strikes it."""
        issue_id = find_issue_id(issue) or ""
        fault, error = self.strikes(_OF_A_JOB, issue_id)
        if fault == "worker-raises":
            raise error or WorkFailed(f"the nemesis had the work on {issue_id} fail")
        if fault == "worker-raises-base":
            raise error or SystemExit(f"the nemesis had the work on {issue_id} exit")
        if fault == "worker-returns-junk":
            return None  # type: ignore[return-value]
        if fault == "worker-slow":
            self._wait(_SLOW)
        elif fault == "worker-hangs":
            self._wait(_FOR_EVER)
            raise WorkFailed(f"the nemesis had the work on {issue_id} hang")
        elif fault == "worker-dies":
            if multiprocessing.parent_process() is not None:
                os._exit(70)
            raise error or WorkerDied(f"the nemesis ended the worker of {issue_id}")
        return self._results.completed(issue_id)

    def callback(self, completion: Callable[[WorkerResult], Result]) -> Callable[[WorkerResult], Result]:
        """The completion, which may raise when it has done its work."""

        def complete(result: WorkerResult) -> Result:
            returned = completion(result)
            issue_id = find_issue_id(result) or ""
            fault, error = self.strikes(("completion-raises",), issue_id)
            if fault is not None:
                raise error or CompletionFailed(f"the nemesis had the completion of {issue_id} raise")
            return returned

        return complete

    def cancel(self, target: Any, *args: object) -> object:
        """Call `target.cancel(*args)`: in a plain test now, returning its answer.

        In an exploration with the fault `cancel` that is done by another thread, at any time from now on.
        Without the fault nothing is done there.
        """
        issue_id = next((one for one in args if isinstance(one, str)), "")
        return self._do("cancel", issue_id, lambda: target.cancel(*args))

    def shutdown(self, pool: _Shuttable, **arguments: object) -> object:
        """Call `pool.shutdown(**arguments)`: in a plain test now.

        In an exploration with the fault `shutdown` that is done by another thread, at any time from now
        on; without arguments both waiting and not, and both cancelling and not, as far as the pool has
        parameters for that. Without the fault nothing is done there.
        """

        def shut_down() -> object:
            chosen = dict(arguments)
            if not arguments and is_in_world():
                for name in _flags_of(pool.shutdown):
                    chosen[name] = bool(choose(f"{name}=False", f"{name}=True"))
            return pool.shutdown(**chosen)

        return self._do("shutdown", "", shut_down)

    def executor(self, inner: Executor | None = None) -> FaultyExecutor:
        """An executor that may reject a submission, or break with all that is in flight.

        It has `inner` do the work, by default a `ThreadPoolExecutor` of two.
        """
        return FaultyExecutor(ThreadPoolExecutor(2) if inner is None else inner, self.strikes)

    @contextmanager
    def thread_starts(self, *, anywhere: bool = False) -> Iterator[None]:
        """In this block a thread may not start: `can't start new thread`.

        One that the calling thread starts, or with `anywhere` any.
        """
        caller, start = threading.get_ident(), threading.Thread.start

        def start_or_not(thread: threading.Thread) -> None:
            is_meant = anywhere or threading.get_ident() == caller
            if is_meant and self.strikes(("submit-rejected",), "")[0]:
                raise RuntimeError("can't start new thread")
            start(thread)

        threading.Thread.start = start_or_not  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            threading.Thread.start = start  # type: ignore[method-assign]

    def strikes(self, faults: tuple[str, ...], issue_id: str) -> tuple[str | None, BaseException | None]:
        """Which of these faults strikes here, if any does, and what it is to raise instead of its own."""
        fault, error = self._take(faults, issue_id)
        if fault is None:
            enabled = [one for one in faults if one in enabled_faults()]
            way = choose("none", *enabled)
            fault = enabled[way - 1] if way else None
        if fault is not None:
            self._note(issue_id, fault)
        return fault, error

    def release(self) -> None:
        """Let all work go on that is slow or hangs."""
        self._released.set()

    def close(self) -> None:
        """Let all work go on, and wait for the threads that cancel and shut down.

        Raises TimeoutError if one of them does not end within the patience.
        """
        self.release()
        with patiently():
            for thread in self._threads:
                thread.join(self._patience)
                if thread.is_alive():
                    raise TimeoutError(f"{thread.name} has not ended within {self._patience:g} s")

    def _take(self, faults: tuple[str, ...], issue_id: str) -> tuple[str | None, BaseException | None]:
        with self._lock:
            for number, (fault, ids, error) in enumerate(self._armed):
                if fault in faults and (not ids or issue_id in ids):
                    del self._armed[number]
                    return fault, error
        return None, None

    def _wait(self, seconds: float) -> None:
        if is_in_world():
            time.sleep(seconds)
        else:
            self._released.wait(self._patience)

    def _do(self, fault: str, issue_id: str, act: Callable[[], object]) -> object:
        if not is_in_world():
            self._note(issue_id, fault)
            return act()
        if fault in enabled_faults():

            def strike() -> None:
                self._note(issue_id, fault)
                act()

            thread = threading.Thread(target=strike, name=f"nemesis-{fault}")
            self._threads.append(thread)
            thread.start()
        return None


def _flags_of(shutdown: Callable[..., object]) -> list[str]:
    """The parameters of a shutdown that say whether to wait, and whether to cancel what waits."""
    try:
        parameters = inspect.signature(shutdown).parameters
    except (TypeError, ValueError):
        return []
    return [name for name in parameters if name in ("wait", "cancel_pending", "cancel_futures")]
