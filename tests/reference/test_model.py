"""The words of the reference system: issues, states, results, and the text of a contradictory mark."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest

from pytest_littleloops.reference.model import (
    PRIORITIES,
    IllegalTransition,
    Issue,
    IssueState,
    WorkerResult,
)


def test_issue_needs_no_more_than_an_id() -> None:
    """Everything but the id has a default."""
    issue = Issue("BUG-229")
    assert (issue.issue_id, issue.priority, issue.issue_type) == ("BUG-229", "P3", "BUG")
    assert (issue.title, issue.path) == ("", None)


def test_issue_is_frozen() -> None:
    """An issue is a value: it cannot be changed under the feet of its queue."""
    issue = Issue("BUG-229")
    with pytest.raises(dataclasses.FrozenInstanceError):
        issue.priority = "P0"  # type: ignore[misc]


def test_issue_is_equal_to_its_like() -> None:
    """Two issues with the same fields are one value, also as a key."""
    assert {Issue("BUG-229", "P1", path=Path("a.md"))} == {Issue("BUG-229", "P1", path=Path("a.md"))}


def test_issue_survives_pickling() -> None:
    """An executor of other processes has to send it there."""
    issue = Issue("BUG-229", "P0", "ENH", "a title", Path("a.md"))
    assert pickle.loads(pickle.dumps(issue)) == issue


@pytest.mark.parametrize("priority", PRIORITIES)
def test_issue_accepts_every_known_priority(priority: str) -> None:
    """P0 to P5 exist."""
    assert Issue("BUG-229", priority).priority == priority


def test_issue_with_an_unknown_priority_is_refused() -> None:
    """The message names the issue, what was given and what is known."""
    with pytest.raises(ValueError, match="must be one of") as caught:
        Issue("BUG-229", "P6")
    assert str(caught.value) == "priority of BUG-229 must be one of P0, P1, P2, P3, P4, P5, not 'P6'"


def test_issue_with_an_empty_id_is_refused() -> None:
    """Nobody could find it again."""
    with pytest.raises(ValueError, match=r"^issue_id must not be empty$"):
        Issue("")


def test_issue_whose_id_is_no_string_is_refused() -> None:
    """The message shows what was given."""
    with pytest.raises(TypeError, match=r"^issue_id must be a string, not 229$"):
        Issue(229)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "is_terminal"),
    [
        ("queued", False),
        ("in_progress", False),
        ("completed", True),
        ("failed", True),
        ("cancelled", True),
        ("interrupted", True),
    ],
)
def test_state_equals_its_name_and_knows_whether_it_ends_an_issue(state: str, is_terminal: bool) -> None:
    """Four of six states are terminal, and each compares with a plain string."""
    assert IssueState(state) == state
    assert f"{IssueState(state)}" == state
    assert IssueState(state).is_terminal is is_terminal


def test_states_are_six() -> None:
    """There is no other state in which an issue could hide."""
    assert len(IssueState) == 6


@pytest.mark.parametrize(
    ("current", "text"),
    [
        (None, "BUG-229 cannot become completed: it was never added; add it first"),
        (IssueState.FAILED, "BUG-229 cannot go from failed to completed; requeue it first"),
        (IssueState.QUEUED, "BUG-229 cannot go from queued to completed; take it with get() first"),
    ],
)
def test_illegal_transition_names_the_facts_and_the_remedy(current: IssueState | None, text: str) -> None:
    """Which issue, from where, to where, and what to do instead."""
    error = IllegalTransition("BUG-229", current, IssueState.COMPLETED)
    assert str(error) == text
    assert (error.issue_id, error.current, error.requested) == ("BUG-229", current, IssueState.COMPLETED)


def test_result_has_four_positional_fields_and_harmless_defaults() -> None:
    """A result of four values says nothing beyond them."""
    result = WorkerResult("BUG-229", True, "fix/bug-229", Path("work"))
    assert dataclasses.astuple(result)[4:] == (
        [],
        [],
        0.0,
        None,
        "",
        "",
        False,
        [],
        False,
        None,
        None,
        False,
    )


def test_results_share_no_list() -> None:
    """A list that one result fills is empty in the next."""
    WorkerResult("BUG-1", True, "", Path()).changed_files.append("a.py")
    assert WorkerResult("BUG-2", True, "", Path()).changed_files == []


def full_result() -> WorkerResult:
    """Return a result in which no field has its default."""
    return WorkerResult(
        "BUG-229",
        False,
        "fix/bug-229",
        Path("work/bug-229"),
        changed_files=["a.py"],
        leaked_files=["b.py"],
        duration=1.5,
        error="no",
        stdout="out",
        stderr="err",
        was_corrected=True,
        corrections=["c"],
        should_close=True,
        close_reason="done before",
        close_status="duplicate",
        interrupted=True,
    )


def test_result_comes_back_from_json() -> None:
    """What `to_dict` gives is JSON, and `from_dict` reads it back without a loss."""
    written = json.dumps(full_result().to_dict())
    assert WorkerResult.from_dict(json.loads(written)) == full_result()


def test_result_is_read_from_its_required_fields_alone() -> None:
    """What an older version did not write has its default."""
    data = {"issue_id": "BUG-1", "success": True, "branch_name": "", "worktree_path": "."}
    assert WorkerResult.from_dict(data) == WorkerResult("BUG-1", True, "", Path())


def test_result_ignores_keys_of_a_newer_version() -> None:
    """A key that this version does not know is no reason to lose the result."""
    data = {**full_result().to_dict(), "colour": "blue"}
    assert WorkerResult.from_dict(data) == full_result()


def test_result_without_a_required_field_is_refused() -> None:
    """The message says what is missing and what was there."""
    with pytest.raises(ValueError, match="a WorkerResult needs") as caught:
        WorkerResult.from_dict({"success": True, "issue_id": "BUG-1"})
    assert str(caught.value) == (
        "a WorkerResult needs branch_name, worktree_path; given were ['issue_id', 'success']"
    )
