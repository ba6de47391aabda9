"""Where tasks run: all on one processor, since only one of them runs at a time.

To hand the baton to a thread that sleeps on another processor costs some 30 microseconds, on the same one
6, and a schedule has a dozen hand-overs. It is 3 if the one that wakes up does not take the processor at
once: it would find the interpreter's lock still held by the one that woke it, and go to sleep again. So
tasks are scheduled as batch work, which never preempts.

Which processor it is, is looked at anew now and then, so that several explorations do not stay on one while
another is idle. Only where the operating system lets a thread choose (Linux); elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from pytest_littleloops.simulation import real

_SCHEDULES_A_LOOK = 64

_sched_getaffinity = getattr(os, "sched_getaffinity", None)
_sched_setaffinity = getattr(os, "sched_setaffinity", None)

current: int | None = None
"""The processor on which tasks are to run now."""


class Placement:
    """The calling thread is put on one processor too, until `restore`."""

    def __init__(self) -> None:
        self._left = 0
        self._policy: int | None = None
        self._allowed: set[int] = _sched_getaffinity(0) if _sched_getaffinity else set()

    def renew(self) -> None:
        """Look, now and then, where there is room. Call it before each schedule."""
        global current
        self._left -= 1
        if self._left > 0 or len(self._allowed) < 2 or _sched_setaffinity is None:
            return
        self._left = _SCHEDULES_A_LOOK
        _sched_setaffinity(0, self._allowed)
        # The kernel puts a thread that wakes up where there is room.
        real.sleep(1e-5)
        cpu = _current_cpu()
        if cpu in self._allowed:
            _sched_setaffinity(0, {cpu})
            if current is None:
                self._policy = _be_batch(0)
            current = cpu

    def affinity(self, pid: int) -> set[int]:
        """What `os.sched_getaffinity` says to tasks, which are not to notice: number of workers, say."""
        assert _sched_getaffinity is not None
        return set(self._allowed) if pid == 0 else set(_sched_getaffinity(pid))

    def restore(self) -> None:
        """Let the calling thread run where it could before."""
        global current
        if current is not None and _sched_setaffinity is not None:
            _sched_setaffinity(0, self._allowed)
            if self._policy is not None:
                os.sched_setscheduler(0, self._policy, os.sched_param(0))
                self._policy = None
            current = None


def follow(cpu: int | None) -> int | None:
    """Put the calling thread, which is on `cpu`, where tasks run now; returns where it is then."""
    if current is not None and current != cpu and _sched_setaffinity is not None:
        _sched_setaffinity(0, {current})
        if cpu is None:
            # What it starts, be it a process, is not to inherit that.
            _be_batch(getattr(os, "SCHED_RESET_ON_FORK", 0))
        return current
    return cpu


def _be_batch(flags: int) -> int | None:
    """Have the calling thread scheduled so; what it was before, None if nothing was changed."""
    # Elsewhere there is no such thing, some containers forbid it; who asked for another policy keeps it.
    with suppress(AttributeError, OSError):
        policy = os.sched_getscheduler(0)
        if policy == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH | flags, os.sched_param(0))
            return policy
    return None


def _current_cpu() -> int:
    try:
        return int(ctypes.CDLL(None).sched_getcpu())
    except (AttributeError, OSError):
        return -1
