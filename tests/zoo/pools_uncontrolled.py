"""Pools that lose no issue, but leave a worktree, a random path or an uncontrolled wait behind."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from pytest_littleloops import Issue, WorkerResult

from .base import Process, Submission, ThreadedPool, failure
from .registry import flawed


@flawed("LL404", "The worktree of a failed job is never removed.", bug="base or exotic exception")
class LeftWorktreePool(ThreadedPool):
    """Makes a directory for each job and removes it on success."""

    def _run(self, issue: Issue) -> WorkerResult:
        try:
            worktree = Path(tempfile.mkdtemp(prefix="zoo-worktree-"))
        except OSError as error:
            return failure(issue, error)
        result = super()._run(issue)
        if result.success:
            shutil.rmtree(worktree, ignore_errors=True)
            return result
        return replace(result, worktree_path=worktree)


@flawed(
    "LL501",
    "Workers take any waiting issue, by the system's random numbers; no replay takes the same path.",
    bug="accounting drift, starvation",
)
class SystemRandomPool(ThreadedPool):
    """Spreads its load by chance."""

    def _take(self) -> Submission | None:
        with self._lock:
            if self._waiting:
                submission = random.SystemRandom().choice(self._waiting)
                self._waiting.remove(submission)
                return submission
            self._workers -= 1
            return None


@flawed(
    "LL502",
    "Workers wait for work in os.read() on a pipe, which no engine sees.",
    bug="accounting drift, starvation",
)
class PipeWakeupPool(ThreadedPool):
    """Writes one byte a submission; the end of the file is the end of the work."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._reader, self._writer = os.pipe()

    def _add_worker(self) -> None:
        super()._add_worker()
        # The worker takes the lock that we hold before it looks for what this byte announces.
        os.write(self._writer, b".")

    def _take(self) -> Submission | None:
        while os.read(self._reader, 1):
            with self._lock:
                # A byte without a submission is one that was cancelled.
                if self._waiting:
                    return self._waiting.popleft()
        return None

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Stop as ThreadedPool does, and end the file."""
        with self._lock:
            was_stopped, self._is_stopped = self._is_stopped, True
            if not was_stopped:
                os.close(self._writer)
        super().shutdown(wait=False, cancel_pending=cancel_pending)
        if wait:
            self._join()
