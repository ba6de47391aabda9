"""The reference system under every contract, under few schedules each; the second tier has more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_littleloops import IssueQueue, Orchestrator, WorkerPool
from pytest_littleloops.contract import IssueQueueContract, OrchestratorContract, WorkerPoolContract
from pytest_littleloops.reference.submission import Process


class TestWorkerPool(WorkerPoolContract):
    """Guarantees 1 to 6 of the pool."""

    schedules = 20

    @pytest.fixture
    def pool_factory(self) -> Callable[[Process, int], WorkerPool]:
        """On threads."""
        return lambda process, max_workers: WorkerPool(process, max_workers=max_workers)


class TestIssueQueue(IssueQueueContract):
    """The queue."""

    schedules = 40

    @pytest.fixture
    def queue_factory(self) -> Callable[[], IssueQueue]:
        """As it is."""
        return IssueQueue


class TestOrchestrator(OrchestratorContract):
    """The orchestrator with a reference queue and pool."""

    schedules = 20

    @pytest.fixture
    def orchestrator_factory(self) -> Callable[[IssueQueue, WorkerPool], Orchestrator]:
        """As it is."""
        return Orchestrator
