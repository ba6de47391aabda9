"""Puts one specimen of the zoo through its contract, and says which codes it was flagged with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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
    is_explored = {is_explored}

    @pytest.fixture
    def {fixture}(self):
        return next(one.factory for one in SPECIMENS if one.name == {name!r})
"""


def flagged(specimen: Specimen, folder: Path, *, schedules: int) -> dict[str, list[str]]:
    """The codes, each with the promises that were broken; what is no code stands for itself.

    Raises AssertionError if the contract was not run to its end.
    """
    contract, fixture = _CONTRACTS[specimen.kind]
    is_explored = "processes" not in specimen.bug
    test = folder / f"test_{specimen.name}.py"
    text = _TEST.format(contract=contract, fixture=fixture, name=specimen.name, is_explored=is_explored)
    test.write_text(text)
    options = [
        "-p",
        "littleloops",
        "-p",
        "no:cacheprovider",
        "-q",
        "--tb=short",
        "--littleloops-patience=2",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--littleloops-schedules={schedules}", str(test)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"},
    )
    assert re.search(r"\d+ (passed|failed)", done.stdout), done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    broken = "?"
    for line in done.stdout.splitlines():
        heading = re.match(r"_+ (?:ERROR at \w+ of )?TestSpecimen\.(.*) _+$", line)
        code = re.match(r"(?:E +)?(?:[\w.]+: )?(LL\d{3}) [a-z-]+\b", line)
        summed_up = re.match(r"(?:FAILED|ERROR) \S+?::TestSpecimen::(.*?\]) - (\S+)", line)
        if heading is not None:
            broken = heading[1]
        elif code is not None:
            found.setdefault(code[1], []).append(broken)
        elif summed_up is not None and not summed_up[2].startswith("LL"):
            found.setdefault(summed_up[2].rstrip(":"), []).append(summed_up[1])
    return found


def is_right(specimen: Specimen, found: dict[str, list[str]]) -> bool:
    """Whether a flawed one was flagged with a code of its own, and a sound one with none."""
    return bool(set(found) & set(specimen.codes)) if specimen.code else not found
