"""Makes reference pools for a test and ends them with it, without ever waiting for good.

Here is how a pool is ended by somebody who does not trust what runs in it: each step is bounded, and what
does not end in time is a Hang. What the pools do until then is their own business.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Executor
from types import TracebackType
from typing import Self

from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang, hang
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.submission import Process
from pytest_littleloops.reference.threads import IssueThreads
from pytest_littleloops.simulation.inside import is_in_world, patiently


class PoolFactory:
    """Makes started pools inside a `with` block, and ends all of them behind it.

    At the end each pool is shut down, and what still waits in it is cancelled. Then its completions have
    `patience` seconds to return, and its own threads as long to end. If one takes longer, Hang is raised
    with all stacks, after the other pools were ended too. May be called from any thread.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        self._pools: list[WorkerPool] = []
        self._is_open = False

    def __call__(
        self,
        process: Process | None = None,
        max_workers: int = 2,
        *,
        executor: Executor | None = None,
        logger: logging.Logger | None = None,
    ) -> WorkerPool:
        """Make a pool and start it; without a `process` every issue succeeds.

        Raises what `WorkerPool` raises for wrong arguments, RuntimeError outside the `with` block, where
        nobody would end the pool.
        """
        if not self._is_open:
            raise RuntimeError(
                "this PoolFactory ends no pool now, so it makes none; call it inside its own `with` block"
            )
        pool = WorkerPool(
            succeed if process is None else process,
            max_workers=max_workers,
            executor=executor,
            logger=logger,
        )
        pool.start()
        self._pools.append(pool)
        return pool

    def __enter__(self) -> Self:
        self._is_open = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        self._is_open = False
        hangs: list[Hang] = []
        # All are told before one is waited for: a body may wait for what another pool does.
        for step in (_cancel_what_waits, wait_until_ended):
            for pool in self._pools:
                try:
                    step(pool, self._patience)
                except Hang as error:
                    hangs.append(error)
        self._pools.clear()
        if hangs:
            raise hangs[0]


def succeed(issue: Issue) -> WorkerResult:
    """The process function of a pool that was given none. In a module, so that processes can run it."""
    return WorkerResults().completed(issue)


def wait_until_ended(pool: WorkerPool, patience: float) -> None:
    """Wait until `pool`, which was shut down, owes no completion and its own threads have ended.

    Raises Hang if the completions take longer than `patience` seconds, or then the threads.
    """
    __tracebackhide__ = True
    with patiently():
        is_drained = pool.drain(patience)
    if not is_drained:
        raise hang(f"the completion of {', '.join(_owed(pool))}", patience)
    deadline = time.monotonic() + patience
    for thread in _own_threads(pool):
        with patiently():
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            raise hang(f"thread {thread.name} of a pool that was shut down to end", patience)


def _cancel_what_waits(pool: WorkerPool, patience: float) -> None:
    """Shut `pool` down. Raises Hang if that takes longer than `patience` seconds."""
    __tracebackhide__ = True
    if is_in_world():
        # There a hang is found without a thread that waits for it, and each thread makes more schedules.
        pool.shutdown(wait=False, cancel_pending=True)
        return
    # The completion of what is cancelled runs in the thread that cancels, and may never return.
    canceller = threading.Thread(
        target=pool.shutdown,
        kwargs={"wait": False, "cancel_pending": True},
        name="shutdown-of-pool",
        daemon=True,
    )
    canceller.start()
    canceller.join(patience)
    if canceller.is_alive():
        raise hang("shutdown(wait=False, cancel_pending=True) of a pool to return", patience)


def _owed(pool: WorkerPool) -> list[str]:
    with pool._lock:
        return list(dict.fromkeys(pool._pending_callbacks.values()))


def _own_threads(pool: WorkerPool) -> tuple[threading.Thread, ...]:
    return pool._executor.threads if isinstance(pool._executor, IssueThreads) else ()
