"""Bugs of other packages: flagged on the version that has them, and not on the one that has them no more.

The cases are in `tests/known_bugs`. Each version is installed in an environment of its own.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.known_bugs.flags import COLUMNS, OPTIONS, flagged_in
from tools.nightly import ROOT, python_with

CASES = ROOT / "tests" / "known_bugs"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the promises of a case say on one version."""

    case: str
    """The module in `tests/known_bugs`."""
    requirement: str = ""
    """What to install, with its version; nothing for what is in the standard library."""
    python: str = ""
    """The version of CPython; this one if it does not matter."""
    about: str
    """The promises to run, as pytest's `-k` has it."""
    codes: tuple[str, ...] = ()
    """One of these is flagged; nothing at all if there are none."""

    def __str__(self) -> str:
        version = self.requirement.partition("==")[2] or self.python
        end = "flagged" if self.codes else "silent"
        return " ".join((self.case, version, self.about, end))


ENDS = "test_every_job_is_completed_once_however_it_ends"
RAISES = "test_a_completion_that_raises_stops_no_other"
SHUT_DOWN = "test_a_shutdown_at_any_time_drops_no_issue"
WOKEN = "test_whoever_waits_is_woken_by_a_shutdown_that_cancels"
NO_THREAD = "test_a_submission_that_finds_no_thread_leaves_nothing"
PICKLED = "test_what_cannot_be_pickled_is_refused_or_completed"
REFUSED = "test_an_issue_that_the_pool_refuses_is_not_lost"
IDLE = "test_idle_means_that_nothing_is_owed"
AT_ONCE = "test_an_issue_that_is_handed_out_is_in_progress_at_once"
MORE_JOBS = "test_more_jobs_than_workers_are_all_completed"

CPYTHONS = ("3.11.7", "3.12.1", "3.13.0")
LITTLE_LOOPS = ("little-loops==1.47.0", "little-loops==1.167.0")


def of_cpython(version: str) -> list[Expected]:
    """The standard library of this version."""
    executor = functools.partial(Expected, case="cpython_executor", python=version)
    loop = functools.partial(Expected, case="asyncio_executor", python=version)
    pool = functools.partial(Expected, case="multiprocessing_pool", python=version)
    return [
        executor(about=f"{WOKEN} and (wait or as_completed)", codes=("LL105",)),
        executor(about=f"{RAISES} and SystemExit", codes=("LL106",)),
        executor(about=f"{MORE_JOBS} or {ENDS}"),
        loop(about=f"{ENDS} and StopIteration")
        if version == "3.13.0"
        else loop(about=f"{ENDS} and StopIteration", codes=("LL102",)),
        loop(about=f"{MORE_JOBS} or ({ENDS} and SystemExit)"),
        # A KeyError it takes for one of its own: the job stays, and join() waits for it for ever.
        pool(about=f"{RAISES} and KeyError", codes=("LL302",)),
        pool(about=f"{RAISES} and SystemExit", codes=("LL102", "LL106")),
        pool(about=MORE_JOBS),
    ]


def of_little_loops(requirement: str) -> list[Expected]:
    """All three parts of it."""
    pool = functools.partial(Expected, case="little_loops_pool", requirement=requirement)
    queue = functools.partial(Expected, case="little_loops_queue", requirement=requirement)
    orchestrator = functools.partial(Expected, case="little_loops_orchestrator", requirement=requirement)
    marked = "test_every_result_is_marked"
    return [
        pool(about=f"{ENDS} and SystemExit", codes=("LL102", "LL106")),
        pool(about=f"{IDLE} and explored", codes=("LL301",)),
        pool(about=f"{MORE_JOBS} or ({ENDS} and CancelledError)"),
        queue(about=f"{AT_ONCE} and explored", codes=("LL301",)),
        queue(about="test_each_issue_is_handed_out_once or test_the_most_urgent_comes_first"),
        orchestrator(about=f"{marked} and failed and P0", codes=("LL101",)),
        orchestrator(about=f"{REFUSED} and P3", codes=("LL104",)),
        orchestrator(about=f"({marked} and failed and P3) or (test_what_can_be_completed_is and real)"),
    ]


