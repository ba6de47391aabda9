"""The reference pool's submissions a second over a bare `ThreadPoolExecutor` with a done-callback.

Claim: at least 0.8, with process functions that do next to nothing, so that all of it is the pool's cost.
The two take turns. Each pair gives a ratio, of which the median is printed, and so is that of the best
rates of each, which a busy machine disturbs less.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool

ISSUES = [Issue(f"BUG-{number}") for number in range(20_000)]
WORKERS = 2
PAIRS = 15


def work(issue: Issue) -> WorkerResult:
    """A process function that costs nothing but its result."""
    return WorkerResult(issue.issue_id, True, "", Path())


class Countdown:
    """Ends after as many calls as there are issues."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._left = len(ISSUES)
        self._lock = threading.Lock()

    def count(self, _: object) -> None:
        """One issue less."""
        with self._lock:
            self._left -= 1
            if not self._left:
                self.ended.set()


def bare() -> float:
    """Seconds that the standard library's executor takes for all issues."""
    countdown = Countdown()

    def done(future: Future[WorkerResult]) -> None:
        countdown.count(future.result())

    begin = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as executor:
        for issue in ISSUES:
            executor.submit(work, issue).add_done_callback(done)
        assert countdown.ended.wait(60)
    return time.perf_counter() - begin


def reference() -> float:
    """Seconds that the reference pool takes for all issues."""
    countdown = Countdown()
    begin = time.perf_counter()
    with WorkerPool(work, max_workers=WORKERS) as pool:
        for issue in ISSUES:
            pool.submit(issue, countdown.count)
        assert countdown.ended.wait(60)
    return time.perf_counter() - begin


def main() -> None:
    """Print the rates and the ratio."""
    ratios, rates = [], []
    bare(), reference()
    for _ in range(PAIRS):
        gc.collect()
        plain = bare()
        gc.collect()
        ours = reference()
        ratios.append(plain / ours)
        rates.append((len(ISSUES) / plain, len(ISSUES) / ours))
    plain_rate, our_rate = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"bare executor {plain_rate:,.0f} submissions/s, reference pool {our_rate:,.0f}")
    best_plain, best_ours = (max(column) for column in zip(*rates, strict=True))
    print(
        f"ratio of the pairs {statistics.median(ratios):.2f} (min {min(ratios):.2f}, "
        f"max {max(ratios):.2f}), of the best {best_ours / best_plain:.2f}; at least 0.8"
    )


if __name__ == "__main__":
    main()
