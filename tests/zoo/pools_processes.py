"""Pools that work in other processes, with one defect each."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import pickle
import queue
import threading
from multiprocessing.connection import Connection

from pytest_littleloops import Issue, WorkerResult

from .base import Completion, Process, failure
from .registry import flawed


@flawed(
    "LL101",
    "A process that dies closes its end of the pipe, and that is taken for the end of its talk.",
    bug="worker or owner death, on processes",
    also=("LL102", "LL106"),
)
class ClosedPipePool:
    """Has a process for each issue, and a thread that hears of it."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        self._process = process
        self._slots = threading.Semaphore(max_workers)
        self._threads: list[threading.Thread] = []

    def submit(self, issue: Issue, on_complete: Completion) -> None:
        """Have a process of its own work on it."""
        thread = threading.Thread(target=self._hear, args=(issue, on_complete), daemon=True)
        thread.start()
        self._threads.append(thread)

    def shutdown(self, wait: bool = True) -> None:
        """Wait for all that there is."""
        for thread in self._threads:
            if wait and thread is not threading.current_thread():
                thread.join()

    def _hear(self, issue: Issue, on_complete: Completion) -> None:
        with self._slots, contextlib.suppress(EOFError):
            context = multiprocessing.get_context("spawn")
            here, there = context.Pipe(duplex=False)
            child = context.Process(target=_speak, args=(there, self._process, issue), daemon=True)
            try:
                child.start()
            except Exception as error:
                result = failure(issue, error)
            else:
                there.close()
                result = here.recv()
                child.join()
            with contextlib.suppress(BaseException):
                on_complete(result)


def _speak(there: Connection, process: Process, issue: Issue) -> None:
    try:
        result = process(issue)
    except BaseException as error:
        result = failure(issue, ValueError(type(error).__name__))
    try:
        there.send(result if isinstance(result, WorkerResult) else failure(issue, TypeError("no result")))
    except Exception as error:
        there.send(failure(issue, ValueError(type(error).__name__)))


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
