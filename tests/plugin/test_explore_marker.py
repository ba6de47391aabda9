"""The marker `explore`: where its arguments come from, what is said of a test, seeing a failure again."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

# Loaded here, since pytester forgets after each run what that run has imported.
import pytest_littleloops.plugin.exploration as exploration
from pytest_littleloops.simulation.schedule import Schedule

ARGUMENTS = "schedules, strategy, seed, preemptions, early_timeouts, faults, max_steps, replay"
STRATEGIES = "auto, dpor, pct, pos, random, dfs"

THREADS = """
import random
import threading
import pytest

def both(*functions):
    threads = [threading.Thread(target=function, name=f"T{n}") for n, function in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

class Account:
    # Loses a deposit that comes between the reading and the writing of another.
    def __init__(self):
        self.lock = threading.Lock()
        self.balance = 0

    def deposit(self):
        with self.lock:
            seen = self.balance
        with self.lock:
            self.balance = seen + 1

    def __repr__(self):
        return "an account"
"""

RACE = """
@pytest.mark.explore(schedules=200)
def test_race():
    account = Account()
    both(account.deposit, account.deposit)
    assert account.balance == 2
"""

SOUND = """
@pytest.mark.explore(schedules=20)
def test_sound():
    account = Account()
    both(account.deposit)
    assert account.balance == 1
"""

OF_ANOTHER = (
    "LL501 nondeterministic: the token was made for another test or parameter, or the code has changed"
)

DEADLOCK = """
@pytest.mark.explore(schedules=200)
def test_deadlock():
    left, right = threading.Lock(), threading.Lock()

    def take(one, other):
        with one, other:
            pass

    both(lambda: take(left, right), lambda: take(right, left))
"""


def run(pytester: pytest.Pytester, test: str, *args: str) -> pytest.RunResult:
    """Run one test file."""
    pytester.makepyfile(test_it=THREADS + test)
    return pytester.runpytest_inprocess(*args)


def token_in(result: pytest.RunResult) -> str:
    """The token that a failure message shows."""
    found = re.search(r"--littleloops-replay=(LL1-\w+)", result.stdout.str())
    assert found is not None, result.stdout.str()
    return found[1]


def command_in(result: pytest.RunResult) -> list[str]:
    """The arguments of pytest in the command that a failure message shows."""
    found = re.search(r"^\S*\s+pytest (.* --littleloops-replay=.*)$", result.stdout.str(), re.MULTILINE)
    assert found is not None, result.stdout.str()
    return shlex.split(found[1])


def message_in(result: pytest.RunResult) -> list[str]:
    """The lines of a failure that its traceback leads with E, without those that count schedules."""
    lines = [line for line in result.stdout.lines if line.startswith("E ")]
    return [line for line in lines if "schedule" not in line.partition("the schedule, ")[0]]


# -- where the arguments come from

SEEN = """
def test_schedules():
    gate = threading.Event()
    both(*[gate.wait] * 6, gate.set)

def test_seed():
    assert random.random() == random.Random(5).random()

def test_preemptions():
    account = Account()
    both(account.deposit, account.deposit)
    assert account.balance == 2

def test_early_timeouts():
    told = threading.Event()
    thread = threading.Thread(target=told.set)
    thread.start()
    assert told.wait(5)
    thread.join()

def test_max_steps():
    lock = threading.Lock()
    for _ in range(600):
        with lock:
            pass
"""
GIVEN = {
    "schedules": "150",
    "strategy": "dfs",
    "seed": "5",
    "preemptions": "0",
    "early_timeouts": "0",
    "max_steps": "400",
}


@pytest.mark.parametrize("source", ["marker", "option", "ini"])
def test_every_argument_arrives_from_every_source(pytester: pytest.Pytester, source: str) -> None:
    """Each of these tests shows another argument at work, and would fail or say otherwise without it."""
    args = ["-v"]
    marker = "pytestmark = pytest.mark.explore()\n"
    if source == "marker":
        marker = "".join(f", {name}={value}" for name, value in GIVEN.items() if name != "strategy")
        marker = f"pytestmark = pytest.mark.explore(strategy='dfs'{marker})\n"
    elif source == "option":
        args += [f"--littleloops-{name.replace('_', '-')}={value}" for name, value in GIVEN.items()]
    else:
        pytester.makeini("[pytest]\n" + "".join(f"littleloops_{key} = {GIVEN[key]}\n" for key in GIVEN))
    result = run(pytester, marker + SEEN, *args)
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "*::test_schedules PASSED (sampled, 150 schedules)*",
            "*::test_preemptions PASSED (proved, *",
            "*::test_max_steps PASSED (not certified, 1 schedule, 1 of them cut off at max_steps)*",
        ]
    )


def test_without_these_arguments_the_same_tests_say_otherwise(pytester: pytest.Pytester) -> None:
    """What the arguments of the test before change is found by default."""
    result = run(pytester, "pytestmark = pytest.mark.explore(schedules=160)\n" + SEEN, "-v")
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "*::test_schedules PASSED (sampled, 160 schedules, 80 traces, an estimated *% of all)*",
            "*::test_seed FAILED*",
            "*::test_preemptions FAILED*",
            "*::test_early_timeouts FAILED*",
            "*::test_max_steps PASSED (proved, 160 schedules, 1 trace)*",
        ]
    )


def test_the_marker_closest_to_the_test_wins_argument_by_argument(pytester: pytest.Pytester) -> None:
    """Of module, class and function; what a closer one does not say stays."""
    test = """
pytestmark = pytest.mark.explore(schedules=100, early_timeouts=0, strategy="random")

def test_of_the_module():
    both(str)

class TestOne:
    pytestmark = pytest.mark.explore(strategy="dfs")

    def test_of_the_class(self):
        both(str, str, str, str)

    @pytest.mark.explore(preemptions=0)
    def test_of_its_own(self):
        both(str)

    @pytest.mark.explore(schedules=3)
    def test_other_than_the_module(self):
        both(str, str, str, str)
"""
    result = run(pytester, test, "-v")
    result.stdout.fnmatch_lines(
        [
            "*::test_of_the_module PASSED (sampled, 100 schedules)*",
            "*::test_of_the_class PASSED (sampled, 100 schedules)*",
            "*::test_of_its_own PASSED (proved, 1 schedule, with at most 0 preemptions)*",
            "*::test_other_than_the_module PASSED (sampled, 3 schedules)*",
        ]
    )


def test_the_marker_of_a_subclass_is_closer_than_that_of_its_base(pytester: pytest.Pytester) -> None:
    """A class may say it anew for what it inherits."""
    test = """
@pytest.mark.explore(schedules=3)
class TestBase:
    def test_it(self):
        pass

@pytest.mark.explore(schedules=4)
class TestDerived(TestBase):
    pass
"""
    result = run(pytester, test, "-v")
    result.stdout.fnmatch_lines(
        [
            "*::TestBase::test_it PASSED (proved, 3 schedules, 1 trace)*",
            "*::TestDerived::test_it PASSED (proved, 4 schedules, 1 trace)*",
        ]
    )


def test_the_marker_of_a_parameter_set_is_closer_than_that_of_the_function(
    pytester: pytest.Pytester,
) -> None:
    """One set of parameters may need more schedules than the others."""
    test = """
@pytest.mark.explore(schedules=3)
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.explore(schedules=4))])
def test_it(n):
    pass
