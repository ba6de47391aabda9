"""Executors with one defect each, made from the sound one."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .base import logger
from .registry import flawed
from .sound import SoundExecutor, Task

Params = ParamSpec("Params")
Outcome = TypeVar("Outcome")


@flawed(
    "LL106",
    "A task that raises SystemExit ends its thread; the tasks behind it stay pending.",
    kind="executor",
    bug="base or exotic exception",
)
class ExceptExceptionExecutor(SoundExecutor):
    """Guards its tasks against Exception only."""

    def _perform(self, task: Task) -> None:
        if task.future.set_running_or_notify_cancel():
            try:
                outcome = task.call()
            except Exception as error:
                self._settle(task.future, error=error)
            else:
                self._settle(task.future, outcome)


@flawed(
    "LL106",
    "A done-callback that raises SystemExit ends the thread that resolved the future.",
    kind="executor",
    bug="completion raises or re-enters",
)
class DoneCallbackKillsExecutor(SoundExecutor):
    """Resolves futures without a guard, as Future catches Exception itself."""

    def _settle(
        self,
        future: concurrent.futures.Future[object],
        outcome: object = None,
        error: BaseException | None = None,
    ) -> None:
        if error is None:
            future.set_result(outcome)
        else:
            future.set_exception(error)


@flawed(
    "LL105",
    "shutdown(cancel_futures=True) cancels but never notifies: done() is true, wait() sleeps on.",
    kind="executor",
    bug="shutdown loss",
    also=("LL402", "LL302"),
)
class CancelAsleepExecutor(SoundExecutor):
    """Cancels as ThreadPoolExecutor does (cpython #109934)."""

    def _drop(self, task: Task) -> None:
        try:
            task.future.cancel()
        except BaseException:
            logger.exception("a done-callback raised")


@flawed(
    "LL402",
    "A task cancelled while it waits is skipped and never notified; its waiters sleep on.",
    kind="executor",
    bug="cancel race",
    also=("LL302", "LL101"),
)
class SkippedTaskExecutor(SoundExecutor):
    """Skips what was cancelled."""

    def _perform(self, task: Task) -> None:
        if not task.future.cancelled():
            super()._perform(task)


@flawed(
    "LL101",
    "submit() after shutdown() returns a future that nobody will run.",
    kind="executor",
    bug="shutdown loss",
    also=("LL105", "LL402"),
)
class AcceptsAfterShutdownExecutor(SoundExecutor):
    """Only queues what comes after a shutdown."""

    def submit(
        self, fn: Callable[Params, Outcome], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> concurrent.futures.Future[Outcome]:
        """Queue a call."""
        if self._is_stopped:
            future: concurrent.futures.Future[Outcome] = concurrent.futures.Future()
            return future
        return super().submit(fn, *args, **kwargs)


@flawed(
    "LL101",
    "Thread.start fails and submit() says nothing; with no thread the task is never run.",
    kind="executor",
    bug="fault outside the job's guard",
    also=("LL402",),
)
class StartFailureHiddenExecutor(SoundExecutor):
    """Hopes for the next submission to start a thread."""

    def _add_worker(self) -> None:
        try:
            super()._add_worker()
        except RuntimeError:
            logger.warning("no thread could be started")


@flawed(
    "LL401",
    "One stop message for several threads; shutdown waits for the tasks and leaves the other threads.",
    kind="executor",
    bug="shutdown loss",
)
class OneStopMessageExecutor(SoundExecutor):
    """Threads take from a queue.Queue until they meet None."""

    def __init__(self, max_workers: int = 2) -> None:
        super().__init__(max_workers)
        self._messages: queue.Queue[Task | None] = queue.Queue()
        for _ in range(max_workers):
            threading.Thread(target=self._obey, daemon=True).start()

    def _add_worker(self) -> None:
        """All threads were started in advance."""

    def _enqueue(self, task: Task) -> None:
        self._messages.put(task)

    def _obey(self) -> None:
        while (task := self._messages.get()) is not None:
            self._perform(task)
            self._messages.task_done()
        self._messages.task_done()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new tasks; drop the waiting ones if asked; wait for the others."""
        with self._lock:
            was_stopped, self._is_stopped = self._is_stopped, True
            dropped = self._drain() if cancel_futures else []
            if not was_stopped:
                self._messages.put(None)
        for task in dropped:
            self._drop(task)
        if wait and not self._is_inside():
            self._messages.join()

    def _drain(self) -> list[Task]:
        dropped: list[Task] = []
        while True:
            try:
                task = self._messages.get_nowait()
            except queue.Empty:
                return dropped
            self._messages.task_done()
            if task is not None:
                dropped.append(task)
