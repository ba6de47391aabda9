"""The append-only journal: what was observed about which issue, by which thread, at which line.

Writing is the hot path, so it takes no lock: an entry is one tuple, and `list.append` is atomic. An entry
keeps no exception and no frame alive, only their texts and places, since a journal that holds frames
would keep dropped pools and their locals from being collected. 1,000,000 issues with four entries
each take some 500 MB less when places are shared between entries instead of made anew.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from enum import StrEnum
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple


class Kind(StrEnum):
    """What an entry says. The values are the words that `Ledger.record` takes."""

    QUEUED = "queued"
    NOT_QUEUED = "not queued"
    STARTED = "started"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RUNNING = "running"
    WORKED = "worked"
    WORK_RAISED = "work raised"
    WORK_EXITED = "work exited"
    FUTURE_RESOLVED = "future resolved"
    FUTURE_FAILED = "future failed"
    FUTURE_CANCELLED = "future cancelled"
    READ_RAISED = "read raised"
    HANDLER_RETURNED = "handler returned"
    HANDLER_RAISED = "handler raised"
    HANDLER_EXITED = "handler exited"
    COMPLETION = "completion"
    COMPLETION_RETURNED = "completion returned"
    COMPLETION_RAISED = "completion raised"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    REQUEUED = "requeued"
    MARK_REFUSED = "mark refused"
    CANCEL_ASKED = "cancel asked"
    SHUTDOWN = "shutdown"
    SHUTDOWN_RETURNED = "shutdown returned"
    IDLE = "idle reported"
    COUNTING = "counting"
    FAULT = "fault"


COUNTED = "counted"
"""The detail of an entry about one item of a queue that is told how many are done; `submission` is the
item's number there."""

TERMINAL_KINDS = frozenset({Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED, Kind.INTERRUPTED})
"""The kinds that say: this issue is now in the terminal state of that name."""


class Place(NamedTuple):
    """A line of the user's code; `str` gives `file.py:12`, relative to the current folder if inside it."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        try:
            relative = os.path.relpath(self.file)
        except OSError:  # the current folder is gone
            relative = os.pardir
        shown = os.path.basename(self.file) if relative.startswith(os.pardir) else relative
        return f"{shown}:{self.line}"


class Entry(NamedTuple):
    """One observation. Its step is its position in the journal, counted from 1."""

    kind: Kind
    issue_id: str
    """Empty for what concerns a pool as a whole: a shutdown, an idle report."""
    submission: int
    """Which submission, counted from 1 in the order in which they were made; 0 for none."""
    thread: threading.Thread
    place: Place | None
    """Where in the user's code it happened, or None if only the standard library was on the stack."""
    detail: str
    """What the kind adds: an error's text, a callback's name, the word for a result."""
    source: int
    """Which of the watched objects it is about; 0 for none in particular."""


class Journal:
    """Entries in the order in which they were observed. Any thread may append and read at any time."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._places: dict[tuple[CodeType, int], Place] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def append(
        self,
        kind: Kind,
        issue_id: str = "",
        submission: int = 0,
        *,
        detail: str = "",
        place: Place | None = None,
        source: int = 0,
    ) -> None:
        """Add what the calling thread observes now; `place` defaults to the user's line that led here."""
        if place is None:
            place = self.place_of(sys._getframe(1))
        # tuple.__new__ skips the argument handling of the named tuple, half of the cost of an entry.
        self.entries.append(
            tuple.__new__(
                Entry,
                (kind, issue_id, submission, threading.current_thread(), place, detail, source),
            )
        )

    def step_of(self, entry: Entry | None) -> int | None:
        """The position of an entry, counted from 1, or None."""
        numbered = enumerate(self.entries, start=1)
        return next((step for step, one in numbered if one is entry), None)

    def place_of(self, frame: FrameType | None) -> Place | None:
        """The innermost line of the user's code on the stack of `frame`."""
        while frame is not None and not is_user_code(frame.f_code):
            frame = frame.f_back
        return None if frame is None else self._place(frame.f_code, frame.f_lineno)

    def place_of_raise(self, traceback: TracebackType | None, *, outermost: bool = False) -> Place | None:
        """The innermost line of the user's code through which an exception passed, or the outermost."""
        place = None
        while traceback is not None:
            if is_user_code(traceback.tb_frame.f_code):
                place = self._place(traceback.tb_frame.f_code, traceback.tb_lineno)
                if outermost:
                    break
            traceback = traceback.tb_next
        return place

    def place_of_function(self, function: object) -> Place | None:
        """The first line of a function of the user's, for what only the standard library calls."""
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if not isinstance(code, CodeType) or not is_user_code(code):
            return None
        return self._place(code, code.co_firstlineno)

    def _place(self, code: CodeType, line: int) -> Place:
        place = self._places.get((code, line))
        if place is None:
            place = self._places[code, line] = Place(code.co_filename, line, code.co_name)
        return place


_INTERNAL_FOLDERS = tuple(
    os.path.realpath(folder) + os.sep
    for folder in (
        # This package, from three floors below.
        str(Path(__file__).parents[2]),
        sysconfig.get_path("stdlib"),
    )
)
_SITE_PACKAGES = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("purelib", "platlib")
)
_user_code: dict[CodeType, bool] = {}


def is_user_code(code: CodeType) -> bool:
    """True unless `code` belongs to this package or the standard library: a reader can do nothing there."""
    known = _user_code.get(code)
    if known is None:
        file = code.co_filename
        if os.path.isabs(file):
            file = os.path.realpath(file)
        is_internal = file.startswith(_INTERNAL_FOLDERS) and (
            file.startswith(_INTERNAL_FOLDERS[0]) or not file.startswith(_SITE_PACKAGES)
        )
        is_generated = code.co_filename.startswith("<")
        known = _user_code[code] = not is_internal and not is_generated
    return known


def error_text(error: BaseException) -> str:
    """`Type: what it says`, or the type alone where it says nothing; one line, never raises."""
    name = type(error).__name__
    try:
        said = " ".join(str(error).split())
    except Exception:
        return name
    return f"{name}: {said}" if said else name