"""
    result = run(pytester, test, "-v")
    result.stdout.fnmatch_lines(
        [
            "*::test_it[[]1] PASSED (proved, 3 schedules, 1 trace)*",
            "*::test_it[[]2] PASSED (proved, 4 schedules, 1 trace)*",
        ]
    )


def test_the_marker_wins_over_the_command_line_over_the_ini_file(pytester: pytest.Pytester) -> None:
    """What is said closest to the test counts."""
    pytester.makeini("[pytest]\nlittleloops_schedules = 9\n")
    test = """
@pytest.mark.explore(schedules=5)
def test_says_so():
    pass

@pytest.mark.explore
def test_says_nothing():
    pass
"""
    result = run(pytester, test, "-v", "--littleloops-schedules=7")
    result.stdout.fnmatch_lines(
        [
            "*::test_says_so *(proved, 5 schedules, 1 trace)*",
            "*::test_says_nothing *(proved, 7 schedules, 1 trace)*",
        ]
    )
    result = pytester.runpytest_inprocess("-v")
    result.stdout.fnmatch_lines(
        [
            "*::test_says_so *(proved, 5 schedules, 1 trace)*",
            "*::test_says_nothing *(proved, 9 schedules, 1 trace)*",
        ]
    )


@pytest.mark.parametrize("source", ["marker", "ini"])
def test_a_token_on_the_command_line_wins(pytester: pytest.Pytester, source: str) -> None:
    """It is the schedule that somebody wants to see now."""
    failing = token_in(run(pytester, RACE))
    passing = Schedule(choices=(), early_timeouts=2).token()
    race = RACE
    if source == "marker":
        race = race.replace("schedules=200", f"replay={passing!r}")
    else:
        pytester.makeini(f"[pytest]\nlittleloops_replay = {passing}\n")
    result = run(pytester, race, f"--littleloops-replay={failing}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the schedule of the token: failed; see it again:"])


@pytest.mark.parametrize("source", ["marker", "ini"])
def test_a_token_can_stay_in_the_file(pytester: pytest.Pytester, source: str) -> None:
    """As a regression test: that schedule alone is run."""
    token = token_in(run(pytester, RACE))
    fixed = RACE.replace("== 2", ">= 1")
    if source == "marker":
        fixed = fixed.replace("schedules=200", f"replay={token!r}")
    else:
        pytester.makeini(f"[pytest]\nlittleloops_replay = {token}\n")
    result = run(pytester, fixed, "-v")
    result.stdout.re_match_lines([r".*::test_race PASSED \((replayed|sampled, 1 schedule)\b.*"])


# -- what is wrong is a usage error

WRONG = [
    ("schedules", "0", "schedules must be at least 1, not 0"),
    ("max_steps", "0", "max_steps must be at least 1, not 0"),
    ("preemptions", "-1", "preemptions must be at least 0, not -1"),
    ("early_timeouts", "-1", "early_timeouts must be at least 0, not -1"),
    ("strategy", "bfs", f"there is no strategy 'bfs'; the strategies are {STRATEGIES}"),
    ("replay", "nonsense", "'nonsense' is no token of a schedule; tokens begin with LL1-"),
    ("replay", "LL1-aaaa", "'LL1-aaaa' is damaged: copy it whole from the failure message"),
]


@pytest.mark.parametrize(
    ("name", "value", "said"), [*WRONG, ("seed", "often", "'often' is no whole number")]
)
@pytest.mark.parametrize("source", ["option", "ini"])
def test_a_wrong_setting_is_a_usage_error(
    pytester: pytest.Pytester, source: str, name: str, value: str, said: str
) -> None:
    """Also where no test is explored, naming the setting and what would be right."""
    where = f"littleloops_{name}" if source == "ini" else f"--littleloops-{name.replace('_', '-')}"
    if source == "ini":
        pytester.makeini(f"[pytest]\n{where} = {value}\n")
    result = pytester.runpytest_inprocess(*([f"{where}={value}"] if source == "option" else []))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {where}: {said}" in result.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *((f"{name}={value}", said) for name, value, said in WRONG if name not in ("strategy", "replay")),
        *((f"{name}={value!r}", said) for name, value, said in WRONG if name in ("strategy", "replay")),
        ("schedules=2.5", "schedules must be a whole number, not 2.5"),
        ("schedules=True", "schedules must be a whole number, not True"),
        ("seed='often'", "seed must be a whole number, not 'often'"),
        ("times=5", f"explore() takes no 'times'; it takes {ARGUMENTS}"),
        ("100", "explore() takes keywords only, for example schedules=100"),
    ],
)
def test_a_wrong_argument_of_the_marker_is_a_usage_error(
    pytester: pytest.Pytester, arguments: str, said: str
) -> None:
    """Before any test runs, naming the test and what would be right."""
    pytester.makepyfile(f"import pytest\n@pytest.mark.explore({arguments})\ndef test_it(): pass\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    assert "::test_it: " in result.stderr.str()
    assert said in result.stderr.str()


CANNOT = {
    "async_test": (
        "@pytest.mark.explore\nasync def test_it(): pass",
        "the event loop of an async test is not under control; explore what its threads do",
    ),
    "async_fixture": (
        "@pytest.fixture\nasync def loop(): pass\n@pytest.mark.explore\ndef test_it(loop): pass",
        "its fixture 'loop' is async, and needs an event loop in each schedule",
    ),
    "async_generator_fixture": (
        "@pytest.fixture\nasync def loop(): yield\n@pytest.mark.explore\ndef test_it(loop): pass",
        "its fixture 'loop' is async, and needs an event loop in each schedule",
    ),
    "unittest": (
        "import unittest as u\n@pytest.mark.explore\nclass TestIt(u.TestCase):\n  def test_it(self): pass",
        "a unittest.TestCase has its own way to run; make it a plain class or function",
    ),
    "hypothesis": (
        "@pytest.mark.explore\ndef test_it(): pass\ntest_it.is_hypothesis_test = True",
        "Hypothesis runs it many times by itself; call explore() inside it instead",
    ),
    "subtests": (
        "@pytest.mark.explore\ndef test_it(subtests): pass",
        "a subtest reports at once, whatever the schedule; parametrize it instead",
    ),
}


@pytest.mark.parametrize("kind", CANNOT)
def test_what_cannot_be_explored_is_a_usage_error(pytester: pytest.Pytester, kind: str) -> None:
    """Before any test runs, saying what to do instead."""
    test, said = CANNOT[kind]
    if kind == "subtests" and not hasattr(pytest, "Subtests"):
        pytest.skip("this pytest has no subtests")
    pytester.makepyfile("import pytest\n" + test)
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    result.stderr.fnmatch_lines([f"ERROR: *::test_it cannot be explored: {said}"])


def test_an_item_that_is_no_function_cannot_be_explored(pytester: pytest.Pytester) -> None:
    """What a plugin collects runs in its own way."""
    pytester.makeconftest(
        """
        import pytest

        class Line(pytest.Item):
            def runtest(self): pass

        class Lines(pytest.File):
            def collect(self):
                line = Line.from_parent(self, name="line")
                line.add_marker("explore")
                yield line

        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".lines":
                return Lines.from_parent(parent, path=file_path)
        """
    )
    pytester.makefile(".lines", "")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::line cannot be explored: it is no test function; call *"])


def test_a_token_for_several_explored_tests_is_a_usage_error(pytester: pytest.Pytester) -> None:
    """It belongs to one of them; others may be beside it that are not explored."""
    token = f"--littleloops-replay={token_in(run(pytester, RACE))}"
    result = run(pytester, RACE + SOUND + "\ndef test_plain(): pass\n", token)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "2 explored tests were selected; name the one, for example test_it.py::test_race"
    result.stderr.fnmatch_lines([f"ERROR: --littleloops-replay: a token belongs to one test, and {said}"])
    result = pytester.runpytest_inprocess(token, "-k", "race or plain")
    result.assert_outcomes(passed=1, failed=1, deselected=1)


def test_what_is_not_selected_is_not_looked_at(pytester: pytest.Pytester) -> None:
    """A wrong marker elsewhere does not stop the test that somebody asked for."""
    wrong = "\n@pytest.mark.explore(nonsense=1)\ndef test_wrong(): pass\n"
    run(pytester, SOUND + wrong, "-k", "sound").assert_outcomes(passed=1, deselected=1)


def test_the_marker_is_declared(pytester: pytest.Pytester) -> None:
    """`--strict-markers` knows it, and `--markers` and `--help` tell of it."""
    run(pytester, SOUND, "--strict-markers").assert_outcomes(passed=1)
    said = pytester.runpytest_inprocess("--markers").stdout.str()
    assert "@pytest.mark.explore(schedules=, strategy=, seed=, " in said
    said = pytester.runpytest_inprocess("--help").stdout.str()
    for name in ARGUMENTS.split(", "):
        assert f"--littleloops-{name.replace('_', '-')}=" in said
        assert f"littleloops_{name} (string):" in said


# -- what is said of a test


def test_each_explored_test_has_its_verdict_in_its_line(pytester: pytest.Pytester) -> None:
    """With `-v`: what was found, and how many schedules that took."""
    sampled = SOUND.replace("schedules=20", "schedules=20, strategy='random'").replace("sound", "sampled")
    bounded = SOUND.replace("schedules=20", "strategy='dfs', preemptions=0").replace("sound", "bounded")
    result = run(pytester, RACE + SOUND + sampled + bounded + "\ndef test_plain(): pass\n", "-v")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.re_match_lines(
        [
            r".*::test_race FAILED \(\d+ schedules\) +\[ 20%\]",
            r".*::test_sound PASSED \(proved, 20 schedules, 1 trace\) +\[ 40%\]",
            r".*::test_sampled PASSED \(sampled, 20 schedules\) +\[ 60%\]",
            r".*::test_bounded PASSED \(proved, 1 schedule, with at most 0 preemptions\) +\[ 80%\]",
            r".*::test_plain PASSED +\[100%\]",
        ]
    )


def test_without_v_a_test_is_a_dot(pytester: pytest.Pytester) -> None:
    """And no verdict is said that nobody asked for."""
    result = run(pytester, RACE + SOUND + "\ndef test_plain(): pass\n")
    result.stdout.fnmatch_lines(["*.py F.. *"])
    result.stdout.no_fnmatch_line("*(sampled*")
    result.stdout.no_fnmatch_line("*(proved*")
    result.stdout.no_fnmatch_line("littleloops:*")


def test_the_short_summary_has_plain_words(pytester: pytest.Pytester) -> None:
    """Its width is for the message."""
    result = run(pytester, RACE + SOUND, "-v", "-rA")
    result.stdout.fnmatch_lines(
        ["PASSED test_it.py::test_sound", "FAILED test_it.py::test_race - assert 1 == 2"]
    )


def test_the_first_line_of_a_failure_begins_with_its_code(pytester: pytest.Pytester) -> None:
    """In the message and in the short summary, without a traceback of the plugin's."""
    result = run(pytester, DEADLOCK)
    result.assert_outcomes(failed=1)
    said = "LL302 deadlock: MainThread, T0, T1 wait for ever"
    result.stdout.fnmatch_lines(["*_ test_deadlock _*", said])
    result.stdout.fnmatch_lines([f"FAILED *::test_deadlock - {said}"])
    result.stdout.no_fnmatch_line("*Deadlock*")


