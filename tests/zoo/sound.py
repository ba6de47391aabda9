"""A sound executor, queue and orchestrator, made for subclassing by the flawed ones."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import heapq
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from pytest_littleloops import Issue, WorkerResult

from .base import logger
from .registry import sound
from .shapes import PoolLike, QueueLike

Params = ParamSpec("Params")
Outcome = TypeVar("Outcome")

QUEUED = "queued"
IN_PROGRESS = "in_progress"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"
INTERRUPTED = "interrupted"


@dataclass(eq=False, slots=True)
class Task:
    """A call and its future."""

    future: concurrent.futures.Future[Any]
    call: Callable[[], object]


@sound("threads that end when nothing waits", kind="executor")
class SoundExecutor(concurrent.futures.Executor):
    """An executor that survives every BaseException and wakes the waiters of what it drops."""

    def __init__(self, max_workers: int = 2) -> None:
        if max_workers < 1:
            raise ValueError("max_workers must be at least 1")
        self._max_workers = max_workers
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._workers = 0
        self._threads: list[threading.Thread] = []
        self._is_stopped = False
        self._here = threading.local()

    def submit(
        self, fn: Callable[Params, Outcome], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> concurrent.futures.Future[Outcome]:
        """Queue a call; raises RuntimeError, and keeps nothing of it, when stopped or without a thread."""
        future: concurrent.futures.Future[Outcome] = concurrent.futures.Future()
        with self._lock:
            if self._is_stopped:
                raise RuntimeError("cannot submit: the executor is shut down")
            self._add_worker()
            self._enqueue(Task(future, functools.partial(fn, *args, **kwargs)))
        return future

    def _start_thread(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        return thread

    def _add_worker(self) -> None:
        if self._workers < self._max_workers:
            thread = self._start_thread(self._work)
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            self._workers += 1

    def _enqueue(self, task: Task) -> None:
        self._waiting.append(task)

    def _take(self) -> Task | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._workers -= 1
            return None

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            yield
        finally:
            self._here.depth -= 1

    def _is_inside(self) -> bool:
        return getattr(self._here, "depth", 0) > 0

    def _work(self) -> None:
        while (task := self._take()) is not None:
            with self._inside():
                self._perform(task)

    def _perform(self, task: Task) -> None:
        if task.future.set_running_or_notify_cancel():
            try:
                outcome = task.call()
            except BaseException as error:
                self._settle(task.future, error=error)
            else:
                self._settle(task.future, outcome)

    def _settle(
        self,
        future: concurrent.futures.Future[Any],
        outcome: object = None,
        error: BaseException | None = None,
    ) -> None:
        try:
            if error is None:
                future.set_result(outcome)
            else:
                future.set_exception(error)
        except BaseException:
            # Future lets a done-callback's SystemExit through; the thread serves other tasks too.
            logger.exception("a done-callback raised")

    def _drop(self, task: Task) -> None:
        try:
            task.future.cancel()
        except BaseException:
            logger.exception("a done-callback raised")
        task.future.set_running_or_notify_cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new tasks; drop the waiting ones if asked; wait unless called from inside a task."""
        with self._lock:
            self._is_stopped = True
            dropped = list(self._waiting) if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
        with self._inside():
            for task in dropped:
                self._drop(task)
        if wait and not self._is_inside():
            for thread in self._threads:
                thread.join()


class ContradictoryMark(RuntimeError):
    """A mark that contradicts the state of its issue."""

    def __init__(self, issue_id: str, origin: str | None, target: str) -> None:
        super().__init__(f"{issue_id} cannot go from {origin} to {target}")


_ORIGINS = {
    QUEUED: (IN_PROGRESS, COMPLETED, FAILED, CANCELLED, INTERRUPTED),
    COMPLETED: (IN_PROGRESS,),
    FAILED: (IN_PROGRESS,),
    CANCELLED: (QUEUED, IN_PROGRESS),
    INTERRUPTED: (QUEUED, IN_PROGRESS),
}


