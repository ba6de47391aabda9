"""What happens to a test that uses the ledger: checked at the end of its call, and of its teardown.

Registered as a plugin when the first ledger is opened, so that a run without one has none of these hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

from pytest_littleloops.harness.accounts.liveness import threads_within
from pytest_littleloops.harness.ledger import Ledger, PromiseBroken
from pytest_littleloops.harness.watching.adapters import ADAPTERS
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, usual_lifecycle
from pytest_littleloops.plugin.messages import led_by_code
from pytest_littleloops.plugin.settings import allowed_rules
from pytest_littleloops.reference.model import IssueState

_LEDGER = pytest.StashKey[Ledger]()
_PASSED = pytest.StashKey[bool]()
_CHECKED = pytest.StashKey[bool]()
_NAME = "littleloops-checks"


def open_ledger(item: pytest.Item) -> Ledger:
    """A ledger for this test, to be checked when its call and its teardown end."""
    ledger = Ledger(describe=describer(item))
    ledger.allow(*allowed_rules(item.config))
    item.stash[_LEDGER] = ledger
    return ledger


def describer(item: pytest.Item) -> Callable[[object], Lifecycle]:
    """What a ledger of this test asks for the lifecycle of an object; registers what it needs for that."""
    manager = item.config.pluginmanager
    if not manager.has_plugin(_NAME):
        # Before what is registered already, so that hooks of the user's are asked first.
        for adapter in ADAPTERS:
            manager.register(adapter)
        manager.register(Checks(), _NAME)

    def describe(obj: object) -> Lifecycle:
        found: Lifecycle | None = item.ihook.pytest_littleloops_lifecycle(obj=obj)
        return usual_lifecycle(obj) if found is None else found

    return describe


@contextmanager
def after_body(item: pytest.Item) -> Iterator[None]:
    """Check the ledger, if there is one, behind the body of an explored test in one schedule."""
    __tracebackhide__ = True
    try:
        yield
    except PromiseBroken:
        raise
    except (Exception, pytest.fail.Exception):
        _tell(item)
        raise
    ledger = item.stash.get(_LEDGER, None)
    if ledger is not None:
        ledger.assert_all_terminal()


@contextmanager
def after_fixtures(item: pytest.Item) -> Iterator[None]:
    """The same when the fixtures of that schedule are gone."""
    __tracebackhide__ = True
    yield
    ledger = item.stash.get(_LEDGER, None)
    if ledger is not None:
        ledger.raise_for([*ledger.violations(), *ledger.leaks(spared=_threads_of_wider_fixtures(item))])


def abandon(item: pytest.Item, *, is_cut_short: bool) -> None:
    """Close the ledger of a schedule that is over; tell what is open in it if that was cut short."""
    ledger = item.stash.get(_LEDGER, None)
    if ledger is not None:
        if is_cut_short:
            ended = {state.value for state in IssueState if state.is_terminal}
            seen = [
                str(ledger.timeline(one)) for one, state in ledger.states().items() if state not in ended
            ]
            if seen:
                item.add_report_section("call", "issues without an end", "\n".join(seen))
        ledger.close()
        del item.stash[_LEDGER]


class Checks:
    """The hooks around a test that has a ledger; they pass over every other test."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail the test if an issue is lost; if it fails by itself, say what the ledger knows."""
        __tracebackhide__ = True
        try:
            outcome = yield
        except (PromiseBroken, pytest.skip.Exception, pytest.exit.Exception, KeyboardInterrupt):
            raise
        except BaseException:  # what pytest.fail() raises is no Exception
            _tell(item)
            raise
        # Read only now: the test may have asked for its ledger itself.
        ledger = item.stash.get(_LEDGER, None)
        if ledger is not None:
            item.stash[_CHECKED] = True
            ledger.assert_all_terminal()
        return outcome

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """When all fixtures are gone: what their shutdown revealed, and what was left behind."""
        __tracebackhide__ = True
        ledger = item.stash.get(_LEDGER, None)
        if ledger is None:
            return (yield)
        try:
            outcome = yield
            if item.stash.get(_PASSED, False):
                if not item.stash.get(_CHECKED, False):
                    # It was the first ledger of the run, and opened inside the call.
                    ledger.assert_all_terminal()
                spared = _threads_of_wider_fixtures(item)
                ledger.raise_for([*ledger.violations(), *ledger.leaks(spared=spared)])
            return outcome
        finally:
            ledger.close()
            # A rerun of the test begins anew.
            del item.stash[_LEDGER]
            item.stash[_PASSED] = item.stash[_CHECKED] = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have the message begin with the code, where pytest puts the exception's own name."""
        report = yield
        if call.when == "call":
            item.stash[_PASSED] = report.passed
        if call.excinfo is not None and isinstance(call.excinfo.value, PromiseBroken):
            report.longrepr = led_by_code(item, call.excinfo, report.longrepr)
        return report


def _tell(item: pytest.Item) -> None:
    ledger = item.stash.get(_LEDGER, None)
    findings = () if ledger is None else ledger.violations()
    if ledger is not None and findings:
        try:
            ledger.raise_for(findings)
        except PromiseBroken as broken:
            item.add_report_section("call", "littleloops", str(broken))


def _threads_of_wider_fixtures(item: pytest.Item) -> Iterator[threading.Thread]:
    """The threads of executors and pools that fixtures of a wider scope keep for later tests."""
    manager = item.session._fixturemanager
    for name in getattr(item, "fixturenames", ()):
        for definition in manager.getfixturedefs(name, item) or ():
            if definition.scope == "function" or definition.cached_result is None:
                continue
            yield from threads_within(definition.cached_result[0], 5)
