"""The fixtures of an explored test: what is made afresh in each schedule, what stays, what is cleared."""

from __future__ import annotations

import re

import pytest

from tests.plugin.test_explore_marker import DEADLOCK, THREADS, command_in, run

EVENTS = (
    THREADS
    + """
EVENTS = []
explore = pytest.mark.explore(schedules=4)
"""
)
"""The warm-up makes it five schedules."""


def events_of(pytester: pytest.Pytester, test: str, *, expected: str) -> None:
    """Run an explored test that passes, and compare what it noted in EVENTS."""
    after = f"\ndef test_afterwards():\n    assert ' '.join(EVENTS) == {expected!r}\n"
    pytester.makepyfile(test_it=EVENTS + test + after)
    result = pytester.runpytest_inprocess("-v")
    result.stdout.fnmatch_lines(["*::test_it* PASSED (proved, 4 schedules, 1 trace)*"])
    assert result.ret == 0


# -- afresh for each schedule

AFRESH = {
    "a value": """
@pytest.fixture
def made():
    EVENTS.append("up")
    return []

@explore
def test_it(made):
    made.append(1)
    assert made == [1]
    EVENTS.append("down")
""",
    "a generator": """
@pytest.fixture
def made():
    EVENTS.append("up")
    yield []
    EVENTS.append("down")

@explore
def test_it(made):
    made.append(1)
    assert made == [1]
""",
    "a finalizer of a fixture": """
@pytest.fixture
def made(request):
    EVENTS.append("up")
    request.addfinalizer(lambda: EVENTS.append("down"))
    return []

@explore
def test_it(made):
    made.append(1)
    assert made == [1]
""",
    "a finalizer of the body": """
@explore
def test_it(request):
    EVENTS.append("up")
    request.addfinalizer(lambda: EVENTS.append("down"))
""",
    "autouse": """
@pytest.fixture(autouse=True)
def made(request):
    if "test_it" in request.node.name:
        EVENTS.append("up")
    yield
    if "test_it" in request.node.name:
        EVENTS.append("down")

@explore
def test_it():
    pass
""",
    "usefixtures": """
@pytest.fixture
def made():
    EVENTS.append("up")
    yield
    EVENTS.append("down")

@explore
@pytest.mark.usefixtures("made")
def test_it():
    pass
""",
    "asked for in the body": """
@pytest.fixture
def made():
    EVENTS.append("up")
    yield []
    EVENTS.append("down")

@explore
def test_it(request):
    made = request.getfixturevalue("made")
    assert made == [] and request.getfixturevalue("made") is made
    made.append(1)
""",
    "asked for in a fixture": """
@pytest.fixture
def made():
    EVENTS.append("up")
    yield []
    EVENTS.append("down")

@pytest.fixture
def asking(request):
    return request.getfixturevalue("made")

@explore
def test_it(asking, request):
    assert asking == [] and request.getfixturevalue("made") is asking
    asking.append(1)
""",
    "setup_method": """
class TestIt:
    def setup_method(self):
        EVENTS.append("up")
        self.made = []

    def teardown_method(self):
        EVENTS.append("down")

    @explore
    def test_it(self):
        self.made.append(1)
        assert self.made == [1]
""",
    "setup_function": """
def setup_function(function):
    if function is test_it:
        EVENTS.append("up")

def teardown_function(function):
    if function is test_it:
        EVENTS.append("down")

@explore
def test_it():
    pass
""",
    "an instance": """
class TestIt:
    @pytest.fixture
    def made(self):
        EVENTS.append("up")
        assert not hasattr(self, "made_here")
        self.made_here = []
        yield self
        assert self.made_here == [1]
        EVENTS.append("down")

    @explore
    def test_it(self, made):
        assert made is self
        self.made_here.append(1)
""",
}


@pytest.mark.parametrize("kind", AFRESH)
def test_made_afresh_for_each_schedule(pytester: pytest.Pytester, kind: str) -> None:
    """Set up before the body and torn down behind it, in the warm-up and in four schedules."""
    events_of(pytester, AFRESH[kind], expected=" ".join(["up down"] * 5))


