"""Every wait of the harness is bounded, and one that is in vain ends in the stacks of all threads.

What waits lives elsewhere; here is how long it may, and what is said when it was too long. A wait goes
through `wait_for` where it can, so that there is one place where the harness blocks.
"""

from __future__ import annotations

import sys
import threading
import traceback

DEFAULT_PATIENCE = 10.0
"""Seconds. Long for a machine under load, short for a person who waits for a hang."""


class Hang(AssertionError):
    """Something that had to happen did not; the text has the stack of every thread at that moment.

    `what` is what was waited for, `waited` how long, in seconds.
    """

    def __init__(self, what: str, waited: float) -> None:
        self.what = what
        self.waited = waited
        super().__init__(
            f"hang: waited {waited:g} s for {what}, in vain\n"
            f"{all_stacks()}\n"
            "  next step: find above the thread that had to bring it, and what that thread waits for;\n"
            "  if it is only slow, allow more: patience=, timeout=, or --littleloops-patience under pytest"
        )


def all_stacks() -> str:
    """The name and the stack of every live thread, the calling one first.

    Other threads run on meanwhile, so each stack is true for its own moment.
    """
    frames = sys._current_frames()
    caller = threading.current_thread()
    others = [thread for thread in threading.enumerate() if thread is not caller]
    lines = []
    for thread in (caller, *others):
        kind = "daemon thread" if thread.daemon else "thread"
        note = ", which waited" if thread is caller else ""
        lines.append(f"  {kind} {thread.name}{note}:")
        frame = frames.get(thread.ident or 0)
        # A thread that began after the frames were taken has none among them.
        stack = traceback.format_stack(frame) if frame is not None else ["(not begun)"]
        lines += [f"  {line}" for entry in stack for line in entry.rstrip().splitlines()]
    return "\n".join(lines)


def wait_for(event: threading.Event, what: str, patience: float) -> None:
    """Wait until `event` is set; `what` says for a reader what that means.

    Raises Hang after `patience` seconds.
    """
    __tracebackhide__ = True
    if not event.wait(patience):
        raise Hang(what, patience)
