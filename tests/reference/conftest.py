"""What the tests of the reference `WorkerPool` share.

Every wait is bounded, so that a lost completion is a failure and not a hang.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, as_completed, wait
from contextlib import suppress

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

TIMEOUT = 10.0


@pytest.fixture
def start_pool() -> Iterator[Callable[..., WorkerPool]]:
    """Make and start pools; at the end each is shut down, and none may owe a completion then.

    Waits with a bound first: a pool that lost a completion would never return from its shutdown.
    """
    pools: list[WorkerPool] = []

    def start(
        process: Callable[[Issue], WorkerResult],
        *,
        max_workers: int = 1,
        executor: Executor | None = None,
        logger: logging.Logger | None = None,
    ) -> WorkerPool:
        pool = WorkerPool(process, max_workers=max_workers, executor=executor, logger=logger)
        pool.start()
        pools.append(pool)
        return pool

    yield start
    for pool in pools:
        pool.shutdown(wait=False, cancel_pending=True)
    for pool in pools:
        assert pool.drain(TIMEOUT), f"{pool.active_count} completions are owed for ever"
        pool.shutdown()


@pytest.fixture
def on_idle_wait() -> Callable[[WorkerPool, Callable[[], object]], list[bool]]:
    """Give a function that runs an action once a thread waits for the pool to become idle.

    The action runs under the pool's lock, which the waiting thread gives up only afterwards: what the
    action sets free cannot overtake the wait. The list it gives says of each wait whether it was woken.
    """

    def install(pool: WorkerPool, action: Callable[[], object]) -> list[bool]:
        original = pool._idle.wait
        woken: list[bool] = []

        def wait_after_action(timeout: float | None = None) -> bool:
            action()
            woken.append(original(TIMEOUT if timeout is None else timeout))
            assert woken[-1], "nobody was told that the pool is idle"
            return True

        pool._idle.wait = wait_after_action  # type: ignore[method-assign]
        return woken

    return install


class AnnouncedWaiters(list[object]):
    """The waiters of a future, as `wait` and `as_completed` leave them there; tells of each new one."""

    def __init__(self, installed: threading.Semaphore) -> None:
        super().__init__()
        self.installed = installed

    def append(self, waiter: object) -> None:
        """Add a waiter and say so."""
        super().append(waiter)
        self.installed.release()


@pytest.fixture
def block_waiters() -> Callable[[Future[WorkerResult]], Callable[[], set[str]]]:
    """Give a function that has a future waited for in three ways, each in a thread of its own.

    It returns when all three wait, and gives a function that says which of them were released.
    """

    def block(future: Future[WorkerResult]) -> Callable[[], set[str]]:
        waiting = threading.Semaphore(0)
        released: set[str] = set()

        def by_wait() -> None:
            if wait([future], TIMEOUT).done:
                released.add("wait")

        def by_as_completed() -> None:
            with suppress(TimeoutError):
                released.update("as_completed" for _ in as_completed([future], TIMEOUT))

        def by_result() -> None:
            with suppress(TimeoutError):
                with suppress(CancelledError):
                    future.result(TIMEOUT)
                released.add("result")

        original = future._condition.wait

        def announced_wait(timeout: float | None = None) -> bool:
            waiting.release()
            return original(timeout)

        future._condition.wait = announced_wait  # type: ignore[method-assign]
        future._waiters = AnnouncedWaiters(waiting)  # type: ignore[assignment]
        threads = [
            threading.Thread(target=target, daemon=True) for target in (by_wait, by_as_completed, by_result)
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert waiting.acquire(timeout=TIMEOUT)

        def released_waiters() -> set[str]:
            for thread in threads:
                thread.join(TIMEOUT + 1)
            return released

        return released_waiters

    return block
