"""What the tests of the plugin share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest cuts the lines of its summary to the terminal's width."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture(autouse=True)
def written_order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of an inner run come in the order in which they are written, whatever is installed."""
    if "pytester" in request.fixturenames:
        # It takes the variable away when it is set up.
        request.getfixturevalue("pytester")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly")
