"""Threads of a world, as `threading` starts and joins them: each is a task.

Before Python 3.13 that is a function and a lock that is held as long as the thread lives; from then on it
is a function that returns a handle.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.failures import TaskKilled
from pytest_littleloops.simulation.membership import own_world
from pytest_littleloops.simulation.primitives import Lock, is_running
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.trace import RELEASE, WRITE, Key
from pytest_littleloops.simulation.world import World


class Sentinel(Lock):
    """Held as long as its thread is alive; nobody else takes it, whoever joins only waits.

    A look at it is no point: threading looks under a real lock.
    """

    __slots__ = ("ident", "is_new")

    ident: int
    """The thread."""
    is_new: bool
    """Whether it has yet to go through the motions of acquiring this."""

    @classmethod
    def of_thread(cls, world: World, ident: int) -> Sentinel:
        """One that is held by the thread of this number, until that ends."""
        sentinel = _sentinels[ident] = cls.inside(world)
        sentinel.held = sentinel.is_new = True
        sentinel.ident = ident
        return sentinel

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait until the thread has ended."""
        world = self.world
        if world is None or world.is_over:
            # Of a forked child, which has its own main thread end as it should.
            was_held, self.held = self.held, True
            return blocking or not was_held
        if self.is_new and self.ident == real.get_ident():
            self.is_new = False
            return True
        deadline = world.deadline(timeout) if blocking and timeout != -1 else None
        if deadline is None and (not blocking or timeout != -1):
            world.point("look at", self)
            return not self.held
        return world.point("join", self, self, deadline)

    def release(self) -> None:
        """Nothing, as whoever waited has not taken it; but in a forked child."""
        if self.world is None or self.world.is_over:
            self.held = False

    def locked(self) -> bool:
        """Whether the thread is alive."""
        world = self.world
        return self.held and world is not None and (not world.is_over or world.is_forked)


class Started:
    """What `Thread._started` is for a task: it counts as started from the moment it may run.

    The standard library has the starter wait until the new thread has said so. Nothing of the user's
    happens in between, and both orders of the two would be another schedule for each thread.
    """

    def __init__(self, event: threading.Event, starter: Task | None) -> None:
        self._starter = starter
        lock = event._cond._lock  # type: ignore[attr-defined]
        # Whoever looked at it before that is told, too: a thread is started once.
        event._flag = True  # type: ignore[attr-defined]
        self.name: Key = lock.name if isinstance(lock, Lock) else ()
        """That of what it stands in for."""

    def is_set(self) -> bool:
        """Yes: a step, since it was not before it was started; to whoever started it that is no news."""
        world = own_world()
        if world is not None and self.name and self._starter is not world.current and not world.is_ending:
            world.point("ask for", self)
        return True

    def set(self) -> None:
        """Nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        """Not at all."""
        return True

    def __repr__(self) -> str:
        return "the start of the thread"

    def _at_fork_reinit(self) -> None:
        pass


class ThreadHandle:
    """What stands for a thread of the operating system from Python 3.13 on."""

    ident: int | None
    _alive: Lock
    _is_done: bool

    def __new__(cls) -> ThreadHandle:
        """As of a lock."""
        world = own_world()
        if world is None:
            return real.ThreadHandle()  # type: ignore[no-any-return]
        handle = super().__new__(cls)
        handle.ident = None
        handle._alive = Sentinel.inside(world)
        handle._alive.is_new = False
        handle._is_done = False
        return handle

    def is_done(self) -> bool:
        """Whether the thread has ended: a step."""
        world = self._alive.world
        if world is not None and not world.is_ending:
            world.point("look at", self._alive)
        return self._is_done or not is_running(self._alive.world)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended: a point."""
        if self._is_done and not is_running(self._alive.world):
            return
        self._alive.acquire(timeout=-1 if timeout is None or timeout < 0 else timeout)

    def _set_done(self) -> None:
        try:
            _end(self._alive)
        finally:
            self._is_done = True


_sentinels: dict[int, Sentinel] = {}


def set_sentinel() -> Sentinel:
    """A lock that is let go when the calling task ends."""
    world = own_world()
    if world is None:
        return real.set_sentinel()  # type: ignore[no-any-return]
    ident = real.get_ident()
    return _sentinels.get(ident) or Sentinel.of_thread(world, ident)


def is_alive(thread: Any) -> bool:
    """What `Thread.is_alive` is before Python 3.13: each look is a step, also the one after the first to
    see that it has ended."""
    if own_world() is not None and not thread._started.is_set():
        return False
    if isinstance(thread._tstate_lock, Sentinel) and own_world() is not None:
        return not thread._tstate_lock.acquire(False)
    return bool(real.is_alive(thread))


