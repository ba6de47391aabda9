"""pytest-littleloops: every submitted issue reaches exactly one terminal state, or the test says which not.

The public names are loaded on first use (PEP 562), so importing this package loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_littleloops.harness.accounts.explain import Timeline as Timeline
    from pytest_littleloops.harness.fakes.factories import IssueFactory as IssueFactory
    from pytest_littleloops.harness.fakes.factories import WorkerResults as WorkerResults
    from pytest_littleloops.harness.fakes.fake_future import FakeFuture as FakeFuture
    from pytest_littleloops.harness.fakes.fake_future import FakeFutures as FakeFutures
    from pytest_littleloops.harness.fakes.fake_future import StillPending as StillPending
    from pytest_littleloops.harness.fakes.gated_pool import GatedPool as GatedPool
    from pytest_littleloops.harness.fakes.manual_executor import ManualExecutor as ManualExecutor
    from pytest_littleloops.harness.fakes.pool_factory import PoolFactory as PoolFactory
    from pytest_littleloops.harness.fakes.recording_orchestrator import (
        RecordingOrchestrator as RecordingOrchestrator,
    )
    from pytest_littleloops.harness.ledger import Ledger as Ledger
    from pytest_littleloops.harness.ledger import PromiseBroken as PromiseBroken
    from pytest_littleloops.harness.nemesis import CompletionFailed as CompletionFailed
    from pytest_littleloops.harness.nemesis import Nemesis as Nemesis
    from pytest_littleloops.harness.nemesis import WorkerDied as WorkerDied
    from pytest_littleloops.harness.nemesis import WorkFailed as WorkFailed
    from pytest_littleloops.harness.patience import Hang as Hang
    from pytest_littleloops.harness.watching.lifecycle import Lifecycle as Lifecycle
    from pytest_littleloops.harness.watching.lifecycle import NotWatchable as NotWatchable
    from pytest_littleloops.reference.model import IllegalTransition as IllegalTransition
    from pytest_littleloops.reference.model import Issue as Issue
    from pytest_littleloops.reference.model import IssueState as IssueState
    from pytest_littleloops.reference.model import WorkerResult as WorkerResult
    from pytest_littleloops.reference.orchestrator import ExitCode as ExitCode
    from pytest_littleloops.reference.orchestrator import Orchestrator as Orchestrator
    from pytest_littleloops.reference.pool import WorkerPool as WorkerPool
    from pytest_littleloops.reference.queue import IssueQueue as IssueQueue
    from pytest_littleloops.simulation.cell import Cell as Cell
    from pytest_littleloops.simulation.explore import explore as explore
    from pytest_littleloops.simulation.explorer import Exploration as Exploration
    from pytest_littleloops.simulation.failures import SimulationFailure as SimulationFailure

_HOMES = {
    "reference.model": ("IllegalTransition", "Issue", "IssueState", "WorkerResult"),
    "reference.orchestrator": ("ExitCode", "Orchestrator"),
    "reference.pool": ("WorkerPool",),
    "reference.queue": ("IssueQueue",),
    "harness.accounts.explain": ("Timeline",),
    "harness.fakes.factories": ("IssueFactory", "WorkerResults"),
    "harness.fakes.fake_future": ("FakeFuture", "FakeFutures", "StillPending"),
    "harness.fakes.gated_pool": ("GatedPool",),
    "harness.ledger": ("Ledger", "PromiseBroken"),
    "harness.watching.lifecycle": ("Lifecycle", "NotWatchable"),
    "harness.fakes.manual_executor": ("ManualExecutor",),
    "harness.nemesis": ("CompletionFailed", "Nemesis", "WorkFailed", "WorkerDied"),
    "harness.patience": ("Hang",),
    "harness.fakes.pool_factory": ("PoolFactory",),
    "harness.fakes.recording_orchestrator": ("RecordingOrchestrator",),
    "simulation.cell": ("Cell",),
    "simulation.explore": ("explore",),
    "simulation.explorer": ("Exploration",),
    "simulation.failures": ("SimulationFailure",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not kept here: a test that runs pytest in pytest forgets modules, and must not mix two of one.
    value: object = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
