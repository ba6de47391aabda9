"""The sound steps that pools are made of; specimens override one step. No defect may live here."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_littleloops import Issue, WorkerResult

logger = logging.getLogger("zoo")

Process = Callable[[Issue], WorkerResult]
Completion = Callable[[WorkerResult], None]
ResultFuture = concurrent.futures.Future[WorkerResult]


@dataclass(eq=False, slots=True)
class Submission:
    """One accepted issue; two submissions of one id are two of these."""

    issue: Issue
    on_complete: Completion | None
    future: ResultFuture = field(default_factory=ResultFuture)


def describe(error: BaseException) -> str:
    """The text of an error, never empty, even of one that cannot print itself."""
    try:
        return str(error) or repr(error)
    except BaseException:
        return type(error).__name__


def failure(issue: Issue, error: BaseException) -> WorkerResult:
    """The result of an issue whose job raised `error`."""
    return WorkerResult(issue.issue_id, False, "", Path(), error=describe(error))


def interruption(issue: Issue) -> WorkerResult:
    """The result of an issue that was cancelled before its job began."""
    return WorkerResult(issue.issue_id, False, "", Path(), error="cancelled", interrupted=True)


def checked(outcome: object) -> WorkerResult:
    """`outcome` if it is a WorkerResult; raises TypeError otherwise."""
    if not isinstance(outcome, WorkerResult):
        raise TypeError(f"the job returned {type(outcome).__name__}, not a WorkerResult")
    return outcome


def withdraw(future: ResultFuture) -> None:
    """Cancel a future that nobody runs, and wake those who wait for it."""
    try:
        future.cancel()
    except BaseException:
        logger.exception("a done-callback raised")
    # cancel() alone leaves wait() and as_completed() asleep (cpython #109934).
    future.set_running_or_notify_cancel()


class PoolCore:
    """Counting, guarding and delivering, made for subclassing; how work travels is the subclass's."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        if not callable(process):
            raise TypeError("process must be callable")
        if max_workers < 1:
            raise ValueError("max_workers must be at least 1")
        self._process = process
        self._max_workers = max_workers
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._active = 0
        self._discarding = 0
        self._is_stopped = False
        self._threads: list[threading.Thread] = []
        self._here = threading.local()
        self.callback_errors: list[tuple[str, BaseException]] = []

    @property
    def active_count(self) -> int:
        """How many submissions are owed a completion."""
        with self._lock:
            return self._active

    def _start_thread(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        return thread

    def _refuse_if_stopped(self) -> None:
        if self._is_stopped:
            raise RuntimeError("cannot submit: the pool is shut down")

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """Mark this thread as running a job or a completion, so that it never waits for itself."""
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            yield
        finally:
            self._here.depth -= 1

    def _is_inside(self) -> bool:
        return getattr(self._here, "depth", 0) > 0

    def _run(self, issue: Issue) -> WorkerResult:
        try:
            return checked(self._process(issue))
        except BaseException as error:
            return failure(issue, error)

    def _execute(self, submission: Submission) -> None:
        with self._inside():
            if submission.future.set_running_or_notify_cancel():
                self._finish(submission, self._run(submission.issue))
            else:
                self._finish(submission, interruption(submission.issue))

    def _discard(self, submission: Submission) -> None:
        with self._inside():
            withdraw(submission.future)
            self._finish(submission, interruption(submission.issue))

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        self._resolve(submission, result)
        self._deliver(submission, result)
        self._release(submission)

    def _resolve(self, submission: Submission, result: WorkerResult) -> None:
        if not submission.future.cancelled():
            try:
                submission.future.set_result(result)
            except BaseException:
                logger.exception("a done-callback of %s raised", result.issue_id)

    def _deliver(self, submission: Submission, result: WorkerResult) -> None:
        if submission.on_complete is not None:
            try:
                submission.on_complete(result)
            except BaseException as error:
                logger.exception("the completion of %s raised", result.issue_id)
                self.callback_errors.append((result.issue_id, error))

    def _release(self, submission: Submission) -> None:
        with self._lock:
            self._active -= 1
            self._changed.notify_all()

    def _keep(self, thread: threading.Thread) -> None:
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]

    def _discard_all(self, submissions: list[Submission]) -> None:
        """Discard what the caller has taken and, under the lock, counted in `_discarding`."""
        try:
            for submission in submissions:
                self._discard(submission)
        finally:
            with self._lock:
                self._discarding -= len(submissions)
                self._changed.notify_all()

    def _join(self) -> None:
        """Wait for the threads and for discards on other threads; a no-op inside a job or completion."""
        if self._is_inside():
            return
        for thread in self._threads:
            thread.join()
        with self._lock:
            self._changed.wait_for(lambda: self._discarding == 0)


class ThreadedPool(PoolCore):
    """A sound pool of threads that end when nothing waits; made for subclassing."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._waiting: deque[Submission] = deque()
        self._workers = 0

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Accept an issue, or raise RuntimeError and keep nothing of it."""
        submission = Submission(issue, on_complete)
        with self._lock:
            self._refuse_if_stopped()
            self._add_worker()
            self._waiting.append(submission)
            self._active += 1
        return submission.future

    def _add_worker(self) -> None:
        if self._workers < self._max_workers:
            # The new thread needs our lock to look for work, so it finds what is appended next.
            self._keep(self._start_thread(self._work))
            self._workers += 1

    def _work(self) -> None:
        while (submission := self._take()) is not None:
            self._execute(submission)

    def _take(self) -> Submission | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._workers -= 1
            return None

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._lock:
            chosen = [waiting for waiting in self._waiting if waiting.issue.issue_id == issue_id]
            for submission in chosen:
                self._waiting.remove(submission)
            self._discarding += len(chosen)
        self._discard_all(chosen)
        return bool(chosen)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Refuse new issues; cancel the waiting ones if asked; wait unless called from inside a job."""
        with self._lock:
            self._is_stopped = True
            self._changed.notify_all()
            dropped: list[Submission] = []
            if cancel_pending:
                dropped.extend(self._waiting)
                self._waiting.clear()
            self._discarding += len(dropped)
        self._discard_all(dropped)
        if wait:
            self._join()
