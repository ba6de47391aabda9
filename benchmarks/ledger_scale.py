"""How the ledger grows: time and memory at 10,000, 100,000 and 1,000,000 issues of four events each.

Claims: both grow linearly (the figures per issue of the largest and the smallest run differ by less than
half), and an issue with four events costs at most 1 KB, verification included. Each size runs in a process
of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

SIZES = (10_000, 100_000, 1_000_000)
EVENTS = ("queued", "started", "completion", "completed")


def measure(issues: int) -> tuple[float, float, float]:
    """Seconds to record, seconds to verify, and bytes of peak memory an issue."""
    from pytest_littleloops.harness.ledger import Ledger

    ledger = Ledger()
    # An id is part of an issue's cost.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    for number in range(issues):
        issue_id = f"BUG-{number}"
        for event in EVENTS:
            ledger.record(issue_id, event)
    recorded = time.perf_counter()
    assert ledger.violations() == ()
    verified = time.perf_counter()
    assert len(ledger.states()) == issues
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return recorded - begin, verified - recorded, (peak - before) * 1024 / issues


def main() -> None:
    """Print a row per size, and the ratios that the claims are about."""
    rows = {}
    for size in SIZES:
        output = subprocess.run(
            [sys.executable, __file__, str(size)], check=True, capture_output=True, text=True
        ).stdout
        record, verify, memory = (float(word) for word in output.split())
        rows[size] = record, verify, memory
        print(
            f"{size:>9,} issues: record {record:6.2f} s ({record / size * 1e6:5.2f} us an issue), "
            f"verify {verify:5.2f} s ({verify / size * 1e6:5.2f} us), {memory:5.0f} bytes an issue"
        )
    small, large = SIZES[0], SIZES[-1]
    time_ratio = sum(rows[large][:2]) / large / (sum(rows[small][:2]) / small)
    print(f"time an issue, {large:,} over {small:,}: {time_ratio:.2f}")
    print(f"memory an issue at {large:,} over 1,024 bytes: {rows[large][2] / 1024:.2f} (at most 1)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(*measure(int(sys.argv[1])))
    else:
        main()
