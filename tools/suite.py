"""The suite with coverage, in two processes that take about as long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
DPOR = TESTS / "simulation" / "test_dpor.py"
FIRST = (TESTS / "simulation", TESTS / "contracts")
NOT_HERE = (*FIRST, TESTS / "slow", TESTS / "known_bugs")
# Named one by one: what is given and ignored as well is not collected.
SECOND = [one for one in sorted(TESTS.iterdir()) if one not in NOT_HERE and any(one.glob("test_*.py"))]
SECOND += sorted(TESTS.glob("test_*.py"))
HALVES = ([*map(str, FIRST), f"--ignore={DPOR}"], [*map(str, SECOND), str(DPOR)])


def main() -> int:
    """Run both at once, and print what they said; the exit code is that of a failure, if there is one."""
    coverage = [sys.executable, "-m", "coverage"]
    running = [
        subprocess.Popen(
            [*coverage, "run", f"--data-file=.coverage.{number}", "-m", "pytest", *half],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, half in enumerate(HALVES)
    ]
    codes = []
    for one in running:
        output, _ = one.communicate()
        print(output, flush=True)
        codes.append(one.returncode)
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, check=True)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
