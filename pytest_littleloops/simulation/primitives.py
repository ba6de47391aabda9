"""The primitives of a world: a lock, a re-entrant lock, a thread's handle, a clock.

The rest of `threading`, `queue` and `concurrent.futures` is the standard library's own code, which runs on
these. An object belongs to the world in which it was made. After that world has ended it is inert: whoever
still acts on it, a finalizer or an exit handler, is neither blocked nor told.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.failures import TaskKilled
from pytest_littleloops.simulation.world import World

_worlds: list[World] = []
"""The world that is running, if one is."""


def enter(world: World) -> None:
    """Make this the world in which objects are made."""
    _worlds.append(world)


def leave() -> None:
    """There is no world any more."""
    _worlds.pop()


def current_world() -> World | None:
    """The world that is running, if one is."""
    return _worlds[-1] if _worlds else None


def _running(world: World | None) -> bool:
    return world is not None and not world.is_over


def _is_ending(world: World | None) -> bool:
    # What unwinds lets go of what it could not take any more.
    return world is not None and world.is_ending


class Lock:
    """What `threading.Lock()` is in a world."""

    __slots__ = ("__weakref__", "held", "name", "world")

    def __init__(self) -> None:
        self.world = current_world()
        self.held = False
        self.name = (-1, 0) if self.world is None else self.world.new_name()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it: a point. With a timeout it waits in virtual time."""
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != -1:
            raise ValueError("timeout value must be a non-negative number")
        world = self.world
        if world is None or world.is_over:
            # Inert: nobody is kept waiting. Condition asks by a try whether its lock is held.
            was_held, self.held = self.held, True
            return blocking or not was_held
        if not blocking:
            world.point("try to acquire")
            if self.held:
                return False
        elif timeout == -1:
            world.point("acquire", self)
        elif not world.point("acquire", self, world.clock + timeout):
            return False
        self.held = True
        return True

    def release(self) -> None:
        """Let it go, at once: nobody could have acquired it before."""
        if not self.held and _running(self.world) and not _is_ending(self.world):
            raise RuntimeError("release unlocked lock")
        self.held = False

    def locked(self) -> bool:
        """Whether it is held: a point."""
        world = self.world
        if world is not None and not world.is_over and not world.is_ending:
            world.point("look at a lock")
        return self.held

    acquire_lock = acquire
    release_lock = release
    locked_lock = locked

    def _at_fork_reinit(self) -> None:
        self.held = False

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<{'locked' if self.held else 'unlocked'} lock {self.name} of a world>"


class RLock:
    """What `threading.RLock()` is in a world."""

    __slots__ = ("__weakref__", "_count", "_lock", "_owner")

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: int | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; its owner takes it again, which nobody else could notice, so that is no point."""
        me = real.get_ident()
        if self._owner == me and _running(self._lock.world):
            self._count += 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner = me
        self._count = 1
        return True

    def release(self) -> None:
        """Let it go once."""
        if self._owner != real.get_ident():
            if not _running(self._lock.world) or _is_ending(self._lock.world):
                return
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    def _release_save(self) -> tuple[int, int | None]:
        saved = self._count, self._owner
        self._count, self._owner = 0, None
        self._lock.release()
        return saved

    def _acquire_restore(self, saved: tuple[int, int | None]) -> None:
        self._lock.acquire()
        self._count, self._owner = saved

    def _is_owned(self) -> bool:
        return self._owner == real.get_ident() or not _running(self._lock.world)

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._owner, self._count = None, 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Sentinel(Lock):
    """Held as long as its thread is alive. A look at it is no point: threading looks under a real lock."""

    __slots__ = ()

    def locked(self) -> bool:
        """Whether the thread is alive."""
        return self.held and _running(self.world)


class ThreadHandle:
    """What stands for a thread of the operating system from Python 3.13 on."""

    def __init__(self) -> None:
        self.ident: int | None = None
        self._alive = Lock()
        self._is_done = False

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._is_done or not _running(self._alive.world)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended: a point."""
        if self._is_done:
            return
        if self._alive.acquire(timeout=-1 if timeout is None or timeout < 0 else timeout):
            self._alive.release()

    def _set_done(self) -> None:
        self._is_done = True
        self._alive.held = False


_sentinels: dict[int, Sentinel] = {}


def set_sentinel() -> Sentinel:
    """A lock that is let go when the calling task ends."""
    sentinel = Sentinel()
    _sentinels[real.get_ident()] = sentinel
    return sentinel


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
        try:
            thread._bootstrap()  # type: ignore[attr-defined]
        finally:
            _let_sentinel_go()

    return run


def _let_sentinel_go() -> None:
    sentinel = _sentinels.pop(real.get_ident(), None)
    if sentinel is not None:
        sentinel.held = False


def start_new_thread(
    function: Callable[..., object],
    args: tuple[object, ...] = (),
    kwargs: dict[str, object] | None = None,
) -> int:
    """Start a task; what `threading.Thread.start` calls before Python 3.13."""
    world = current_world()
    assert world is not None

    def run() -> None:
        try:
            function(*args, **(kwargs or {}))
        finally:
            _let_sentinel_go()

    owner = getattr(function, "__self__", None)
    _keep_quiet_when_killed(owner)
    task = world.spawn(
        str(getattr(owner, "name", "thread")), run, is_daemon=bool(getattr(owner, "daemon", False))
    )
    return task.carrier.ident


def start_joinable_thread(
    function: Callable[[], object], handle: ThreadHandle | None = None, daemon: bool = True
) -> ThreadHandle:
    """Start a task; what `threading.Thread.start` calls from Python 3.13 on."""
    world = current_world()
    assert world is not None
    started = ThreadHandle() if handle is None else handle
    started._alive.held = True

    def run() -> None:
        try:
            function()
        finally:
            started._set_done()

    owner = getattr(function, "__self__", None)
    _keep_quiet_when_killed(owner)
    task = world.spawn(str(getattr(owner, "name", "thread")), run, is_daemon=daemon)
    started.ident = task.carrier.ident
    return started


def monotonic() -> float:
    """The virtual time, in seconds."""
    world = current_world()
    assert world is not None
    return world.read_clock()


def sleep(seconds: float) -> None:
    """Let virtual time pass."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    world = current_world()
    assert world is not None
    world.point("sleep", None, world.clock + seconds)
