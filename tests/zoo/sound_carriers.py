"""Sound pools carried by an executor of the standard library."""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import threading

from pytest_littleloops import Issue, WorkerResult

from .base import (
    Completion,
    PoolCore,
    Process,
    ResultFuture,
    Submission,
    checked,
    failure,
    interruption,
    withdraw,
)
from .registry import sound
from .sound_pools import ClaimingPool


@sound("ThreadPoolExecutor with done-callbacks")
class ExecutorPool(ClaimingPool):
    """Carries submissions by a ThreadPoolExecutor, whose own futures stay inside."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._executor = concurrent.futures.ThreadPoolExecutor(max_workers)

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue, or raise and keep nothing of it if the executor refuses."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._accept(submission)
            try:
                inner = self._executor.submit(self._claim_and_run, submission)
            except BaseException:
                # The executor queues before it starts a thread; forgotten, the ghost claims nothing.
                self._forget(submission)
                raise
        inner.add_done_callback(functools.partial(self._ended, submission))
        return submission.future

    def _claim_and_run(self, submission: Submission) -> WorkerResult | None:
        with self._lock:
            is_ours = submission in self._waiting
            self._waiting.pop(submission, None)
        if not is_ours:
            return None
        with self._inside():
            if submission.future.set_running_or_notify_cancel():
                return self._run(submission.issue)
            return interruption(submission.issue)

    def _ended(self, submission: Submission, inner: concurrent.futures.Future[WorkerResult | None]) -> None:
        result = inner.result()
        if result is not None:
            with self._inside():
                self._finish(submission, result)

    def _join(self) -> None:
        if not self._is_inside():
            self._executor.shutdown(wait=True)
            # A submitter may still be delivering, where its job ended before it was registered.
            self._wait_until_idle()

    def _let_go(self) -> None:
        self._executor.shutdown(wait=False)

    def _wait_until_idle(self) -> None:
        with self._lock:
            self._changed.wait_for(lambda: self._active == 0)


class DelegatingFuture(ResultFuture):
    """A future whose cancel() asks the inner one, which knows whether the job has begun."""

    inner: ResultFuture

    def cancel(self) -> bool:
        """Cancel the job if it has not begun; the inner future's done-callback then ends this one."""
        return super().cancel() if self.inner.cancelled() else self.inner.cancel()


def run_in_child(process: Process, issue: Issue) -> WorkerResult:
    """Run the job in a child process; what it raises becomes a failure there."""
    try:
        return checked(process(issue))
    except BaseException as error:
        return failure(issue, error)


@sound("processes; the job must be a function at module level")
class ProcessPool(PoolCore):
    """Runs jobs in child processes."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        context = multiprocessing.get_context("spawn")
        self._executor = concurrent.futures.ProcessPoolExecutor(max_workers, mp_context=context)
        self._owed: dict[Submission, ResultFuture] = {}
        self._manager: threading.Thread | None = None
        self._is_carrier_lost = False

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue, or raise if the executor is broken or stopped."""
        future = DelegatingFuture()
        submission = Submission(issue, on_complete, future)
        with self._lock:
            self._refuse_if_stopped()
            if self._is_carrier_lost:
                raise RuntimeError("the executor has no manager thread")
            try:
                future.inner = self._executor.submit(run_in_child, self._process, issue)
            except RuntimeError:
                # Without its own thread the executor takes jobs all the same, and nobody does them.
                self._is_carrier_lost = True
                raise
            self._owed[submission] = future.inner
            self._active += 1
        future.inner.add_done_callback(functools.partial(self._ended, submission))
        return future

    def _ended(self, submission: Submission, inner: ResultFuture) -> None:
        with self._lock:
            del self._owed[submission]
        with self._inside():
            if inner.cancelled():
                withdraw(submission.future)
                result = interruption(submission.issue)
            elif (error := inner.exception()) is not None:
                result = failure(submission.issue, error)
            else:
                result = inner.result()
            self._finish(submission, result)

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._lock:
            inner = [future for owed, future in self._owed.items() if owed.issue.issue_id == issue_id]
        # Cancel all of them first: any() over a generator would stop at the first.
        outcomes = [future.cancel() for future in inner]
        return any(outcomes)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; cancel the waiting ones if asked; wait unless called from inside a job."""
        with self._lock:
            self._is_stopped = True
            inner = list(self._owed.values()) if cancel_pending else []
            # The executor forgets this thread at its first shutdown, and a second could not join it.
            self._manager = self._manager or getattr(self._executor, "_executor_manager_thread", None)
        for future in inner:
            future.cancel()
        self._executor.shutdown(wait=False)
        if wait and not self._is_inside():
            if self._manager is not None and not self._is_carrier_lost:
                self._manager.join()
            with self._lock:
                self._changed.wait_for(lambda: self._active == 0)
