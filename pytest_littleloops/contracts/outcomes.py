"""How a job may end, other than well. At module level, so that it can be sent to a process."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from types import MappingProxyType
from typing import Any


class Unprintable(Exception):
    """An error whose text is one itself."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Falsy(Exception):
    """An error that `if error:` does not see."""

    def __bool__(self) -> bool:
        return False


class Unpicklable:
    """What cannot be sent to another process, since it holds a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def unpicklable(issue: Any, error: Exception) -> Any:
    """This issue, which from now on raises this when it is pickled; otherwise it is what it was."""

    def refuse(self: object, protocol: object) -> object:
        raise error

    kind = type(issue)
    name_space = {"__slots__": (), "__reduce_ex__": refuse, "__module__": kind.__module__}
    # Not by `issue.__class__ = ...`, which a frozen dataclass would refuse.
    object.__setattr__(issue, "__class__", type(kind.__name__, (kind,), name_space))
    return issue


def raising(error: Callable[..., BaseException], *causes: object) -> object:
    """Raise such an error, a new one each time; a class among `causes` is made one of its own there."""
    raise error(*(cause() if isinstance(cause, type) else cause for cause in causes))


def junk() -> None:
    """Return what is no result."""
    return


def die() -> object:
    """End the process that this runs in, at once."""
    os._exit(70)


OUTCOMES: Mapping[str, Callable[[], object]] = MappingProxyType(
    {
        "an exception": partial(raising, ValueError, "no branch"),
        "SystemExit": partial(raising, SystemExit, "leave"),
        "KeyboardInterrupt": partial(raising, KeyboardInterrupt),
        "CancelledError": partial(raising, CancelledError),
        "StopIteration": partial(raising, StopIteration),
        "GeneratorExit": partial(raising, GeneratorExit),
        # Which the loop of a pool may take for what its own wait says.
        "queue.Empty": partial(raising, queue.Empty),
        "TimeoutError": partial(raising, TimeoutError),
        "asyncio.CancelledError": partial(raising, asyncio.CancelledError),
        "a group of errors": partial(raising, BaseExceptionGroup, "two", [ValueError(), SystemExit()]),
        "an error that cannot be printed": partial(raising, Unprintable),
        "an error that is false": partial(raising, Falsy),
        "an error of five arguments": partial(raising, UnicodeDecodeError, "ascii", b"", 0, 1, "no text"),
        "junk": junk,
    }
)

OF_THE_WORK = (
    "worker-raises",
    "worker-raises-base",
    "worker-returns-junk",
    "worker-slow",
    "worker-dies",
)
"""The faults that may befall the work, but for `worker-hangs`: what hangs for ever has no end."""
