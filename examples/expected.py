"""What each test of the examples ends with: the rules that the ledger finds broken, or none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    """The codes that a test's failure has, and the story behind it."""

    codes: tuple[str, ...]
    story: str


EXPECTED = {
    "seed_pool": {
        "test_every_issue_ends[MyPool]": Expectation(
            ("LL102",), "twenty lines with the bug: two of four issues are never reported"
        ),
        "test_every_issue_ends[reference_pool]": Expectation((), "the reference pool, the same test"),
    },
    "real_project": {
        "test_worker_exits": Expectation(
            ("LL102",), "SystemExit passes `except Exception`: no completion, a worker less"
        ),
        "test_issue_behind_dead_workers": Expectation(
            ("LL102", "LL106"), "both workers are gone, the third issue waits for ever, shutdown returns"
        ),
        "test_run_behind_dead_workers": Expectation(
            ("LL102", "LL106"), "the same in a whole run: it turns until Ctrl-C, and returns 0"
        ),
        "test_sequential_issue_fails": Expectation(
            ("LL101",), "a P0 with success=False is never marked, and run() returns 0"
        ),
        "test_dispatch_raises": Expectation(
            ("LL104",), "submit raises: the issue stays in progress, yet is run later, unseen"
        ),
        "test_ordinary_ends": Expectation((), "success and failure through queue and pool"),
        "test_run_with_a_failure": Expectation((), "the issue is marked failed, and run() returns 1"),
        "test_run_with_merges": Expectation((), "both issues are merged, and run() returns 0"),
        "test_wait_for_the_pool[LittleLoops]": Expectation(
            ("LL301",), "active_count is 0 after the future ended, before the callback is counted"
        ),
        "test_wait_for_the_pool[Reference]": Expectation((), "the reference pool, 1,000 schedules"),
        "test_wait_for_the_queue[LittleLoops]": Expectation(
            ("LL301",), "get() pops an issue, then marks it in progress: in between it is nowhere"
        ),
        "test_wait_for_the_queue[Reference]": Expectation((), "the reference queue, 1,000 schedules"),
    },
}
"""By folder, and by test."""
