"""What the plugin costs a suite that uses nothing of it: CPU time with it over `-p no:littleloops`.

Claims: at most 1.05 for one trivial test, at most 1.03 for 2,000. The two take turns, each in a process of
its own, and each pair gives a ratio; the median is the claim's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_nothing(number):
    pass
"""
SIZES = ((1, 1.05, 41), (2_000, 1.03, 11))


def cpu_seconds(folder: Path, *args: str) -> float:
    """User and system time of one run of pytest in `folder`."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    """Print a row per size of suite."""
    for count, limit, pairs in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "test_nothing.py").write_text(TESTS.format(count=count))
            cpu_seconds(folder)
            ratios = []
            for _ in range(pairs):
                without = cpu_seconds(folder, "-p", "no:littleloops")
                ratios.append(cpu_seconds(folder) / without)
        print(
            f"{count:>5,} trivial tests: CPU time with the plugin over without "
            f"{statistics.median(ratios):.3f} (min {min(ratios):.3f}, max {max(ratios):.3f}; "
            f"at most {limit})"
        )


if __name__ == "__main__":
    main()
