"""Explored tests in other people's runs: plugins away, a debugger, Ctrl-C, a terminal; and a ledger."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from pytest_littleloops.plugin import progress
from tests.plugin.test_checks import LOST_LINE, POOL
from tests.plugin.test_explore_marker import DEADLOCK, RACE, SOUND, THREADS, message_in, run, token_in

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
LONG = """
@pytest.mark.explore(schedules=1_000_000, strategy="random")
def test_long():
    both(str, str)
    with open("begun", "a") as file:
        file.write(".")
"""


@pytest.fixture
def three_tests(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with one test that fails, one that deadlocks and one that passes."""
    pytester.makepyfile(test_it=THREADS + RACE + DEADLOCK + SOUND)
    return pytester


def assert_as_ever(result: pytest.RunResult) -> None:
    """The three tests came out as they do in any run."""
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["E *schedule * of 200: failed; see it again:"])
    result.stdout.fnmatch_lines(["LL302 deadlock: MainThread, T0, T1 wait for ever"])
    result.stdout.fnmatch_lines(
        ["FAILED *::test_race - assert 1 == 2", "FAILED *::test_deadlock - LL302 *"]
    )


# -- other plugins and options


@pytest.mark.parametrize(
    "options",
    [
        "-p no:xdist -p no:junitxml -p no:faulthandler -p no:warnings",
        "-p no:logging",
        "-p no:cacheprovider",
        "-p no:capture",
        "-p no:threadexception -p no:unraisableexception",
        "-p littleloops -s",
        "--capture=sys",
        "-W error --strict-markers --strict-config",
        "--durations=3 -vv -l",
        "-o log_cli=true",
        "--setup-show",
    ],
)
def test_beside_some_other_option(three_tests: pytest.Pytester, options: str) -> None:
    """What exploring does not need may be missing, and what others do does not disturb it."""
    assert_as_ever(three_tests.runpytest_inprocess(*options.split()))


def test_without_a_terminal(three_tests: pytest.Pytester) -> None:
    """The exit code is all that is left."""
    result = three_tests.runpytest_inprocess("-p", "no:terminal")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result = three_tests.runpytest_inprocess("-p", "no:terminal", "-k", "sound")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("style", ["short", "line", "native"])
def test_each_style_of_traceback(three_tests: pytest.Pytester, style: str) -> None:
    """How to see it again is said wherever a message is."""
    result = three_tests.runpytest_inprocess(f"--tb={style}")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["FAILED *::test_race - *assert 1 == 2", "FAILED *::test_deadlock - LL302 *"]
    )
    if style in ("short", "native"):
        assert result.stdout.str().count("--littleloops-replay=LL1-") == 2


