"""Sound pools of different build, some of them made for subclassing by flawed ones."""

from __future__ import annotations

import functools
import heapq
import itertools
import queue
import threading
from collections.abc import Callable

from pytest_littleloops import Issue, WorkerResult

from .base import (
    Completion,
    PoolCore,
    Process,
    ResultFuture,
    Submission,
    ThreadedPool,
    failure,
    interruption,
)
from .registry import sound

sound("threads that end when nothing waits")(ThreadedPool)


@sound("inline on the submitter's thread")
class InlinePool(PoolCore):
    """Runs the job and its completion before submit() returns."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Run the issue; the future is done on return."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._refuse_if_stopped()
            self._active += 1
        self._execute(submission)
        return submission.future

    def cancel(self, issue_id: str) -> bool:
        """Nothing ever waits here, so nothing can be cancelled."""
        return False

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues and wait for those on other threads."""
        with self._lock:
            self._is_stopped = True
            if wait and not self._is_inside():
                self._changed.wait_for(lambda: self._active == 0)


@sound("job on a thread of its own, callback on the submitter's thread")
class CallbackOnSubmitterPool(InlinePool):
    """Runs each job on a thread, waits for it, and completes it on the submitter's thread."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Run the issue; the future is done on return. Raises if no thread can be started."""
        submission = Submission(issue, on_complete)
        results: list[WorkerResult] = []

        def job() -> None:
            with self._inside():
                results.append(self._run(issue))

        with self._lock:
            self._refuse_if_stopped()
            submission.future.set_running_or_notify_cancel()
            thread = self._start_thread(job)
            self._active += 1
        thread.join()
        with self._inside():
            self._finish(submission, results[0])
        return submission.future