def test_fixtures_of_one_schedule_are_torn_down_in_reverse(pytester: pytest.Pytester) -> None:
    """And what two of them use is the same for both."""
    test = """
def noting(name):
    EVENTS.append(name)
    yield name
    EVENTS.append(f"-{name}")

@pytest.fixture
def first():
    yield from noting("a")

@pytest.fixture
def second(first, third):
    yield from noting("b")

@pytest.fixture
def third(first):
    yield from noting("c")

@explore
def test_it(third, second):
    pass
"""
    events_of(pytester, test, expected=" ".join(["a c b -b -c -a"] * 5))


def test_a_fixture_with_parameters(pytester: pytest.Pytester) -> None:
    """Each parameter is explored by itself, with its value in every schedule; indirect ones too."""
    test = """
@pytest.fixture(params=["x", "y"])
def made(request):
    EVENTS.append(request.param)

@pytest.fixture
def indirect(request):
    return request.param * 2

@explore
@pytest.mark.parametrize("direct", [7])
@pytest.mark.parametrize("indirect", [2], indirect=True)
def test_it(made, direct, indirect):
    assert (direct, indirect) == (7, 4)
"""
    events_of(pytester, test, expected="x x x x x y y y y y")


def test_a_fixture_that_overrides_another(pytester: pytest.Pytester) -> None:
    """Under the same name, with the one beneath it."""
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef made():\n    return ['conftest']\n")
    test = """
@pytest.fixture
def made(made):
    EVENTS.append("+".join([*made, "module"]))
    made.append("changed")

@explore
def test_it(made):
    pass
"""
    events_of(pytester, test, expected=" ".join(["conftest+module"] * 5))


@pytest.mark.parametrize("name", ["tmp_path", "monkeypatch", "capsys", "caplog"])
@pytest.mark.parametrize("is_asked_for_late", [False, True], ids=["overridden", "late"])
def test_pytests_own_fixture_inside_a_schedule(
    pytester: pytest.Pytester, name: str, is_asked_for_late: bool
) -> None:
    """Where the user overrides it, or asks for it in the body, it is made afresh as well."""
    overriding = f"@pytest.fixture\ndef {name}({name}):\n    return {name}\n"
    argument = "request" if is_asked_for_late else name
    test = f"""
{"" if is_asked_for_late else overriding}
@explore
def test_it({argument}, tmp_path_factory):
    made = {f'request.getfixturevalue("{name}")' if is_asked_for_late else name}
    EVENTS.append(type(made).__name__)
"""
    kind = {"tmp_path": "PosixPath", "capsys": "CaptureFixture", "caplog": "LogCaptureFixture"}
    events_of(pytester, test, expected=" ".join([kind.get(name, "MonkeyPatch")] * 5))


# -- under control

RACES = {
    "a fixture": """
@pytest.fixture
def account():
    return Account()

@pytest.mark.explore(schedules=200)
def test_it(account):
    both(account.deposit, account.deposit)
    assert account.balance == 2
""",
    "setup_method": """
class TestIt:
    def setup_method(self):
        self.account = Account()

    @pytest.mark.explore(schedules=200)
    def test_it(self):
        both(self.account.deposit, self.account.deposit)
        assert self.account.balance == 2
""",
    "a thread of a fixture": """
@pytest.fixture
def account():
    account = Account()
    thread = threading.Thread(target=account.deposit)
    thread.start()
    yield account
    thread.join()
    assert account.balance == 2

@pytest.mark.explore(schedules=200)
def test_it(account):
    account.deposit()
""",
    "a fixture that the body asks for": """
@pytest.fixture
def account():
    return Account()

@pytest.mark.explore(schedules=200)
def test_it(request):
    account = request.getfixturevalue("account")
    both(account.deposit, account.deposit)
    assert account.balance == 2
""",
    "a finalizer": """
@pytest.mark.explore(schedules=200)
def test_it(request):
    account = Account()

    def finish():
        both(account.deposit, account.deposit)
        assert account.balance == 2

    request.addfinalizer(finish)
""",
}


