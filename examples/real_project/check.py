"""Run the tests on little-loops, show what the ledger says, and compare it with what is expected.

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
VERSION = "1.47.0"
TIMEOUT = 180.0
_CODE = re.compile(r"^(LL\d{3}) ", re.MULTILINE)


def installed_version() -> str | None:
    """The version of little-loops that is installed, if any is."""
    try:
        return version("little-loops")
    except PackageNotFoundError:
        return None


def run_pytest(junit: Path) -> None:
    """Run the tests as a user would; the output goes to the terminal, the outcomes to `junit`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # The places of the ledger's message say all; what little-loops prints is left out.
    options = ["--show-capture=no", f"--junitxml={junit}", "-p", "littleloops"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options], cwd=HERE, env=environment, timeout=TIMEOUT, check=False
    )


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


def table(outcomes: dict[str, str]) -> tuple[list[str], bool]:
    """The lines of the comparison, and whether all agree."""
    rows = [("test", "expected", "found", "")]
    for name in [*EXPECTED, *(name for name in outcomes if name not in EXPECTED)]:
        expectation = EXPECTED.get(name)
        wanted = "nothing known" if expectation is None else " ".join(expectation.codes) or "passes"
        found = outcomes.get(name, "not run")
        story = "" if expectation is None else expectation.story
        rows.append((name, wanted, found, story if found == wanted else f"<-- differs: {story}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((*(row[column].ljust(widths[column]) for column in range(3)), row[3])).rstrip()
        for row in rows
    ]
    return lines, all(row[1] == row[2] for row in rows[1:])


def main() -> int:
    """Run, print, and return the exit code."""
    if installed_version() != VERSION:
        found = installed_version() or "none"
        print(f"needs little-loops {VERSION}, found {found}: pip install little-loops=={VERSION}")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "outcomes.xml"
        try:
            run_pytest(junit)
        except subprocess.TimeoutExpired:
            print(f"the tests did not end within {TIMEOUT:g} s")
        lines, is_as_expected = table(read_outcomes(junit))
    verdict = "All as expected." if is_as_expected else "NOT as expected."
    print("", *lines, "", f"little-loops {VERSION}, unmodified. {verdict}", sep="\n")
    return 0 if is_as_expected else 1


if __name__ == "__main__":
    sys.exit(main())
