"""What is known of one issue and of one submission, and what a finding says.

Plain state, changed by `books` alone. Slots, since a run may have a million of them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pytest_littleloops.harness.accounts.journal import TERMINAL_KINDS, Entry

TERMINAL_STATES = frozenset(kind.value for kind in TERMINAL_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken rule on one issue, with what was seen beyond the issue's timeline."""

    code: str
    issue_id: str
    claim: str
    """Completes the sentence that begins with the issue's id."""
    note: str = ""
    """The fact that decided it, if the timeline does not show it."""
    remedy: str = ""
    """What to do, where it is not what the rule says."""
    at: Entry | None = None
    """The entry that the note explains; the last one if None."""


class Submission:
    """One call that started work on an issue."""

    __slots__ = (
        "accepted",
        "call",
        "called",
        "completion",
        "end",
        "ended_in_shutdown",
        "handled",
        "has_future",
        "issue_id",
        "number",
        "raised",
        "rejected",
        "returned",
        "source",
    )

    def __init__(self, number: int, issue_id: str, completion: str, source: int) -> None:
        self.source = source
        self.number = number
        self.issue_id = issue_id
        self.completion = completion
        self.accepted = False
        self.rejected = False
        self.has_future = False
        self.called = 0
        self.call: Entry | None = None
        self.returned = False
        self.raised: Entry | None = None
        self.end: Entry | None = None
        self.ended_in_shutdown = False
        self.handled: Entry | None = None

    @property
    def is_settled(self) -> bool:
        """True once nothing more is owed for it."""
        if self.rejected or self.called:
            return True
        return not self.completion and self.end is not None


class Item:
    """One time that an issue is in a queue which is told how many items are done, until it is."""

    __slots__ = ("source", "taken")

    def __init__(self, source: int, taken: Entry | None = None) -> None:
        self.source = source
        self.taken = taken


class Account:
    """What is known of one issue."""

    __slots__ = (
        "called",
        "exited",
        "handed_out",
        "interrupted",
        "is_marked",
        "is_queued_here",
        "issue_id",
        "items",
        "outcome",
        "previous",
        "raised",
        "rejection",
        "reopened",
        "running",
        "state",
        "submissions",
        "worked",
    )

    def __init__(self, issue_id: str, state: str) -> None:
        self.issue_id = issue_id
        self.state = state
        self.previous: str | None = None
        self.is_marked = False
        self.is_queued_here = False
        self.handed_out: Entry | None = None
        self.reopened: Entry | None = None
        self.rejection: Entry | None = None
        self.called = 0
        self.interrupted = False
        self.raised: Entry | None = None
        self.exited: Entry | None = None
        self.running: list[threading.Thread] | None = None
        self.worked: Entry | None = None
        self.outcome = ""
        self.submissions: list[Submission] | None = None
        self.items: dict[int, Item] | None = None

    def unsettled(self) -> list[Submission]:
        """Its submissions for which something is still owed, oldest first."""
        return [one for one in self.submissions or () if not one.is_settled]

    def leave_work(self, thread: threading.Thread) -> bool:
        """Take `thread` out of those that work on it; False if it was none of them."""
        if self.running and thread in self.running:
            self.running.remove(thread)
            return True
        return False
