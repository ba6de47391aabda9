"""The fixtures. Each is a thin shell around a class that works without pytest, loaded on first use.

In a test that asks for the `ledger` as well, what these fixtures make is watched from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from pytest_littleloops.harness.fakes.factories import IssueFactory, WorkerResults
    from pytest_littleloops.harness.fakes.fake_future import FakeFutures
    from pytest_littleloops.harness.fakes.gated_pool import GatedPool
    from pytest_littleloops.harness.fakes.manual_executor import ManualExecutor
    from pytest_littleloops.harness.fakes.recording_orchestrator import RecordingOrchestrator
    from pytest_littleloops.harness.ledger import Ledger
    from pytest_littleloops.harness.nemesis import Nemesis
    from pytest_littleloops.reference.queue import IssueQueue

Made = TypeVar("Made")


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """A `Ledger`. At the end of the test's own call it is asserted that no issue is lost."""
    from pytest_littleloops.plugin.checks import open_ledger

    return open_ledger(request.node)


@pytest.fixture
def make_issue() -> IssueFactory:
    """Makes issues: `make_issue("BUG-229", priority="P0")`, `make_issue()`, `make_issue.many(3)`."""
    from pytest_littleloops.harness.fakes.factories import IssueFactory

    return IssueFactory()


@pytest.fixture
def worker_result() -> WorkerResults:
    """Makes results by outcome: `worker_result.completed(issue)`, `failed closed interrupted`."""
    from pytest_littleloops.harness.fakes.factories import WorkerResults

    return WorkerResults()


@pytest.fixture
def fake_future(request: pytest.FixtureRequest) -> FakeFutures:
    """Makes real futures in any state: `pending() running() resolved(v) failed(exc) cancelled()`."""
    from pytest_littleloops.harness.fakes.fake_future import FakeFutures
    from pytest_littleloops.plugin.settings import patience

    return FakeFutures(patience=patience(request.config))


@pytest.fixture
def manual_executor() -> ManualExecutor:
    """An `Executor` that runs what the test says, when it says: `run_next fail_next break_pool ...`."""
    from pytest_littleloops.harness.fakes.manual_executor import ManualExecutor

    return ManualExecutor()


@pytest.fixture
def nemesis(request: pytest.FixtureRequest) -> Iterator[Nemesis]:
    """Has jobs, completions and executors go wrong: `arm job callback cancel shutdown executor`.

    In an explored test the faults of its marker are choices that are made in every way.
    """
    from pytest_littleloops.harness.nemesis import Nemesis
    from pytest_littleloops.plugin.settings import patience

    ledger = request.getfixturevalue("ledger") if "ledger" in request.fixturenames else None

    def note(issue_id: str, fault: str) -> None:
        if ledger is not None and issue_id:
            ledger.record(issue_id, "fault", detail=fault)

    nemesis = Nemesis(note=note, patience=patience(request.config))
    yield nemesis
    nemesis.close()


@pytest.fixture
def issue_queue(request: pytest.FixtureRequest) -> IssueQueue:
    """An empty `IssueQueue`."""
    from pytest_littleloops.reference.queue import IssueQueue

    return _watched(request, IssueQueue())


@pytest.fixture
def worker_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., object]]:
    """Makes started reference pools: `worker_pool(process=None, max_workers=2)`.

    Without a process every issue succeeds. At the end the pools are shut down, what still waits in
    them is cancelled, and a thread that lives on is a failure.
    """
    from pytest_littleloops.harness.fakes.pool_factory import PoolFactory
    from pytest_littleloops.plugin.settings import patience

    with PoolFactory(patience=patience(request.config)) as factory:
        yield lambda *args, **kwargs: _watched(request, factory(*args, **kwargs))


@pytest.fixture
def cancellable_pool(request: pytest.FixtureRequest) -> Iterator[GatedPool]:
    """A reference pool whose issues wait for `release(id) fail(id, exc) cancel(id) crash(id, exc)`."""
    from pytest_littleloops.harness.fakes.gated_pool import GatedPool
    from pytest_littleloops.plugin.settings import patience

    with GatedPool(patience=patience(request.config)) as pool:
        yield _watched(request, pool)


@pytest.fixture
def recording_orchestrator(request: pytest.FixtureRequest) -> RecordingOrchestrator:
    """A real queue and a journal of every `on_worker_complete` call; `submit_all raise_on slow ...`."""
    from pytest_littleloops.harness.fakes.recording_orchestrator import RecordingOrchestrator
    from pytest_littleloops.plugin.settings import patience

    return _watched(request, RecordingOrchestrator(patience=patience(request.config)))


def _watched(request: pytest.FixtureRequest, made: Made) -> Made:
    if "ledger" not in request.fixturenames:
        return made
    ledger: Ledger = request.getfixturevalue("ledger")
    return ledger.watch(made)
