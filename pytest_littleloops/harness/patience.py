"""Every wait of the harness is bounded, and a wait in vain ends in the stacks of all threads.

Here is how long a wait may be and what is said when that was not enough. What is waited for lives with
those who wait.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from types import FrameType

from pytest_littleloops.simulation.frames import current_frames
from pytest_littleloops.simulation.inside import patiently

DEFAULT_PATIENCE = 10.0
"""Seconds: long for a loaded machine, short for somebody who looks at a hang."""

_NEXT_STEP = (
    "  next step: find the thread that should have done it, and what it waits for instead;\n"
    "  if it is only slow, allow more seconds (patience=, or --littleloops-patience under pytest)"
)


class Hang(AssertionError):
    """What had to happen did not, within the time allowed; the text has the stack of every thread.

    `what` says what was waited for, `waited` how many seconds. The stacks are those of the moment in
    which this was made, and stay so when it is pickled.
    """

    def __init__(self, what: str, waited: float) -> None:
        # Kept as they came, since an exception is made again from its arguments when it is unpickled.
        super().__init__(what, waited)
        self.what = what
        self.waited = waited
        self._text = f"hang: waited {waited:g} s for {what}, in vain\n{all_stacks()}\n{_NEXT_STEP}"

    def __str__(self) -> str:
        return self._text


def hang(what: str, patience: float) -> Hang:
    """A Hang to raise: `what` was waited for, `patience` seconds long, and did not happen."""
    return Hang(what, patience)


def all_stacks() -> str:
    """The name and the stack of every live thread, the calling one first, its own lines in here left out.

    The others run on meanwhile, so each stack is true for its own moment. A thread that was started
    behind the back of `threading` is called by its number.
    """
    frames = current_frames()
    caller = threading.current_thread()
    others = [thread for thread in threading.enumerate() if thread is not caller]
    sections = [_section(f"{_kind(caller)} {caller.name}, which asked", _outside(sys._getframe()))]
    frames.pop(threading.get_ident(), None)
    for thread in others:
        # A thread that began after the frames were taken is not among them.
        frame = frames.pop(thread.ident or 0, None)
        sections.append(_section(f"{_kind(thread)} {thread.name}", frame))
    sections += [_section(f"foreign thread {number}", frame) for number, frame in frames.items()]
    return "\n".join(sections)


def wait_for(event: threading.Event, what: str, patience: float) -> None:
    """Return when `event` is set; `what` says for a reader what that means.

    Raises Hang when it is not set within `patience` seconds.
    """
    __tracebackhide__ = True
    with patiently():
        if not event.wait(patience):
            raise hang(what, patience)


def _kind(thread: threading.Thread) -> str:
    return "daemon thread" if thread.daemon else "thread"


def _is_runner(file: str) -> bool:
    return any(f"{os.sep}{package}{os.sep}" in file for package in ("_pytest", "pluggy", "xdist"))


def _outside(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def _section(heading: str, frame: FrameType | None) -> str:
    if frame is None:
        return f"  {heading}:\n    (not begun yet)"
    frames = traceback.extract_stack(frame)
    # How a test runner came to call the test is forty lines that nobody needs.
    outermost = max((i + 1 for i, one in enumerate(frames) if _is_runner(one.filename)), default=0)
    stack = "".join(traceback.format_list(frames[outermost % len(frames) :])).splitlines()
    return "\n".join([f"  {heading}:", *(f"  {line}" for line in stack)])
