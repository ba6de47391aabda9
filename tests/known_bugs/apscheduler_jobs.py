"""The scheduler of APScheduler, as a pool: each issue is a job that is due now."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from pytest_littleloops.contract import WorkerPoolContract
from tests.known_bugs.results import result_of

background: Any = importlib.import_module("apscheduler.schedulers.background")
events: Any = importlib.import_module("apscheduler.events")
executors: Any = importlib.import_module("apscheduler.executors.pool")


class SchedulerPool:
    """Its events complete."""

    def __init__(self, process: Callable[[Any], Any], max_workers: int) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._submissions: dict[str, tuple[Any, Callable[[Any], object]]] = {}
        self._scheduler = background.BackgroundScheduler(
            executors={"default": executors.ThreadPoolExecutor(max_workers)},
            # However late it is, the job is due.
            job_defaults={"misfire_grace_time": None},
            timezone="UTC",
        )
        ended = (
            events.EVENT_JOB_EXECUTED
            | events.EVENT_JOB_ERROR
            | events.EVENT_JOB_MISSED
            | events.EVENT_JOB_MAX_INSTANCES
        )
        self._scheduler.add_listener(self._complete, ended)
        self._scheduler.start()

    def submit(self, issue: Any, on_complete: Callable[[Any], object]) -> None:
        """Add a job for the issue. Raises RuntimeError once it is shut down."""
        if not self._scheduler.running:
            raise RuntimeError("the scheduler is shut down")
        job_id = f"{issue.issue_id}-{next(self._numbers)}"
        self._submissions[job_id] = issue, on_complete
        self._scheduler.add_job(self._work_on, args=(issue,), id=job_id)

    def _work_on(self, issue: Any) -> Any:
        return self._process(issue)

    def _complete(self, event: Any) -> None:
        issue, on_complete = self._submissions.pop(event.job_id)

        def ended() -> Any:
            if event.code == events.EVENT_JOB_EXECUTED:
                return event.retval
            raise getattr(event, "exception", None) or RuntimeError("it was not run")

        on_complete(result_of(issue, ended))

    def shutdown(self, wait: bool = True) -> None:
        """Take no more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=wait)


class TestSchedulerPool(WorkerPoolContract):
    """A thread that looks what is due, and the threads of its executor."""

    @pytest.fixture
    def pool_factory(self) -> Callable[..., SchedulerPool]:
        """A scheduler with so many threads."""
        return SchedulerPool
