"""Small pools and queues, each with one seeded defect, and what the tests of the ledger share."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pytest_littleloops.harness.ledger import Ledger
from pytest_littleloops.reference.model import Issue, WorkerResult

Process = Callable[[Issue], WorkerResult]
Completion = Callable[[WorkerResult], object]


def succeed(issue: Issue) -> WorkerResult:
    """The process function of an issue that works."""
    return WorkerResult(issue.issue_id, True, "", Path())


def refuse(issue: Issue) -> WorkerResult:
    """The process function of an issue that does not."""
    raise ValueError(f"no branch for {issue.issue_id}")


def leave(issue: Issue) -> WorkerResult:
    """The process function of an issue that ends its worker."""
    raise SystemExit(issue.issue_id)


def codes(ledger: Ledger) -> list[tuple[str, str]]:
    """The codes of what is broken, each with its issue."""
    return [(finding.code, finding.issue_id) for finding in ledger.violations()]


class SwallowingPool:
    """The seed's bug: reading the result and calling the completion share one `try`."""

    def __init__(self, process: Process = succeed, max_workers: int = 2) -> None:
        self._executor = ThreadPoolExecutor(max_workers)
        self._process = process

    def submit(self, issue: Issue, on_complete: Completion) -> Future[WorkerResult]:
        """Start work on an issue."""
        future = self._executor.submit(self._process, issue)
        future.add_done_callback(lambda done: self._handle_completion(done, on_complete))
        return future

    def _handle_completion(self, future: Future[WorkerResult], on_complete: Completion) -> None:
        with suppress(BaseException):
            on_complete(future.result())

    def shutdown(self, wait: bool = True, cancel_futures: bool = False) -> None:
        """End the pool."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


class ExitingPool(SwallowingPool):
    """Lets a `SystemExit` of the work pass through its done-callback, so that the thread dies of it."""

    def _handle_completion(self, future: Future[WorkerResult], on_complete: Completion) -> None:
        with suppress(Exception):
            on_complete(future.result())


class ForgetfulPool(SwallowingPool):
    """Cancels what waits at the shutdown and drops its callbacks without a word."""

    def _handle_completion(self, future: Future[WorkerResult], on_complete: Completion) -> None:
        if not future.cancelled():
            on_complete(future.result())


class ThreadPerIssuePool:
    """No futures: a thread an issue, whose completion is called `times` times."""

    def __init__(self, process: Process = succeed, times: int = 1) -> None:
        self._work = process
        self._times = times
        self._threads: list[threading.Thread] = []

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Start work on an issue."""

        def run() -> None:
            result = self._work(issue)
            for _ in range(self._times):
                on_complete(result)

        thread = threading.Thread(target=run, name=f"worker-{issue.issue_id}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait for all of them."""
        for thread in self._threads:
            thread.join(10)


class DispatcherPool:
    """One thread of its own; counts an issue as done before its completion is called."""

    def __init__(self, process: Process = succeed, *, forgets: bool = False) -> None:
        self._work = process
        self._forgets = forgets
        self._jobs: queue.Queue[tuple[Issue, Completion] | None] = queue.Queue()
        self.active_count = 0
        self.before_completion = threading.Event()
        self.may_complete = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Start work on an issue."""
        self.active_count += 1
        self._jobs.put((issue, on_complete))

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            issue, on_complete = job
            result = self._work(issue)
            self.active_count -= 1
            self.before_completion.set()
            self.may_complete.wait(10)
            if not self._forgets:
                on_complete(result)

    def close(self) -> None:
        """End the thread."""
        self.may_complete.set()
        self._jobs.put(None)
        self._thread.join(10)


class ListQueue:
    """A queue that keeps its marks in a dictionary and refuses nothing."""

    def __init__(self) -> None:
        self._waiting: list[Issue] = []
        self.marks: dict[str, str] = {}

    def add(self, issue: Issue) -> bool:
        """Take an issue in."""
        self._waiting.append(issue)
        return True

    def get(self) -> Issue | None:
        """Hand an issue out."""
        return self._waiting.pop(0) if self._waiting else None

    def mark_completed(self, issue_id: str) -> None:
        """Mark an issue."""
        self.marks[issue_id] = "completed"

    def mark_failed(self, issue_id: str) -> None:
        """Mark an issue."""
        self.marks[issue_id] = "failed"

    def requeue(self, issue: Issue) -> None:
        """Take an issue back."""
        self._waiting.append(issue)
