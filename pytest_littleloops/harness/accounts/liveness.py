"""Who could still do something: the threads of a run, and whether they are at rest.

On real threads nobody can prove that a run is idle. What can be seen is which threads that were started
since a moment are alive, and which of them wait for their next piece of work in the standard library.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from types import CodeType, FrameType

from pytest_littleloops.simulation import inside
from pytest_littleloops.simulation.frames import current_frames
from pytest_littleloops.simulation.inside import will_go_on

_RESTING = {
    ("concurrent" + os.sep + "futures" + os.sep + "thread.py", "_worker"),
    ("concurrent" + os.sep + "futures" + os.sep + "process.py", "wait_result_broken_or_wakeup"),
    ("queue.py", "get"),
    ("multiprocessing" + os.sep + "pool.py", "worker"),
    ("multiprocessing" + os.sep + "pool.py", "_handle_tasks"),
    # That of processes waits in a read, and counts as at work: they may be.
    ("multiprocessing" + os.sep + "pool.py", "_handle_results"),
}
_IN_A_LOOP = "selectors.py", "select"
"""An event loop is here between two events; it rests if it does not know when the next one is."""
_KEEPING_HOUSE = ("multiprocessing" + os.sep + "pool.py", "_handle_workers")
"""It replaces dead workers, time and again, and no issue waits for it."""


_WAITS_WITHIN = (threading.__file__, os.path.dirname(inside.__file__))
"""Whoever waits stands in here innermost: in `threading`, or in the engine."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """The threads that were started since the baseline and are alive, other than the one that asks."""

    threads: tuple[threading.Thread, ...]
    busy: tuple[threading.Thread, ...]
    """Those of them that do not wait for their next piece of work."""

    @property
    def is_quiet(self) -> bool:
        """True if nobody is at work: what has not happened will not happen by itself."""
        return not self.busy

    @property
    def is_deserted(self) -> bool:
        """True if there is nobody at all."""
        return not self.threads


class Baseline:
    """The threads that were alive at a moment, to tell later ones from them."""

    def __init__(self) -> None:
        # The objects, not their identifiers: the system uses those again.
        self._threads = frozenset(threading.enumerate())

    def later_threads(self) -> tuple[threading.Thread, ...]:
        """Those that were started since and are alive, other than the calling one."""
        return tuple(
            thread
            for thread in threading.enumerate()
            if thread not in self._threads and thread is not threading.current_thread()
        )

    def liveness(self, known: Collection[threading.Thread] = ()) -> Liveness:
        """What the threads do now: those that are `known` to be workers, or if none is, all later ones."""
        threads = self.later_threads()
        if known:
            # Also those from before: a pool that other tests used already.
            mine = threading.current_thread()
            threads = tuple(one for one in threading.enumerate() if one in known and one is not mine)
        frames = current_frames() if threads else {}
        # Its own frame holds this dictionary: a circle that would keep what all threads are at alive.
        frames.pop(threading.get_ident(), None)
        busy = [thread for thread in threads if _is_busy(thread.ident, frames.get(thread.ident or 0))]
        return Liveness(threads, tuple(busy))


def _is_busy(ident: int | None, frame: FrameType | None) -> bool:
    # A task of an exploration that stands in a wait may have been woken and not had its turn yet.
    goes_on = will_go_on(ident)
    return not _rests(frame) if goes_on is None else goes_on


def _rests(frame: FrameType | None) -> bool:
    # queue.get() waits in Condition.wait(), so the frame that matters is below those of threading.
    while frame is not None and frame.f_code.co_filename.startswith(_WAITS_WITHIN):
        if frame.f_code.co_name in ("wait", "join") and _has_no_end(frame):
            return True
        frame = frame.f_back
    if frame is None:
        return False
    if _is_at(frame.f_code, _IN_A_LOOP):
        return _has_no_end(frame)
    if any(_is_at(frame.f_code, one) for one in _RESTING):
        return True
    outer: FrameType | None = frame
    while outer is not None:
        if _is_at(outer.f_code, _KEEPING_HOUSE):
            return True
        outer = outer.f_back
    return False


def _has_no_end(frame: FrameType) -> bool:
    # A selector writes what no timeout is as the system does, -1.
    return frame.f_locals.get("timeout", 0) in (None, -1)


def _is_at(code: CodeType, where: tuple[str, str]) -> bool:
    file, name = where
    return code.co_name == name and code.co_filename.endswith(file)


def threads_within(holder: object, depth: int) -> set[threading.Thread]:
    """The threads that an object keeps: itself one, in attributes or collections, `depth` steps deep."""
    if isinstance(holder, threading.Thread):
        return {holder}
    if depth == 0 or isinstance(holder, str | bytes | type):
        return set()
    if isinstance(holder, dict):
        held = list(holder.values())
    elif isinstance(holder, list | tuple | set | frozenset):
        held = list(holder)
    else:
        held = list(getattr(holder, "__dict__", {}).values())
    # A thousand queued items are not looked through one by one.
    found: set[threading.Thread] = set()
    for one in held[:_LOOKED_AT]:
        found |= threads_within(one, depth - 1)
    return found


_LOOKED_AT = 100