@pytest.mark.parametrize("options", [[], ["-v"]])
def test_a_cut_off_is_named_in_the_summary(pytester: pytest.Pytester, options: list[str]) -> None:
    """A test that passes and yet is not certified is not passed over."""
    cut = SOUND.replace("schedules=20", "schedules=20, max_steps=2")
    result = run(pytester, cut, *options)
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    said = "not certified, 20 schedules, 20 of them cut off at max_steps"
    result.stdout.fnmatch_lines([f"littleloops: *::test_sound: {said}"])
    assert (f"PASSED ({said})" in result.stdout.str()) is bool(options)


def test_under_xdist(pytester: pytest.Pytester) -> None:
    """Verdicts, messages and the summary cross from the workers to the controller as they are."""
    cut = SOUND.replace("schedules=20", "schedules=20, max_steps=10").replace("sound", "cut")
    # What ends a worker xdist does not tell, so it is an error of that test instead.
    wrong = "\n@pytest.mark.explore(times=5)\ndef test_wrong(): pass\n"
    pytester.makepyfile(test_it=THREADS + RACE + SOUND + DEADLOCK + cut + wrong)
    result = pytester.runpytest_subprocess("-v", "-n", "2")
    result.assert_outcomes(passed=2, failed=2, errors=1)
    output = result.stdout.str()
    assert re.search(r"\] FAILED \(\d+ schedules\) \S+::test_race", output)
    assert re.search(r"\] PASSED \(proved, 20 schedules, 1 trace\) \S+::test_sound", output)
    assert "INTERNALERROR" not in output
    said = f"test_it.py::test_wrong: explore() takes no 'times'; it takes {ARGUMENTS}"
    result.stdout.fnmatch_lines(["*_ ERROR at setup of test_wrong _*", said])
    result.stdout.fnmatch_lines(["LL302 deadlock: MainThread, T0, T1 wait for ever"])
    result.stdout.fnmatch_lines(["E * 1 == 2", "E *the schedule, *", "E *pytest *::test_race*"])
    result.stdout.fnmatch_lines(["littleloops: *::test_cut: not certified, 20 schedules, *"])
    result.stdout.fnmatch_lines(["FAILED *::test_deadlock - LL302 deadlock: *"])


