"""The suite with coverage, in two processes: the tests of the engine take as long as all others together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HALVES = (["tests/simulation"], ["tests", "--ignore=tests/simulation"])


def main() -> int:
    """Run both at once; what each prints comes when it has ended. The exit code is that of the first failure."""
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "coverage",
                "run",
                f"--data-file=.coverage.{number}",
                "-m",
                "pytest",
                *half,
            ],
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
    subprocess.run([sys.executable, "-m", "coverage", "combine", "--quiet"], cwd=ROOT, check=True)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
