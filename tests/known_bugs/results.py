"""What the adapters of the cases share: the result of whatever a job ended with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_littleloops import WorkerResult


def result_of(issue: Any, ended: Callable[[], Any]) -> Any:
    """What `ended` returns if that is a result of this issue, and that it failed for anything else."""
    try:
        result = ended()
        if getattr(result, "issue_id", None) == issue.issue_id:
            return result
        error = f"no result: {type(result).__name__}"
    except BaseException as raised:
        error = type(raised).__name__
    return WorkerResult(issue.issue_id, False, "", Path(), error=error)


def completes(issue: Any, on_complete: Callable[[Any], object]) -> Callable[[Any], None]:
    """A done-callback of a future, which completes the issue with what the future ended with."""
    return lambda future: void(on_complete(result_of(issue, future.result)))


def void(value: object) -> None:
    """Nothing, whatever it is given."""
