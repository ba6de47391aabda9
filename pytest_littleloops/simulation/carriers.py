"""Carriers: operating system threads that are used again, one task after the other.

A new thread costs some 50 microseconds, a carrier that waits costs none. What a task may not inherit from
the one before it is taken away in between: its thread-locals, and its `contextvars` context.
"""

from __future__ import annotations

import contextvars
import ctypes
import os
import sys
import time
from collections.abc import Callable

from pytest_littleloops.simulation import placement, real

_ARE_REUSED = sys.version_info < (3, 13)
"""From 3.13 on the values of a `threading.local` are kept where nobody can clear them for a thread: there
each task has a thread of its own."""

_thread_dict = ctypes.pythonapi.PyThreadState_GetDict
# A borrowed reference: ctypes would give back one that it never took, were this a py_object.
_thread_dict.restype = ctypes.c_void_p
_thread_dict.argtypes = []


class Carrier:
    """One thread, its baton, and what it is to run when it gets the baton next."""

    __slots__ = ("baton", "ident", "job", "locals")

    def __init__(self) -> None:
        self.baton = real.allocate_lock()
        self.baton.acquire()
        self.job: Callable[[], None] | None = None
        self.locals: dict[object, object] | None = None
        """The interpreter's dictionary of this thread, once it has one."""
        self.ident: int = real.start_new_thread(self._loop, ())

    def _loop(self) -> None:
        cpu, process = None, os.getpid()
        while True:
            self.baton.acquire()
            cpu = placement.follow(cpu)
            job, self.job = self.job, None
            assert job is not None
            contextvars.Context().run(job)
            del job
            if os.getpid() != process:
                # A child that was forked in the job, and whose code has come to its end.
                os._exit(0)
            if self.ident in left_behind:
                left_behind.discard(self.ident)
                return
            if not _ARE_REUSED:
                return


_idle: list[Carrier] = []

left_behind: set[int] = set()
"""The threads of tasks that were abandoned where they blocked: each is to end whenever it wakes up."""


def take() -> Carrier:
    """A carrier that waits for its baton."""
    return _idle.pop() if _idle else Carrier()


def give_back(carrier: Carrier) -> None:
    """Called on the carrier itself as the last act of its task."""
    if not _ARE_REUSED:
        return
    if sys.gettrace() is not None:
        sys.settrace(None)
    if sys.getprofile() is not None:
        sys.setprofile(None)
    # Every threading.local keeps its values of this thread in this dictionary.
    if carrier.locals is None:
        address = _thread_dict()
        if address:
            carrier.locals = ctypes.cast(address, ctypes.py_object).value
    if carrier.locals:
        carrier.locals.clear()
    _idle.append(carrier)


def interrupt(ident: int, exception: type[BaseException]) -> None:
    """Raise an exception in a thread, at its next bytecode."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(exception))


def is_computing(ident: int) -> bool:
    """Whether a thread uses the processor; one that does not is blocked in C, or is gone."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return False
    try:
        clock = time.pthread_getcpuclockid(ident)
        before = time.clock_gettime(clock)
        real.sleep(0.02)
        return time.clock_gettime(clock) > before
    except OSError:
        return False