@pytest.mark.parametrize("kind", RACES)
def test_a_race_that_only_a_fixture_makes_possible_is_found(pytester: pytest.Pytester, kind: str) -> None:
    """Locks and threads made there belong to the schedule, up to the end of its teardown."""
    result = run(pytester, RACES[kind])
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * assert 1 == 2", "E * acquire the lock *"])
    result.stdout.fnmatch_lines(["E *schedule * of 200: failed; see it again:"])
    result.stdout.fnmatch_lines(["FAILED *test_it - *assert 1 == 2"])


def test_a_deadlock_in_a_teardown_is_found(pytester: pytest.Pytester) -> None:
    """A fixture that waits for a thread which nobody wakes."""
    test = """
@pytest.fixture
def told():
    told = threading.Event()
    thread = threading.Thread(target=told.wait, name="waiter")
    thread.start()
    yield told
    thread.join()

@pytest.mark.explore(schedules=20)
def test_it(told):
    pass
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_it - LL302 deadlock: MainThread, waiter wait for ever"])


# -- what stays


def test_what_is_pytests_own_or_wider_stays_for_the_whole_test(pytester: pytest.Pytester) -> None:
    """The same object in all schedules; set up before the first, torn down after the last."""
    test = """
SEEN = []

@pytest.fixture(scope="module")
def module():
    EVENTS.append("up")
    yield object()
    EVENTS.append("down")

@pytest.fixture(scope="class")
def inner(module):
    EVENTS.append("up")
    yield object()
    EVENTS.append("down")

@pytest.fixture
def user(tmp_path, module):
    return tmp_path, module

class TestIt:
    @explore
    def test_it(
        self, request, tmp_path, capsys, caplog, recwarn, monkeypatch, pytestconfig, module, inner, user
    ):
        assert user == (tmp_path, module)
        SEEN.append([request, tmp_path, capsys, caplog, recwarn, monkeypatch, pytestconfig, module, inner])

def test_seen():
    assert len(SEEN) == 5
    assert all(one is other for row in SEEN for one, other in zip(row, SEEN[0]))
    assert [sorted(map(id, row)) for row in SEEN] == [sorted(map(id, SEEN[0]))] * 5
"""
    events_of(pytester, test, expected="up up down")


def test_setup_class_and_setup_module_run_once(pytester: pytest.Pytester) -> None:
    """They are wider than a test."""
    test = """
def setup_module():
    EVENTS.append("module")

class TestIt:
    @classmethod
    def setup_class(cls):
        EVENTS.append("class")
        cls.made = 1

    @classmethod
    def teardown_class(cls):
        EVENTS.append("end")

    @explore
    def test_it(self):
        assert self.made == 1
"""
    events_of(pytester, test, expected="module class end")


def test_a_wider_fixture_that_is_first_asked_for_in_a_schedule_is_refused(
    pytester: pytest.Pytester,
) -> None:
    """It would keep the objects of that schedule. Another test may have it after that."""
    test = """
@pytest.fixture(scope="module")
def shared():
    return threading.Lock()

@pytest.mark.explore(schedules=4)
def test_late(request):
    request.getfixturevalue("shared")

def test_plain(shared):
    with shared:
        pass

@pytest.mark.explore(schedules=4)
def test_early(shared):
    pass

@pytest.mark.explore(schedules=4)
def test_not_the_first(request):
    request.getfixturevalue("shared")
"""
    result = run(pytester, test)
    result.assert_outcomes(passed=3, failed=1)
    said = (
        "the module-scoped fixture 'shared' was asked for inside a schedule, and would outlive it: "
        "make it an argument of the explored test"
    )
    result.stdout.fnmatch_lines([f"E *UsageError: {said}"])


def test_another_test_gets_its_fixtures_as_ever(pytester: pytest.Pytester) -> None:
    """Before and after an explored one, also where they fail to be set up."""
    test = """
@pytest.fixture
def made(tmp_path):
    EVENTS.append("up")
    yield tmp_path
    EVENTS.append("down")

def test_before(made):
    assert made.name.startswith("test_before")

@pytest.mark.explore(schedules=1)
def test_it(made):
    assert made.name.startswith("test_it")

