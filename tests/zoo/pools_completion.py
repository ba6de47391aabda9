"""Pools that lose or double a completion: raising, re-entering and racing callbacks, early idle."""

from __future__ import annotations

from dataclasses import replace

from pytest_littleloops import Issue, WorkerResult

from .base import Completion, Process, ResultFuture, Submission, ThreadedPool, failure, interruption
from .registry import flawed
from .sound_pools import CompletionThreadPool

RAISES = "completion raises or re-enters"
DOUBLE = "double execution"
IDLE = "early idle"


@flawed(
    "LL102",
    "A callback that raises ends the one completion thread; no later completion is called.",
    bug=RAISES,
    also=("LL106",),
)
class CompletionThreadDiesPool(CompletionThreadPool):
    """Delivers all completions on one thread, without a guard."""

    def _deliver(self, submission: Submission, result: WorkerResult) -> None:
        if submission.on_complete is not None:
            submission.on_complete(result)


@flawed(
    "LL302",
    "The completion is called under the pool's lock; one that submits waits for itself.",
    bug=RAISES,
)
class CallbackUnderLockPool(ThreadedPool):
    """Keeps its lock while it delivers, so that idle cannot be read too early."""

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        self._resolve(submission, result)
        with self._lock:
            self._deliver(submission, result)
            self._active -= 1
            self._changed.notify_all()


@flawed("LL106", "A callback that raises ends the worker that called it.", bug=RAISES)
class CallbackKillsWorkerPool(ThreadedPool):
    """Guards the job but not its completion."""

    def _deliver(self, submission: Submission, result: WorkerResult) -> None:
        if submission.on_complete is not None:
            submission.on_complete(result)


@flawed(
    "LL302", "shutdown(wait=True) in a callback waits for the completion it is called from.", bug=RAISES
)
class WaitsForItselfPool(ThreadedPool):
    """Waits for idle in shutdown(), whoever calls it."""

    def _join(self) -> None:
        with self._lock:
            self._changed.wait_for(lambda: self._active == 0)
        super()._join()


@flawed("LL201", "A callback that raises is called a second time, with a failure.", bug=RAISES)
class CallbackRetriedPool(ThreadedPool):
    """Has one except clause for the job's errors and for the callback's."""

    def _deliver(self, submission: Submission, result: WorkerResult) -> None:
        if submission.on_complete is None:
            return
        try:
            submission.on_complete(result)
        except BaseException as error:
            super()._deliver(submission, failure(submission.issue, error))


@flawed(
    "LL103",
    "What the job returned is handed on unchecked, and the orchestrator's callback raises on it.",
    bug=RAISES,
    also=("LL102", "LL101"),
)
class UncheckedResultPool(ThreadedPool):
    """Trusts the annotation of its job."""

    def _run(self, issue: Issue) -> WorkerResult:
        try:
            return self._process(issue)
        except BaseException as error:
            return failure(issue, error)

    def _deliver(self, submission: Submission, result: WorkerResult) -> None:
        if submission.on_complete is not None:
            try:
                submission.on_complete(result)
            except BaseException as error:
                self.callback_errors.append((submission.issue.issue_id, error))


@flawed("LL301", "The count drops to 0 before the completion is delivered.", bug=IDLE)
class ReleasedTooEarlyPool(ThreadedPool):
    """Counts an issue out as soon as its job has ended."""

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        self._release(submission)
        self._resolve(submission, result)
        self._deliver(submission, result)


@flawed(
    "LL301",
    "Running jobs and pending callbacks are two counters; between them an issue is in neither.",
    bug=IDLE,
    race=True,
)
class TwoCountersPool(ThreadedPool):
    """Moves an issue from one counter to the other in two steps."""

    _pending_callbacks = 0

    @property
    def active_count(self) -> int:
        """How many jobs run or wait, and how many callbacks are pending."""
        with self._lock:
            running = self._active
        with self._lock:
            return running + self._pending_callbacks

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        self._release(submission)
        self._resolve(submission, result)
        with self._lock:
            self._pending_callbacks += 1
        self._deliver(submission, result)
        with self._lock:
            self._pending_callbacks -= 1


@flawed(
    "LL301",
    "shutdown(wait=True) returns when nothing waits, with jobs still running.",
    bug=IDLE,
    also=("LL401",),
)
class JoinReturnsEarlyPool(ThreadedPool):
    """Waits for its queue to be empty instead of for its work to be done."""

    def _take(self) -> Submission | None:
        with self._lock:
            if self._waiting:
                submission = self._waiting.popleft()
                self._changed.notify_all()
                return submission
            self._workers -= 1
            return None

    def _join(self) -> None:
        if not self._is_inside():
            with self._lock:
                self._changed.wait_for(lambda: not self._waiting)


