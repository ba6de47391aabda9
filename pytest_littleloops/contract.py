"""Contracts: test classes that other projects subclass, one promise a test.

    from pytest_littleloops.contract import WorkerPoolContract

    class TestMyPool(WorkerPoolContract):
        @pytest.fixture
        def pool_factory(self):
            return lambda process, max_workers: MyPool(process, max_workers)

Each promise is kept twice: once on real threads, and explored, under schedules and faults that the engine
chooses. A promise that is kept otherwise on purpose is named in `kept_otherwise`, with the reason; what an
object does not offer is skipped, with that reason.
"""

from __future__ import annotations

from pytest_littleloops.contracts.orchestrators import OrchestratorContract
from pytest_littleloops.contracts.pools import ExecutorContract, WorkerPoolContract
from pytest_littleloops.contracts.queues import IssueQueueContract

__all__ = ["ExecutorContract", "IssueQueueContract", "OrchestratorContract", "WorkerPoolContract"]
