"""How far a long exploration is: written behind the test's name on a terminal, taken back at its end."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from pytest_littleloops.simulation import real

_PAUSE = 0.5
"""Seconds before it is said at all, and between two times."""


class Progress:
    """Says it only where somebody looks: on a terminal, in the process that prints."""

    def __init__(self, config: pytest.Config, total: int) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        is_seen = reporter is not None and getattr(reporter, "isatty", False)
        # Not through the reporter, which counts columns.
        self._file = reporter._tw._file if reporter is not None and is_seen else None
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._total = total
        self._shown = ""
        self._next = real.monotonic() + _PAUSE

    def show(self, number: int) -> None:
        """Say that schedule `number` begins, if it is time."""
        if self._file is None or real.monotonic() < self._next:
            return
        self._next = real.monotonic() + _PAUSE
        self._write(f" schedule {number:,} of {self._total:,}")

    def end(self) -> None:
        """Take it back."""
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        assert self._file is not None
        back = "\b" * len(self._shown)
        blank = " " * (len(self._shown) - len(text))
        # What is captured while a test runs is the file itself, so it would not get past that.
        with nullcontext() if self._capture is None else self._capture.global_and_fixture_disabled():
            self._file.write(back + text + blank + "\b" * len(blank))
            self._file.flush()
        self._shown = text