def test_the_junit_file_has_the_verdict(pytester: pytest.Pytester) -> None:
    """As properties of the test."""
    run(pytester, SOUND, "--junitxml=junit.xml").assert_outcomes(passed=1)
    text = (pytester.path / "junit.xml").read_text()
    assert '<property name="littleloops_verdict" value="proved, 20 schedules, 1 trace" />' in text
    assert '<property name="littleloops_schedules" value="20" />' in text


def test_a_test_that_is_run_again_has_the_verdict_of_its_last_run(pytester: pytest.Pytester) -> None:
    """As plugins do it that give a failing test another chance."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                reports = runtestprotocol(item, log=False, nextitem=nextitem)
                item._initrequest()
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    test = """
CALLS = []

@pytest.mark.explore(schedules=20)
def test_it():
    CALLS.append(1)
    assert len(CALLS) > 4
"""
    run(pytester, test, "-v", "--junitxml=junit.xml").stdout.fnmatch_lines(
        ["*::test_it PASSED (proved, 20 schedules, 1 trace)*"]
    )
    assert (pytester.path / "junit.xml").read_text().count("littleloops_verdict") == 1


# -- a failure, and seeing it again


def line_of(text: str, number: int = 1) -> int:
    """The line of the test file on which `text` stands for the n-th time."""
    found = [at for at, line in enumerate((THREADS + RACE).strip().splitlines(), 1) if line == text]
    return found[number - 1]


def test_a_failure_tells_its_schedule(pytester: pytest.Pytester) -> None:
    """Task by task, with the lines of the test's own code, and how to see it again."""
    result = run(pytester, RACE.replace("schedules=200", "schedules=200, strategy='random'"))
    result.assert_outcomes(failed=1)
    start = line_of("        thread.start()")
    result.stdout.re_match_lines(
        [
            r">       assert account\.balance == 2",
            r"E       assert 1 == 2",
            r"E +the schedule, \d+ steps with \d+ switch(es)? of task:",
            rf"E +\d+  MainThread  Thread\.start  +test_it\.py:{start}",
            r"E +schedule \d+ of 200: failed, 4 switches after shrinking from \d+; see it again:",
            r'E +pytest "test_it\.py::test_race" --littleloops-replay=LL1-\w+',
        ]
    )


