"""What a test leaves behind: threads that live on, futures that nobody ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from pytest_littleloops.harness.accounts.account import Finding
from pytest_littleloops.harness.accounts.books import Books
from pytest_littleloops.harness.accounts.liveness import Baseline
from pytest_littleloops.simulation.inside import patiently


def leaked_threads(
    baseline: Baseline,
    seen: set[threading.Thread],
    spared: set[threading.Thread],
    patience: float,
) -> list[Finding]:
    """A finding for each later thread among `seen` that outlives `patience` seconds.

    Libraries and test tools start threads of their own, some for good; a thread counts only if it had to
    do with an issue or belongs to something that is watched.
    """
    deadline = time.monotonic() + patience
    found = []
    for thread in baseline.later_threads():
        if thread in spared or thread not in seen:
            continue
        with patiently():
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            kind = "daemon thread" if thread.daemon else "thread"
            note = f"{kind}, started by this test and alive {patience:g} s after it"
            found.append(Finding(code="LL401", issue_id=thread.name, claim="was left running", note=note))
    return found


def unresolved_futures(books: Books, unresolved: Iterable[int]) -> list[Finding]:
    """A finding for each submission whose issue has ended while its future never will."""
    found = []
    for number in unresolved:
        submission = books.submissions.get(number)
        if submission is None or submission.rejected:
            continue
        found.append(
            Finding(
                code="LL402",
                issue_id=submission.issue_id,
                claim="has a future that nobody ended",
                note=f"submission {number}: result(), wait() and as_completed() on it never return",
            )
        )
    return found
