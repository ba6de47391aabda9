"""A plugin that writes what became of each promise, one line of JSON each, to the file `SCOREBOARD`."""

from __future__ import annotations

import json
import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a line for the call, and for whatever failed or was skipped around it."""
    if report.when != "call" and report.passed:
        return
    location, _, parameters = report.nodeid.partition("[")
    _, subject, promise = location.split("::")
    way, _, case = parameters.rstrip("]").partition("-")
    crash = getattr(report.longrepr, "reprcrash", None)
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(crash, "message", "")
    line = {
        "subject": subject,
        "promise": promise,
        "way": way,
        "case": case,
        "outcome": report.outcome,
        "told": str(told),
    }
    with open(os.environ["SCOREBOARD"], "a") as file:
        file.write(json.dumps(line) + "\n")
