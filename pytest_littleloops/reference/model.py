"""The words of the reference system: an issue, its states, the result of the work on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

PRIORITIES = ("P0", "P1", "P2", "P3", "P4", "P5")
"""Most urgent first."""


class IssueState(StrEnum):
    """Where an issue stands. Equal to its own name, so that plain strings compare."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_terminal(self) -> bool:
        """True for the four states that end an issue; `interrupted` ends it for this run only."""
        return self not in (IssueState.QUEUED, IssueState.IN_PROGRESS)


class IllegalTransition(RuntimeError):
    """A mark that contradicts what the queue knows. Nothing was changed.

    `issue_id`, `current` (None if the queue does not know the issue) and `requested` are attributes.
    """

    def __init__(self, issue_id: str, current: IssueState | None, requested: IssueState) -> None:
        # The arguments as they are, and not the text made of them, so that a pickled one comes back.
        super().__init__(issue_id, current, requested)
        self.issue_id = issue_id
        self.current = current
        self.requested = requested

    def __str__(self) -> str:
        if self.current is None:
            return f"{self.issue_id} cannot become {self.requested}: it was never added; add it first"
        next_step = "requeue it first" if self.current.is_terminal else "take it with get() first"
        return f"{self.issue_id} cannot go from {self.current} to {self.requested}; {next_step}"


@dataclass(frozen=True, slots=True)
class Issue:
    """One unit of work.

    Raises TypeError if `issue_id` is no string, ValueError if it is empty or the priority unknown.
    """

    issue_id: str
    priority: str = "P3"
    issue_type: str = "BUG"
    title: str = ""
    path: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.issue_id, str):
            raise TypeError(f"issue_id must be a string, not {self.issue_id!r}")
        if not self.issue_id:
            raise ValueError("issue_id must not be empty")
        if self.priority not in PRIORITIES:
            known = ", ".join(PRIORITIES)
            raise ValueError(f"priority of {self.issue_id} must be one of {known}, not {self.priority!r}")


@dataclass
class WorkerResult:
    """What came of the work on one issue."""

    issue_id: str
    success: bool
    branch_name: str
    worktree_path: Path
    changed_files: list[str] = field(default_factory=list)
    leaked_files: list[str] = field(default_factory=list)
    """Files that were written into the main work tree instead of the issue's own."""
    duration: float = 0.0
    """Seconds."""
    error: str | None = None
    stdout: str = ""
    stderr: str = ""
    was_corrected: bool = False
    corrections: list[str] = field(default_factory=list)
    should_close: bool = False
    close_reason: str | None = None
    close_status: str | None = None
    interrupted: bool = False

    def to_dict(self) -> dict[str, object]:
        """This result in types that JSON has; `from_dict` gives it back."""
        return {**dataclasses.asdict(self), "worktree_path": str(self.worktree_path)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """The result that `to_dict` wrote. Unknown keys are ignored: a newer version may have written them.

        Raises ValueError naming what is missing.
        """
        fields = dataclasses.fields(cls)
        required = [
            one.name
            for one in fields
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        ]
        missing = [name for name in required if name not in data]
        if missing:
            raise ValueError(f"a WorkerResult needs {', '.join(missing)}; given were {sorted(data)}")
        # Not checked one by one: a dataclass does not check what it is given either.
        known: dict[str, Any] = {one.name: data[one.name] for one in fields if one.name in data}
        return cls(**{**known, "worktree_path": Path(known["worktree_path"])})
