"""The words of the reference system: what they refuse, and that nothing of them gets lost on the way."""

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


def full_result() -> WorkerResult:
    """Give a result in which no field has its default."""
    return WorkerResult(
        "BUG-229",
        True,
        "fix/BUG-229",
        Path("worktrees/BUG-229"),
        changed_files=["pool.py"],
        leaked_files=["notes.txt"],
        duration=1.5,
        error="half of it",
        stdout="out",
        stderr="err",
        was_corrected=True,
        corrections=["line length"],
        should_close=True,
        close_reason="already fixed",
        close_status="completed",
        interrupted=True,
    )


def test_issue_state_equals_its_name() -> None:
    """A state compares with plain text and prints as it, so that it can be written to a file."""
    name: str = "in_progress"
    assert name == IssueState.IN_PROGRESS
    assert f"{IssueState.IN_PROGRESS}" == name
    assert [state.value for state in IssueState] == [
        "queued",
        "in_progress",
        "completed",
        "failed",
        "cancelled",
        "interrupted",
    ]


def test_issue_state_is_terminal_for_four() -> None:
    """Only a queued issue and one in progress have something before them."""
    terminal = [state for state in IssueState if state.is_terminal]
    assert terminal == ["completed", "failed", "cancelled", "interrupted"]


def test_issue_has_defaults() -> None:
    """An id is enough to make an issue."""
    assert Issue("BUG-229") == Issue("BUG-229", "P3", "BUG", "", None)


def test_issue_is_frozen() -> None:
    """An issue can be shared between threads, since nothing of it changes."""
    issue = Issue("BUG-229")
    with pytest.raises(dataclasses.FrozenInstanceError):
        issue.priority = "P0"  # type: ignore[misc]


def test_issue_is_a_value() -> None:
    """Two issues with the same fields are one, also as a key, and it comes back from another process."""
    issue = Issue("BUG-229", "P1", "ENH", "a title", Path("BUG-229.md"))
    copy = pickle.loads(pickle.dumps(issue))
    assert copy is not issue
    assert {copy} == {issue}


@pytest.mark.parametrize("priority", PRIORITIES)
def test_issue_accepts_each_priority(priority: str) -> None:
    """There are six priorities, P0 to P5."""
    assert Issue("BUG-229", priority).priority == priority


@pytest.mark.parametrize("priority", ["P6", "p0", "", 0])
def test_issue_refuses_other_priorities(priority: str) -> None:
    """A priority that does not exist is refused with a list of those that do."""
    with pytest.raises(ValueError, match="priority of BUG-229 must be one of P0, P1, P2, P3, P4, P5, not"):
        Issue("BUG-229", priority)


@pytest.mark.parametrize("issue_id", [None, 229, b"BUG-229"])
def test_issue_refuses_an_id_that_is_no_string(issue_id: str) -> None:
    """An id of another type would compare unequal to the same id read from a file."""
    with pytest.raises(TypeError, match="issue_id must be a string, not"):
        Issue(issue_id)


def test_issue_refuses_an_empty_id() -> None:
    """No message could name an issue without a name."""
    with pytest.raises(ValueError, match="issue_id must not be empty"):
        Issue("")


def test_worker_result_has_four_positions_and_defaults() -> None:
    """Only the first four fields have to be given; nothing was changed, leaked, corrected or closed."""
    result = WorkerResult("BUG-229", True, "fix/BUG-229", Path("worktree"))
    given = {"issue_id", "success", "branch_name", "worktree_path"}
    rest = {key: value for key, value in vars(result).items() if key not in given}
    assert rest == {
        "changed_files": [],
        "leaked_files": [],
        "duration": 0.0,
        "error": None,
        "stdout": "",
        "stderr": "",
        "was_corrected": False,
        "corrections": [],
        "should_close": False,
        "close_reason": None,
        "close_status": None,
        "interrupted": False,
    }


