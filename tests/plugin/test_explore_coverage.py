"""Explored tests under measurement: every core of coverage, and a trace function of the user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import threading
import pytest
from concurrent.futures import ThreadPoolExecutor

def work(number):
    doubled = number * 2
    return doubled

@pytest.mark.explore(schedules=60)
def test_work():
    seen = []

    def watch():
        seen.append(1)

    with ThreadPoolExecutor(2) as executor:
        results = list(executor.map(work, [1, 2]))
    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert results == [2, 4] and seen == [1]
"""
CORES = ["ctrace", "pytrace", *(["sysmon"] if sys.version_info >= (3, 12) else [])]


def lines_of(data: Path, file: str) -> set[int]:
    """The lines of a file that a measurement has seen."""
    from coverage import CoverageData

    read = CoverageData(str(data))
    read.read()
    (name,) = (one for one in read.measured_files() if one.endswith(file))
    return set(read.lines(name) or ())


@pytest.mark.parametrize("core", CORES)
def test_coverage_measures_the_tasks(core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that only tasks of an exploration run are measured, and the test passes."""
    (tmp_path / "test_it.py").write_text(TEST)
    monkeypatch.setenv("COVERAGE_CORE", core)
    # What measures this very run is not to measure that one too.
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE"):
        monkeypatch.delenv(name, raising=False)
    command = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        "--data-file=measured",
        "--source=.",
        "-m",
        "pytest",
    ]
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    text = TEST.splitlines()
    wanted = {text.index(line) + 1 for line in ("    doubled = number * 2", "        seen.append(1)")}
    assert wanted <= lines_of(tmp_path / "measured", "test_it.py")


def test_a_trace_function_of_the_user_sees_tasks(pytester: pytest.Pytester) -> None:
    """`threading.settrace` in the body reaches the threads of that schedule, and nobody's after it."""
    pytester.makepyfile(
        """
        import sys, threading
        import pytest

        @pytest.mark.explore(schedules=5)
        def test_traced():
            called = []
            def trace(frame, event, argument):
                called.append(frame.f_code.co_name)
            def traced(): pass
            before = threading.gettrace()
            threading.settrace(trace)
            try:
                thread = threading.Thread(target=traced)
                thread.start()
                thread.join()
            finally:
                threading.settrace(before)
            assert "traced" in called
            count = len(called)
            thread = threading.Thread(target=traced)
            thread.start()
            thread.join()
            assert len(called) == count
        """
    )
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1)