def test_with_autoload_off(three_tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-p littleloops` finds the entry point by its name."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert_as_ever(three_tests.runpytest_subprocess("-p", "littleloops"))


def test_fixtures_are_shown_in_each_schedule(pytester: pytest.Pytester) -> None:
    """`--setup-show` tells what is done, as often as it is done."""
    test = """
@pytest.fixture
def made():
    yield

@pytest.mark.explore(schedules=4)
def test_it(made, tmp_path):
    pass
"""
    result = run(pytester, test, "--setup-show")
    result.assert_outcomes(passed=1)
    lines = result.stdout.lines
    for done in ("SETUP   ", "TEARDOWN"):
        assert sum(f" {done} F made" in line for line in lines) == 5
        assert sum(f" {done} F tmp_path" in line for line in lines) == 1


def test_a_warning_of_a_schedule_is_reported(pytester: pytest.Pytester) -> None:
    """And fails the test where warnings are errors."""
    test = """
import warnings

@pytest.mark.explore(schedules=4)
def test_it():
    both(lambda: warnings.warn("careful"))
"""
    result = run(pytester, test, "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*UserWarning: careful"])
    result = pytester.runpytest_inprocess("-W", "error")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_it - UserWarning: careful"])


def test_a_test_that_returns_a_value_is_warned_of(pytester: pytest.Pytester) -> None:
    """As pytest does it; where warnings are errors, the test fails."""
    test = "@pytest.mark.explore(schedules=4)\ndef test_it():\n    return 1 == 2\n"
    result = run(pytester, test, "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*PytestReturnNotNoneWarning: *::test_it returned *bool*"])
    run(pytester, test, "-W", "error").assert_outcomes(failed=1)


def test_the_first_failure_ends_the_run(three_tests: pytest.Pytester) -> None:
    """`-x`."""
    three_tests.runpytest_inprocess("-x").assert_outcomes(failed=1)


def test_collecting_alone(three_tests: pytest.Pytester) -> None:
    """`--collect-only` lists explored tests and runs none."""
    result = three_tests.runpytest_inprocess("--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"test_it.py::test_{name}" for name in ("race", "deadlock", "sound")])


# -- a debugger


def test_post_mortem_is_where_the_test_failed(pytester: pytest.Pytester) -> None:
    """`--pdb` opens at the failing line of the failing schedule."""
    pytester.makepyfile(test_it=THREADS + RACE)
    result = pytester.run(*PYTEST, "--pdb", stdin=b"p account.balance * 1000\nq\n")
    result.stdout.fnmatch_lines(
        ["*entering PDB*", "> *test_it.py(*)test_race()", "-> assert account.balance == 2", "(Pdb) 1000"]
    )
    result.assert_outcomes(failed=1)


def test_a_breakpoint_in_the_body_has_all_the_time(pytester: pytest.Pytester) -> None:
    """Somebody who thinks at the prompt is nothing that blocks outside of control."""
    patience = 0.3
    test = "@pytest.mark.explore(schedules=1)\ndef test_it():\n    number = 41\n    breakpoint()\n"
    pytester.makepyfile(test_it=THREADS + test)
    done = subprocess.Popen(
        [*PYTEST, "-v", f"--littleloops-patience={patience}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=pytester.path,
    )
    assert done.stdin is not None
    assert done.stdout is not None
    try:
        # The warm-up comes first.
        for pause in (0, 3 * patience):
            read_until(done.stdout, b"(Pdb) ")
            time.sleep(pause)
            done.stdin.write(b"p number + 1\nc\n")
            done.stdin.flush()
        output = done.communicate(timeout=20)[0].decode()
    finally:
        done.kill()
    assert "LL502" not in output
    assert "(Pdb) " in output
    assert "42" in output
    assert re.search(r"^PASSED \(sampled, 1 schedule\)", output, re.MULTILINE), output


def test_quitting_the_debugger_ends_the_run(pytester: pytest.Pytester) -> None:
    """And no other schedule is begun."""
    test = "@pytest.mark.explore\ndef test_it():\n    breakpoint()\n\ndef test_after(): pass\n"
    pytester.makepyfile(test_it=THREADS + test)
    result = pytester.run(*PYTEST, stdin=b"q\n")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Exit: Quitting debugger*"])
    result.assert_outcomes()


def read_until(stream: IO[bytes], end: bytes) -> bytes:
    """What comes out of a process up to the first `end`."""
    read = b""
    while not read.endswith(end):
        byte = stream.read(1)
        assert byte, read
        read += byte
    return read


# -- a person at a terminal


def wait_for(path: Path, process: subprocess.Popen[str], size: int) -> None:
    """Until a process has written that many bytes to a file."""
    while not path.exists() or path.stat().st_size < size:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.mark.skipif(os.name == "nt", reason="a process of Windows gets no SIGINT from another")
def test_ctrl_c_ends_it_and_says_how_far_it_was(pytester: pytest.Pytester) -> None:
    """At once, not when the patience is over; what was not finished is not certified."""
    pytester.makepyfile(test_it=THREADS + LONG + "\ndef test_after(): pass\n")
    # A shell starts what runs in the background with the signal ignored, and that is inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*PYTEST, "--littleloops-patience=100"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=pytester.path,
    )
    try:
        wait_for(pytester.path / "begun", process, 20)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    begun = len((pytester.path / "begun").read_text()) - 1
    said = re.search(
        r"^littleloops: test_it\.py::test_long: not certified, "
        r"ended by KeyboardInterrupt after ([\d,]+) of 1,000,000 schedules$",
        output,
        re.MULTILINE,
    )
    assert said is not None, output
    assert int(said[1].replace(",", "")) - begun in (0, 1)
    assert "no tests ran" in output
    assert "Traceback" not in output


def output_on_a_terminal(folder: Path, *options: str) -> str:
    """What pytest writes where somebody looks."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*PYTEST, *options], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder)
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:
        pass  # the other side is closed
    finally:
        os.close(ours)
        process.wait(20)
    return output.decode()


PROGRESS = re.compile(r" schedule [\d,]+ of 20")
PRINTING = """
@pytest.mark.explore(schedules=20)
def test_it():
    print("printed")
"""


@pytest.mark.parametrize("options", [["-v", "-rP"], ["-s"]], ids=["captured", "not captured"])
def test_progress_is_shown_on_a_terminal(pytester: pytest.Pytester, options: list[str]) -> None:
    """Behind the test's name, and taken back at its end; nothing of it is in what the test printed."""
    pytester.makepyfile(test_it=THREADS + PRINTING)
    # Else it is said twice a second.
    pytester.makeconftest("from pytest_littleloops.plugin import progress\nprogress._PAUSE = 0.0\n")
    output = output_on_a_terminal(pytester.path, *options)
    shown = PROGRESS.findall(output)
    assert shown[-1] == " schedule 20 of 20"
    assert len(shown) > 10
    before, _, after = output.partition(shown[-1])
    assert "test_it.py" in before
    back = "\b" * len(shown[-1])
    assert back + " " * len(back) + back in after
    if "-s" not in options:
        assert after.startswith(back)
        printed = output.partition("Captured stdout call")[2]
        assert printed.splitlines()[1] == "printed"
        assert "\b" not in printed


@pytest.mark.parametrize("options", [[], ["-s", "-v"]])
def test_no_progress_where_nobody_looks(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """Not in a file, nor in a pipe."""
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    result = run(pytester, PRINTING, *options)
    result.assert_outcomes(passed=1)
    assert "\b" not in result.stdout.str()
    assert PROGRESS.search(result.stdout.str()) is None


# -- beside a ledger


def run_pool(pytester: pytest.Pytester, test: str, *args: str) -> pytest.RunResult:
    """Run one test file that has the pool."""
    pytester.makepyfile(test_it="import time\n" + POOL + test)
    return pytester.runpytest_inprocess(*args)


def test_a_lost_issue_is_found_in_a_schedule(pytester: pytest.Pytester) -> None:
    """The message is the ledger's, with the schedule, and no traceback of the plugin's before it."""
    test = """
@pytest.mark.explore(schedules=20)
def test_lost(ledger):
    pool = ledger.watch(SwallowingPool(refuse))
    pool.submit(Issue("BUG-229"), print)
    pool.shutdown()
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*_ test_lost _*", LOST_LINE, "*BUG-229  in_progress*"])
    result.stdout.fnmatch_lines(
        [
            "  schedule 1 of 20: failed, 2 switches after shrinking from *; see it again:",
            "    pytest *::test_lost*",
        ]
    )
    result.stdout.fnmatch_lines([f"FAILED *::test_lost - {LOST_LINE}"])
    result.stdout.no_fnmatch_line("*PromiseBroken*")


def test_an_issue_that_only_some_schedule_leaves_open_is_found(pytester: pytest.Pytester) -> None:
    """The pool is idle by its own account, and its issue is still in flight when the call ends."""
    test = """
class Idle(SwallowingPool):
    def __init__(self, process):
        super().__init__(process)
        self.active = 0

    def submit(self, issue, on_complete):
        super().submit(issue, on_complete).add_done_callback(lambda done: None)

    @property
    def active_count(self):
        return self._executor._work_queue.qsize()

@pytest.mark.explore(schedules=200)
def test_it(ledger):
    pool = ledger.watch(Idle(succeed))
    pool.submit(Issue("BUG-1"), lambda result: None)
    while pool.active_count:
        time.sleep(0.1)
    ledger.assert_all_terminal()
    pool.shutdown()
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_it - LL301 early-idle: BUG-1 (1 of 1 issues) *"])
    again = pytester.runpytest_inprocess(f"--littleloops-replay={token_in(result)}")
    again.stdout.fnmatch_lines(["FAILED *::test_it - LL301 early-idle: BUG-1 (1 of 1 issues) *"])


def test_each_schedule_has_its_own_ledger(pytester: pytest.Pytester) -> None:
    """What one schedule submitted no other one counts; a sound test passes."""
    test = """
@pytest.mark.explore(schedules=50)
def test_sound(ledger):
    assert ledger.states() == {}
    pool = ledger.watch(SwallowingPool(succeed))
    pool.submit(Issue("BUG-1"), lambda result: None)
    pool.shutdown()
    assert len(ledger.states()) == 1
"""
    result = run_pool(pytester, test, "-v")
    # Whether they are all that there are differs between versions of Python.
    result.stdout.re_match_lines([r".*::test_sound PASSED \((proved|sampled), 50 schedules, .*"])


def test_a_thread_that_lives_on_after_a_schedule_is_a_leak(pytester: pytest.Pytester) -> None:
    """A pool that nobody shut down."""
    test = """
@pytest.mark.explore(schedules=50)
def test_leaks(ledger):
    pool = ledger.watch(SwallowingPool(succeed))
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert ledger.settle(10)
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_leaks - LL401 leaked-thread: *"])


def test_a_pool_of_a_fixture_is_no_leak(pytester: pytest.Pytester) -> None:
    """Its teardown is a part of the schedule, and what that reveals is found."""
    test = """
@pytest.fixture
def pool(ledger):
    pool = ledger.watch(SwallowingPool(succeed))
    yield pool
    pool.shutdown()

@pytest.mark.explore(schedules=50)
def test_sound(pool, ledger):
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert ledger.settle(10)

@pytest.fixture
def dropping(pool):
    yield pool
    pool.submit(Issue("BUG-2"), lambda result: 1 / 0)

@pytest.mark.explore(schedules=50)
def test_revealed(dropping):
    pass
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_revealed - LL103 completion-raised: BUG-2 *"])


@pytest.mark.parametrize(
    "ending", ["assert 1 == 2", "pytest.fail('assert 1 == 2')"], ids=["assert", "fail"]
)
def test_a_schedule_that_fails_by_itself_tells_what_the_ledger_knows(
    pytester: pytest.Pytester, ending: str
) -> None:
    """The own failure stays the failure; the lost issue is a section of the report, once."""
    test = f"""
@pytest.mark.explore(schedules=20)
def test_lost(ledger):
    pool = ledger.watch(SwallowingPool(refuse))
    pool.submit(Issue("BUG-229"), print)
    pool.shutdown()
    {ending}
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_lost - *assert 1 == 2"])
    result.stdout.fnmatch_lines(["*Captured littleloops call*", LOST_LINE])
    assert result.stdout.str().count(LOST_LINE) == 1


def test_a_rule_can_be_allowed(pytester: pytest.Pytester) -> None:
    """In each schedule as in any test."""
    test = """
@pytest.mark.explore(schedules=20)
def test_lost(ledger):
    pool = ledger.watch(SwallowingPool(refuse))
    pool.submit(Issue("BUG-229"), print)
    pool.shutdown()
"""
    run_pool(pytester, test, "--littleloops-allow=LL102").assert_outcomes(passed=1)
    run_pool(pytester, test + "    ledger.allow('LL102')\n").assert_outcomes(passed=1)


def test_every_fixture_works_in_a_schedule(pytester: pytest.Pytester) -> None:
    """Those with threads of their own as well."""
    test = """
@pytest.mark.explore(schedules=30)
def test_pool(ledger, worker_pool, make_issue):
    assert worker_pool().submit(make_issue("BUG-1")).result().success

@pytest.mark.explore(schedules=30)
def test_gated(ledger, cancellable_pool, make_issue):
    cancellable_pool.submit(make_issue("BUG-2"))
    cancellable_pool.release("BUG-2")
    assert ledger.settle(10)

@pytest.mark.explore(schedules=30)
def test_rest(fake_future, manual_executor, issue_queue, worker_result, recording_orchestrator):
    assert fake_future.resolved(1).result() == 1
    future = manual_executor.submit(int, "7")
    manual_executor.run_next()
    assert future.result() == 7
"""
    run_pool(pytester, test).assert_outcomes(passed=3)


def test_a_deadlock_shows_stacks_of_the_test_alone(pytester: pytest.Pytester) -> None:
    """Every task with what it waits for and where; neither the engine's frames nor pytest's."""
    result = run(pytester, DEADLOCK)
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    stacks = output[output.index("LL302 deadlock") : output.index("the schedule, ")]
    for task in ("MainThread", "T0", "T1"):
        assert re.search(rf"^  {task}: \S", stacks, re.MULTILINE)
    files = set(re.findall(r'File "([^"]+)"', stacks))
    assert {Path(file).name for file in files} <= {"test_it.py", "threading.py"}
    assert stacks.count("with one, other:") == 2
    result.stdout.fnmatch_lines(["*next: see what each of them waits for, and who should have woken it"])


def test_issues_that_a_deadlock_left_open_are_shown(pytester: pytest.Pytester) -> None:
    """In a section of their own, since the schedule had no end at which they could be judged."""
    test = """
@pytest.mark.explore(schedules=50)
def test_stuck(ledger):
    ledger.record("BUG-1", "submitted")
    ledger.record("BUG-1", "completed")
    ledger.record("BUG-2", "submitted")
    threading.Event().wait()
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_stuck - LL302 deadlock: MainThread wait* for ever"])
    section = result.stdout.str().partition("Captured issues without an end call")[2]
    assert "BUG-2" in section.partition("short test summary")[0]
    assert "BUG-1" not in section
    assert result.stdout.str().count("Captured issues without an end call") == 1


@pytest.mark.parametrize(
    ("ending", "shown"),
    [("assert 1 == 2", "*assert 1 == 2"), ("pass", "LL101 lost-issue: BUG-1 (1 of 1 issues) *")],
    ids=["failed", "lost"],
)
def test_an_issue_without_an_end_is_shown_once(pytester: pytest.Pytester, ending: str, shown: str) -> None:
    """Where the test had failed before its teardown deadlocked, it told then what the ledger knew."""
    test = f"""
@pytest.fixture
def stuck():
    yield
    threading.Event().wait()

@pytest.mark.explore(schedules=50)
def test_it(ledger, stuck):
    ledger.record("BUG-1", "submitted")
    {ending}
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [shown, "*  then its teardown failed as well:", f"FAILED *::test_it - {shown}"]
    )
    assert len(re.findall(r"^ +step +1 .* queued", result.stdout.str(), re.MULTILINE)) == 1
    result.stdout.no_fnmatch_line("*issues without an end*")


def test_a_teardown_is_told_as_a_part_of_the_schedule(pytester: pytest.Pytester) -> None:
    """From where it does something; the fixtures of a test may do nothing then."""
    # A sleep ends when all others wait: to join a thread that has ended is no step on Python 3.13.
    test = """
import time

@pytest.fixture
def quiet():
    yield

@pytest.fixture
def ending():
    thread = threading.Thread(target=time.sleep, args=(2,))
    thread.start()
    yield thread
    thread.join()

@pytest.mark.explore(schedules=1)
def test_quiet(quiet):
    both(threading.Event().set)
    assert 1 == 2

@pytest.mark.explore(schedules=1, early_timeouts=0)
def test_late(quiet):
    def work():
        threading.Event().wait(1)
        assert 1 == 2
    threading.Thread(target=work).start()

@pytest.mark.explore(schedules=1, early_timeouts=0)
def test_ending(quiet, ending):
    both(lambda: time.sleep(1))
    assert 1 == 2
"""
    result = run(pytester, test)
    quiet, _, ending = result.stdout.str().partition("_ test_ending _")
    assert "Thread.join" in quiet
    assert "Event.wait" in quiet
    assert "the teardown" not in quiet
    before, _, after = ending.partition("(the teardown of the fixtures)\n")
    assert re.findall(r"Thread\.\w+", before) == ["Thread.start", "Thread.start", "Thread.join"]
    assert re.findall(r"Thread\.\w+", after) == ["Thread.join"]


def test_a_run_that_only_waits_makes_no_progress(pytester: pytest.Pytester) -> None:
    """LL303, where a plain test would hang."""
    test = """
@pytest.mark.explore(schedules=20, max_steps=500)
def test_polls():
    while True:
        time.sleep(1)
"""
    result = run_pool(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_polls - LL303 no-progress: *"])


def test_what_is_not_under_control_is_said(pytester: pytest.Pytester) -> None:
    """In the verdict of a test that passes."""
    test = """
import subprocess, sys

@pytest.mark.explore(schedules=1)
def test_starts():
    subprocess.run([sys.executable, "-S", "-c", ""])
"""
    result = run_pool(pytester, test, "-v")
    result.stdout.fnmatch_lines(["*PASSED (sampled, 1 schedule, outside of control: *(test_it.py:*"])


def test_two_runs_of_a_failure_read_the_same(pytester: pytest.Pytester) -> None:
    """Also where names of threads and addresses could differ."""
    first = run(pytester, RACE, "-p", "no:cacheprovider")
    second = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert message_in(first) == message_in(second)
