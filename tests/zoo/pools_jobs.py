"""Pools that lose issues by what a job raises or returns, or by the death of a worker or an owner."""

from __future__ import annotations

import concurrent.futures
import functools
import queue
import weakref
from collections.abc import Callable
from pathlib import Path

from pytest_littleloops import Issue, WorkerResult

from .base import (
    Completion,
    PoolCore,
    Process,
    ResultFuture,
    Submission,
    ThreadedPool,
    checked,
    failure,
    interruption,
    logger,
)
from .registry import flawed
from .sound_pools import DispatcherPool, SimpleQueuePool

EXOTIC = "base or exotic exception"
OUTSIDE = "fault outside the job's guard"
DEATH = "worker or owner death"


@flawed("LL106", "A job that raises SystemExit passes `except Exception` and ends its worker.", bug=EXOTIC)
class ExceptExceptionPool(ThreadedPool):
    """Guards its jobs against Exception only."""

    def _run(self, issue: Issue) -> WorkerResult:
        try:
            return checked(self._process(issue))
        except Exception as error:
            return failure(issue, error)


@flawed("LL102", "A job that raises CancelledError itself is taken for one already reported.", bug=EXOTIC)
class CancelledMeansReportedPool(ThreadedPool):
    """Believes that whoever raised CancelledError has told the orchestrator."""

    def _execute(self, submission: Submission) -> None:
        if not submission.future.set_running_or_notify_cancel():
            self._finish(submission, interruption(submission.issue))
            return
        with self._inside():
            try:
                result = checked(self._process(submission.issue))
            except concurrent.futures.CancelledError as error:
                submission.future.set_exception(error)
                self._release(submission)
                return
            except BaseException as error:
                result = failure(submission.issue, error)
            self._finish(submission, result)


@flawed("LL106", "A job that raises StopIteration looks like the end of the work.", bug=EXOTIC)
class MapLoopPool(ThreadedPool):
    """Pulls its jobs through map(), whose end is StopIteration too."""

    def _work(self) -> None:
        current: list[Submission] = []

        def perform(submission: Submission) -> None:
            current[:] = [submission]
            with self._inside():
                if submission.future.set_running_or_notify_cancel():
                    self._finish(submission, checked(self._process(submission.issue)))
                else:
                    self._finish(submission, interruption(submission.issue))

        outcomes = map(perform, iter(self._take, None))
        while True:
            try:
                next(outcomes)
            except StopIteration:
                return
            except BaseException as error:
                with self._inside():
                    self._finish(current[0], failure(current[0].issue, error))


@flawed(
    "LL102",
    "One try holds result() and the callback; a job's error is only logged.",
    bug=EXOTIC,
    also=("LL105",),
)
class OneTryPool(PoolCore):
    """The seed of the project: the completion handler of a ThreadPoolExecutor."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._executor = concurrent.futures.ThreadPoolExecutor(max_workers)
        self._futures: list[ResultFuture] = []

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Hand the issue to the executor."""
        with self._lock:
            self._refuse_if_stopped()
            future = self._executor.submit(self._process, issue)
            self._futures = [other for other in self._futures if not other.done()] + [future]
            self._active += 1
        future.add_done_callback(functools.partial(self._handle_completion, on_complete, issue))
        return future

    def _handle_completion(
        self, on_complete: Completion | None, issue: Issue, future: ResultFuture
    ) -> None:
        try:
            result = checked(future.result())
            if on_complete is not None:
                with self._inside():
                    on_complete(result)
        except BaseException:
            logger.exception("the completion of %s failed", issue.issue_id)
        finally:
            with self._lock:
                self._active -= 1

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; cancelled futures are left to the executor's threads, which wake waiters."""
        with self._lock:
            self._is_stopped = True
            pending = self._futures if cancel_pending else []
        for future in pending:
            future.cancel()
        self._executor.shutdown(wait=wait and not self._is_inside())


@flawed(
    "LL106",
    "result() re-raises SystemExit in a done-callback and so ends the executor's thread.",
    bug=EXOTIC,
    also=("LL102",),
)
class ReraisingCallbackPool(OneTryPool):
    """Turns a job's Exception into a failure, but lets BaseException out of the done-callback."""

    def _handle_completion(
        self, on_complete: Completion | None, issue: Issue, future: ResultFuture
    ) -> None:
        try:
            result = interruption(issue) if future.cancelled() else checked(future.result())
        except Exception as error:
            result = failure(issue, error)
        with self._inside():
            self._deliver(Submission(issue, on_complete), result)
        with self._lock:
            self._active -= 1


@flawed("LL106", "The handler of a failed job prints the error, and printing it raises.", bug=OUTSIDE)
class UnprintableErrorPool(ThreadedPool):
    """Calls str() on whatever the job raised, outside any guard."""

    def _run(self, issue: Issue) -> WorkerResult:
        try:
            return checked(self._process(issue))
        except BaseException as error:
            return WorkerResult(issue.issue_id, False, "", Path(), error=str(error) or repr(error))


@flawed("LL106", "A job that returns None ends its worker, which reads result.duration.", bug=OUTSIDE)
class TrustedResultPool(ThreadedPool):
    """Sums up durations before it looks at what the job returned."""

    total_duration = 0.0

    def _run(self, issue: Issue) -> WorkerResult:
        try:
            result = self._process(issue)
        except BaseException as error:
            return failure(issue, error)
        self.total_duration += result.duration
        return result


@flawed("LL106", "Thread.start fails in the dispatcher, which dies with all that waits.", bug=OUTSIDE)
class DispatcherDiesPool(DispatcherPool):
    """Starts a thread for each job without a guard."""

    def _launch(self, submission: Submission) -> None:
        self._keep(self._start_thread(functools.partial(self._job, submission)))


@flawed(
    "LL101",
    "A failed Thread.start is reported but its slot is kept; after max_workers of them nothing runs.",
    bug=OUTSIDE,
    also=("LL303", "LL302"),
)
class SlotLeakPool(DispatcherPool):
    """Gives a slot back only at the end of a job that was started."""

    def _launch(self, submission: Submission) -> None:
        try:
            self._keep(self._start_thread(functools.partial(self._job, submission)))
        except RuntimeError as error:
            self._report_unstarted(submission, error)


def _work_while_owned(
    owner: Callable[[], SimpleQueuePool | None], jobs: queue.SimpleQueue[Submission | None]
) -> None:
    while (submission := jobs.get()) is not None and (pool := owner()) is not None:
        pool._perform(submission)
        del pool
    jobs.put(None)


@flawed(
    "LL101",
    "Workers end when the pool object is collected, with accepted issues still waiting.",
    bug=DEATH,
    also=("LL106", "LL105"),
)
class OwnerReferencePool(SimpleQueuePool):
    """Its workers hold a weak reference to the pool, so as not to keep it alive."""

    def _worker(self) -> Callable[[], None]:
        weakref.finalize(self, self._jobs.put, None)
        return functools.partial(_work_while_owned, weakref.ref(self), self._jobs)


@flawed(
    "LL101",
    "A worker sees no work, and is counted as alive until later; a submission in between has no worker.",
    bug=DEATH,
    also=("LL106",),
    race=True,
)
class IdleExitRacePool(ThreadedPool):
    """Looks for work and signs off in two steps."""

    def _take(self) -> Submission | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
        with self._lock:
            self._workers -= 1
        return None
