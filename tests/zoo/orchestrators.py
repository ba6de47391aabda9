"""Orchestrators with one defect each, made from the sound one."""

from __future__ import annotations

import concurrent.futures
import queue
import threading

from pytest_littleloops import Issue, WorkerResult

from .base import ResultFuture, logger
from .registry import flawed
from .shapes import PoolLike, QueueLike
from .sound import SoundOrchestrator

REFUSED = "rejected submission"


@flawed(
    "LL104",
    "The pool refuses an issue that was taken; the error leaves run() and the issue stays in progress.",
    kind="orchestrator",
    bug=REFUSED,
)
class RefusalEndsRunOrchestrator(SoundOrchestrator):
    """Believes that a pool takes whatever it is given."""

    def _dispatch(self, issue: Issue) -> None:
        self._expect()
        try:
            self._pool.submit(issue, self.on_worker_complete)
        except BaseException:
            self._settle(is_completed=False)
            raise


@flawed(
    "LL104",
    "The pool refuses an issue that was taken; that is logged, and run() returns 0.",
    kind="orchestrator",
    bug=REFUSED,
)
class RefusalLoggedOrchestrator(SoundOrchestrator):
    """Logs what the pool refuses and goes on."""

    def _dispatch(self, issue: Issue) -> None:
        try:
            self._expect()
            self._pool.submit(issue, self.on_worker_complete)
        except Exception:
            logger.exception("%s could not be dispatched", issue.issue_id)
            self._settle(is_completed=True)


@flawed(
    "LL101",
    "A P0 issue runs alone; its failure is never marked, and run() returns 0.",
    kind="orchestrator",
    bug="accounting drift, starvation",
)
class SequentialFailureOrchestrator(SoundOrchestrator):
    """Waits for P0 issues itself and marks only their success."""

    def _dispatch(self, issue: Issue) -> None:
        if issue.priority != "P0":
            super()._dispatch(issue)
            return
        try:
            result = self._pool.submit(issue).result()
        except Exception:
            self._mark(self._queue.mark_interrupted, issue.issue_id)
            self._is_all_completed = False
            return
        if result.success:
            self._mark(self._queue.mark_completed, issue.issue_id)


@flawed(
    "LL103",
    "The future is kept after submit(); a job that ends first makes the completion raise KeyError.",
    kind="orchestrator",
    bug="completion raises or re-enters",
    also=("LL101",),
    race=True,
)
class KeptTooLateOrchestrator(SoundOrchestrator):
    """Keeps the future of each issue, and takes it out when the issue is complete."""

    def __init__(self, queue: QueueLike, pool: PoolLike) -> None:
        super().__init__(queue, pool)
        self._futures: dict[str, ResultFuture] = {}

    def _dispatch(self, issue: Issue) -> None:
        self._expect()
        try:
            self._futures[issue.issue_id] = self._pool.submit(issue, self.on_worker_complete)
        except Exception:
            self._mark(self._queue.mark_failed, issue.issue_id)
            self._settle(is_completed=False)

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark the issue by its result."""
        is_completed = False
        try:
            del self._futures[result.issue_id]
            is_completed = self._mark(self._choose(result), result.issue_id) and result.success
        finally:
            self._settle(is_completed=is_completed)


@flawed(
    "LL103",
    "The completion of a failure reads the last line of its stderr and raises when that is empty.",
    kind="orchestrator",
    bug="completion raises or re-enters",
    also=("LL101",),
)
class LastLineOrchestrator(SoundOrchestrator):
    """Logs the last line of stderr of each failure before it marks the issue."""

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark the issue by its result."""
        is_completed = False
        try:
            if not result.success:
                logger.warning("%s: %s", result.issue_id, result.stderr.splitlines()[-1])
            is_completed = self._mark(self._choose(result), result.issue_id) and result.success
        finally:
            self._settle(is_completed=is_completed)


@flawed(
    "LL303",
    "An interrupted issue is never marked, and run() polls for ever for it to leave in progress.",
    kind="orchestrator",
    bug="cancel race",
    also=("LL101",),
)
class PollsForInterruptedOrchestrator(SoundOrchestrator):
    """Polls until no issue is in progress; takes an interrupted one for somebody else's."""

    def run(self) -> int:
        """Work until nothing is left; 0 if all that was taken is completed, else 1."""
        pause = threading.Event()
        while True:
            try:
                self._dispatch(self._queue.get(block=False))
            except queue.Empty:
                if not self._queue.in_progress_ids:
                    return 0 if self._is_all_completed else 1
                pause.wait(0.001)

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark the issue by its result, unless it was interrupted."""
        if not result.interrupted:
            super().on_worker_complete(result)


@flawed(
    "LL301",
    "run() ends when the queue is empty; its exit code is computed before the last completion.",
    kind="orchestrator",
    bug="early idle",
    also=("LL101",),
)
class EndsWithQueueOrchestrator(SoundOrchestrator):
    """Takes an empty queue for the end of the work."""

    def _await_completion(self, seen: int) -> bool:
        return False


@flawed(
    "LL304",
    "After a timeout the issue is marked failed, and its job goes on to succeed.",
    kind="orchestrator",
    bug="timeout race",
    also=("LL202", "LL103"),
)
class TimeoutMarksOrchestrator(SoundOrchestrator):
    """Gives each P0 issue a time, in seconds, before it goes on without it."""

    timeout = 0.05

    def _dispatch(self, issue: Issue) -> None:
        self._expect()
        try:
            future = self._pool.submit(issue, self.on_worker_complete)
        except Exception:
            self._mark(self._queue.mark_failed, issue.issue_id)
            self._settle(is_completed=False)
            return
        if issue.priority == "P0":
            _, pending = concurrent.futures.wait([future], self.timeout)
            if pending:
                self._mark(self._queue.mark_failed, issue.issue_id)


@flawed(
    "LL101",
    "Issues put off while the pool is full are retried only when another issue is taken.",
    kind="orchestrator",
    bug="accounting drift, starvation",
)
class PutOffOrchestrator(SoundOrchestrator):
    """Gives the pool two issues at a time."""

    limit = 2

    def __init__(self, queue: QueueLike, pool: PoolLike) -> None:
        super().__init__(queue, pool)
        self._put_off: list[Issue] = []

    def _dispatch(self, issue: Issue) -> None:
        self._put_off.append(issue)
        while self._put_off and self._pool.active_count < self.limit:
            super()._dispatch(self._put_off.pop(0))