def stop(thread: Any) -> None:
    """What `Thread._stop` is then: nobody notes for those who ask later that it has ended."""
    if not isinstance(thread._tstate_lock, Sentinel) or own_world() is None:
        real.stop(thread)


def _keep_quiet_when_killed(thread: Any) -> None:
    # A task that is told late that its world has ended, when whatever it was blocked in lets it go, has
    # nothing to report to the hook of that later time.
    report = getattr(thread, "_invoke_excepthook", None)
    if report is None:
        return

    def report_unless_killed(thread: object) -> None:
        if not isinstance(sys.exc_info()[1], TaskKilled):
            report(thread)

    thread._invoke_excepthook = report_unless_killed


def bootstrap(thread: object) -> Callable[[], None]:
    """What the task of a `threading.Thread` that nobody started runs."""
    _keep_quiet_when_killed(thread)

    def run() -> None:
        handle = getattr(thread, "_handle", None)
        if handle is not None:
            # What a forked child looks at, from Python 3.13 on.
            handle.ident = real.get_ident()
        try:
            thread._bootstrap()  # type: ignore[attr-defined]
        finally:
            _let_sentinel_go()

    return run


def _let_sentinel_go() -> None:
    sentinel = _sentinels.pop(real.get_ident(), None)
    if sentinel is not None:
        _end(sentinel)


def _end(alive: Lock) -> None:
    """Let it go as the last act of a thread, a step of its own: whoever asks may find it alive before."""
    world = alive.world
    try:
        if world is not None and not world.is_ending:
            world.point("end", alive)
            if world.trace is not None:
                world.trace.touch(alive.name, RELEASE)
    finally:
        alive.held = False


def start_new_thread(
    function: Callable[..., object],
    args: tuple[object, ...] = (),
    kwargs: dict[str, object] | None = None,
) -> int:
    """Start a task; what `threading.Thread.start` calls before Python 3.13."""
    world = own_world()
    if world is None:
        return real.start_new_thread(function, args, kwargs or {})

    def run() -> None:
        try:
            function(*args, **(kwargs or {}))
        finally:
            _let_sentinel_go()

    task = _start(world, function, run)
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        # Now, and not when it runs: it may be joined before that.
        thread._tstate_lock = Sentinel.of_thread(world, task.carrier.ident)  # type: ignore[attr-defined]
    ident = task.carrier.ident
    _stop_behind(world, task)
    return ident


def start_joinable_thread(
    function: Callable[[], object], handle: ThreadHandle | None = None, daemon: bool = True
) -> ThreadHandle:
    """Start a task; what `threading.Thread.start` calls from Python 3.13 on."""
    world = own_world()
    if world is None:
        return real.start_joinable_thread(function, handle=handle, daemon=daemon)  # type: ignore[no-any-return]
    started = ThreadHandle() if handle is None else handle
    started._alive.held = True

    def run() -> None:
        try:
            function()
        finally:
            started._set_done()

    task = _start(world, function, run, is_daemon=daemon)
    started.ident = task.carrier.ident
    _stop_behind(world, task)
    return started


def _start(
    world: World, function: Callable[..., object], run: Callable[[], None], is_daemon: bool | None = None
) -> Task:
    if world.is_ending:
        # Nobody would end it any more.
        raise TaskKilled
    thread = getattr(function, "__self__", None)
    _keep_quiet_when_killed(thread)
    if is_daemon is None:
        # A thread of `_thread` alone keeps no interpreter alive.
        is_daemon = bool(getattr(thread, "daemon", True))
    task = world.spawn(str(getattr(thread, "name", "thread")), run, is_daemon=is_daemon)
    if isinstance(thread, threading.Thread):
        started = thread._started = Started(thread._started, world.current)  # type: ignore[attr-defined]
        if world.trace is not None and started.name:
            world.trace.touch(started.name, WRITE)
        thread._ident = task.carrier.ident  # type: ignore[attr-defined]
    return task


def _stop_behind(world: World, task: Task) -> None:
    # What the starter does next may come too late for the thread.
    if world.is_fine:
        world.point("started", task)


def forget_unstarted() -> None:
    """Let nothing stay of the threads that never came to run."""
    _sentinels.clear()
    limbo: dict[object, object] = threading._limbo  # type: ignore[attr-defined]
    for thread in [thread for thread in limbo if isinstance(getattr(thread, "_started", None), Started)]:
        del limbo[thread]
