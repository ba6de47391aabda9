"""The `WorkerPool` of little-loops."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_littleloops.contract import WorkerPoolContract

configuration: Any = importlib.import_module("little_loops.config")
logs: Any = importlib.import_module("little_loops.logger")
parallel: Any = importlib.import_module("little_loops.parallel")
parser: Any = importlib.import_module("little_loops.issue_parser")


class TestLittleLoopsPool(WorkerPoolContract):
    """With the process function in place of the commands that it would run."""

    def make_issue(self, issue_id: str) -> Any:
        """An issue of its own."""
        return parser.IssueInfo(Path(f"{issue_id}.md"), "bugs", "P3", issue_id, "An issue")

    def make_result(self, issue_id: str) -> Any:
        """A result of its own."""
        return parallel.WorkerResult(issue_id, True, "", Path())

    @pytest.fixture
    def pool_factory(self) -> Callable[..., Any]:
        """A pool of so many workers, in a folder of its own."""

        def make(process: Callable[[Any], Any], max_workers: int) -> Any:
            folder = Path(tempfile.mkdtemp())
            settings = parallel.ParallelConfig(max_workers=max_workers)
            logger = logs.Logger(verbose=False)
            pool = parallel.WorkerPool(settings, configuration.BRConfig(folder), logger, repo_path=folder)
            pool._process_issue = process
            return pool

        return make
