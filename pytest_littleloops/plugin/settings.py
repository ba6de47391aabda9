"""What the options and ini keys say, checked. The command line wins over the ini file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

_PATIENCE = 10.0


def check(config: pytest.Config) -> None:
    """Raise pytest.UsageError for a value that is wrong; loads nothing if nothing was configured."""
    allowed_rules(config)
    patience(config)


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
