"""Run the examples, show what the ledger says, and compare it with what is expected.

Exits with 0 if every test ended as `expected.py` says: some must fail, each with its codes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.etree import ElementTree

from expected import EXPECTED

HERE = Path(__file__).resolve().parent
LITTLE_LOOPS = "1.47.0"
TIMEOUT = 180.0
"""Seconds that the tests of one folder may take."""
_CODE = re.compile(r"^(LL\d{3}) ", re.MULTILINE)


def installed_version(distribution: str) -> str:
    """The version of a distribution that is installed, or `none`."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"


def run_pytest(folder: str) -> dict[str, str]:
    """Run the tests of a folder as a user would, and return how each ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # The places in the ledger's message say all; what the examples print and log is left out.
    options = ["--show-capture=no", "-p", "littleloops"]
    with tempfile.TemporaryDirectory() as scratch:
        junit = Path(scratch) / "outcomes.xml"
        command = [sys.executable, "-m", "pytest", *options, f"--junitxml={junit}"]
        try:
            subprocess.run(command, cwd=HERE / folder, env=environment, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            print(f"the tests of {folder} did not end within {TIMEOUT:g} s")
        return read_outcomes(junit)


def read_outcomes(junit: Path) -> dict[str, str]:
    """How each test ended: `passes`, its codes, or the first line of what went wrong otherwise."""
    if not junit.exists():
        return {}
    outcomes: dict[str, list[str]] = {}
    for case in ElementTree.parse(junit).iter("testcase"):
        # A test that passes and then fails in its teardown is two of these.
        found = outcomes.setdefault(case.get("name", "?"), [])
        found += [describe(part) for part in case if part.tag in ("failure", "error", "skipped")]
    return {name: "; ".join(found) or "passes" for name, found in outcomes.items()}


def describe(part: ElementTree.Element) -> str:
    """The codes of a failure, in the order of the message; for anything else, what it is."""
    codes = list(dict.fromkeys(_CODE.findall(part.text or "")))
    if part.tag == "failure" and codes:
        return " ".join(codes)
    return f"{part.tag}: {part.get('message', '').partition(chr(10))[0]}"


def compare(folder: str, outcomes: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """A row per test: its name, what was expected, what was found, and the story behind it."""
    rows = []
    expected = EXPECTED[folder]
    for name in [*expected, *(name for name in outcomes if name not in expected)]:
        expectation = expected.get(name)
        wanted = "nothing known" if expectation is None else " ".join(expectation.codes) or "passes"
        found = outcomes.get(name, "not run")
        story = "" if expectation is None else expectation.story
        rows.append((name, wanted, found, story if found == wanted else f"<-- differs: {story}"))
    return rows


def main() -> int:
    """Run, print, and return the exit code."""
    found = installed_version("little-loops")
    if found != LITTLE_LOOPS:
        print(f"needs little-loops {LITTLE_LOOPS}, found {found}: pip install little-loops=={LITTLE_LOOPS}")
        return 2
    rows = [("test", "expected", "found", "")]
    for folder in EXPECTED:
        rows += compare(folder, run_pytest(folder))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    print()
    for row in rows:
        cells = (row[column].ljust(widths[column]) for column in range(3))
        print("  ".join((*cells, row[3])).rstrip())
    is_as_expected = all(row[1] == row[2] for row in rows[1:])
    verdict = "All as expected." if is_as_expected else "NOT as expected."
    where = "on a real git repository, and under many schedules"
    print(f"\nlittle-loops {LITTLE_LOOPS}, unmodified, {where}. {verdict}")
    return 0 if is_as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