EXPECTED = [
    *(one for version in CPYTHONS for one in of_cpython(version)),
    Expected(
        case="pebble_threads",
        requirement="pebble==5.0.5",
        about=f"{ENDS} and SystemExit",
        codes=("LL106",),
    ),
    Expected(case="pebble_threads", requirement="pebble==5.0.6", about=f"{ENDS} or {MORE_JOBS}"),
    Expected(
        case="pebble_processes",
        requirement="pebble==5.1.0",
        about=PICKLED,
        codes=("LL101", "LL102", "LL105", "LL106"),
    ),
    Expected(case="pebble_processes", requirement="pebble==5.1.1", about=f"{PICKLED} or {MORE_JOBS}"),
    Expected(
        case="janus_queue",
        requirement="janus==0.6.0",
        about="test_each_issue_is_handed_out_once or (closed and join)",
        codes=("LL302", "LL402"),
    ),
    Expected(
        case="janus_queue",
        requirement="janus==0.6.1",
        about="test_each_issue_is_handed_out_once or (closed and join)",
    ),
    Expected(case="pykka_actor", requirement="pykka==1.1.0", about=SHUT_DOWN, codes=("LL105", "LL302")),
    Expected(
        case="pykka_actor",
        requirement="pykka==1.2.0",
        about=f"test_a_second_shutdown_changes_nothing or ({SHUT_DOWN} and real) or {MORE_JOBS}",
    ),
    # What is sent between the last look into the mailbox and the end of its thread is lost there still.
    Expected(
        case="pykka_actor",
        requirement="pykka==1.2.0",
        about=f"{SHUT_DOWN} and explored",
        codes=("LL105", "LL302"),
    ),
    Expected(
        case="apscheduler_jobs",
        requirement="apscheduler==3.11.3",
        about=NO_THREAD,
        codes=("LL101", "LL102", "LL104"),
    ),
    Expected(case="apscheduler_jobs", requirement="apscheduler==3.11.3", about=f"{ENDS} or {MORE_JOBS}"),
    *(one for requirement in LITTLE_LOOPS for one in of_little_loops(requirement)),
]


@functools.cache
def interpreter_of(version: str) -> str:
    """A CPython of exactly this version; skips the test if there is none, or another patch of it."""
    minor = version.rpartition(".")[0]
    found = subprocess.run([ROOT / ".ci" / "find-python", minor], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"CPython {minor} is not on this machine")
    interpreter = found.stdout.strip()
    tell = "import platform; print(platform.python_version())"
    here = subprocess.run([interpreter, "-c", tell], capture_output=True, text=True, check=True).stdout
    if here.strip() != version:
        pytest.skip(f"seen on CPython {version}; this is {here.strip()}, of which nothing is known")
    return interpreter


@functools.cache
def environment(requirement: str, version: str) -> str:
    """The interpreter of an environment that has it."""
    interpreter = interpreter_of(version) if version else sys.executable
    name = requirement.replace("==", "-") or f"cpython-{version}"
    return python_with(f"known-{name}", *filter(None, [requirement]), interpreter=interpreter)


def run(expected: Expected, folder: Path) -> dict[str, list[str]]:
    """What the promises are flagged with, that it is about."""
    python = environment(expected.requirement, expected.python)
    # In a folder of its own: this project's settings are not those of whoever uses the contract.
    test = shutil.copy(CASES / f"{expected.case}.py", folder / f"test_{expected.case}.py")
    # The plugin is one of little-loops, which would write into the home.
    options = *OPTIONS, "-p", "no:ll_history", "--littleloops-schedules=50", "-k", expected.about
    done = subprocess.run(
        [python, "-m", "pytest", *options, test],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": COLUMNS, "HOME": str(folder)},
    )
    print(done.stdout, done.stderr)
    return flagged_in(done.stdout)


@pytest.mark.parametrize("expected", EXPECTED, ids=str)
def test_it_is_flagged_where_it_is_and_only_there(expected: Expected, tmp_path: Path) -> None:
    """Under fifty schedules a promise."""
    found = run(expected, tmp_path)
    if expected.codes:
        assert set(found) & set(expected.codes), found
    else:
        assert not found