@pytest.mark.parametrize("name", ["changed_files", "leaked_files", "corrections"])
def test_worker_result_shares_no_list(name: str) -> None:
    """What is appended to one result is not in the next."""
    first = WorkerResult("BUG-1", True, "", Path())
    second = WorkerResult("BUG-2", True, "", Path())
    getattr(first, name).append("a.py")
    assert getattr(second, name) == []


@pytest.mark.parametrize(
    "result", [full_result(), WorkerResult("BUG-1", False, "", Path())], ids=["full", "default"]
)
def test_worker_result_comes_back_from_json(result: WorkerResult) -> None:
    """What `to_dict` writes goes through JSON, and `from_dict` makes the same result of it."""
    written = json.loads(json.dumps(result.to_dict()))
    read = WorkerResult.from_dict(written)
    assert read == result
    assert type(read.worktree_path) is type(result.worktree_path)
    assert read.to_dict() == result.to_dict()


def test_worker_result_to_dict_has_every_field() -> None:
    """No field is left out, and the path is text."""
    written = full_result().to_dict()
    assert list(written) == [field.name for field in dataclasses.fields(WorkerResult)]
    assert written["worktree_path"] == str(Path("worktrees/BUG-229"))


def test_worker_result_to_dict_is_a_copy() -> None:
    """What is done to the written form does not reach the result."""
    result = full_result()
    changed = result.to_dict()["changed_files"]
    assert isinstance(changed, list)
    changed.append("other.py")
    assert result.changed_files == ["pool.py"]


def test_worker_result_from_dict_fills_in_defaults() -> None:
    """What an older version did not write has its default."""
    data = {"issue_id": "BUG-1", "success": False, "branch_name": "", "worktree_path": "."}
    assert WorkerResult.from_dict(data) == WorkerResult("BUG-1", False, "", Path())


def test_worker_result_from_dict_ignores_unknown_keys() -> None:
    """What a newer version may have written is no reason to lose the result."""
    result = full_result()
    assert WorkerResult.from_dict({**result.to_dict(), "mood": "good"}) == result


@pytest.mark.parametrize("name", ["issue_id", "success", "branch_name", "worktree_path"])
def test_worker_result_from_dict_names_what_is_missing(name: str) -> None:
    """A required key that is not there is named, and so is what was."""
    data = full_result().to_dict()
    del data[name]
    with pytest.raises(ValueError, match=rf"^a WorkerResult needs {name}; given were \['branch|'change"):
        WorkerResult.from_dict(data)


def test_illegal_transition_carries_the_facts() -> None:
    """The id and both states are attributes, for code that wants to look."""
    error = IllegalTransition("BUG-229", IssueState.FAILED, IssueState.COMPLETED)
    assert (error.issue_id, error.current, error.requested) == ("BUG-229", "failed", "completed")


@pytest.mark.parametrize(
    ("current", "requested", "message"),
    [
        (
            IssueState.FAILED,
            IssueState.COMPLETED,
            "BUG-229 cannot go from failed to completed; requeue it first",
        ),
        (
            IssueState.QUEUED,
            IssueState.COMPLETED,
            "BUG-229 cannot go from queued to completed; take it with get() first",
        ),
        (
            None,
            IssueState.FAILED,
            "BUG-229 cannot become failed: it was never added; add it first",
        ),
    ],
    ids=["terminal", "queued", "unknown"],
)
def test_illegal_transition_says_what_to_do(
    current: IssueState | None, requested: IssueState, message: str
) -> None:
    """The message names the id, where it is, where it should have gone, and the way there."""
    assert str(IllegalTransition("BUG-229", current, requested)) == message


def test_illegal_transition_can_be_pickled() -> None:
    """It comes back whole from another process: one that cannot be read there breaks a whole executor."""
    error = IllegalTransition("BUG-229", IssueState.FAILED, IssueState.COMPLETED)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.current is IssueState.FAILED
