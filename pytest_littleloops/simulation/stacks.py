"""The stack of a task as its reader wants it: without what the engine put there."""

from __future__ import annotations

import os
import traceback
from types import FrameType

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_SIMULATION = os.path.dirname(__file__)


def stack_lines(frame: FrameType | None) -> list[str]:
    """The lines of a stack without those that the engine adds to it."""
    shown = traceback.StackSummary.from_list(
        entry
        for entry in traceback.extract_stack(frame)
        if not entry.filename.startswith((_SIMULATION, os.path.join(_PACKAGE, "plugin")))
        and not entry.name.startswith("_bootstrap")
    )
    return "".join(shown.format()).splitlines()
