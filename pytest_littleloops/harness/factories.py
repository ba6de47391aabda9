"""Issues and results that read well in a failure, and are the same in every run.

Values only: nothing here knows of pools, queues or time.
"""

from __future__ import annotations

import itertools
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from pytest_littleloops.reference.model import Issue, WorkerResult

_USUAL_TYPE = "BUG"
_FIRST_NUMBER = 101
_TITLES = (
    "Exit code is 0 although a step failed",
    "Config file with a byte order mark is rejected",
    "Progress bar overwrites the last log line",
    "Retry forgets the branch it was on",
    "Two runs write into one cache folder",
    "Names with umlauts are cut in the report",
    "Timeout is read as milliseconds",
    "Help text lists an option that is gone",
)


class FailureFields(TypedDict, total=False):
    """The fields of a `WorkerResult`, all but its id and its error, that a test may want set."""

    success: bool
    branch_name: str
    worktree_path: Path
    changed_files: list[str]
    leaked_files: list[str]
    duration: float
    stdout: str
    stderr: str
    was_corrected: bool
    corrections: list[str]
    should_close: bool
    close_reason: str | None
    close_status: str | None
    interrupted: bool


class ResultFields(FailureFields, total=False):
    """The same with the error, which of a failure is told as an argument of its own."""

    error: str | None


class IssueFactory:
    """Makes issues: `make_issue()`, `make_issue("FEAT-7", priority="P0")`, `make_issue.many(3)`.

    Without an id they are called BUG-101, BUG-102 and so on, leaving out ids that were given. An id's
    title is the same everywhere. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._made: set[str] = set()

    def __call__(
        self,
        issue_id: str | None = None,
        *,
        priority: str = "P3",
        issue_type: str | None = None,
        title: str | None = None,
        path: Path | None = None,
    ) -> Issue:
        """Make an issue. Its type is the prefix of a given id, otherwise BUG.

        Raises TypeError if the id is no string, ValueError if it is empty or the priority unknown.
        """
        if issue_id is None:
            issue_id = self._new_id(issue_type or _USUAL_TYPE)
        issue = Issue(
            issue_id,
            priority=priority,
            issue_type=_type_of(issue_id) if issue_type is None else issue_type,
            # Not hash(), which differs from run to run.
            title=_TITLES[zlib.crc32(issue_id.encode()) % len(_TITLES)] if title is None else title,
            path=path,
        )
        with self._lock:
            self._made.add(issue_id)
        return issue

    def many(
        self,
        count: int,
        *,
        priority: str = "P3",
        issue_type: str | None = None,
        title: str | None = None,
        path: Path | None = None,
    ) -> list[Issue]:
        """Make `count` issues that differ in their ids. Raises ValueError for a negative count."""
        if count < 0:
            raise ValueError(f"many() makes 0 issues or more, not {count}")
        return [
            self(priority=priority, issue_type=issue_type, title=title, path=path) for _ in range(count)
        ]

    def _new_id(self, issue_type: str) -> str:
        with self._lock:
            issue_id = next(
                one for number in self._numbers if (one := f"{issue_type}-{number}") not in self._made
            )
            self._made.add(issue_id)
            return issue_id


class WorkerResults:
    """Makes results by outcome; each takes an issue or an id, and any field of `WorkerResult` by name.

    Raises TypeError for what is neither an issue nor an id.
    """

    def completed(self, issue: Issue | str, /, **fields: Unpack[ResultFields]) -> WorkerResult:
        """The work succeeded, on a branch and in a worktree named after the issue."""
        issue_id = _id_of(issue)
        name = issue_id.lower()
        return replace(WorkerResult(issue_id, True, f"issue/{name}", Path("worktrees", name)), **fields)

    def failed(
        self, issue: Issue | str, /, error: str = "the tests fail", **fields: Unpack[FailureFields]
    ) -> WorkerResult:
        """The work failed. Raises ValueError for an empty error: a failure always says something."""
        if not error:
            raise ValueError(f"a failed result needs a text that says why, not {error!r}")
        return replace(replace(self.completed(issue), success=False, error=error), **fields)

    def closed(
        self, issue: Issue | str, /, reason: str = "already_fixed", **fields: Unpack[ResultFields]
    ) -> WorkerResult:
        """The work found that there is nothing to do: a success that asks for the issue to be closed."""
        closing = replace(
            self.completed(issue),
            should_close=True,
            close_reason=reason,
            close_status=f"Closed - {reason.replace('_', ' ').title()}",
        )
        return replace(closing, **fields)

    def interrupted(self, issue: Issue | str, /, **fields: Unpack[ResultFields]) -> WorkerResult:
        """A shutdown stopped the work: no success, and to be taken up again by the next run."""
        stopped = replace(
            self.completed(issue), success=False, interrupted=True, error="interrupted by a shutdown"
        )
        return replace(stopped, **fields)


def _type_of(issue_id: str) -> str:
    prefix, dash, _ = issue_id.partition("-")
    return prefix if prefix and dash else _USUAL_TYPE


def _id_of(issue: object) -> str:
    if isinstance(issue, Issue):
        return issue.issue_id
    if isinstance(issue, str) and issue:
        return issue
    raise TypeError(f"a result is made for an Issue or its id, for example 'BUG-229', not {issue!r}")
