"""The pytest plugin: options, ini keys, hooks and the names of the fixtures.

pytest imports this module in every run in which the package is installed, so it imports pytest and
nothing else: what a run does not use is never loaded. The fixtures are in `fixtures`, the checks of a
test that uses the ledger in `checks`, which is registered when the first such test is set up.
"""

from __future__ import annotations

import pytest

from pytest_littleloops.plugin.fixtures import (
    cancellable_pool,
    fake_future,
    issue_queue,
    ledger,
    make_issue,
    manual_executor,
    recording_orchestrator,
    worker_pool,
    worker_result,
)

__all__ = [
    "cancellable_pool",
    "fake_future",
    "issue_queue",
    "ledger",
    "make_issue",
    "manual_executor",
    "recording_orchestrator",
    "worker_pool",
    "worker_result",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options `--littleloops-*` and the ini keys `littleloops_*`."""
    group = parser.getgroup("littleloops", "lost issues (pytest-littleloops)")
    group.addoption(
        "--littleloops-allow",
        metavar="RULES",
        help="Rules that no test is failed for: codes or names, separated by commas.",
    )
    group.addoption(
        "--littleloops-patience",
        metavar="SECONDS",
        help="How long a fixture waits before a hang becomes a failure (default: 10).",
    )
    group.addoption(
        "--littleloops-explain",
        metavar="RULE",
        help="Show the page of a rule, a code or a name, and exit.",
    )
    parser.addini("littleloops_allow", "Rules that no test is failed for.", type="args", default=[])
    parser.addini("littleloops_patience", "How long a fixture waits, in seconds.", default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook by which plugins tell what an object's methods mean."""
    from pytest_littleloops.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Show the page of a rule instead of running tests, if that was asked for."""
    if config.getoption("--littleloops-explain") is None:
        return None
    from pytest_littleloops.plugin.settings import page_of_rule

    print(page_of_rule(config))
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Check what was configured, if anything was."""
    from pytest_littleloops.plugin.settings import check

    check(config)
