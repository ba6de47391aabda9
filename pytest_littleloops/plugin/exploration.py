"""Tests that are explored: each runs under many schedules instead of once.

Registered as a plugin when the first of them is collected. The body, its function-scoped fixtures and the
check of its ledger are one scenario; the engine runs it, and what it finds is the outcome of the test.
"""

from __future__ import annotations

import hashlib
import inspect
import shlex
import unittest
import warnings
from collections.abc import Generator
from textwrap import indent
from typing import Any

import pytest
from _pytest.pathlib import bestrelpath

from pytest_littleloops.plugin import checks
from pytest_littleloops.plugin.messages import led_by_code
from pytest_littleloops.plugin.progress import Progress
from pytest_littleloops.plugin.schedule_fixtures import (
    ScheduleFixtures,
    clear_records,
    is_kept,
    kept_names,
)
from pytest_littleloops.plugin.settings import INTERRUPTED, VERDICT, explore_settings
from pytest_littleloops.simulation.explorer import Exploration, Explorer
from pytest_littleloops.simulation.failures import (
    Deadlock,
    Nondeterministic,
    NoProgress,
    SimulationFailure,
    StepLimit,
)
from pytest_littleloops.simulation.inside import is_in_world
from pytest_littleloops.simulation.membership import current_world
from pytest_littleloops.simulation.settings import Settings

_SETTINGS = pytest.StashKey[Settings]()
_REFUSED = pytest.StashKey[pytest.UsageError]()
_NAME = "littleloops-exploration"
_LET_THROUGH = (
    pytest.skip.Exception,
    unittest.SkipTest,
    pytest.xfail.Exception,
    pytest.exit.Exception,
)
"""What ends the test whatever the schedule, and is no failure of it, if the test's own body raises it."""

_ENDS = (Deadlock, NoProgress, StepLimit)
"""What the engine ends a schedule by which can be run again as it was."""


