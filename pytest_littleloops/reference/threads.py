"""The threads of a pool that was given no executor.

A `ThreadPoolExecutor` lends the threads; it knows how to start, join and end them. It is handed runners, at
most one a thread, and not issues: each call of its `submit` makes a future of its own with a lock of its
own, which nobody would look at, and which makes a pool of cheap issues three times slower than the bare
executor (`benchmarks/pool_throughput.py`).
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from pytest_littleloops.reference.submission import OwnCalls, SubmissionFuture, Work


class IssueThreads:
    """Runs submissions first in, first out on at most `max_workers` threads. Thread-safe."""

    def __init__(self, max_workers: int, own_calls: OwnCalls) -> None:
        self._own_calls = own_calls
        self._lender = ThreadPoolExecutor(max_workers, "issue-worker")
        self._max_runners = max_workers
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._runners = 0

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """The threads that were started so far."""
        return tuple(self._lender._threads)

    def submit(self, work: Work) -> SubmissionFuture:
        """Have `work` run; its future is the submission's own, and needs no executor to cancel it.

        Raises what the lender raises (it was shut down, no thread can be started) if nobody is there
        to run it; where a runner is, that one takes this work too.
        """
        with self._lock:
            self._waiting.append(work)
            if self._runners == self._max_runners:
                return work.future
            self._runners += 1
        begun = threading.Lock()
        try:
            self._lender.submit(self._run_waiting, begun)
        except BaseException as error:
            # The lender queues a runner before it starts the thread that may fail to start, and a thread
            # that rested may have taken it: then all is well.
            if begun.acquire(blocking=False):
                with self._lock:
                    self._runners -= 1
                    is_refused = not self._runners
                    stranded = [other for other in self._waiting if is_refused and other is not work]
                    if is_refused:
                        self._waiting.clear()
                # Accepted while this runner was on its way, as it would have taken them too.
                for other in stranded:
                    other.fail(error)
                if is_refused:
                    raise
            if not isinstance(error, Exception):
                raise
        return work.future

    def shutdown(self, wait: bool) -> None:
        """Start nothing more; what waits is still run. With `wait`, return when the threads ended."""
        self._lender.shutdown(wait)

    def _run_waiting(self, begun: threading.Lock) -> None:
        if not begun.acquire(blocking=False):
            return
        with self._own_calls:
            while True:
                with self._lock:
                    if not self._waiting:
                        # Under the lock, so that whoever adds work sees one runner less.
                        self._runners -= 1
                        return
                    work = self._waiting.popleft()
                work.run()
                del work  # or a resting thread would keep the last issue's future alive
