"""Explored tests beside other plugins: where one is missing that is said; `make nightly` has them all."""

from __future__ import annotations

import pytest

SLOW = """
import threading
import pytest

@pytest.mark.explore(schedules=10_000_000, strategy="random")
def test_long():
    threading.Thread(target=int).start()
"""


@pytest.mark.parametrize("method", ["signal", "thread"])
def test_a_timeout_ends_an_exploration(pytester: pytest.Pytester, method: str) -> None:
    """By a signal it fails the test, not certified; by a thread it ends the process, with stacks."""
    pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")
    pytester.makepyfile(SLOW)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--timeout=1", f"--timeout-method={method}", timeout=60
    )
    assert result.ret == 1
    if method == "signal":
        result.assert_outcomes(failed=1)
        result.stdout.re_match_lines([".*not certified, ended by .* after .* of 10,000,000 schedules"])
    else:
        result.stdout.fnmatch_lines(["*Stack of MainThread*"])


def test_randomly_shuffles_nothing_inside(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs in two orders need as many schedules for the same failure."""
    pytest.importorskip("pytest_randomly", reason="pytest-randomly is not installed")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    pytester.makepyfile(
        """
        import random, threading
        import pytest
        from pytest_littleloops import Cell

        @pytest.mark.explore(seed=3)
        @pytest.mark.parametrize("number", range(4))
        def test_lost(number):
            cell = Cell(random.random())
            first = cell.get()
            def add(): cell.set(cell.get() + 1)
            threads = [threading.Thread(target=add) for _ in range(2)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert cell.get() == first + 2
        """
    )
    needed = set()
    for seed in (1, 2):
        result = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider", f"--randomly-seed={seed}")
        result.assert_outcomes(failed=4)
        needed |= {line.partition("FAILED (")[2] for line in result.outlines if "FAILED (" in line}
    assert len({one.partition(")")[0] for one in needed}) == 1
