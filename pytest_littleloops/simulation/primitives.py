"""The primitives of a world: a lock, a re-entrant lock, a thread's handle, a clock.

The rest of `threading`, `queue` and `concurrent.futures` is the standard library's own code, which runs on
these. An object belongs to the world in which it was made. After that world has ended it is inert: whoever
still acts on it, a finalizer or an exit handler, is neither blocked nor told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pytest_littleloops.simulation import carriers, real
from pytest_littleloops.simulation.failures import TaskKilled, Uncontrolled
from pytest_littleloops.simulation.world import CLOCK, Task, World

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


def own_world() -> World | None:
    """The world that the calling thread is part of; None for a thread that merely runs beside it.

    Whoever runs beside (a test runner's timer, the receiver of a channel) gets what is real.
    """
    if not _worlds:
        return None
    world = _worlds[-1]
    task = world.current
    ident = real.get_ident()
    if ident == (world.maker if task is None else task.carrier.ident):
        return world
    if ident in carriers.left_behind:
        # It belongs to a world that has ended, and does not come to life in another one.
        raise TaskKilled
    return None


def _forget_in_child() -> None:
    # Of all threads only the one that forked lives on in the child, and it owes nothing to a world.
    for world in _worlds:
        world.is_over = True
    _worlds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _running(world: World | None) -> bool:
    return world is not None and not world.is_over


def _is_ending(world: World | None) -> bool:
    # What unwinds lets go of what it could not take any more.
    return world is not None and world.is_ending


def _refuse_contention() -> None:
    # A finalizer finds a lock of an earlier world free. Who finds it held shares it with another task.
    world = own_world()
    if world is not None and not world.is_over and not world.is_ending:
        raise world.end_with(
            Uncontrolled(
                "LL502 uncontrolled: tasks share a lock that was made in an earlier schedule\n"
                f"{world.stacks()}\n  next: make it anew in each schedule, or before the exploration"
            )
        )


class Lock:
    """What `threading.Lock()` is in a world."""

    __slots__ = ("__weakref__", "held", "name", "world")

    world: World | None
    held: bool
    name: tuple[int, int]

    def __new__(cls) -> Lock:
        """Of the world of the calling task; a real one for whoever is no task."""
        world = own_world()
        if world is None:
            return real.allocate_lock()  # type: ignore[return-value]
        lock = super().__new__(cls)
        lock.world = world
        lock.held = False
        lock.name = world.new_name()
        return lock

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
            if was_held and blocking:
                _refuse_contention()
            return blocking or not was_held
        if not blocking:
            world.point("try to acquire", self)
            if self.held:
                return False
        elif timeout == -1:
            world.point("acquire", self, self)
        elif not world.point("acquire", self, self, world.clock + timeout):
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
            world.point("look at", self)
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
        task, number = self.name
        tasks = () if self.world is None else self.world.tasks
        maker = "from before" if task < 0 else f"of {tasks[task].name if task < len(tasks) else task}"
        return f"lock {number} {maker} ({'held' if self.held else 'free'})"


class RLock:
    """What `threading.RLock()` is in a world."""

    __slots__ = ("__weakref__", "_count", "_lock", "_owner")

    _lock: Lock
    _owner: int | None
    _count: int

    def __new__(cls) -> RLock:
        """As of a lock."""
        if own_world() is None:
            return real.RLockType()  # type: ignore[return-value]
        lock = super().__new__(cls)
        lock._lock = Lock()
        lock._owner = None
        lock._count = 0
        return lock

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

    def __repr__(self) -> str:
        return f"re-entrant {self._lock!r}"

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

    ident: int | None
    _alive: Lock
    _is_done: bool

    def __new__(cls) -> ThreadHandle:
        """As of a lock."""
        if own_world() is None:
            return real.ThreadHandle()  # type: ignore[no-any-return]
        handle = super().__new__(cls)
        handle.ident = None
        handle._alive = Lock()
        handle._is_done = False
        return handle

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
    if own_world() is None:
        return real.set_sentinel()  # type: ignore[no-any-return]
    sentinel = Sentinel()
    assert isinstance(sentinel, Sentinel)
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
    world = own_world()
    if world is None:
        return real.start_new_thread(function, args, kwargs or {})

    def run() -> None:
        try:
            function(*args, **(kwargs or {}))
        finally:
            _let_sentinel_go()

    return _start(world, function, run).carrier.ident


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

    started.ident = _start(world, function, run, is_daemon=daemon).carrier.ident
    return started


def _start(
    world: World, function: Callable[..., object], run: Callable[[], None], is_daemon: bool | None = None
) -> Task:
    thread = getattr(function, "__self__", None)
    _keep_quiet_when_killed(thread)
    if is_daemon is None:
        # A thread of `_thread` alone keeps no interpreter alive.
        is_daemon = bool(getattr(thread, "daemon", True))
    return world.spawn(str(getattr(thread, "name", "thread")), run, is_daemon=is_daemon)


def monotonic() -> float:
    """The virtual time, in seconds."""
    world = own_world()
    return real.monotonic() if world is None else world.read_clock()


def epoch() -> float:
    """The virtual time since 1970, in seconds; all worlds of an exploration begin when that began."""
    world = own_world()
    # A whole number is added, so that differences are rounded alike in every process.
    return real.epoch() if world is None else world.began + world.read_clock()


def sleep(seconds: float) -> None:
    """Let virtual time pass."""
    world = own_world()
    if world is None:
        real.sleep(seconds)
        return
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    world.point("sleep", CLOCK, None, world.clock + seconds)