@flawed(
    "LL102",
    "The callback is attached after the job was queued; a job that is faster has none.",
    bug=DOUBLE,
    race=True,
)
class AttachedTooLatePool(ThreadedPool):
    """Queues first and registers the completion second."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Queue the issue, then attach its completion."""
        submission = Submission(issue, None)
        with self._lock:
            self._refuse_if_stopped()
            self._add_worker()
            self._waiting.append(submission)
            self._active += 1
        submission.on_complete = on_complete
        return submission.future


@flawed(
    "LL201",
    "The submitter calls the completion too if the job ended while it was being registered.",
    bug=DOUBLE,
    race=True,
)
class RegisteredAndCheckedPool(ThreadedPool):
    """Looks again after submitting, in case the job was faster."""

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Queue the issue, and complete it here if it has ended already."""
        future = super().submit(issue, on_complete)
        if future.done() and not future.cancelled():
            self._deliver(Submission(issue, on_complete), future.result())
        return future


@flawed(
    "LL201",
    "Two workers look at the same first job, run it both, and remove one more than they ran.",
    bug=DOUBLE,
    also=("LL101", "LL106"),
    race=True,
)
class PeekThenPopPool(ThreadedPool):
    """Takes a job in two steps: look at it, then remove the first one."""

    def _take(self) -> Submission | None:
        with self._lock:
            submission = self._waiting[0] if self._waiting else None
            if submission is None:
                self._workers -= 1
                return None
        with self._lock:
            if self._waiting:
                self._waiting.popleft()
        return submission

    def _execute(self, submission: Submission) -> None:
        future = submission.future
        has_begun = future.running() or (future.done() and not future.cancelled())
        with self._inside():
            if has_begun or future.set_running_or_notify_cancel():
                self._finish(submission, self._run(submission.issue))
            else:
                self._finish(submission, interruption(submission.issue))


@flawed("LL201", "A failed job is reported, and is queued again as well.", bug=DOUBLE)
class ReportedAndRetriedPool(ThreadedPool):
    """Retries a failed job once, but reports the first attempt as if it were the last."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._retried: set[Submission] = set()

    def _finish(self, submission: Submission, result: WorkerResult) -> None:
        if not result.success and not result.interrupted and submission not in self._retried:
            again = Submission(submission.issue, submission.on_complete)
            self._retried.add(again)
            with self._lock:
                self._waiting.append(again)
                self._active += 1
        super()._finish(submission, result)


@flawed(
    "LL102",
    "Callbacks are kept by issue id; of two submissions of one id one is never completed.",
    bug="accounting drift, starvation",
)
class CallbackByIdPool(ThreadedPool):
    """Keeps one pending callback an id."""

    def __init__(self, process: Process, max_workers: int = 2) -> None:
        super().__init__(process, max_workers)
        self._callbacks: dict[str, Completion] = {}

    def submit(self, issue: Issue, on_complete: Completion | None = None) -> ResultFuture:
        """Remember the callback under the issue's id, then queue the issue."""
        with self._lock:
            self._refuse_if_stopped()
            if on_complete is not None:
                self._callbacks[issue.issue_id] = on_complete
        return super().submit(issue, None)

    def _deliver(self, submission: Submission, result: WorkerResult) -> None:
        with self._lock:
            callback = self._callbacks.pop(submission.issue.issue_id, None)
        super()._deliver(Submission(submission.issue, callback), result)


@flawed("LL203", "The completion of a failed job carries the branch name in place of the id.", bug=RAISES)
class BranchNameAsIdPool(ThreadedPool):
    """Builds a failure from the branch, the only name it has kept."""

    def _run(self, issue: Issue) -> WorkerResult:
        result = super()._run(issue)
        branch = f"parallel/{issue.issue_id.lower()}"
        return result if result.success else replace(result, issue_id=branch, branch_name=branch)


@flawed(
    "LL402",
    "A failed job is reported, but its future stays running for ever.",
    bug="base or exotic exception",
)
class FailureLeavesFuturePool(ThreadedPool):
    """Resolves the future of a success only."""

    def _resolve(self, submission: Submission, result: WorkerResult) -> None:
        if result.success:
            super()._resolve(submission, result)
