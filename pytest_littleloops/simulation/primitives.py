"""The locks of a world: what `threading.Lock()` and `threading.RLock()` are there.

The rest of `threading`, `queue` and `concurrent.futures` is the standard library's own code, which runs on
these. An object belongs to the world in which it was made. After that world has ended it is inert: whoever
still acts on it, a finalizer or an exit handler, is neither blocked nor told.
"""

from __future__ import annotations

from types import TracebackType

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.failures import Uncontrolled
from pytest_littleloops.simulation.membership import own_world
from pytest_littleloops.simulation.world import World


def is_running(world: World | None) -> bool:
    """Whether objects of this world mean something still."""
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
        if not self.held and is_running(self.world) and not _is_ending(self.world):
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
        return "the lock"


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
        if self._owner == me and is_running(self._lock.world):
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
            if not is_running(self._lock.world) or _is_ending(self._lock.world):
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
        return self._owner == real.get_ident() or not is_running(self._lock.world)

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._owner, self._count = None, 0

    def __repr__(self) -> str:
        return repr(self._lock)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
