"""The child processes of this one, to tell which of them were left behind."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

_HELPERS = (b"resource_tracker", b"forkserver")
"""What runs for the whole of an interpreter's life, whoever was the first to need it."""


def child_processes() -> dict[int, str]:
    """The children that are alive, by number, with what they are called.

    Where the system shows processes as files these are all; elsewhere those of `multiprocessing`.
    """
    known = {child.pid: child.name for child in multiprocessing.active_children() if child.pid is not None}
    mine = os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name, in parentheses, may hold anything; state and parent come behind it.
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) != mine or state in ("Z", "X"):
                continue
            command = (folder / "cmdline").read_bytes()
        except (OSError, ValueError):
            # It has ended meanwhile.
            continue
        if not any(helper in command for helper in _HELPERS):
            name = command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
            known.setdefault(int(folder.name), name[:60])
    return known