def prepare(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Register the hooks, and read how each of these tests is to be explored.

    Raises pytest.UsageError for a test that cannot be.
    """
    for item in items:
        try:
            item.stash[_SETTINGS] = explore_settings(item)
            reason = _why_not(item)
            if reason is not None:
                raise pytest.UsageError(f"{item.nodeid} cannot be explored: {reason}")
        except pytest.UsageError as error:
            _refuse([item], error)
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Explorations(), _NAME)


def _refuse(items: list[pytest.Item], error: pytest.UsageError) -> None:
    # Of what stops a worker xdist does not tell, so there these tests say it themselves.
    if not hasattr(items[0].config, "workerinput"):
        raise error
    for item in items:
        item.stash[_REFUSED] = error


def _why_not(item: pytest.Item) -> str | None:
    if not isinstance(item, pytest.Function):
        return "it is no test function; call explore() inside it instead"
    if item.cls is not None and issubclass(item.cls, unittest.TestCase):
        return "a unittest.TestCase has its own way to run; make it a plain class or function"
    if inspect.iscoroutinefunction(item.obj) or inspect.isasyncgenfunction(item.obj):
        return "the event loop of an async test is not under control; explore what its threads do"
    if getattr(item.obj, "is_hypothesis_test", False):
        return "Hypothesis runs it many times by itself; call explore() inside it instead"
    if "subtests" in item.fixturenames:
        return "a subtest reports at once, whatever the schedule; parametrize it instead"
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        if name not in item.fixturenames:
            continue
        for definition in definitions:
            function = definition.func
            is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
            if is_async and not is_kept(definition):
                return f"its fixture {name!r} is async, and needs an event loop in each schedule"
    return None


class Explorations:
    """The hooks around an explored test; they pass over every other test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse one token for several tests, now that it is known which are left."""
        items = [item for item in session.items if _SETTINGS in item.stash]
        if len(items) > 1 and session.config.getoption("--littleloops-replay"):
            text = (
                "--littleloops-replay: a token belongs to one test, and "
                f"{len(items)} explored tests were selected; name the one, for example {items[0].nodeid}"
            )
            _refuse(items, pytest.UsageError(text))

    @pytest.hookimpl(tryfirst=True, specname="pytest_runtest_setup")
    def pytest_runtest_setup_of_refused(self, item: pytest.Item) -> None:
        """Have a test say in a worker what is wrong with its marker."""
        if _REFUSED in item.stash:
            pytest.fail(str(item.stash[_REFUSED]), pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Set up what stays for the whole test; the rest is set up in each schedule."""
        if _SETTINGS not in item.stash or not isinstance(item, pytest.Function):
            return (yield)
        names = item.fixturenames
        item.fixturenames = kept_names(item)
        try:
            return (yield)
        finally:
            item.fixturenames = names

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Explore instead of calling the function once."""
        __tracebackhide__ = True
        settings = pyfuncitem.stash.get(_SETTINGS, None)
        if settings is None:
            return None
        _Exploring(pyfuncitem, settings).run()
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Refuse a fixture of a wider scope that would hold the objects of one schedule."""
        if fixturedef.scope != "function" and is_in_world():
            # What pytest has prepared for its end would be in the way of the next who asks for it.
            fixturedef._finalizers.clear()
            raise pytest.UsageError(
                f"the {fixturedef.scope}-scoped fixture {fixturedef.argname!r} was asked for inside a "
                "schedule, and would outlive it: make it an argument of the explored test"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have a message of the engine's begin with its code."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, SimulationFailure):
            report.longrepr = led_by_code(item, call.excinfo, report.longrepr)
        return report

    def pytest_enter_pdb(self) -> None:
        """While somebody is at the prompt, no real time counts."""
        world = current_world()
        if world is not None:
            world.is_watched = False

    def pytest_leave_pdb(self) -> None:
        """From here on it counts again."""
        world = current_world()
        if world is not None:
            world.is_watched = True


class _Exploring:
    """The exploration of one test; also what is around each of its schedules."""

    def __init__(self, item: pytest.Function, settings: Settings) -> None:
        self._item = item
        self._settings = settings
        self._fixtures = ScheduleFixtures(item)
        self._sections = len(item._report_sections)
        self._properties = len(item.user_properties)
        self._progress = Progress(item.config, settings.schedules)
        self._memory = _Memory(item)
        self._returned: object = None

    def run(self) -> None:
        """Explore; raise what was found, with what a reader needs to see it again."""
        __tracebackhide__ = True
        explorer = Explorer(self._one_schedule, self._settings, surroundings=self, let_through=_LET_THROUGH)
        known = self._memory.token if self._settings.replay is None else None
        try:
            found = explorer.run(known)
        except _LET_THROUGH:
            raise
        except BaseException as error:
            begun = f"{explorer.found.schedules:,} of {self._settings.schedules:,} schedules"
            text = f"not certified, ended by {type(error).__name__} after {begun}"
            error.add_note(f"  {text}")
            self._item.config.stash.setdefault(INTERRUPTED, []).append(f"{self._item.nodeid}: {text}")
            raise
        finally:
            self._progress.end()
        said = {VERDICT: found.summary(), "littleloops_schedules": found.schedules}
        # A test that is run again has those of its last run.
        kept = [one for one in self._item.user_properties if one[0] not in said]
        self._item.user_properties[:] = [*kept, *said.items()]
        if found.failure is not None or self._settings.replay is None:
            self._memory.token = found.token if found.verdict == "failed" else None
        if found.failure is not None:
            failure = _as_a_failure(found.failure, found.is_replay)
            self._annotate(found, failure)
            raise failure
        if self._returned is not None:
            warnings.warn(
                pytest.PytestReturnNotNoneWarning(
                    f"{self._item.nodeid} returned {type(self._returned)!r}; a test is to return None. "
                    "Did you mean to use `assert` instead of `return`?"
                ),
                stacklevel=1,
            )

    def before(self, number: int, is_replay: bool) -> None:
        """Let each schedule begin with clean records: whichever fails, what is shown is its own."""
        self._progress.show(number)
        capture = self._item.config.pluginmanager.get_plugin("capturemanager")
        if capture is not None and capture.is_globally_capturing():
            capture.read_global_capture()
        logs = self._item.config.pluginmanager.get_plugin("logging-plugin")
        if logs is not None:
            logs.caplog_handler.clear()
            logs.report_handler.clear()
        clear_records(self._item)
        self._fixtures.empty_folder()
        del self._item._report_sections[self._sections :]
        del self._item.user_properties[self._properties :]

    def after(self, failure: BaseException | None) -> None:
        """Take back what the test changed, while names still are what it found; see what failed first."""
        monkeypatch = self._item.funcargs.get("monkeypatch")
        if isinstance(monkeypatch, pytest.MonkeyPatch):
            monkeypatch.undo()
        first, self._fixtures.first_error = self._fixtures.first_error, None
        if first is failure or isinstance(first, _LET_THROUGH):
            first = None
        # A test that had failed before has told then what its ledger knew.
        checks.abandon(self._item, is_cut_short=isinstance(failure, SimulationFailure) and first is None)
        if first is not None and failure is not None:
            _put_first(first, failure)

    def _one_schedule(self) -> None:
        __tracebackhide__ = True
        item = self._item
        with checks.after_fixtures(item), self._fixtures.fresh() as arguments, checks.after_body(item):
            self._returned = item.obj(**arguments)
            if hasattr(self._returned, "__await__") or hasattr(self._returned, "__aiter__"):
                pytest.fail("it returned something to be awaited, and nobody does", pytrace=False)

    def _annotate(self, found: Exploration, failure: BaseException) -> None:
        number = f"schedule {found.schedules:,} of {self._settings.schedules:,}"
        if self._settings.replay is not None:
            number = "the schedule of the token"
        story = found.story()
        notes = [story] if story else []
        if found.token is None:
            notes.append(f"  {number}: {found.verdict}")
        else:
            small = ""
            if found.unshrunk > found.switches:
                count = f"{found.switches} switch{'es' * (found.switches != 1)}"
                small = f", {count} after shrinking from {found.unshrunk}"
            notes.append(f"  {number}: {found.verdict}{small}; see it again:")
            notes.append(f"    pytest {_argument_for(self._item)} --littleloops-replay={found.token}")
        for note in notes:
            _add_note(failure, note)


def _put_first(first: BaseException, failure: BaseException) -> None:
    """Have a schedule fail by what went wrong first, not by what became of its teardown after that."""
    _add_note(failure, f"  before that it had failed already: {_named(first).splitlines()[0]}")
    is_engines = type(failure).__module__ == SimulationFailure.__module__
    world = current_world()
    if world is not None and (isinstance(failure, _ENDS) or not is_engines):
        text = str(failure) if is_engines else _named(failure)
        _add_note(first, "  then its teardown failed as well:\n" + indent(text, "    "))
        world.failure = first


def _add_note(failure: BaseException, note: str) -> None:
    if isinstance(failure, pytest.fail.Exception) and not failure.pytrace:
        # Of this one pytest shows the message, and no notes.
        failure.msg = f"{failure}\n{note}"
    else:
        failure.add_note(note)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _as_a_failure(error: BaseException, is_replay: bool) -> BaseException:
    """What to raise for what a task raised: not what would end the whole run, or pass for a skip."""
    if isinstance(error, Nondeterministic) and is_replay:
        wrong = "the token was made for another test or parameter, or the code has changed"
        return Nondeterministic(f"{wrong}: {error.facts}")
    if isinstance(error, (Exception, pytest.fail.Exception)) and not isinstance(error, _LET_THROUGH):
        return error
    failure = pytest.fail.Exception(f"{error!r} was raised in a schedule", pytrace=False)
    failure.__cause__ = error
    return failure


def _argument_for(item: pytest.Item) -> str:
    """The test, quoted for a command where pytest was called, which need not be the root."""
    path, colons, names = item.nodeid.partition("::")
    if item.config.invocation_params.dir != item.config.rootpath:
        path = bestrelpath(item.config.invocation_params.dir, item.config.rootpath / path)
    nodeid = path + colons + names
    # Double quotes do in every shell, but these mean something inside of them.
    return shlex.quote(nodeid) if set(nodeid) & set('"$`!\\') else f'"{nodeid}"'


class _Memory:
    """The token of the schedule that failed last time, in pytest's cache if there is one."""

    def __init__(self, item: pytest.Item) -> None:
        self._cache = getattr(item.config, "cache", None)
        # A file a test: several processes may write at once.
        self._key = f"littleloops/failing/{hashlib.sha256(item.nodeid.encode()).hexdigest()[:16]}"

    @property
    def token(self) -> str | None:
        """The token, or None."""
        token = None if self._cache is None else self._cache.get(self._key, None)
        return token if isinstance(token, str) else None

    @token.setter
    def token(self, token: str | None) -> None:
        if self._cache is not None and (token is not None or self.token is not None):
            self._cache.set(self._key, token)
