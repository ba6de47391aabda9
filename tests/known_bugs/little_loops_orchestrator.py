"""The `ParallelOrchestrator` of little-loops, with a queue and a pool that are sound."""

from __future__ import annotations

import dataclasses
import importlib
import queue as standard
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_littleloops.contract import OrchestratorContract

configuration: Any = importlib.import_module("little_loops.config")
lifecycle: Any = importlib.import_module("little_loops.issue_lifecycle")
parallel: Any = importlib.import_module("little_loops.parallel")


class QueueOfItems:
    """A queue that gives out items, and None where the other raises."""

    skipped_count = 0
    skipped_ids = ()

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def add_many(self, issues: list[Any]) -> int:
        """All that there are were added already."""
        return len(issues)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next item, or None."""
        try:
            return SimpleNamespace(issue_info=self._queue.get(block, timeout))
        except standard.Empty:
            return None


class PoolOfWorkers:
    """A pool that gives results of another class, and answers what is asked about its workers."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def submit(self, issue: Any, on_complete: Callable[[Any], object] | None = None) -> Any:
        """Have the pool work on an issue; what this returns can only be waited for."""
        complete = on_complete and (lambda result: on_complete(own_result(result)))
        future = self._pool.submit(issue, complete)
        return SimpleNamespace(result=lambda timeout=None: own_result(future.result(timeout)))

    def start(self) -> None:
        """It was started already."""

    def get_active_stages(self) -> dict[str, Any]:
        """None are known."""
        return {}

    def remove_worker_stage(self, issue_id: str) -> None:
        """None are known."""

    def set_shutdown_requested(self, value: bool = True) -> None:
        """No process has to know."""

    def terminate_all_processes(self) -> None:
        """There are none."""

    def cleanup_all_worktrees(self) -> None:
        """There are none."""


def own_result(result: Any) -> Any:
    """The same as a result of little-loops, whose newer versions have more fields."""
    fields = {one.name: getattr(result, one.name) for one in dataclasses.fields(result)}
    return parallel.WorkerResult(**fields)


class Merges:
    """Merges whatever it is given, at once."""

    pending_count = 0

    def __init__(self) -> None:
        self.merged_ids: list[str] = []
        self.failed_merges: dict[str, str] = {}
        self.stash_pop_failures: dict[str, str] = {}

    def start(self) -> None:
        """Nothing has to be."""

    def queue_merge(self, result: Any) -> None:
        """It is merged."""
        self.merged_ids.append(result.issue_id)

    def wait_for_completion(self, timeout: float | None = None) -> bool:
        """All is merged."""
        return True

    def shutdown(self, wait: bool = True, timeout: float = 30.0) -> None:
        """Nothing is left."""


class Orchestrator(parallel.ParallelOrchestrator):  # type: ignore[misc]
    """Not on the main thread, and in a folder that is no repository."""

    def __init__(self, queue: Any, pool: Any) -> None:
        folder = Path(tempfile.mkdtemp())
        settings = parallel.ParallelConfig(max_workers=2, clean_start=True)
        super().__init__(settings, configuration.BRConfig(folder), repo_path=folder, verbose=False)
        # Without colors it prints no status past its logger.
        self.logger.use_color = False
        self._issues = [SimpleNamespace(issue_id=one) for one in queue.queued_ids]
        self.queue = QueueOfItems(queue)
        self.worker_pool = PoolOfWorkers(pool)
        self.merge_coordinator = Merges()

    def _setup_signal_handlers(self) -> None:
        """None can be set."""

    def _ensure_gitignore_entries(self) -> None:
        """Nothing to ignore."""

    def _cleanup_orphaned_worktrees(self, *args: Any, **arguments: Any) -> None:
        """There are none."""

    def _record_orchestration_result(self, *args: Any, **arguments: Any) -> None:
        """No database."""

    def _complete_issue_lifecycle_if_needed(self, *args: Any, **arguments: Any) -> bool:
        """No file to move."""
        return True

    def _scan_issues(self) -> list[Any]:
        """Those of the queue; of these it is asked the id."""
        return self._issues


class TestLittleLoopsOrchestrator(OrchestratorContract):
    """Closing an issue, which moves its file, always goes well."""

    @pytest.fixture
    def orchestrator_factory(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Any], Any]:
        """An orchestrator of this queue and pool."""
        monkeypatch.setattr(lifecycle, "close_issue", lambda *args, **arguments: True)
        return Orchestrator