@pytest.mark.parametrize("strategy", STRATEGIES.split(", "))
def test_the_steps_are_told_in_the_order_in_which_they_were_taken(
    pytester: pytest.Pytester, strategy: str
) -> None:
    """A deposit is lost when both read before one of them writes."""
    # Depth first, one preemption is what it takes.
    arguments = f"strategy={strategy!r}" + ", preemptions=1" * (strategy == "dfs")
    result = run(pytester, RACE.replace("schedules=200", f"schedules=1000, {arguments}"))
    result.assert_outcomes(failed=1)
    steps = [line for line in result.stdout.lines if ".py:" in line and " acquire the lock " in line]
    read, write = (line_of("        with self.lock:", number) for number in (1, 2))
    assert [int(line.rpartition(":")[2]) for line in steps] == [read, read, write, write]


def test_the_shown_command_replays_it_in_another_process(pytester: pytest.Pytester) -> None:
    """Word for word, and it fails the same way: same schedule, same lines, same token."""
    first = run(pytester, RACE + SOUND + "\ndef test_plain(): pass\n")
    again = pytester.run(sys.executable, "-m", "pytest", *command_in(first))
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*the schedule of the token: failed; see it again:"])
    assert message_in(again) == message_in(first)
    assert len(message_in(first)) > 5
    assert token_in(again) == token_in(first)


