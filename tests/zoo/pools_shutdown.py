"""Pools that lose issues when they are shut down, or take issues when they have been."""

from __future__ import annotations

import functools
import threading

from pytest_littleloops import Issue

from .base import (
    Completion,
    PoolCore,
    Process,
    ResultFuture,
    Submission,
    ThreadedPool,
    interruption,
    logger,
)
from .registry import flawed
from .sound import SoundExecutor
from .sound_pools import SimpleQueuePool

SHUTDOWN = "shutdown loss"


@flawed("LL105", "shutdown(cancel_pending=True) clears the queue and tells nobody.", bug=SHUTDOWN)
class ClearedAtShutdownPool(ThreadedPool):
    """Empties its queue, futures, completions and all."""

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; forget the waiting ones if asked."""
        if cancel_pending:
            with self._lock:
                self._is_stopped = True
                self._active -= len(self._waiting)
                self._waiting.clear()
        super().shutdown(wait, cancel_pending)


@flawed("LL105", "Workers look at the stop flag before they look for work.", bug=SHUTDOWN)
class StopFlagPool(ThreadedPool):
    """Stops between two jobs, whether issues wait or not."""

    def _take(self) -> Submission | None:
        with self._lock:
            if self._waiting and not self._is_stopped:
                return self._waiting.popleft()
            self._workers -= 1
            return None


@flawed(
    "LL105",
    "An accepted issue is put behind the stop message, which nobody reads past.",
    bug=SHUTDOWN,
    also=("LL101",),
    race=True,
)
class BehindTheStopMessagePool(SimpleQueuePool):
    """Checks and registers under the lock, and queues outside it."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue, then queue it."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._accept(submission)
        self._jobs.put(submission)
        return submission.future


@flawed(
    "LL105",
    "The completion handler returns early for a cancelled future, and shutdown cancels futures.",
    bug=SHUTDOWN,
    also=("LL102",),
)
class CancelledIsIgnoredPool(PoolCore):
    """Carries issues by an executor and reports what was not cancelled."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._executor = SoundExecutor(max_workers)

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Hand the issue to the executor."""
        with self._lock:
            self._refuse_if_stopped()
            future = self._executor.submit(self._run, issue)
            self._active += 1
        future.add_done_callback(functools.partial(self._ended, Submission(issue, on_complete)))
        return future

    def _ended(self, submission: Submission, future: ResultFuture) -> None:
        if not future.cancelled():
            with self._inside():
                self._deliver(submission, future.result())
        self._release(submission)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; cancel the waiting ones if asked; wait unless called from inside a job."""
        with self._lock:
            self._is_stopped = True
        self._executor.shutdown(wait=False, cancel_futures=cancel_pending)
        if wait and not self._is_inside():
            self._executor.shutdown(wait=True)
            with self._lock:
                self._changed.wait_for(lambda: self._active == 0)


@flawed("LL105", "A callback that raises ends the loop over what shutdown discards.", bug=SHUTDOWN)
class AbortedDiscardPool(ThreadedPool):
    """Tells the discarded issues one after the other, without a guard."""

    def _discard(self, submission: Submission) -> None:
        if submission.on_complete is not None and self._is_stopped:
            with self._inside():
                submission.on_complete(interruption(submission.issue))
            submission.on_complete = None
        super()._discard(submission)


@flawed(
    "LL105",
    "Futures cancelled by shutdown are done(), but wait() and as_completed() never see it.",
    bug=SHUTDOWN,
    also=("LL402", "LL302"),
)
class AsleepAfterShutdownPool(ThreadedPool):
    """Cancels what waits at a shutdown as the standard library's own executor does."""

    def _discard(self, submission: Submission) -> None:
        if not self._is_stopped:
            super()._discard(submission)
            return
        with self._inside():
            try:
                submission.future.cancel()
            except BaseException:
                logger.exception("a done-callback raised")
            self._finish(submission, interruption(submission.issue))


@flawed("LL401", "shutdown() leaves the thread that watches the pool waiting for ever.", bug=SHUTDOWN)
class WatcherLeftBehindPool(ThreadedPool):
    """Has a thread that logs the pool's end, and never tells it of that."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._ended = threading.Event()
        self._start_thread(self._watch)

    def _watch(self) -> None:
        self._ended.wait()
        logger.info("the pool has ended")


@flawed(
    "LL101",
    "submit() after a shutdown returns a future that nobody will ever run.",
    bug=SHUTDOWN,
    also=("LL105", "LL402"),
)
class AcceptsAfterShutdownPool(SimpleQueuePool):
    """Refuses nothing."""

    def _refuse_if_stopped(self) -> None:
        if self._is_stopped:
            logger.warning("submission after shutdown")


@flawed(
    "LL302",
    "shutdown() joins its workers under the lock that they need to end.",
    bug=SHUTDOWN,
)
class JoinsUnderLockPool(ThreadedPool):
    """Keeps the lock while it waits, so that nothing can be submitted meanwhile."""

    def _join(self) -> None:
        if not self._is_inside():
            with self._lock:
                for thread in self._threads:
                    thread.join()
