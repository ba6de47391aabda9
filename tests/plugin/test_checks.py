"""A test that uses the ledger is checked at the end of its call and of its teardown."""

from __future__ import annotations

import pytest

POOL = """
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest
from pytest_littleloops import Issue, WorkerResult

def refuse(issue):
    raise ValueError("no branch")

def succeed(issue):
    return WorkerResult(issue.issue_id, True, "", Path())

class SwallowingPool:
    def __init__(self, process):
        self._executor = ThreadPoolExecutor(1)
        self._process = process

    def submit(self, issue, on_complete):
        future = self._executor.submit(self._process, issue)
        future.add_done_callback(lambda done: self._handle_completion(done, on_complete))
        return future

    def _handle_completion(self, future, on_complete):
        try:
            on_complete(future.result())
        except Exception:
            pass

    def shutdown(self):
        self._executor.shutdown()
"""

LOST = """
def test_lost(ledger):
    pool = ledger.watch(SwallowingPool(refuse))
    pool.submit(Issue("BUG-229"), print)
    pool.shutdown()
"""

LOST_LINE = "LL102 completion-skipped: BUG-229 (1 of 1 issues) never reached a terminal state"


def run(pytester: pytest.Pytester, test: str, *args: str) -> pytest.RunResult:
    """Run one test file, in a terminal that is wide enough for a whole line."""
    pytester.makepyfile(POOL + test)
    return pytester.runpytest_inprocess(*args)


def test_a_lost_issue_fails_the_test_without_an_assertion(pytester: pytest.Pytester) -> None:
    """The short summary begins with the code, and no traceback of the plugin's stands before it."""
    result = run(pytester, LOST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"FAILED *::test_lost - {LOST_LINE}".replace("[", "[[]")])
    result.stdout.fnmatch_lines(["*_ test_lost _*", LOST_LINE])
    result.stdout.no_fnmatch_line("*PromiseBroken*")


def test_an_assertion_in_the_test_keeps_its_traceback(pytester: pytest.Pytester) -> None:
    """The line of the test is shown, and the message is led by the code there too."""
    result = run(pytester, LOST + "    ledger.assert_all_terminal()\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       ledger.assert_all_terminal()", f"E       {LOST_LINE}"])
    result.stdout.fnmatch_lines([f"FAILED *::test_lost - {LOST_LINE}"])


def test_a_test_that_fails_by_itself_tells_what_the_ledger_knows(pytester: pytest.Pytester) -> None:
    """The own failure stays the failure; the lost issue is a section of the report."""
    result = run(pytester, LOST + "    assert 1 == 2\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured littleloops call*", LOST_LINE])
    result.stdout.fnmatch_lines(["FAILED *::test_lost - assert 1 == 2"])


def test_a_sound_test_passes_in_silence(pytester: pytest.Pytester) -> None:
    """Nothing lost, nothing said."""
    result = run(pytester, LOST.replace("refuse", "succeed"))
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*LL1*")


def test_a_skipped_test_is_not_checked(pytester: pytest.Pytester) -> None:
    """`pytest.skip` in the body means what it means."""
    result = run(pytester, LOST + "    pytest.skip('not today')\n")
    result.assert_outcomes(skipped=1)


def test_an_xfailing_test_expects_the_lost_issue(pytester: pytest.Pytester) -> None:
    """A known loss can be marked with xfail."""
    result = run(pytester, "@pytest.mark.xfail(strict=True)" + LOST)
    result.assert_outcomes(xfailed=1)


def test_a_rule_can_be_allowed_in_the_test(pytester: pytest.Pytester) -> None:
    """`ledger.allow` silences one rule of one test."""
    result = run(pytester, LOST + "    ledger.allow('LL102')\n")
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("rules", ["LL102", "completion-skipped,LL103"])
def test_a_rule_can_be_allowed_on_the_command_line(pytester: pytest.Pytester, rules: str) -> None:
    """By code or by name, for the whole run."""
    run(pytester, LOST, f"--littleloops-allow={rules}").assert_outcomes(passed=1)


def test_a_rule_can_be_allowed_in_the_ini_file(pytester: pytest.Pytester) -> None:
    """For the whole suite."""
    pytester.makeini("[pytest]\nlittleloops_allow = LL102, LL401\n")
    run(pytester, LOST).assert_outcomes(passed=1)