def test_the_shown_command_works_where_pytest_was_called(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder below the root as well, for a parametrized method there."""
    pytester.makeini("[pytest]\n")
    test = RACE.replace("def test_race()", "def test_race(self, word)").replace("\n", "\n    ")
    test = f"class TestIt:\n    @pytest.mark.parametrize('word', ['a b'])\n{test}"
    pytester.mkdir("below").joinpath("test_it.py").write_text(THREADS + test)
    monkeypatch.chdir(pytester.path / "below")
    first = pytester.runpytest_inprocess()
    first.assert_outcomes(failed=1)
    again = pytester.runpytest_inprocess(*command_in(first))
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*the schedule of the token: failed; see it again:"])


@pytest.mark.parametrize("word", ['say "so"', "$HOME", "back\\slash", "`pwd`", "don't!", "plain"])
def test_the_shown_command_is_quoted_for_a_shell(pytester: pytest.Pytester, word: str) -> None:
    """Whatever a parameter is; where nothing is special in double quotes, which do in any shell."""
    test = RACE.replace("\ndef", f"\n@pytest.mark.parametrize('word', [{word!r}])\ndef")
    first = run(pytester, test.replace("test_race()", "test_race(word)"))
    first.assert_outcomes(failed=1)
    again = pytester.runpytest_inprocess(*command_in(first))
    again.assert_outcomes(failed=1)
    assert ('pytest "test_it.py::' in first.stdout.str()) is (word == "plain")


def test_a_token_of_another_test_is_told_from_a_failure(pytester: pytest.Pytester) -> None:
    """It leads elsewhere, so nothing is known."""
    token = token_in(run(pytester, RACE))
    result = run(pytester, SOUND, "-v", f"--littleloops-replay={token}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*::test_sound FAILED (not certified, 1 schedule)*"])
    result.stdout.fnmatch_lines([f"{OF_ANOTHER}: at choice *", "*the schedule of the token: not certified"])
    result.stdout.fnmatch_lines([f"FAILED *::test_sound - {OF_ANOTHER}: *"])


def test_a_token_of_another_parameter_is_told_from_a_failure(pytester: pytest.Pytester) -> None:
    """A test has one for each of its sets of parameters."""
    race = RACE.replace("\ndef", "\n@pytest.mark.parametrize('count', [2, 3])\ndef")
    race = race.replace("test_race()", "test_race(count)").replace("== 2", "== count")
    race = race.replace("both(account.deposit, account.deposit)", "both(*[account.deposit] * count)")
    token = token_in(run(pytester, race, "test_it.py::test_race[3]"))
    result = pytester.runpytest_inprocess("test_it.py::test_race[2]", f"--littleloops-replay={token}")
    result.stdout.fnmatch_lines([f"{OF_ANOTHER}: at choice *"])


LEFT_BEHIND = """
@pytest.mark.explore(schedules=20)
def test_left_behind(seen=[]):
    assert not seen
    seen.append(1)
"""


@pytest.mark.parametrize("options", [[], ["-v"], ["-n1"]], ids=" ".join)
def test_a_replay_that_passes_says_what_that_may_mean(
    pytester: pytest.Pytester, options: list[str]
) -> None:
    """It failed in the process in which others had run before it, and in a new one it does not."""
    token = token_in(run(pytester, LEFT_BEHIND))
    again = pytester.runpytest_subprocess(f"--littleloops-replay={token}", *options)
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(
        [
            "littleloops: test_it.py::test_left_behind: replayed, does not fail any more",
            "  if nothing was changed, it had failed by what an earlier schedule left behind: *",
            "  a default argument, a file outside of tmp_path; more: pytest --littleloops-explain LL501",
        ]
    )


def test_a_token_that_stays_in_the_file_is_not_spoken_of(pytester: pytest.Pytester) -> None:
    """It is to pass, run by run."""
    token = token_in(run(pytester, RACE))
    fixed = RACE.replace("== 2", ">= 1").replace("schedules=200", f"replay={token!r}")
    result = run(pytester, fixed)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("littleloops: *")


def test_a_failing_schedule_is_tried_first_the_next_time(pytester: pytest.Pytester) -> None:
    """The second run fails after one schedule, at the same place."""
    race = RACE.replace("schedules=200", "schedules=200, seed=3, strategy='pct'")
    first = run(pytester, race, "-v")
    found = re.search(r"FAILED \((\d+) schedules\)", first.stdout.str())
    assert found is not None, "one in which the first schedule does not fail is needed"
    second = pytester.runpytest_inprocess("-v")
    second.stdout.fnmatch_lines(["*::test_race FAILED (1 schedule)*"])
    second.stdout.fnmatch_lines(["*schedule 1 of 200: failed; see it again:"])
    assert message_in(second) == message_in(first)
    assert token_in(second) == token_in(first)


def test_a_schedule_that_passes_again_is_forgotten(pytester: pytest.Pytester) -> None:
    """And all schedules are run, not that one alone."""
    race = RACE.replace("schedules=200", "schedules=200, seed=3, strategy='pct'")
    run(pytester, race).assert_outcomes(failed=1)
    fixed = run(pytester, race.replace("== 2", ">= 1"), "-v")
    fixed.stdout.fnmatch_lines(["*::test_race PASSED (sampled, 200 schedules)*"])
    # Were it still known, the first schedule would fail.
    result = run(pytester, race, "-v")
    result.stdout.re_match_lines([r".*::test_race FAILED \(\d+ schedules\).*"])


def test_a_token_that_passes_is_not_what_is_remembered(pytester: pytest.Pytester) -> None:
    """Looking at one schedule says nothing about another that fails."""
    # Where only schedules without a race fail, the token of one is shown.
    passing = token_in(run(pytester, RACE.replace("== 2", "== 1")))
    run(pytester, RACE).assert_outcomes(failed=1)
    result = pytester.runpytest_inprocess("-v", f"--littleloops-replay={passing}")
    result.stdout.re_match_lines([r".*::test_race PASSED \((replayed|sampled, 1 schedule)\b.*"])
    result = pytester.runpytest_inprocess("-v")
    result.stdout.fnmatch_lines(["*::test_race FAILED (1 schedule)*"])


def test_without_a_cache_nothing_is_remembered(pytester: pytest.Pytester) -> None:
    """`-p no:cacheprovider`."""
    race = RACE.replace("schedules=200", "schedules=200, seed=3, strategy='pct'")
    first = run(pytester, race, "-v", "-p", "no:cacheprovider")
    second = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider")
    second.assert_outcomes(failed=1)
    (said,) = re.findall(r"FAILED \(\d+ schedules\)", first.stdout.str())
    assert said in second.stdout.str()
    assert not (pytester.path / ".pytest_cache").exists()


def test_each_parameter_set_is_explored_and_remembered_by_itself(pytester: pytest.Pytester) -> None:
    """One fails, the others are run to their end."""
    race = RACE.replace("\ndef", "\n@pytest.mark.parametrize('count', [1, 2, 1.0])\ndef")
    race = race.replace("test_race()", "test_race(count)").replace("== 2", ">= count")
    for failed in (r"\d+ schedules?", "1 schedule"):
        result = run(pytester, race, "-v")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.re_match_lines(
            [
                r".*\[1\] PASSED \(proved, 200 schedules, all 6 traces\).*",
                rf".*\[2\] FAILED \({failed}\).*",
                r".*\[1\.0\] PASSED \(proved, 200 schedules, all 6 traces\).*",
            ]
        )


def test_last_failed(pytester: pytest.Pytester) -> None:
    """`--lf` runs the explored test that failed, and it alone."""
    run(pytester, SOUND + RACE).assert_outcomes(passed=1, failed=1)
    result = pytester.runpytest_inprocess("--lf", "-v")
    result.stdout.fnmatch_lines(["*::test_race FAILED (1 schedule)*"])
    result.assert_outcomes(failed=1)


def test_a_token_goes_with_last_failed(pytester: pytest.Pytester) -> None:
    """Where one explored test is left, the token is its."""
    token = token_in(run(pytester, SOUND + RACE))
    result = pytester.runpytest_inprocess("--lf", f"--littleloops-replay={token}", "test_it.py")
    result.assert_outcomes(failed=1, deselected=1)


# -- outcomes that are not pass or fail

OUTCOMES = {
    "skip": ("pytest.skip('no')", {"skipped": 1}),
    "unittest_skip": ("import unittest; raise unittest.SkipTest('no')", {"skipped": 1}),
    "importorskip": ("pytest.importorskip('no_such_module')", {"skipped": 1}),
    "xfail": ("pytest.xfail('no')", {"xfailed": 1}),
    "fail": ("pytest.fail('no')", {"failed": 1}),
    "fail_without_a_traceback": ("pytest.fail('no', pytrace=False)", {"failed": 1}),
    "fail_in_a_task": ("both(lambda: pytest.fail('no'))", {"failed": 1}),
}


@pytest.mark.parametrize("kind", OUTCOMES)
def test_what_pytest_means_by_its_outcomes(pytester: pytest.Pytester, kind: str) -> None:
    """They mean the same inside a schedule."""
    body, outcome = OUTCOMES[kind]
    result = run(pytester, f"@pytest.mark.explore(schedules=20)\ndef test_it():\n    {body}\n", "-v", "-rA")
    result.assert_outcomes(**outcome)
    output = result.stdout.str()
    assert "PASSED" not in output
    assert ("see it again" in output) is (outcome == {"failed": 1})


@pytest.mark.parametrize(
    ("marker", "test", "outcome"),
    [
        ("strict=True", RACE, {"xfailed": 1}),
        ("strict=False", RACE, {"xfailed": 1}),
        ("raises=AssertionError", RACE, {"xfailed": 1}),
        ("raises=ValueError", RACE, {"failed": 1}),
        ("strict=True", SOUND, {"failed": 1}),
        ("strict=False", SOUND, {"xpassed": 1}),
        ("run=False", RACE, {"xfailed": 1}),
    ],
)
def test_xfail_expects_a_failing_schedule(
    pytester: pytest.Pytester, marker: str, test: str, outcome: dict[str, int]
) -> None:
    """A test that fails under one of its schedules fails; one that passes under all passes."""
    result = run(pytester, f"@pytest.mark.xfail({marker})" + test, "-v")
    result.assert_outcomes(**outcome)


def test_pytest_exit_ends_the_run(pytester: pytest.Pytester) -> None:
    """Called in the body, it means what it means."""
    exits = "@pytest.mark.explore\ndef test_exits():\n    pytest.exit('enough')\n"
    result = run(pytester, exits + "\ndef test_after(): pass\n")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Exit: enough*"])
    result.assert_outcomes()


def test_a_test_that_returns_what_is_to_be_awaited_fails(pytester: pytest.Pytester) -> None:
    """As without the marker: nothing of it has run."""
    test = """
class Later:
    def __await__(self):
        yield

@pytest.mark.explore(schedules=5)
def test_it():
    return Later()
"""
    result = run(pytester, test, "-W", "ignore::RuntimeWarning")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["it returned something to be awaited, and nobody does"])


def test_a_test_without_the_marker_is_left_alone(pytester: pytest.Pytester) -> None:
    """Beside one that has it: called once, on real threads, with nothing said about it."""
    test = """
CALLS, LOCK, THREAD = [], type(threading.Lock()), threading.Thread.__init__

def test_plain(tmp_path, capsys):
    CALLS.append(threading.current_thread())
    assert isinstance(threading.Lock(), LOCK)
    assert threading.Thread.__init__ is THREAD

def test_called_once():
    assert CALLS == [threading.main_thread()]
"""
    result = run(pytester, SOUND + test, "-v", "--junitxml=junit.xml")
    result.stdout.re_match_lines([r".*::test_plain PASSED +\[ 66%\]", r".*::test_called_once PASSED .*"])
    assert (pytester.path / "junit.xml").read_text().count("littleloops_verdict") == 1


def test_no_part_of_a_run_without_the_marker(pytester: pytest.Pytester) -> None:
    """The hooks of explorations are there when a test needs them."""
    pytester.makeconftest(
        f"""
        def pytest_runtest_setup(item):
            print("registered:", item.config.pluginmanager.has_plugin({exploration._NAME!r}))
        """
    )
    result = run(pytester, "def test_plain(): pass", "-s")
    result.stdout.fnmatch_lines(["*registered: False*"])
    result = run(pytester, SOUND, "-s")
    result.stdout.fnmatch_lines(["*registered: True*"])


@pytest.mark.parametrize(
    "raised", ["KeyboardInterrupt()", "pytest.skip.Exception('no')", "pytest.exit.Exception('out')"]
)
def test_what_a_thread_raises_ends_neither_the_run_nor_passes_for_a_skip(
    pytester: pytest.Pytester, raised: str
) -> None:
    """It fails the test, and the next one runs."""
    pytester.makepyfile(
        f"""
        import threading
        import pytest

        @pytest.mark.explore(schedules=3)
        def test_thread():
            def work():
                raise {raised}
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

        def test_next(): pass
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*was raised in a schedule*", "*--littleloops-replay=LL1-*"])


def test_a_keyboard_interrupt_of_a_worker_fails_the_test(pytester: pytest.Pytester) -> None:
    """It came through a future, and nobody pressed Ctrl-C."""
    pytester.makepyfile(
        """
        import pytest
        from concurrent.futures import ThreadPoolExecutor

        def work():
            raise KeyboardInterrupt

        @pytest.mark.explore(schedules=3)
        def test_worker():
            with ThreadPoolExecutor(1) as executor:
                executor.submit(work).result()
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