def test_after(made):
    assert made.name.startswith("test_after")
    assert EVENTS == ["up", "down"] * 3 + ["up"]

@pytest.mark.explore
def test_fails(made, nowhere):
    pass

def test_after_that(made):
    assert EVENTS == ["up", "down"] * 4 + ["up"]
"""
    pytester.makepyfile(test_it=EVENTS + test)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'nowhere' not found"])


@pytest.mark.parametrize("wider", ["argument", "late"])
def test_nothing_is_left_of_a_schedule(pytester: pytest.Pytester, wider: str) -> None:
    """After many schedules pytest keeps no more finalizers than after one."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_teardown(item):
            session = item.session
            counts = [len(finalizers) for finalizers, _ in session._setupstate.stack.values()]
            for name in ("module", "made", "late", "tmp_path", "tmp_path_factory", "capsys", "caplog"):
                for one in session._fixturemanager.getfixturedefs(name, item):
                    counts.append(len(one._finalizers))
            print("finalizers:", item.name, counts, len(item.funcargs), len(item._request._fixture_defs))
        """
    )
    test = """
@pytest.fixture(scope="module")
def module():
    return 1

def test_has_it(module):
    pass

@pytest.fixture
def made(tmp_path, request, WIDER):
    request.getfixturevalue("module")
    yield

@pytest.fixture
def late(made):
    yield

@pytest.mark.explore(schedules=COUNT)
def test_it(made, request, caplog, monkeypatch):
    request.getfixturevalue("late")
    request.addfinalizer(lambda: None)
"""
    test = test.replace("WIDER", "module" if wider == "argument" else "capsys")
    counts = []
    for count in ("1", "30"):
        result = run(pytester, test.replace("COUNT", count), "-s")
        result.assert_outcomes(passed=2)
        counts += re.findall(r"finalizers: test_it .*", result.stdout.str())
    assert counts[0] == counts[1]


# -- errors


@pytest.mark.parametrize(
    ("fixture", "body", "shown"),
    [
        ("raise ValueError('up')\n    yield", "pass", "ValueError: up"),
        ("yield\n    raise ValueError('down')", "pass", "ValueError: down"),
        ("yield\n    assert 1 == 2", "pass", "assert 1 == 2"),
        ("yield\n    raise ValueError('down')", "assert 3 == 4", "assert 3 == 4"),
        ("yield\n    pytest.fail('down')", "pass", "Failed: down"),
    ],
    ids=["setup", "teardown", "assertion", "both", "fail"],
)
def test_an_error_of_a_fixture_fails_the_test(
    pytester: pytest.Pytester, fixture: str, body: str, shown: str
) -> None:
    """In its call, with the schedule in which it came. The first error is the one that is shown."""
    test = f"""
@pytest.fixture
def made():
    {fixture}

@pytest.mark.explore(schedules=20)
def test_it(made):
    {body}
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"E       {shown}", "E *schedule 1 of 20: failed; see it again:", f"FAILED *::test_it - {shown}"]
    )


