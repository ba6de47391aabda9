"""Each fixture gives what the README says, and is watched where the ledger is there too."""

from __future__ import annotations

import pytest

EVERY_FIXTURE = """
from concurrent.futures import Executor, Future
import pytest_littleloops as ll

def test_types(
    ledger, make_issue, worker_result, fake_future, manual_executor, worker_pool, cancellable_pool,
    issue_queue, recording_orchestrator,
):
    assert isinstance(ledger, ll.Ledger)
    assert isinstance(make_issue("BUG-1"), ll.Issue)
    assert isinstance(worker_result.completed("BUG-1"), ll.WorkerResult)
    assert isinstance(fake_future.pending(), Future)
    assert isinstance(manual_executor, Executor)
    assert isinstance(worker_pool(), ll.WorkerPool)
    assert isinstance(cancellable_pool, ll.WorkerPool)
    assert isinstance(issue_queue, ll.IssueQueue)
    assert isinstance(recording_orchestrator.queue, ll.IssueQueue)
"""


def test_every_fixture_is_the_real_thing(pytester: pytest.Pytester) -> None:
    """A future is a future, an executor an executor, a pool a pool."""
    pytester.makepyfile(EVERY_FIXTURE)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_what_the_fixtures_make_is_watched_beside_a_ledger(pytester: pytest.Pytester) -> None:
    """Without a line of watching; an issue at its gate is in flight at the end of the call."""
    pytester.makepyfile(
        """
        def test_queue(ledger, issue_queue, make_issue):
            issue_queue.add(make_issue("BUG-1"))

        def test_gated(ledger, cancellable_pool, make_issue):
            cancellable_pool.submit(make_issue("BUG-2"), print)
            cancellable_pool.wait_until_running("BUG-2")

        def test_pool(ledger, worker_pool, make_issue):
            assert worker_pool().submit(make_issue("BUG-3")).result(10).success
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED *::test_queue - LL101 lost-issue: BUG-1 *",
            "FAILED *::test_gated - LL301 early-idle: BUG-2 (1 of 1 issues) still in flight *",
        ]
    )


def test_without_a_ledger_nothing_is_checked(pytester: pytest.Pytester) -> None:
    """A test may leave an issue where it is, if it asked for no judgement."""
    pytester.makepyfile(
        """
        def test_queue(issue_queue, cancellable_pool, make_issue):
            issue_queue.add(make_issue())
            cancellable_pool.submit(make_issue())
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_ledger_that_is_asked_for_in_the_body_is_checked(pytester: pytest.Pytester) -> None:
    """Also the first one of the run, whose hooks were not there when the call began."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_late(request, number):
            request.getfixturevalue("ledger").record("BUG-1", "submitted")
        """
    )
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "ERROR *test_late[[]0] - LL101 *",
        ]
    )
    result.stdout.fnmatch_lines(["FAILED *test_late[[]1] - LL101 *"])


def test_a_fixture_hangs_no_longer_than_its_patience(pytester: pytest.Pytester) -> None:
    """Then it is a failure with the stacks of all threads, and the rest of the run goes on."""
    pytester.makepyfile(
        """
        import threading

        GATE = threading.Event()

        def test_stuck(worker_pool, make_issue):
            worker_pool().submit(make_issue(), lambda result: GATE.wait(10))

        def test_next():
            GATE.set()
        """
    )
    result = pytester.runpytest_inprocess("--littleloops-patience=0.05")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*hang: waited 0.05 s for *BUG-101*", "*thread issue-worker_0:*"])