def test_the_command_line_wins_over_the_ini_file(pytester: pytest.Pytester) -> None:
    """What is given last counts."""
    pytester.makeini("[pytest]\nlittleloops_allow = LL102\n")
    run(pytester, LOST, "--littleloops-allow=LL101").assert_outcomes(failed=1)


def test_what_a_fixtures_shutdown_reveals_is_an_error_of_the_teardown(pytester: pytest.Pytester) -> None:
    """The test passed; the pool's shutdown, in a fixture, drops an issue afterwards."""
    test = """
@pytest.fixture
def pool(ledger):
    pool = ledger.watch(SwallowingPool(succeed))
    yield pool
    pool.submit(Issue("BUG-229"), lambda result: 1 / 0)
    pool.shutdown()

def test_passes(pool):
    pass
"""
    result = run(pytester, test)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["ERROR *::test_passes - LL103 completion-raised: BUG-229 *"])


def test_a_thread_that_lives_on_is_an_error_of_the_teardown(pytester: pytest.Pytester) -> None:
    """A pool that nobody shut down."""
    test = """
POOLS = []

def test_leaks(ledger):
    POOLS.append(ledger.watch(SwallowingPool(succeed)))
    POOLS[0].submit(Issue("BUG-1"), print)
    assert ledger.settle(10)

def test_clean_up():
    POOLS[0].shutdown()
"""
    result = run(pytester, test)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["ERROR *::test_leaks - LL401 leaked-thread: * was left running"])


def test_a_pool_of_a_wider_fixture_is_no_leak(pytester: pytest.Pytester) -> None:
    """A module keeps its pool for the tests to come."""
    test = """
@pytest.fixture(scope="module")
def module_pool():
    pool = SwallowingPool(succeed)
    yield pool
    pool.shutdown()

@pytest.mark.parametrize("number", range(3))
def test_uses_it(ledger, module_pool, number):
    ledger.watch(module_pool).submit(Issue("BUG-1"), print)
    assert ledger.settle(10)
"""
    run(pytester, test).assert_outcomes(passed=3)


def test_an_object_that_outlives_the_test_gets_its_class_back(pytester: pytest.Pytester) -> None:
    """The next test finds a pool that nobody watches."""
    test = """
@pytest.fixture(scope="module")
def module_pool():
    pool = SwallowingPool(succeed)
    yield pool
    pool.shutdown()

def test_watched(ledger, module_pool):
    ledger.watch(module_pool)
    assert type(module_pool) is not SwallowingPool
    assert isinstance(module_pool, SwallowingPool)

def test_unwatched(module_pool):
    assert type(module_pool) is SwallowingPool
"""
    run(pytester, test).assert_outcomes(passed=2)


def test_a_test_without_the_ledger_is_left_alone(pytester: pytest.Pytester) -> None:
    """Beside one that has it, a test that has none is neither checked nor charged."""
    test = (
        LOST
        + """
def test_other():
    pool = SwallowingPool(refuse)
    pool.submit(Issue("BUG-1"), print)
    pool.shutdown()
"""
    )
    run(pytester, test).assert_outcomes(passed=1, failed=1)


def test_what_watch_does_not_understand_is_an_error_that_tells_what_helps(
    pytester: pytest.Pytester,
) -> None:
    """The names that were looked for, what the object has, and how to write a mapping."""
    result = run(pytester, "def test_watch(ledger):\n    ledger.watch(threading.Event())\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*watch() does not understand Event: it has none of the usual names",
            "E*looked for: add, put, *submit*",
            "E*it has: *is_set*wait*",
            'E*ledger.watch(q, submitted="put", started="pop", completed="ack", failed="nack")',
        ]
    )


def test_a_plugins_hook_tells_what_an_object_means(pytester: pytest.Pytester) -> None:
    """A conftest knows a queue that nothing else knows, and is asked before the adapters."""
    pytester.makeconftest(
        """
        from pytest_littleloops import Lifecycle

        def pytest_littleloops_lifecycle(obj):
            if type(obj).__name__ == "Basket":
                return Lifecycle(submitted=("drop",), started=("grab",), completed=("eat",))
        """
    )
    test = """
class Basket:
    def drop(self, item): self.item = item
    def grab(self): return self.item
    def eat(self, item): pass

def test_basket(ledger):
    basket = ledger.watch(Basket())
    basket.drop("APPLE-1")
    basket.grab()
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *LL101 lost-issue: APPLE-1 (1 of 1 issues) *"])
