"""Pools that lose issues to load, refused submissions, wrong counters and timeouts."""

from __future__ import annotations

import functools
import multiprocessing
import threading
from collections import deque

from pytest_littleloops import Issue, WorkerResult

from .base import Completion, PoolCore, Process, ResultFuture, Submission, ThreadedPool, failure
from .registry import flawed
from .sound_pools import DispatcherPool

REFUSED = "rejected submission"
DRIFT = "accounting drift, starvation"
TIMEOUT = "timeout race"

JOB_TIMEOUT_SECONDS = 0.05


@flawed(
    "LL304",
    "A submission refused for want of a thread stays queued, and a later worker runs it.",
    bug=REFUSED,
    also=("LL203",),
)
class GhostPool(ThreadedPool):
    """Queues first and starts a thread second."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Queue the issue and see that there is a worker."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._refuse_if_stopped()
            self._waiting.append(submission)
            self._active += 1
            self._add_worker()
        return submission.future


@flawed(
    "LL303",
    "A submission refused for want of a thread stays counted; the pool is never idle again.",
    bug=REFUSED,
    also=("LL302", "LL402"),
)
class CountedThoughRefusedPool(ThreadedPool):
    """Counts first and starts a thread second."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Count the issue, see that there is a worker, queue it."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._refuse_if_stopped()
            self._active += 1
            self._add_worker()
            self._waiting.append(submission)
        return submission.future


@flawed(
    "LL101",
    "A refusal is swallowed: without a thread the issue is accepted and nobody runs it.",
    bug=REFUSED,
    also=("LL402",),
)
class RefusalSwallowedPool(ThreadedPool):
    """Believes that some worker will come by."""

    def _add_worker(self) -> None:
        try:
            super()._add_worker()
        except RuntimeError:
            self._threads = [thread for thread in self._threads if thread.is_alive()]


@flawed(
    "LL101",
    "A failed job keeps its slot; after max_workers of them nothing runs any more.",
    bug=DRIFT,
    also=("LL303", "LL302"),
)
class FailureKeepsSlotPool(DispatcherPool):
    """Gives a slot back on success."""

    def _job(self, submission: Submission) -> None:
        PoolCore._execute(self, submission)
        if submission.future.cancelled() or submission.future.result().success:
            self._leave()


@flawed("LL101", "The queue has a maximal length and drops the oldest issue without a word.", bug=DRIFT)
class OverflowPool(ThreadedPool):
    """Bounds what waits by a deque's maxlen."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._waiting = deque(maxlen=2 * max_workers)


@flawed(
    "LL101",
    "The worker clears the event after it looked for work, and so forgets a submission in between.",
    bug=DRIFT,
    also=("LL302", "LL401"),
    race=True,
)
class LostWakeupPool(ThreadedPool):
    """One worker that sleeps on an event when it has seen nothing."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, 1)
        self._has_news = threading.Event()

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Queue the issue and wake the worker."""
        future = super().submit(issue, on_complete)
        self._has_news.set()
        return future

    def _take(self) -> Submission | None:
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                if self._is_stopped:
                    return None
            self._has_news.clear()
            self._has_news.wait()

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Stop as ThreadedPool does, and wake the worker."""
        super().shutdown(wait=False, cancel_pending=cancel_pending)
        self._has_news.set()
        if wait:
            self._join()


@flawed("LL303", "After a failure workers turn until a job succeeds, and none is run meanwhile.", bug=DRIFT)
class CircuitBreakerPool(ThreadedPool):
    """Holds work back after a failed job, until the next success."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._is_open = False
        self._pause = threading.Event()

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        if not result.interrupted:
            self._is_open = not result.success
        super()._finish(submission, result)

    def _take(self) -> Submission | None:
        while self._is_open and self._waiting:
            self._pause.wait(0.001)
        return super()._take()


@flawed("LL304", "A job that takes too long is reported as failed, and goes on to succeed.", bug=TIMEOUT)
class TimeoutGoesOnPool(ThreadedPool):
    """Waits for a job for a time, and leaves it running after that."""

    def _run(self, issue: Issue) -> WorkerResult:
        results: list[WorkerResult] = []

        def job() -> None:
            with self._inside():
                results.append(PoolCore._run(self, issue))

        try:
            thread = self._start_thread(job)
        except RuntimeError as error:
            return failure(issue, error)
        thread.join(JOB_TIMEOUT_SECONDS)
        return results[0] if results else failure(issue, TimeoutError("the job took too long"))


@flawed(
    "LL201",
    "A timer reports a slow job as failed, and the worker reports its end as well.",
    bug=TIMEOUT,
    also=("LL304",),
)
class TimerAndWorkerPool(ThreadedPool):
    """Sets a timer for each job and stops it when the job has been reported."""

    def _execute(self, submission: Submission) -> None:
        timer = threading.Timer(JOB_TIMEOUT_SECONDS, functools.partial(self._expire, submission))
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            super()._execute(submission)
            return
        super()._execute(submission)
        timer.cancel()
        timer.join()

    def _expire(self, submission: Submission) -> None:
        if submission.future.running():
            with self._inside():
                result = failure(submission.issue, TimeoutError("the job took too long"))
                self._resolve(submission, result)
                self._deliver(submission, result)


def _serve(stop: threading.Event) -> None:
    stop.wait()


@flawed("LL403", "The helper process that the pool starts is never told to end.", bug="shutdown loss")
class HelperProcessPool(ThreadedPool):
    """Keeps a helper process for the jobs, as for a credential cache."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._helper = context.Process(target=_serve, args=(self._stop,), daemon=True)
        self._helper.start()
