"""What happens to a test that uses the ledger: checked at the end of its call, and of its teardown.

Registered as a plugin when the first ledger is opened, so that a run without one has none of these hooks.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest
from _pytest._code.code import ExceptionChainRepr, ExceptionRepr, ReprFileLocation

from pytest_littleloops.harness.accounts.liveness import threads_within
from pytest_littleloops.harness.ledger import Ledger, PromiseBroken
from pytest_littleloops.harness.watching.adapters import ADAPTERS
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, usual_lifecycle
from pytest_littleloops.plugin.settings import allowed_rules

_LEDGER = pytest.StashKey[Ledger]()
_PASSED = pytest.StashKey[bool]()
_CHECKED = pytest.StashKey[bool]()
_NAME = "littleloops-checks"


def open_ledger(item: pytest.Item) -> Ledger:
    """A ledger for this test, to be checked when its call and its teardown end."""
    manager = item.config.pluginmanager
    if not manager.has_plugin(_NAME):
        # Before what is registered already, so that hooks of the user's are asked first.
        for adapter in ADAPTERS:
            manager.register(adapter)
        manager.register(Checks(), _NAME)

    def describe(obj: object) -> Lifecycle:
        found: Lifecycle | None = item.ihook.pytest_littleloops_lifecycle(obj=obj)
        return usual_lifecycle(obj) if found is None else found

    ledger = Ledger(describe=describe)
    ledger.allow(*allowed_rules(item.config))
    item.stash[_LEDGER] = ledger
    return ledger


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
            self._tell(item)
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
            report.longrepr = _led_by_code(item, call.excinfo, report.longrepr)
        return report

    def _tell(self, item: pytest.Item) -> None:
        ledger = item.stash.get(_LEDGER, None)
        findings = () if ledger is None else ledger.violations()
        if ledger is not None and findings:
            try:
                ledger.raise_for(findings)
            except PromiseBroken as broken:
                item.add_report_section("call", "littleloops", str(broken))


def _led_by_code(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], longrepr: object
) -> ExceptionRepr:
    # pytest's short summary prints the first line of `reprcrash`, cut to the terminal's width.
    message = str(excinfo.value)
    is_asserted_in_the_test = any(
        not entry.ishidden(excinfo) and str(entry.path) == str(item.path) for entry in excinfo.traceback
    )
    if not is_asserted_in_the_test or not isinstance(longrepr, ExceptionChainRepr):
        # All frames are the plugin's and pytest's own: only the message says anything.
        text = excinfo.getrepr(style="value").reprtraceback
        crash = ReprFileLocation(str(item.path), (item.location[1] or 0) + 1, message)
        return ExceptionChainRepr([(text, crash, None)])
    # Changed in place, since xdist sends the chain that holds the same objects.
    if longrepr.reprcrash is not None:
        longrepr.reprcrash.message = message
    name = excinfo.exconly().partition(": ")[0]
    for entry in longrepr.reprtraceback.reprentries:
        lines: list[str] = getattr(entry, "lines", [])
        lines[:] = [line.replace(f"E       {name}: ", "E       ", 1) for line in lines]
    return longrepr


def _threads_of_wider_fixtures(item: pytest.Item) -> Iterator[threading.Thread]:
    """The threads of executors and pools that fixtures of a wider scope keep for later tests."""
    manager = item.session._fixturemanager
    for name in getattr(item, "fixturenames", ()):
        for definition in manager.getfixturedefs(name, item) or ():
            if definition.scope == "function" or definition.cached_result is None:
                continue
            yield from threads_within(definition.cached_result[0], 5)
