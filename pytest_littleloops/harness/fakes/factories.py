"""Issues and results for tests: readable in a failure, and the same in every run.

Values only. What works on an issue, and what hears of a result, lives elsewhere.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.simulation import real

_DEFAULT_TYPE = "BUG"
_FIRST_NUMBER = 101
_TITLES = (
    "Login page forgets the chosen language",
    "Upload stops at two gigabytes",
    "Search misses words with a hyphen",
    "Dates of leap years are off by one",
    "Export writes the header twice",
    "Mail is sent before the order is saved",
    "Undo skips the last change",
    "Cache keeps deleted users",
    "Backup ignores hidden folders",
    "Totals are rounded before they are added",
)
_RESULT_FIELDS = tuple(one.name for one in dataclasses.fields(WorkerResult) if one.name != "issue_id")


class IssueFactory:
    """Makes issues: `make_issue()`, `make_issue("FEAT-7", priority="P0")`, `make_issue.many(3)`.

    An issue without a given id gets the next number: BUG-101, BUG-102, and so on, or FEAT-103 where its
    type is given as FEAT. An id that somebody gave before is passed over. Thread-safe.
    """

    def __init__(self) -> None:
        # A real one also in an exploration: nothing under it is a point.
        self._lock = real.allocate_lock()
        self._next_number = _FIRST_NUMBER
        self._given: set[str] = set()

    def __call__(
        self,
        issue_id: str | None = None,
        *,
        priority: str = "P3",
        issue_type: str | None = None,
        title: str | None = None,
        path: Path | None = None,
    ) -> Issue:
        """Make one issue. Its type is that of its id (FEAT of `FEAT-7`), its title depends on its id alone.

        Raises TypeError if the id is no string, ValueError if it is empty or the priority unknown.
        """
        if issue_id is None:
            issue_id = self._next_id(_DEFAULT_TYPE if issue_type is None else issue_type)
        require_issue_id(issue_id, "make_issue()")
        issue = Issue(
            issue_id,
            priority=priority,
            issue_type=_type_in(issue_id) if issue_type is None else issue_type,
            title=_title_for(issue_id) if title is None else title,
            path=path,
        )
        with self._lock:
            self._given.add(issue_id)
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
        """Make `count` issues that share everything given here, each with an id of its own.

        Raises ValueError for a negative count, and what making one raises.
        """
        if count < 0:
            raise ValueError(f"many() makes no fewer than 0 issues, but was asked for {count}")
        return [
            self(priority=priority, issue_type=issue_type, title=title, path=path) for _ in range(count)
        ]

    def _next_id(self, prefix: str) -> str:
        with self._lock:
            while True:
                issue_id = f"{prefix}-{self._next_number}"
                self._next_number += 1
                if issue_id not in self._given:
                    return issue_id


class WorkerResults:
    """Makes results, one method an outcome.

    Each takes an issue or its id, and by name any other field of `WorkerResult`, which then wins over
    what the outcome says. Raises TypeError for what is neither an issue nor an id, and for a field that
    does not exist.
    """

    def completed(self, issue: Issue | str, /, **fields: object) -> WorkerResult:
        """The work succeeded."""
        return _made("completed", issue, {"success": True}, fields)

    def failed(self, issue: Issue | str, /, error: str = "2 tests fail", **fields: object) -> WorkerResult:
        """The work failed, and `error` says why."""
        return _made("failed", issue, {"success": False, "error": error}, fields)

    def closed(
        self, issue: Issue | str, /, reason: str = "already_fixed", **fields: object
    ) -> WorkerResult:
        """Nothing was left to do: a success that asks for the issue to be closed for `reason`."""
        closing = {
            "success": True,
            "should_close": True,
            "close_reason": reason,
            "close_status": f"Closed - {reason.replace('_', ' ').title()}",
        }
        return _made("closed", issue, closing, fields)

    def interrupted(self, issue: Issue | str, /, **fields: object) -> WorkerResult:
        """A shutdown ended the work: no success, and to be taken up by the next run."""
        stopped = {"success": False, "interrupted": True, "error": "interrupted by a shutdown"}
        return _made("interrupted", issue, stopped, fields)


def require_issue_id(issue_id: object, caller: str) -> None:
    """Raise TypeError unless `issue_id` is a string; `caller` is the method that it was given to."""
    if not isinstance(issue_id, str):
        raise TypeError(f"{caller} takes the id of an issue, for example 'BUG-229', not {issue_id!r}")


def _made(
    method: str, issue: Issue | str, outcome: dict[str, object], fields: dict[str, object]
) -> WorkerResult:
    unknown = [name for name in fields if name not in _RESULT_FIELDS]
    if unknown:
        raise TypeError(f"{method}() takes no field {unknown[0]!r}; it takes {', '.join(_RESULT_FIELDS)}")
    issue_id = issue.issue_id if isinstance(issue, Issue) else issue
    if not isinstance(issue_id, str) or not issue_id:
        raise TypeError(f"{method}() takes an Issue or its id, for example 'BUG-229', not {issue!r}")
    place = issue_id.lower()
    # As unchecked as the dataclass itself is: a test may want a result of the wrong kind.
    values: dict[str, Any] = {
        "branch_name": f"parallel/{place}",
        "worktree_path": Path(".worktrees", place),
        **outcome,
        **fields,
    }
    return WorkerResult(issue_id, **values)


def _type_in(issue_id: str) -> str:
    prefix, dash, _ = issue_id.partition("-")
    return prefix if dash and prefix.isalpha() else _DEFAULT_TYPE


def _title_for(issue_id: str) -> str:
    last_digits = "".join(one for one in issue_id if one in "0123456789")[-3:]
    return _TITLES[int(last_digits or 0) % len(_TITLES)]
