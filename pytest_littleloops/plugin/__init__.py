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
    nemesis,
    recording_orchestrator,
    worker_pool,
    worker_result,
)
from pytest_littleloops.plugin.settings import EXPLORE, INTERRUPTED, IS_SUMMARY, VERDICT, check, option_of

_REPLAYED = """\
  if nothing was changed, it had failed by what an earlier schedule left behind: a module global,
  a default argument, a file outside of tmp_path; more: pytest --littleloops-explain LL501"""

__all__ = [
    "cancellable_pool",
    "fake_future",
    "issue_queue",
    "ledger",
    "make_issue",
    "manual_executor",
    "nemesis",
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
        help="How long a fixture waits before a hang becomes a failure, and how long a schedule may stand "
        "still in real time (default: 10).",
    )
    group.addoption(
        "--littleloops-explain",
        metavar="RULE",
        help="Show the page of a rule, a code or a name, and exit.",
    )
    for name, described in EXPLORE.items():
        group.addoption(option_of(name), metavar=name.rpartition("_")[2].upper(), help=described)
        parser.addini(f"littleloops_{name}", described, default="")
    parser.addini("littleloops_allow", "Rules that no test is failed for.", type="args", default=[])
    parser.addini("littleloops_patience", "How long a hang may last, in seconds.", default="")


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
    """Declare the marker, and check what was configured."""
    config.addinivalue_line(
        "markers",
        f"explore({', '.join(f'{name}=' for name in EXPLORE)}): run the test under many schedules of its "
        "threads, and fail it with a token that replays the one that failed.",
    )
    check(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Prepare the tests that are to be explored, if there are any."""
    explored = [item for item in items if item.get_closest_marker("explore") is not None]
    if explored:
        from pytest_littleloops.plugin.exploration import prepare

        prepare(config, explored)


def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """Say with `-v` what the exploration of a test came to."""
    # Here, since the process that prints is not always the one that explored.
    if report.when != "call" or not report.user_properties or hasattr(report, "wasxfail"):
        return None
    verdict = next((str(text) for name, text in report.user_properties if name == VERDICT), None)
    if verdict is None or report.outcome == "skipped":
        return None
    word = report.outcome.upper()
    if not config.stash.get(IS_SUMMARY, False):
        word = f"{word} ({verdict.removeprefix('failed, ')})"
    return report.outcome, "." if report.passed else "F", word


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what passed and yet is not certified, and say what it may mean that a replay passed."""
    # The short summary that comes next has its width for the message.
    config.stash[IS_SUMMARY] = True
    lines = list(config.stash.get(INTERRUPTED, ()))
    for report in terminalreporter.stats.get("passed", ()):
        for name, text in report.user_properties:
            if name != VERDICT:
                continue
            if text.startswith("not certified"):
                lines.append(f"{report.nodeid}: {text}")
            # Not where the token stays in the marker, for good.
            elif text.startswith("replayed") and config.getoption("--littleloops-replay"):
                lines.append(f"{report.nodeid}: {text}\n{_REPLAYED}")
    for line in lines:
        terminalreporter.write_line(f"littleloops: {line}")
