"""Pools that work in other processes, with one defect each."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.pool
import pickle
import queue
import threading

from pytest_littleloops import Issue, WorkerResult

from .base import Completion, Process, failure
from .registry import flawed


@flawed(
    "LL101",
    "A worker process that dies is replaced, and nobody hears of the job that it had.",
    bug="worker or owner death, on processes",
    also=("LL106", "LL301", "LL302"),
)
class ReplacedProcessPool:
    """Carries its issues by a `multiprocessing.pool.Pool`."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        self._process = process
        self._pool = multiprocessing.get_context("spawn").Pool(max_workers)

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Have one of the processes work on it."""

        def ended(result: object) -> None:
            if isinstance(result, WorkerResult):
                on_complete(result)
            else:
                on_complete(failure(issue, TypeError("no result")))

        def failed(error: BaseException) -> None:
            on_complete(failure(issue, ValueError(type(error).__name__)))

        self._pool.apply_async(self._process, (issue,), callback=ended, error_callback=failed)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more work; end the processes."""
        self._pool.close()
        if not wait:
            return
        self._pool.join()


@flawed(
    "LL106",
    "The thread that sends the jobs away pickles them outside of any guard, and dies of one it cannot.",
    bug="fault outside the job's guard, on processes",
    also=("LL101", "LL301", "LL302"),
)
class DyingSenderPool:
    """Sends each issue as bytes to an executor's process, and waits for what comes back."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        self._process = process
        context = multiprocessing.get_context("spawn")
        self._executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
        self._jobs: queue.Queue[tuple[Issue, Completion] | None] = queue.Queue()
        self._sender = threading.Thread(target=self._send, name="sender", daemon=True)
        self._sender.start()

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Have it sent."""
        self._jobs.put((issue, on_complete))

    def shutdown(self, wait: bool = True) -> None:
        """Send what there is, and no more."""
        self._jobs.put(None)
        if wait and threading.current_thread() is not self._sender:
            self._sender.join()

    def _send(self) -> None:
        while (job := self._jobs.get()) is not None:
            issue, on_complete = job
            sent = pickle.dumps(issue)
            try:
                result = self._executor.submit(_unpack, self._process, sent).result()
            except BaseException as error:
                result = failure(issue, ValueError(type(error).__name__))
            if not isinstance(result, WorkerResult):
                result = failure(issue, TypeError("no result"))
            with contextlib.suppress(BaseException):
                on_complete(result)
        self._executor.shutdown()


def _unpack(process: Process, sent: bytes) -> WorkerResult:
    issue: Issue = pickle.loads(sent)
    return process(issue)