@sound("one dispatcher thread, one thread a job")
class DispatcherPool(ThreadedPool):
    """A dispatcher starts one thread a job, within the limit; made for subclassing."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._running = 0
        self._dispatcher = threading.Thread(target=self._work, daemon=True)
        self._dispatcher.start()

    def _add_worker(self) -> None:
        self._changed.notify_all()

    def _has_turn(self) -> bool:
        return self._running < self._max_workers if self._waiting else self._is_stopped

    def _take(self) -> Submission | None:
        with self._lock:
            self._changed.wait_for(self._has_turn)
            if not self._waiting:
                return None
            self._running += 1
            return self._waiting.popleft()

    def _execute(self, submission: Submission) -> None:
        self._launch(submission)

    def _launch(self, submission: Submission) -> None:
        try:
            self._keep(self._start_thread(functools.partial(self._job, submission)))
        except BaseException as error:
            self._report_unstarted(submission, error)
            self._leave()

    def _report_unstarted(self, submission: Submission, error: BaseException) -> None:
        with self._inside():
            if submission.future.set_running_or_notify_cancel():
                self._finish(submission, failure(submission.issue, error))
            else:
                self._finish(submission, interruption(submission.issue))

    def _job(self, submission: Submission) -> None:
        super()._execute(submission)
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._running -= 1
            self._changed.notify_all()

    def _join(self) -> None:
        if not self._is_inside():
            self._dispatcher.join()
            super()._join()


class ClaimingPool(PoolCore):
    """Keeps what waits in a dict; whoever removes a submission owns it. Made for subclassing."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._waiting: dict[Submission, None] = {}

    def _accept(self, submission: Submission) -> None:
        self._refuse_if_stopped()
        self._waiting[submission] = None
        self._active += 1

    def _forget(self, submission: Submission) -> None:
        del self._waiting[submission]
        self._active -= 1

    def _perform(self, submission: Submission) -> None:
        with self._lock:
            is_ours = submission in self._waiting
            self._waiting.pop(submission, None)
        if is_ours:
            self._execute(submission)

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._lock:
            chosen = [waiting for waiting in self._waiting if waiting.issue.issue_id == issue_id]
            self._withdraw(chosen)
        self._discard_all(chosen)
        return bool(chosen)

    def _withdraw(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            del self._waiting[submission]
        self._discarding += len(submissions)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; cancel the waiting ones if asked; wait unless called from inside a job."""
        with self._lock:
            was_stopped, self._is_stopped = self._is_stopped, True
            dropped = list(self._waiting) if cancel_pending else []
            self._withdraw(dropped)
            if not was_stopped:
                self._let_go()
        self._discard_all(dropped)
        if wait:
            self._join()

    def _let_go(self) -> None:
        """Tell the threads, under the lock, that nothing will follow."""


@sound("hand-off over SimpleQueue to threads started in advance")
class SimpleQueuePool(ClaimingPool):
    """Threads take from a SimpleQueue until they meet None, which each leaves to the next."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._jobs: queue.SimpleQueue[Submission | None] = queue.SimpleQueue()
        try:
            for _ in range(max_workers):
                self._keep(self._start_thread(self._worker()))
        except BaseException:
            self._jobs.put(None)
            raise

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue; the lock keeps it ahead of the None that shutdown() puts."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._accept(submission)
            self._jobs.put(submission)
        return submission.future

    def _worker(self) -> Callable[[], None]:
        return self._work

    def _work(self) -> None:
        while (submission := self._jobs.get()) is not None:
            self._perform(submission)
        self._jobs.put(None)

    def _let_go(self) -> None:
        self._jobs.put(None)


@sound("thread per job, a semaphore as the limit")
class ThreadPerJobPool(ClaimingPool):
    """Starts a thread for each issue at once; it waits for its turn itself."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._turns = threading.Semaphore(max_workers)

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue, or raise and keep nothing of it if its thread cannot be started."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._accept(submission)
            try:
                self._keep(self._start_thread(functools.partial(self._work, submission)))
            except BaseException:
                self._forget(submission)
                raise
        return submission.future

    def _work(self, submission: Submission) -> None:
        with self._turns:
            self._perform(submission)


@sound("threads for jobs, one thread for completions")
class CompletionThreadPool(ThreadedPool):
    """Delivers every completion on one thread; made for subclassing."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._ended: queue.Queue[tuple[Submission, WorkerResult] | None] = queue.Queue()
        self._completer = threading.Thread(target=self._complete, daemon=True)
        self._completer.start()

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        self._resolve(submission, result)
        self._ended.put((submission, result))

    def _complete(self) -> None:
        while True:
            with self._lock:
                if self._is_stopped and self._active == 0:
                    return
            ended = self._ended.get()
            if ended is not None:
                with self._inside():
                    self._deliver(*ended)
                self._release(ended[0])

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Stop as ThreadedPool does, and wake the completion thread to look for its end."""
        super().shutdown(wait=False, cancel_pending=cancel_pending)
        self._ended.put(None)
        if wait and not self._is_inside():
            self._completer.join()
            self._join()


@sound("priority queue with a condition, threads started in advance")
class PriorityPool(PoolCore):
    """Runs P0 before P1, and first come first served inside a priority."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._heap: list[tuple[str, int, Submission]] = []
        self._order = itertools.count()
        try:
            for _ in range(max_workers):
                self._keep(self._start_thread(self._work))
        except BaseException:
            self.shutdown(wait=False)
            raise

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue by its priority."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._refuse_if_stopped()
            heapq.heappush(self._heap, (issue.priority, next(self._order), submission))
            self._active += 1
            self._changed.notify_all()
        return submission.future

    def _work(self) -> None:
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._heap or self._is_stopped)
                if not self._heap:
                    return
                submission = heapq.heappop(self._heap)[2]
            self._execute(submission)

    def _withdraw(self, is_chosen: Callable[[Submission], bool]) -> list[Submission]:
        chosen = [entry[2] for entry in self._heap if is_chosen(entry[2])]
        self._heap = [entry for entry in self._heap if not is_chosen(entry[2])]
        heapq.heapify(self._heap)
        self._discarding += len(chosen)
        return chosen

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._lock:
            chosen = self._withdraw(lambda waiting: waiting.issue.issue_id == issue_id)
        self._discard_all(chosen)
        return bool(chosen)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; cancel the waiting ones if asked; wait unless called from inside a job."""
        with self._lock:
            self._is_stopped = True
            dropped = self._withdraw(lambda waiting: cancel_pending)
            self._changed.notify_all()
        self._discard_all(dropped)
        if wait:
            self._join()


@sound("a shutdown that always waits, but for itself")
class AlwaysWaitsPool(ThreadedPool):
    """Offers no other way to end."""

    def shutdown(self) -> None:  # type: ignore[override]
        """Refuse new issues, and wait unless called from inside a job."""
        super().shutdown(wait=True)