ENDS = {
    "a deadlock": ("threading.Event().wait()", "LL302 deadlock: MainThread waits for ever"),
    "no progress": (
        "while True: time.sleep(1)",
        "LL303 no-progress: after 500 steps only clocks still move",
    ),
    "cut off": ("while True: taken.acquire(False)", "the schedule was cut off after 500 steps"),
    "a thread": ("both(lambda: 1 / 0)", "ZeroDivisionError: division by zero"),
}
FAILING = {
    "the body": ("yield", "yield", "assert 1 == 2", "assert 1 == 2"),
    "fail": ("yield", "yield", "pytest.fail('no', pytrace=False)", "no"),
    "a setup": ("yield", "raise ValueError('up')\n    yield", "pass", "ValueError: up"),
    "a teardown": ("yield", "yield\n    raise ValueError('down')", "pass", "ValueError: down"),
}


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("end", ENDS)
def test_what_failed_first_is_shown_first_however_the_teardown_ends(
    pytester: pytest.Pytester, end: str, failing: str
) -> None:
    """A test that fails leaves its fixtures in a state that they may not get out of."""
    action, said = ENDS[end]
    before, after, body, shown = FAILING[failing]
    test = f"""
import time

@pytest.fixture
def outer():
    taken = threading.Lock()
    {before}
    {action}

@pytest.fixture
def inner(outer):
    {after}

@pytest.mark.explore(schedules=20, max_steps=500)
def test_it(inner):
    {body}
"""
    result = run(pytester, test, "-v", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    messages = [
        "*  then its teardown failed as well:",
        f"*    {said}",
        "*schedule 1 of 20: failed; see it *",
    ]
    result.stdout.fnmatch_lines(["*::test_it FAILED (1 schedule)*"])
    result.stdout.fnmatch_lines([f"*{shown}", *messages, f"FAILED *::test_it - *{shown}"])
    again = pytester.runpytest_inprocess(*command_in(result))
    again.stdout.fnmatch_lines([f"*{shown}", *messages[:2], f"FAILED *::test_it - *{shown}"])


def test_what_failed_before_the_teardown_left_control_is_named(pytester: pytest.Pytester) -> None:
    """That cannot be run again for certain, so the code comes first."""
    test = """
import os

@pytest.fixture
def made():
    yield
    os.read(os.pipe()[0], 1)

@pytest.mark.explore(schedules=20)
def test_it(made):
    assert 1 == 2, "the reason\\nin two lines"
"""
    result = run(pytester, test, "--littleloops-patience=0.3")
    result.assert_outcomes(failed=1)
    named = "  before that it had failed already: AssertionError: the reason"
    result.stdout.fnmatch_lines(
        ["LL502 uncontrolled: MainThread *", named, "  schedule 1 of 20: not certified*"]
    )


def test_a_skipped_test_whose_teardown_deadlocks_has_failed(pytester: pytest.Pytester) -> None:
    """That it was to be skipped is no failure that would come first."""
    test = """
@pytest.fixture
def made():
    yield
    threading.Event().wait()

@pytest.mark.explore(schedules=20)
def test_it(made):
    pytest.skip("not here")
"""
    result = run(pytester, test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_it - LL302 deadlock: MainThread waits for ever"])
    result.stdout.no_fnmatch_line("*failed already*")


def test_an_error_of_one_teardown_does_not_keep_the_others_from_theirs(pytester: pytest.Pytester) -> None:
    """All of them are torn down, in every schedule."""
    test = """
EVENTS = []

@pytest.fixture
def outer():
    EVENTS.append("up")
    yield
    EVENTS.append("down")

@pytest.fixture
def inner(outer):
    yield
    raise ValueError("down")

@pytest.mark.explore(schedules=20)
def test_it(inner):
    pass

def test_events():
    assert EVENTS == ["up", "down"] * (len(EVENTS) // 2) and EVENTS
"""
    result = run(pytester, test)
    result.assert_outcomes(passed=1, failed=1)


def test_a_fixture_is_torn_down_after_a_deadlock(pytester: pytest.Pytester) -> None:
    """What it changed outside of the schedule is as before."""
    test = """
import os

@pytest.fixture
def changed():
    os.environ["LITTLELOOPS_TESTED"] = "1"
    yield
    del os.environ["LITTLELOOPS_TESTED"]

""" + DEADLOCK.replace("test_deadlock()", "test_deadlock(changed)")
    test += "\ndef test_after():\n    assert 'LITTLELOOPS_TESTED' not in os.environ\n"
    result = run(pytester, test)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_deadlock - LL302 *"])


@pytest.mark.parametrize(
    ("said", "outcome"), [("skip", {"skipped": 1}), ("xfail", {"xfailed": 1})], ids=["skip", "xfail"]
)
def test_a_fixture_may_skip(pytester: pytest.Pytester, said: str, outcome: dict[str, int]) -> None:
    """For the whole test."""
    test = f"""
@pytest.fixture
def made():
    pytest.{said}("not here")

@pytest.mark.explore
def test_it(made):
    pass
"""
    run(pytester, test).assert_outcomes(**outcome)


# -- what is cleared between two schedules

CLEAN = {
    "capsys": """
def test_it(capsys):
    assert capsys.readouterr().out == ""
    print("seen")
""",
    "capfd": """
def test_it(capfd):
    assert capfd.readouterr().out == ""
    print("seen")
""",
    "capsysbinary": """
def test_it(capsysbinary):
    assert capsysbinary.readouterr().out == b""
    print("seen")
""",
    "capfdbinary": """
def test_it(capfdbinary):
    assert capfdbinary.readouterr().out == b""
    print("seen")
""",
    "capteesys": """
def test_it(capteesys):
    assert capteesys.readouterr().out == ""
    print("seen")
""",
    "caplog": """
import logging
def test_it(caplog):
    assert caplog.records == [] and caplog.text == "" and caplog.get_records("call") == []
    logging.getLogger("some").warning("seen")
    assert len(caplog.records) == len(caplog.get_records("call")) == 1
""",
    "caplog's levels": """
import logging
LEVEL = logging.getLogger().level
def test_it(caplog):
    assert logging.getLogger("some").level == 0
    assert logging.getLogger().level == LEVEL
    assert caplog.handler.level == 0
    caplog.set_level("DEBUG", logger="some")
    caplog.set_level(5)
""",
    "recwarn": """
import warnings
def test_it(recwarn):
    assert len(recwarn) == 0
    warnings.warn("seen")
    assert len(recwarn) == 1
""",
    "monkeypatch": """
import json, os
REAL = json.dumps
def test_it(monkeypatch):
    assert json.dumps is REAL
    assert "LITTLELOOPS_TESTED" not in os.environ
    assert not hasattr(json, "new")
    monkeypatch.setattr(json, "dumps", None)
    monkeypatch.setattr(json, "new", None, raising=False)
    monkeypatch.setenv("LITTLELOOPS_TESTED", "1")
""",
    "monkeypatch of a fixture": """
import json
REAL = json.dumps
@pytest.fixture
def patched(monkeypatch):
    assert json.dumps is REAL
    monkeypatch.setattr(json, "dumps", None)
def test_it(patched):
    assert json.dumps is None
""",
    "monkeypatch of an exchanged name": """
import time
REAL = [threading.Lock, threading.Thread.start, time.sleep, time.monotonic]
def test_it(monkeypatch):
    taken = threading.Lock
    assert isinstance(taken(), taken)
    monkeypatch.setattr(threading, "Lock", None)
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(time, "sleep", None)
    monkeypatch.setattr(time, "monotonic", None)
def test_names():
    assert [threading.Lock, threading.Thread.start, time.sleep, time.monotonic] == REAL
""",
    "tmp_path": """
def test_it(tmp_path):
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "dangling").symlink_to("nowhere")
""",
    "tmp_path of a fixture": """
@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder
def test_it(folder):
    assert list(folder.parent.iterdir()) == [folder]
""",
    "tmp_path that was taken away": """
def test_it(tmp_path):
    tmp_path.rmdir()
""",
    "tmpdir": """
def test_it(tmpdir):
    tmpdir.mkdir("folder")
""",
    "record_property": """
def test_it(record_property, request):
    assert request.node.user_properties == []
    record_property("some", 1)
""",
}


@pytest.mark.parametrize("kind", CLEAN)
def test_each_schedule_begins_with_clean_records(pytester: pytest.Pytester, kind: str) -> None:
    """What one schedule recorded or changed by pytest's own fixtures the next one does not see."""
    if kind == "capteesys" and not hasattr(pytest, "Subtests"):
        pytest.skip("not in every version of pytest")
    test = CLEAN[kind].replace("def test_it", "@pytest.mark.explore(schedules=4)\ndef test_it")
    result = run(pytester, test, "-v", "-W", "ignore")
    result.stdout.fnmatch_lines(["*::test_it PASSED (proved, 4 schedules, 1 trace)*"])
    assert result.ret == 0


def test_what_the_last_schedule_wrote_is_there_to_be_looked_at(pytester: pytest.Pytester) -> None:
    """And that of no other one."""
    test = """
COUNT = []

@pytest.mark.explore(schedules=4)
def test_it(tmp_path):
    COUNT.append(1)
    (tmp_path / f"file{len(COUNT)}").touch()
"""
    run(pytester, test, "--basetemp=made").assert_outcomes(passed=1)
    assert [path.name for path in (pytester.path / "made" / "test_it0").iterdir()] == ["file5"]


def test_what_is_no_schedules_own_stays_in_its_folder(pytester: pytest.Pytester) -> None:
    """What was there before the first, what a link leads to, a folder that has but the name of pytest's."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_setup(item):
            if item.name == "test_before":
                (item.funcargs["tmp_path"] / "before").mkdir()
        """
    )
    test = """
from pathlib import Path

SOME = Path("some")
explore = pytest.mark.explore(schedules=4)

@explore
def test_before(tmp_path):
    assert [path.name for path in tmp_path.iterdir()] == ["before"]
    (tmp_path / "new").touch()

@explore
def test_a_link(tmp_path):
    SOME.mkdir(exist_ok=True)
    (SOME / "linked").touch()
    (tmp_path / "link").symlink_to(SOME.absolute())
    assert (tmp_path / "link" / "linked").exists()

@explore
@pytest.mark.parametrize("tmp_path", [SOME])
def test_a_parameter(tmp_path):
    (tmp_path / f"file{len(list(tmp_path.iterdir()))}").touch()

class TestWider:
    @pytest.fixture(scope="class")
    def tmp_path(self):
        return SOME

    @explore
    def test_a_fixture(self, tmp_path):
        (tmp_path / f"file{len(list(tmp_path.iterdir()))}").touch()

def test_there():
    assert {path.name for path in SOME.iterdir()} == {"linked", *(f"file{n}" for n in range(1, 11))}
"""
    run(pytester, test).assert_outcomes(passed=5)


def test_a_property_is_recorded_once(pytester: pytest.Pytester) -> None:
    """By the last schedule."""
    test = """
@pytest.mark.explore(schedules=4)
def test_it(record_property):
    record_property("some", "thing")
"""
    run(pytester, test, "--junitxml=junit.xml", "-o", "junit_family=legacy").assert_outcomes(passed=1)
    text = (pytester.path / "junit.xml").read_text()
    assert text.count('<property name="some" value="thing" />') == 1
    assert text.count("littleloops_verdict") == 1


PRINTS = """
import logging

COUNT = []

def say(where):
    print("printed", where, len(COUNT))
    logging.getLogger().warning("logged %s %s", where, len(COUNT))

@pytest.fixture
def made():
    COUNT.append(1)
    say("up")
    yield
    say("down")

@pytest.fixture(scope="module")
def module():
    print("printed once")

@pytest.mark.explore(schedules=200)
def test_it(made, module):
    say("body")
    BODY
"""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("account = Account(); both(account.deposit, account.deposit); assert account.balance == 2", ""),
        ("if len(COUNT) == 4: import os; os.read(os.pipe()[0], 1)", "LL502"),
        ("assert len(COUNT) != 4", "LL501"),
    ],
    ids=["failed", "uncontrolled", "nondeterministic"],
)
def test_the_output_that_is_shown_is_that_schedules_alone(
    pytester: pytest.Pytester, body: str, code: str
) -> None:
    """What was printed and logged in all the others is gone; what the setup said stays."""
    patience = "0.3" if code == "LL502" else "10"
    result = run(pytester, PRINTS.replace("BODY", body), f"--littleloops-patience={patience}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"FAILED *::test_it - {code}*"])
    output = result.stdout.str()
    counts = set(re.findall(r"(?:printed|logged) (?:up|body|down) (\d+)", output))
    assert len(counts) == 1
    (count,) = counts
    result.stdout.fnmatch_lines(["* Captured stdout setup *", "printed once"])
    printed = [f"printed {where} {count}" for where in ("up", "body", "down")]
    result.stdout.fnmatch_lines(["* Captured stdout call *", *printed])
    result.stdout.fnmatch_lines(["* Captured log call *", f"*logged up {count}", f"*logged body {count}"])
    assert len(re.findall(r"^printed (?:up|body|down)", output, re.MULTILINE)) == 3