@sound("heap and states under one condition", kind="queue")
class SoundQueue:
    """P0 first, first come first served inside a priority; a terminal state is left by requeue only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._heap: list[tuple[str, int, str]] = []
        self._issues: dict[str, Issue] = {}
        self._states: dict[str, str] = {}
        self._order = itertools.count()

    def add(self, issue: Issue) -> bool:
        """Queue an issue; False if its id is known already."""
        with self._lock:
            if issue.issue_id in self._states:
                return False
            self._enqueue(issue)
            return True

    def _enqueue(self, issue: Issue) -> None:
        self._issues[issue.issue_id] = issue
        self._states[issue.issue_id] = QUEUED
        heapq.heappush(self._heap, (issue.priority, next(self._order), issue.issue_id))
        self._arrived.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Issue:
        """Take the first issue and mark it in progress in one step; raises queue.Empty."""
        with self._lock:
            if not self._arrived.wait_for(lambda: self._heap, timeout if block else 0):
                raise queue.Empty
            issue_id = heapq.heappop(self._heap)[2]
            self._states[issue_id] = IN_PROGRESS
            return self._issues[issue_id]

    def _mark(self, issue_id: str, target: str) -> None:
        with self._lock:
            origin = self._states.get(issue_id)
            if origin == target and target != QUEUED:
                return
            if origin not in _ORIGINS[target]:
                raise ContradictoryMark(issue_id, origin, target)
            if origin == QUEUED:
                self._heap = [entry for entry in self._heap if entry[2] != issue_id]
                heapq.heapify(self._heap)
            self._states[issue_id] = target
            if target == QUEUED:
                self._enqueue(self._issues[issue_id])

    def mark_completed(self, issue_id: str) -> None:
        """The issue, in progress, has succeeded."""
        self._mark(issue_id, COMPLETED)

    def mark_failed(self, issue_id: str) -> None:
        """The issue, in progress, has failed."""
        self._mark(issue_id, FAILED)

    def mark_cancelled(self, issue_id: str) -> None:
        """Somebody asked for the issue not to be worked on."""
        self._mark(issue_id, CANCELLED)

    def mark_interrupted(self, issue_id: str) -> None:
        """The run ended before the issue did."""
        self._mark(issue_id, INTERRUPTED)

    def requeue(self, issue_id: str) -> None:
        """Queue again an issue that is in progress or in a terminal state."""
        self._mark(issue_id, QUEUED)

    def state_of(self, issue_id: str) -> str:
        """The state of an issue; raises KeyError if it was never added."""
        with self._lock:
            return self._states[issue_id]

    def states(self) -> dict[str, str]:
        """The state of every issue, all read at one moment."""
        with self._lock:
            return dict(self._states)

    def empty(self) -> bool:
        """True if no issue is queued."""
        return self.qsize() == 0

    def qsize(self) -> int:
        """How many issues are queued."""
        with self._lock:
            return len(self._heap)

    def _ids(self, state: str) -> set[str]:
        return {issue_id for issue_id, current in self.states().items() if current == state}

    @property
    def in_progress_ids(self) -> set[str]:
        """The issues that were taken and not marked yet."""
        return self._ids(IN_PROGRESS)

    @property
    def completed_ids(self) -> set[str]:
        """The issues that have succeeded."""
        return self._ids(COMPLETED)

    @property
    def failed_ids(self) -> set[str]:
        """The issues that have failed."""
        return self._ids(FAILED)


@sound("counts what it is owed under a condition", kind="orchestrator")
class SoundOrchestrator:
    """Takes every issue, submits it, and ends when nothing is queued and nothing is owed."""

    def __init__(self, queue: QueueLike, pool: PoolLike) -> None:
        self._queue = queue
        self._pool = pool
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._owed = 0
        self._ended = 0
        self._is_all_completed = True

    def run(self) -> int:
        """Work until nothing is left; 0 if all that was taken is completed, 1 if not, 130 on SIGINT."""
        try:
            return self._work()
        except KeyboardInterrupt:
            return self._interrupt()

    def _work(self) -> int:
        while True:
            # Read before get(): a completion after it may have put an issue back.
            seen = self._ended
            try:
                issue = self._queue.get(block=False)
            except queue.Empty:
                if not self._await_completion(seen):
                    return 0 if self._is_all_completed else 1
            else:
                self._dispatch(issue)

    def _interrupt(self) -> int:
        self._pool.shutdown(wait=True, cancel_pending=True)
        while True:
            try:
                issue = self._queue.get(block=False)
            except queue.Empty:
                return 130
            self._mark(self._queue.mark_interrupted, issue.issue_id)

    def _await_completion(self, seen: int) -> bool:
        with self._lock:
            if self._ended == seen and self._owed > 0:
                self._changed.wait_for(lambda: self._ended != seen)
            return self._ended != seen

    def _dispatch(self, issue: Issue) -> None:
        self._expect()
        try:
            self._pool.submit(issue, self.on_worker_complete)
        except Exception:
            logger.exception("%s was refused", issue.issue_id)
            self._mark(self._queue.mark_failed, issue.issue_id)
            self._settle(is_completed=False)
        except BaseException:
            self._mark(self._queue.mark_interrupted, issue.issue_id)
            self._settle(is_completed=False)
            raise

    def _expect(self) -> None:
        with self._lock:
            self._owed += 1

    def _settle(self, *, is_completed: bool) -> None:
        with self._lock:
            self._owed -= 1
            self._ended += 1
            self._is_all_completed = self._is_all_completed and is_completed
            self._changed.notify_all()

    def _mark(self, mark: Callable[[str], None], issue_id: str) -> bool:
        try:
            mark(issue_id)
        except Exception:
            logger.exception("%s could not be marked", issue_id)
            return False
        return True

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Mark the issue by its result; never raises."""
        is_marked = self._mark(self._choose(result), result.issue_id)
        self._settle(is_completed=is_marked and result.success)

    def _choose(self, result: WorkerResult) -> Callable[[str], None]:
        if result.success:
            return self._queue.mark_completed
        return self._queue.mark_interrupted if result.interrupted else self._queue.mark_failed
