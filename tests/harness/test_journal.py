"""Places: which lines are the user's, and how they read."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pytest_littleloops.harness.accounts.journal import Journal, Kind, Place, error_text, is_user_code
from pytest_littleloops.harness.ledger import Ledger
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue


@pytest.mark.parametrize(
    "function", [WorkerPool.submit, IssueQueue.add, Ledger.watch, threading.Thread.run]
)
def test_lines_of_this_package_and_the_library_are_not_the_users(function: object) -> None:
    """Nobody can mend them from a test."""
    assert not is_user_code(function.__code__)  # type: ignore[attr-defined]


def test_lines_of_a_test_and_of_other_packages_are_the_users() -> None:
    """A pool under test may well be installed."""
    assert is_user_code(test_lines_of_a_test_and_of_other_packages_are_the_users.__code__)
    assert is_user_code(pytest.Item.add_report_section.__code__)


def test_generated_code_is_nobodys() -> None:
    """It has no line that could be looked at."""
    assert not is_user_code(compile("1", "<generated>", "eval"))


def test_a_place_outside_the_current_folder_is_called_by_its_name(tmp_path: Path) -> None:
    """Inside it by the way there."""
    assert str(Place(str(tmp_path / "far.py"), 3, "far")) == "far.py:3"
    assert str(Place(os.path.abspath("tests/near.py"), 4, "near")) == os.path.join("tests", "near.py:4")


def test_a_place_can_be_told_without_a_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test may have deleted the folder that it is in."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert str(Place("/far/away.py", 3, "far")) == "away.py:3"


def test_an_error_whose_text_cannot_be_read_is_called_by_its_type() -> None:
    """Whatever an exception does when it is asked."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("mute")

    assert error_text(Mute()) == "Mute"
    assert error_text(KeyError()) == "KeyError"
    assert error_text(ValueError("two\nlines")) == "ValueError: two lines"


def test_entries_are_kept_in_order() -> None:
    """With the thread that observed them, and as many as there are."""
    journal = Journal()
    journal.append(Kind.QUEUED, "BUG-1")
    journal.append(Kind.STARTED, "BUG-1")
    assert [entry.kind for entry in journal.entries] == [Kind.QUEUED, Kind.STARTED]
    assert {entry.thread for entry in journal.entries} == {threading.current_thread()}
    assert len(journal) == 2
    assert journal.step_of(journal.entries[1]) == 2
    assert journal.step_of(None) is None
