"""Pools that lose issues to a cancel that races with the start, the end or another cancel."""

from __future__ import annotations

import threading

from .base import Process, Submission, ThreadedPool, checked, failure, interruption, logger, withdraw
from .registry import flawed
from .sound_pools import SimpleQueuePool

CANCEL = "cancel race"


@flawed("LL304", "cancel() accepts an issue whose job runs; the job goes on to its end.", bug=CANCEL)
class CancelsRunningPool(SimpleQueuePool):
    """Gives up its claim on an issue at the end of the job instead of at its start."""

    def _perform(self, submission: Submission) -> None:
        if submission.future.cancelled():
            super()._perform(submission)
            return
        with self._lock:
            is_ours = submission in self._waiting
        if not is_ours:
            return
        with self._inside():
            result = self._run(submission.issue)
            with self._lock:
                is_ours = submission in self._waiting
                self._waiting.pop(submission, None)
            if is_ours:
                self._finish(submission, result)


@flawed(
    "LL402",
    "cancel() leaves the future cancelled but never notifies; who waits for it sleeps on.",
    bug=CANCEL,
    also=("LL302", "LL101"),
)
class CancelWithoutNotifyPool(ThreadedPool):
    """Takes Future.cancel() for all that a cancellation needs."""

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._lock:
            chosen = [waiting for waiting in self._waiting if waiting.issue.issue_id == issue_id]
            for submission in chosen:
                self._waiting.remove(submission)
        for submission in chosen:
            with self._inside():
                try:
                    submission.future.cancel()
                except BaseException:
                    logger.exception("a done-callback of %s raised", issue_id)
                self._finish(submission, interruption(submission.issue))
        return bool(chosen)


@flawed("LL102", "cancel() ends the future but never calls the completion.", bug=CANCEL)
class CancelForgetsCompletionPool(ThreadedPool):
    """Assumes that whoever cancels needs no news of it."""

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._lock:
            chosen = [waiting for waiting in self._waiting if waiting.issue.issue_id == issue_id]
            for submission in chosen:
                self._waiting.remove(submission)
        for submission in chosen:
            withdraw(submission.future)
            self._release(submission)
        return bool(chosen)


@flawed(
    "LL304",
    "A future cancelled between the look and the claim is run all the same.",
    bug=CANCEL,
    race=True,
)
class ClaimIgnoredPool(ThreadedPool):
    """Asks cancelled() first and then ignores what set_running_or_notify_cancel() says."""

    def _execute(self, submission: Submission) -> None:
        if submission.future.cancelled():
            super()._execute(submission)
            return
        with self._inside():
            submission.future.set_running_or_notify_cancel()
            self._finish(submission, self._run(submission.issue))


@flawed(
    "LL106",
    "A batch is failed as a whole; the one cancelled future in it raises and ends the worker.",
    bug=CANCEL,
    also=("LL101",),
)
class BatchPool(ThreadedPool):
    """Takes up to four issues at once; after an error the rest of the batch fails with it."""

    def _take_batch(self) -> list[Submission]:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(4, len(self._waiting)))]
            if not batch:
                self._workers -= 1
            return batch

    def _work(self) -> None:
        while batch := self._take_batch():
            with self._inside():
                self._run_batch(batch)

    def _run_batch(self, batch: list[Submission]) -> None:
        while batch:
            submission = batch[0]
            result = interruption(submission.issue)
            if submission.future.set_running_or_notify_cancel():
                try:
                    result = checked(self._process(submission.issue))
                except BaseException as error:
                    self._fail(batch, error)
                    return
            self._finish(submission, result)
            batch.pop(0)

    def _fail(self, batch: list[Submission], error: BaseException) -> None:
        for submission in batch:
            result = failure(submission.issue, error)
            submission.future.set_result(result)
            self._deliver(submission, result)
            self._release(submission)


@flawed(
    "LL101",
    "cancel() takes every submission of the id out of the queue and ends the first only.",
    bug=CANCEL,
    also=("LL402",),
)
class CancelsFirstOnlyPool(ThreadedPool):
    """Forgets that one id may be submitted twice."""

    def cancel(self, issue_id: str) -> bool:
        """Cancel the waiting submission of that id; True if there was one."""
        with self._lock:
            chosen = [waiting for waiting in self._waiting if waiting.issue.issue_id == issue_id]
            for submission in chosen:
                self._waiting.remove(submission)
            self._discarding += len(chosen[:1])
        self._discard_all(chosen[:1])
        return bool(chosen)


@flawed(
    "LL302",
    "cancel() and a worker take the same two locks in opposite order.",
    bug=CANCEL,
    race=True,
)
class LockOrderPool(ThreadedPool):
    """Has a lock of its own for what was cancelled, besides the pool's."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._cancelled_lock = threading.Lock()
        self._cancelled_ids: set[str] = set()

    def cancel(self, issue_id: str) -> bool:
        """Cancel every waiting submission of that id; True if there was one."""
        with self._cancelled_lock:
            self._cancelled_ids.add(issue_id)
            with self._lock:
                chosen = [waiting for waiting in self._waiting if waiting.issue.issue_id == issue_id]
                for submission in chosen:
                    self._waiting.remove(submission)
                self._discarding += len(chosen)
        self._discard_all(chosen)
        return bool(chosen)

    def _take(self) -> Submission | None:
        with self._lock:
            submission = self._waiting.popleft() if self._waiting else None
            if submission is None:
                self._workers -= 1
                return None
            with self._cancelled_lock:
                self._cancelled_ids.discard(submission.issue.issue_id)
            return submission
