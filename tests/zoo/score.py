"""Puts one specimen of the zoo through its contract, and says which codes it was flagged with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.known_bugs.flags import COLUMNS, OPTIONS, flagged_in
from tests.zoo.registry import Specimen

ROOT = Path(__file__).resolve().parent.parent.parent

_CONTRACTS = {
    "pool": ("WorkerPoolContract", "pool_factory"),
    "executor": ("ExecutorContract", "executor_factory"),
    "queue": ("IssueQueueContract", "queue_factory"),
    "orchestrator": ("OrchestratorContract", "orchestrator_factory"),
}

_TEST = """
import pytest
from pytest_littleloops.contract import {contract}
from tests.zoo import SPECIMENS

class TestSpecimen({contract}):
    in_processes = {in_processes}

    @pytest.fixture
    def {fixture}(self):
        return next(one.factory for one in SPECIMENS if one.name == {name!r})
"""


def flagged(specimen: Specimen, folder: Path, *, schedules: int) -> dict[str, list[str]]:
    """The codes, each with the promises that were broken; what is no code stands for itself.

    Raises ValueError if the contract was not run to its end.
    """
    contract, fixture = _CONTRACTS[specimen.kind]
    test = folder / f"test_{specimen.name}.py"
    text = _TEST.format(
        contract=contract,
        fixture=fixture,
        name=specimen.name,
        in_processes="processes" in specimen.bug,
    )
    test.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, f"--littleloops-schedules={schedules}", str(test)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": COLUMNS},
    )
    return flagged_in(done.stdout + done.stderr)


def is_right(specimen: Specimen, found: dict[str, list[str]]) -> bool:
    """Whether a flawed one was flagged with a code of its own, and a sound one with none."""
    return bool(set(found) & set(specimen.codes)) if specimen.code else not found
