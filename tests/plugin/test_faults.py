"""Faults of an explored test: how they are chosen, where they are told, and that a token replays them."""

from __future__ import annotations

import re

import pytest

# Loaded here, since pytester forgets after each run what that run has imported.
import pytest_littleloops.harness.nemesis
import pytest_littleloops.plugin.exploration  # noqa: F401

POOL = """
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

class Pool:
    # Whatever the work raises is only logged.
    def __init__(self, process):
        self._executor = ThreadPoolExecutor(1)
        self._process = process

    def submit(self, issue, on_complete):
        def deliver(future):
            try:
                on_complete(future.result())
            except BaseException:
                logging.getLogger().exception("oops")
        future = self._executor.submit(self._process, issue)
        future.add_done_callback(deliver)
        return future

    def shutdown(self, wait=True):
        self._executor.shutdown(wait)

def work(ledger, nemesis, make_issue):
    pool = ledger.watch(Pool(nemesis.job))
    pool.submit(make_issue("BUG-229"), lambda result: None)
    pool.shutdown()
"""

EXPLORED = """
@pytest.mark.explore({arguments})
def test_no_issue_is_lost(ledger, nemesis, make_issue):
    work(ledger, nemesis, make_issue)
"""


def test_the_fault_that_struck_is_a_step_of_the_timeline(pytester: pytest.Pytester) -> None:
    """And the token replays it without the setting that chose it."""
    pytester.makepyfile(POOL + EXPLORED.format(arguments=""))
    pytester.runpytest("-p", "littleloops").assert_outcomes(passed=1)
    result = pytester.runpytest("-p", "littleloops", "--littleloops-faults=worker-raises,cancel")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*LL102 completion-skipped: BUG-229*", "*step *fault: worker-raises*"])
    token = re.search(r"--littleloops-replay=(\S+)", result.stdout.str())
    assert token is not None
    again = pytester.runpytest("-p", "littleloops", f"--littleloops-replay={token[1]}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*fault: worker-raises*"])


def test_the_marker_and_the_ini_file_choose(pytester: pytest.Pytester) -> None:
    """The marker wins."""
    pytester.makeini("[pytest]\nlittleloops_faults = worker-raises\n")
    pytester.makepyfile(POOL + EXPLORED.format(arguments=""))
    pytester.runpytest("-p", "littleloops").assert_outcomes(failed=1)
    pytester.makepyfile(POOL + EXPLORED.format(arguments="faults=('worker-slow',)"))
    pytester.runpytest("-p", "littleloops").assert_outcomes(passed=1)


def test_in_a_plain_test_it_is_called_by_hand(pytester: pytest.Pytester) -> None:
    """The option changes nothing there."""
    pytester.makepyfile(
        POOL
        + """
def test_as_it_is(ledger, nemesis, make_issue):
    work(ledger, nemesis, make_issue)

def test_armed(ledger, nemesis, make_issue):
    nemesis.arm("worker-raises", "BUG-229")
    work(ledger, nemesis, make_issue)
"""
    )
    result = pytester.runpytest("-p", "littleloops", "--littleloops-faults=worker-raises")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*step *fault: worker-raises*"])


@pytest.mark.parametrize(
    ("arguments", "option", "text"),
    [
        (
            "faults=('sabotage',)",
            "",
            "*: there is no fault 'sabotage'; the faults are worker-raises, *",
        ),
        ("faults='cancel'", "", "*explore(): faults must be several names, such as ('cancel',)*"),
        ("", "--littleloops-faults=gremlins", "*--littleloops-faults: there is no fault 'gremlins'; *"),
    ],
)
def test_an_unknown_name_is_a_usage_error(
    pytester: pytest.Pytester, arguments: str, option: str, text: str
) -> None:
    """It lists the known ones."""
    pytester.makepyfile(POOL + EXPLORED.format(arguments=arguments))
    result = pytester.runpytest("-p", "littleloops", *option.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([text])
