"""The frames of a task as its reader wants them: whose code they are, and which line is the user's."""

from __future__ import annotations

import gc
import os
import sys
import sysconfig
import threading
import traceback
from functools import cache
from types import CodeType, FrameType

from pytest_littleloops.simulation import real

_collecting = real.RLockType()

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_SIMULATION = os.path.dirname(__file__)
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


def current_frames() -> dict[int, FrameType]:
    """The frame of every thread by its number, as `sys._current_frames` gives them.

    Up to CPython 3.11 that makes objects while it holds a lock of the interpreter; if these have garbage
    collected, and what is collected lets another thread run that wants the same lock, all stand still
    for ever (CPython issue 106883). So nothing is collected meanwhile.
    """
    with _collecting:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            if was_enabled:
                gc.enable()


@cache
def is_standard_library(file: str) -> bool:
    """Whether a file is part of Python."""
    return file.startswith((_STANDARD_LIBRARY, "<frozen")) and "site-packages" not in file


def user_place(frame: FrameType | None) -> str:
    """The innermost line of the user's code, `file:line`; empty if there is none."""
    while frame is not None and _kind(frame.f_code.co_filename) != "user":
        frame = frame.f_back
    return "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def is_asked_by_user(frame: FrameType | None) -> bool:
    """Whether the user's code made this call, of the package's and the standard library's own none."""
    while frame is not None and frame.f_code.co_filename == threading.__file__:
        frame = frame.f_back
    return frame is not None and _kind(frame.f_code.co_filename) == "user"


def in_user_code(frame: FrameType) -> tuple[str, str]:
    """What was called, and at which line of the user's.

    From the inside out: the call that the innermost line of the user made is what happened. Where the
    user has no line, the innermost call outside of `threading` is; a thread that begins or ends has none.
    """
    outermost = innermost = None
    one: FrameType | None = frame
    while one is not None:
        code = one.f_code
        kind = _kind(code.co_filename)
        if kind == "user":
            return ("" if outermost is None else _name(outermost)), user_place(one)
        if kind == "library":
            outermost = code
            if innermost is None and code.co_filename != threading.__file__:
                innermost = code
        one = one.f_back
    is_telling = innermost is not None and not innermost.co_name.startswith("_")
    return (_name(innermost) if innermost is not None and is_telling else ""), ""


def _name(code: CodeType) -> str:
    name = getattr(code, "co_qualname", code.co_name)
    return name.replace("_PySimpleQueue", "SimpleQueue")


@cache
def _kind(file: str) -> str:
    # What dataclasses and the like generate has such a name.
    if file.startswith("<") and not file.startswith("<frozen"):
        return "ours"
    if is_standard_library(file):
        return "library"
    if file.startswith(_PACKAGE) and not file.startswith(os.path.join(_PACKAGE, "reference")):
        return "ours"
    runners = (f"{os.sep}_pytest{os.sep}", f"{os.sep}pluggy{os.sep}")
    return "ours" if any(part in file for part in runners) else "user"


def stack_lines(frame: FrameType | None) -> list[str]:
    """The lines of a stack without those that the engine adds to it."""
    shown = traceback.StackSummary.from_list(
        entry
        for entry in traceback.extract_stack(frame)
        if not entry.filename.startswith((_SIMULATION, os.path.join(_PACKAGE, "plugin")))
        and not entry.name.startswith("_bootstrap")
    )
    return "".join(shown.format()).splitlines()
