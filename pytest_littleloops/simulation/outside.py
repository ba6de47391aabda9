"""What stays outside of control: it is let through, and the verdict says that it was there.

Sockets, `select`, child processes and the loops of asyncio are the real ones. A call that blocks briefly
passes; one that blocks long is stopped by the world's watch. One kind of waiting is done here after all:
for pipes inside one process, by which `multiprocessing.pool.ThreadPool` wakes its own threads.
"""

from __future__ import annotations

import functools
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from pytest_littleloops.simulation import membership, real
from pytest_littleloops.simulation.frames import user_place

_METHODS: tuple[tuple[str, str, str, str], ...] = (
    ("socket", "socket", "connect", "socket"),
    ("socket", "socket", "accept", "socket"),
    ("socket", "socket", "recv", "socket"),
    ("socket", "socket", "recv_into", "socket"),
    ("socket", "socket", "send", "socket"),
    ("socket", "socket", "sendall", "socket"),
    ("subprocess", "Popen", "__init__", "subprocess"),
    ("multiprocessing.process", "BaseProcess", "start", "subprocess"),
    ("asyncio.base_events", "BaseEventLoop", "run_forever", "asyncio"),
)
"""Module, class, method, and what the verdict calls it."""

_SELECTORS = ("SelectSelector", "_PollLikeSelector", "EpollSelector", "KqueueSelector")

_FUNCTIONS = (("os", "waitpid"),)

_READABLE = getattr(select, "POLLIN", 1) | getattr(select, "POLLPRI", 2)

Exchange = tuple[object, str, object]


def exchanges() -> list[Exchange]:
    """What to put in the place of what, while a world runs, so that it hears of these."""
    found: list[Exchange] = []
    for module, kind, name, what in _METHODS:
        owner = getattr(sys.modules.get(module), kind, None)
        method = getattr(owner, name, None)
        if owner is not None and method is not None:
            found.append((owner, name, _telling(what, method)))
    loop = getattr(sys.modules.get("asyncio.base_events"), "BaseEventLoop", None)
    if loop is not None:
        # It waits in real time, so it has to see that pass.
        found.append((loop, "time", lambda self: real.monotonic()))
    for kind in _SELECTORS:
        owner = getattr(sys.modules.get("selectors"), kind, None)
        if owner is not None:
            found.append((owner, "select", _passing_time(_telling("select", owner.select), 1)))
    found.append((select, "select", _passing_time(_telling("select", select.select), 3)))
    if hasattr(os, "fork"):
        found.append((os, "fork", _telling("fork", _leaving_the_child_alone(os.fork))))
    for module, name in _FUNCTIONS:
        function = getattr(sys.modules.get(module), name, None)
        if function is not None:
            found.append((sys.modules[module], name, _telling(name, function)))
    connection = sys.modules.get("multiprocessing.connection")
    if connection is not None:
        found.append((connection, "Pipe", _noting_pipe(connection.Pipe)))
        wait = functools.partial(_wait, connection.wait)
        found.append((connection, "wait", wait))
        pool = sys.modules.get("multiprocessing.pool")
        if pool is not None:
            found.append((pool, "wait", wait))
    return found


def _telling(what: str, method: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(method)
    def tell(*args: Any, **kwargs: Any) -> object:
        world = membership.own_world()
        if world is not None and not world.is_over:
            world.note_outside(f"{what} ({_place()})")
        return method(*args, **kwargs)

    return tell


def _leaving_the_child_alone(fork: Callable[[], int]) -> Callable[[], int]:
    @functools.wraps(fork)
    def fork_without_world() -> int:
        world = membership.own_world()
        if world is None or world.is_over:
            return fork()
        # The other tasks have no threads in the child, so nothing there may wait for them. That holds
        # already for what the standard library does there, before anything else does.
        pid = None
        world.is_over = world.is_forked = True
        membership.leave()
        try:
            pid = fork()
        finally:
            if pid != 0:
                membership.enter(world)
                world.is_over = world.is_forked = False
        return pid

    return fork_without_world


def _passing_time(wait: Callable[..., Any], position: int) -> Callable[..., Any]:
    """A wait that leaves the virtual clock where its real timeout, the argument at `position`, ends."""

    @functools.wraps(wait)
    def pass_time(*args: Any, **kwargs: Any) -> Any:
        ready = wait(*args, **kwargs)
        timeout = kwargs.get("timeout", args[position] if len(args) > position else None)
        if timeout is not None and timeout > 0 and not any(ready):
            world = membership.own_world()
            if world is not None and not world.is_over:
                world.clock += timeout
        return ready

    return pass_time


def _place() -> str:
    return user_place(sys._getframe(2)) or "where the user has no line"


def _noting_pipe(pipe: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        ends = pipe(*args, **kwargs)
        world = membership.own_world()
        if world is not None:
            world.pipes.extend(ends)
        return ends

    return make


class _Ready:
    """Wanted by who waits for one of several connections: held while none has something to read.

    What comes from outside comes in real time, and so does the end of a wait for it.
    """

    __slots__ = ("_connections", "_end", "_poll", "is_outside")

    def __init__(self, connections: list[Any], is_outside: bool, timeout: float | None) -> None:
        assert real.poll is not None
        poll = real.poll()
        self._connections: dict[int, Any] = {}
        for one in connections:
            poll.register(one, _READABLE)
            self._connections[one if isinstance(one, int) else one.fileno()] = one
        self._poll = poll.poll
        self.is_outside = is_outside
        self._end = real.monotonic() + timeout if is_outside and timeout is not None else None

    @property
    def held(self) -> bool:
        """Whether one who waits has to wait on."""
        return not self._poll(0) and (self._end is None or real.monotonic() < self._end)

    def ready(self) -> list[Any]:
        """Those that have something to read."""
        return [self._connections[number] for number, _ in self._poll(0)]

    def __repr__(self) -> str:
        return "a connection"


def _wait(
    real_wait: Callable[..., list[Any]], object_list: Iterable[Any], timeout: float | None = None
) -> list[Any]:
    """`multiprocessing.connection.wait`: a point, in virtual time."""
    connections = list(object_list)
    world = membership.own_world()
    if world is None or world.is_over or real.poll is None:
        return real_wait(connections, timeout)
    has_children = any(what.startswith(("subprocess", "fork")) for what in world.outside)
    is_outside = has_children or not all(any(one is end for end in world.pipes) for one in connections)
    ready = _Ready(connections, is_outside, timeout)
    if is_outside:
        world.note_outside(f"connection ({_place()})")
    if is_outside or timeout is None:
        world.point("wait for", ready, ready)
    elif (deadline := world.deadline(timeout)) is not None:
        world.point("wait for", ready, ready, deadline)
    else:
        world.point("poll", ready)
    return ready.ready()


# Imported here so that a scenario which imports them itself is heard from its first schedule on.
_ = socket, subprocess
