"""What the options and ini keys say, checked. The command line wins over the ini file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_littleloops.simulation.settings import Settings

_PATIENCE = 10.0

EXPLORE = {
    "schedules": "So many schedules an explored test runs under at most (default: 1000).",
    "strategy": "How schedules are chosen: auto, dpor, pct, pos, random or dfs (default: auto).",
    "seed": "The seed of what is chosen by chance (default: 0).",
    "preemptions": "With dfs: so many preemptions at most (default: any number).",
    "early_timeouts": "So many timeouts of each thread come early at most (default: 2).",
    "faults": "What may go wrong, such as cancel,worker-raises: the nemesis does it (default: nothing).",
    "max_steps": "So many operations before a schedule is cut off (default: 20000).",
    "replay": "The token of a failing schedule: the explored test runs under that one alone.",
}
"""The arguments of the marker `explore`, which are options and ini keys as well."""

VERDICT = "littleloops_verdict"
"""The property of a test's report that says what its exploration came to."""

INTERRUPTED = pytest.StashKey[list[str]]()
"""The explorations that were cut short, so that no report tells of them."""

IS_SUMMARY = pytest.StashKey[bool]()
"""Whether the tests are over and the summary is being printed."""

_TEXTS = ("strategy", "replay", "faults")


def check(config: pytest.Config) -> None:
    """Raise pytest.UsageError for a value that is wrong; loads nothing if nothing was configured."""
    allowed_rules(config)
    patience(config)
    for name, (number, source) in _configured(config).items():
        _settings({name: number}, source)


def explore_settings(item: pytest.Item) -> Settings:
    """How a test is to be explored: its markers over the command line over the ini file.

    Of several markers the closest to the test wins, argument by argument. Raises pytest.UsageError.
    """
    arguments = {name: value for name, (value, _) in _configured(item.config).items()}
    # One that was asked for on the command line is the one to see again, whatever the marker says.
    replay = arguments.pop("replay", None)
    # Within one node the later ones are closer: a class's own after its base's, a parameter set's last.
    markers = [one for node in item.listchain() for one in node.own_markers if one.name == "explore"]
    for marker in markers:
        if marker.args:
            raise pytest.UsageError(
                f"{item.nodeid}: explore() takes keywords only, for example schedules={marker.args[0]!r}"
            )
        unknown = [name for name in marker.kwargs if name not in EXPLORE]
        if unknown:
            raise pytest.UsageError(
                f"{item.nodeid}: explore() takes no {unknown[0]!r}; it takes {', '.join(EXPLORE)}"
            )
        arguments |= marker.kwargs
    if replay is not None:
        arguments["replay"] = replay
    return _settings({**arguments, "patience": patience(item.config)}, f"{item.nodeid}: explore()")


def _settings(arguments: Mapping[str, Any], source: str) -> Settings:
    from pytest_littleloops.simulation.settings import Settings

    try:
        return Settings(**arguments)
    except ValueError as error:
        raise pytest.UsageError(f"{source}: {error}") from None


def _configured(config: pytest.Config) -> dict[str, tuple[object, str]]:
    """What the command line and the ini file say of explorations, and where each was said."""
    found: dict[str, tuple[object, str]] = {}
    for name in EXPLORE:
        option = config.getoption(option_of(name))
        source = f"littleloops_{name}" if option is None else option_of(name)
        text = config.getini(f"littleloops_{name}") if option is None else option
        if text:
            value = text if name in _TEXTS else _whole_number(text, source)
            found[name] = (tuple(text.replace(",", " ").split()) if name == "faults" else value, source)
    return found


def option_of(name: str) -> str:
    """The option of an argument of the marker."""
    return f"--littleloops-{name.replace('_', '-')}"


def _whole_number(text: str, source: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise pytest.UsageError(f"{source}: {text!r} is no whole number") from None


def allowed_rules(config: pytest.Config) -> tuple[str, ...]:
    """The codes of the rules that are allowed in every test."""
    option = config.getoption("--littleloops-allow")
    source = "littleloops_allow" if option is None else "--littleloops-allow"
    text = " ".join(config.getini("littleloops_allow")) if option is None else option
    words = text.replace(",", " ").split()
    if not words:
        return ()
    from pytest_littleloops.harness.accounts.rules import codes

    try:
        return tuple(sorted(codes(words)))
    except ValueError as error:
        raise pytest.UsageError(f"{source}: {error}") from None


def page_of_rule(config: pytest.Config) -> str:
    """The page of the rule that `--littleloops-explain` names."""
    from pytest_littleloops.harness.accounts.rules import find_rule

    try:
        code = find_rule(config.getoption("--littleloops-explain")).code
    except ValueError as error:
        raise pytest.UsageError(f"--littleloops-explain: {error}") from None
    package = Path(__file__).parent.parent
    # In a wheel the pages are in the package, in a checkout beside it.
    pages = (package / "rules" / f"{code}.md", package.parent / "docs" / "rules" / f"{code}.md")
    return next(page.read_text() for page in pages if page.exists())


def patience(config: pytest.Config) -> float:
    """How long a fixture waits before a hang becomes a failure, in seconds."""
    option = config.getoption("--littleloops-patience")
    source = "littleloops_patience" if option is None else "--littleloops-patience"
    text = config.getini("littleloops_patience") if option is None else option
    if not text:
        return _PATIENCE
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise pytest.UsageError(f"{source}: {text!r} is no number of seconds above 0, for example 10")
    return seconds
