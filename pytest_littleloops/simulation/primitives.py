"""The locks of a world: what `threading.Lock()` and `threading.RLock()` are there.

The rest of `threading`, `queue` and `concurrent.futures` is the standard library's own code, which runs on
these. An object belongs to the world in which it was made. After that world has ended it is inert: whoever
still acts on it, a finalizer or an exit handler, is neither blocked nor told.
"""

from __future__ import annotations

import queue
import sys
import threading
import types
from collections import deque
from types import FrameType, TracebackType
from typing import Any, Self

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.failures import Uncontrolled
from pytest_littleloops.simulation.frames import is_standard_library, user_place
from pytest_littleloops.simulation.membership import own_world
from pytest_littleloops.simulation.reports import stacks
from pytest_littleloops.simulation.tasks import Task
from pytest_littleloops.simulation.trace import ACQUIRE, READ, RELEASE, WRITE, Key
from pytest_littleloops.simulation.world import World


def is_running(world: World | None) -> bool:
    """Whether objects of this world mean something still."""
    return world is not None and not world.is_over


def _is_ending(world: World | None) -> bool:
    # What unwinds lets go of what it could not take any more.
    return world is not None and world.is_ending


def _note_use(was_held: bool) -> None:
    # A finalizer is nobody's accomplice.
    world = own_world()
    if world is None or world.is_ending:
        return
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name in _FINALIZERS:
            return
        frame = frame.f_back
    world.note_leftover()
    if was_held:
        # Whoever finds it held shares it with another task.
        raise world.end_with(
            Uncontrolled(
                "LL502 uncontrolled: tasks share a lock that was made in an earlier schedule\n"
                f"{stacks(world)}\n  next: make it anew in each schedule, or before the exploration"
            )
        )


_FINALIZERS = frozenset({"__del__", "weakref_cb"})
"""The second is that of an executor."""

_LONGEST = threading.TIMEOUT_MAX


class Lock:
    """What `threading.Lock()` is in a world.

    Acquiring is a step, and in a fine world so is to have released. The release itself is one where
    somebody may try the lock, wait for it with a timeout or look at it: of each lock that the user's code
    made. Those inside the standard library's classes are only ever acquired and waited for, where a release
    and the acquire that it allows are never both possible.
    """

    __slots__ = ("__weakref__", "born", "held", "holder", "is_tried", "name", "world")

    world: World | None
    held: bool
    holder: Task | None
    is_tried: bool
    born: int
    """The step in which it was made: within that nobody else can have it."""
    name: tuple[int, int]

    def __new__(cls) -> Lock:
        """Of the world of the calling task; a real one for whoever is no task."""
        world = own_world()
        if world is None:
            return real.allocate_lock()  # type: ignore[return-value]
        return cls._of(world, not is_standard_library(sys._getframe(1).f_code.co_filename))

    @classmethod
    def inside(cls, world: World) -> Self:
        """One for the standard library itself."""
        return cls._of(world, False)

    @classmethod
    def _of(cls, world: World, is_tried: bool) -> Self:
        lock = object.__new__(cls)
        lock.world = world
        lock.held = False
        lock.holder = None
        lock.is_tried = is_tried
        lock.name = world.new_name()
        # Now and then a step for sure, lest who does nothing else never comes to one.
        lock.born = world.steps if lock.name[1] % 1000 else -1
        return lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it: a step. With a timeout it waits in virtual time."""
        if not blocking and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout != -1 and not 0 <= timeout <= _LONGEST:
            if timeout < 0:
                raise ValueError("timeout value must be a non-negative number")
            raise OverflowError("timeout value is too large")
        world = self.world
        if world is None or world.is_over:
            # Inert: nobody is kept waiting. Condition asks by a try whether its lock is held.
            was_held, self.held = self.held, True
            if blocking:
                _note_use(was_held)
            return blocking or not was_held
        if self.born == world.steps and not self.held and own_world() is world:
            if world.trace is not None:
                world.trace.touch(self.name, ACQUIRE)
        elif blocking and timeout == -1:
            world.point("acquire", self, self)
        else:
            deadline = world.deadline(timeout) if blocking else None
            if deadline is None:
                world.point("try to acquire", self)
                if self.held:
                    return False
            elif not world.point("acquire", self, self, deadline):
                return False
        self.held = True
        self.holder = world.current
        return True

    def release(self) -> None:
        """Let it go, at once where nobody could have acquired it before."""
        world = self.world
        if world is not None and not world.is_ending:
            is_mine = self.holder is world.current
            if self.is_tried:
                # Of a lock that another task holds, or none, there may be several at once.
                world.point("release" if is_mine else "let go of", self)
            if not self.held:
                raise RuntimeError("release unlocked lock")
            self.held = False
            self.holder = None
            if world.trace is not None:
                world.trace.touch(self.name, RELEASE)
            if is_mine and world.is_fine:
                # What follows is no part of what the lock guards: others may come in between.
                world.point("released", self)
            return
        self.held = False
        self.holder = None

    def locked(self) -> bool:
        """Whether it is held: a step."""
        world = self.world
        if world is not None and not world.is_ending:
            if not self.is_tried:
                # Its release is no step of its own, so that not all that this may see is seen.
                place = user_place(sys._getframe(1))
                world.note_outside(f"a look at a lock of the standard library's ({place})")
            world.point("look at", self)
        return self.held

    def _is_owned(self) -> bool:
        # Condition asks this of an RLock. Of a lock it would ask by a try, for want of this, which fails
        # whoever holds it.
        world = self.world
        if world is None or world.is_ending:
            return True
        if self.holder is not world.current:
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
    """What `threading.RLock()` is in a world. Its owner is a task, not the thread that carries it."""

    __slots__ = ("__weakref__", "_count", "_lock", "_owner")

    _lock: Lock
    _owner: Task | None
    _count: int

    def __new__(cls) -> RLock:
        """As of a lock."""
        world = own_world()
        if world is None:
            return real.RLockType()  # type: ignore[return-value]
        lock = super().__new__(cls)
        maker: FrameType | None = sys._getframe(1)
        if maker is not None and maker.f_code.co_filename == threading.__file__:
            # A condition that nobody gave a lock.
            maker = maker.f_back
        lock._lock = Lock._of(world, maker is None or not is_standard_library(maker.f_code.co_filename))
        lock._owner = None
        lock._count = 0
        return lock

    def _is_mine(self) -> bool:
        world = self._lock.world
        if world is None or self._owner is None or self._owner is not world.current:
            return False
        return self._owner.carrier.ident == real.get_ident()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; its owner takes it again, which nobody else could notice, so that is no step."""
        if self._is_mine():
            self._count += 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner = None if self._lock.world is None else self._lock.world.current
        self._count = 1
        return True

    def release(self) -> None:
        """Let it go once."""
        if not self._is_mine():
            if not is_running(self._lock.world) or _is_ending(self._lock.world):
                return
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    def _release_save(self) -> tuple[int, Task | None]:
        saved = self._count, self._owner
        self._count, self._owner = 0, None
        self._lock.release()
        return saved

    def _acquire_restore(self, saved: tuple[int, Task | None]) -> None:
        self._lock.acquire()
        self._count, self._owner = saved

    def _is_owned(self) -> bool:
        # A stranger who came by has ended the world, and is told nothing.
        return self._is_mine() or not is_running(self._lock.world) or _is_ending(self._lock.world)

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


class SimpleQueue:
    """What `queue.SimpleQueue()` is in a world: as the one in C, each call is one step."""

    __slots__ = ("__weakref__", "_items", "_puts", "_world", "head", "name", "tail")

    _items: deque[Any]
    _puts: deque[int]
    """The step in which each item was put, where a trace is kept."""
    _world: World | None
    name: tuple[int, int]
    head: Key
    tail: Key
    """Who takes an item and who puts one touch different ends."""

    def __new__(cls) -> SimpleQueue:
        """As of a lock."""
        world = own_world()
        if world is None:
            return real.SimpleQueue()  # type: ignore[no-any-return]
        queue = super().__new__(cls)
        queue._items = deque()
        queue._puts = deque()
        queue._world = world
        queue.name = world.new_name()
        queue.head, queue.tail = (*queue.name, 0), (*queue.name, 1)
        return queue

    __class_getitem__: Any = classmethod(types.GenericAlias)

    @property
    def held(self) -> bool:
        """Whether one who wants an item has to wait."""
        return not self._items

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item; never waits."""
        self._step("put into")
        self._items.append(item)
        world = self._world
        if world is not None and world.trace is not None:
            self._puts.append(world.trace.current)
        self._step_of_user("have put into")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; waits for one in virtual time. Raises queue.Empty."""
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        world = self._world
        if world is not None and not world.is_ending:
            deadline = None if timeout is None else world.deadline(timeout)
            if block and (timeout is None or deadline is not None):
                world.point("get from", self, self, deadline)
            else:
                world.point("look for an item of", self)
        elif world is not None and not world.is_over and not self._items:
            world.point("get from", self, self)
        if not self._items:
            raise queue.Empty
        item = self._items.popleft()
        if world is not None and world.trace is not None and self._puts:
            world.trace.follows(self._puts.popleft())
        self._step_of_user("have got from")
        return item

    def put_nowait(self, item: Any) -> None:
        """As `put`."""
        self.put(item)

    def get_nowait(self) -> Any:
        """Take the oldest item. Raises queue.Empty."""
        return self.get(False)

    def empty(self) -> bool:
        """Whether there is none: a step."""
        self._step("look into")
        return not self._items

    def qsize(self) -> int:
        """How many there are: a step."""
        self._step("look into")
        return len(self._items)

    def keys(self, operation: str, is_timed_out: bool) -> tuple[tuple[Key, int], ...]:
        """What an operation does to the two ends of this queue."""
        if operation == "put into":
            return ((self.tail, WRITE),)
        takes = operation == "get from" or (operation == "look for an item of" and self._items)
        if takes and not is_timed_out:
            return ((self.head, WRITE),)
        return (self.head, READ), (self.tail, READ)

    def __repr__(self) -> str:
        return "the queue"

    def _step_of_user(self, operation: str) -> None:
        # Between two steps of an executor's own there is nothing to be seen.
        world = self._world
        if world is None or not world.is_fine or world.is_ending:
            return
        if not is_standard_library(sys._getframe(2).f_code.co_filename):
            world.point(operation, self)

    def _step(self, operation: str) -> None:
        world = self._world
        if world is not None and not world.is_ending:
            world.point(operation, self)


def _look_at(thing: Any) -> None:
    """A step: the standard library looks at this without the lock of its condition."""
    lock = thing._cond._lock
    if isinstance(lock, RLock):
        lock = lock._lock
    if isinstance(lock, Lock) and lock.world is not None and not lock.world.is_ending:
        lock.world.point("look at", lock)


def is_set(event: threading.Event) -> bool:
    """What `Event.is_set` is in a world: a step, as others may set it before or after."""
    _look_at(event)
    return bool(event._flag)  # type: ignore[attr-defined]


def looked_at(real: property) -> property:
    """What a property of a `Barrier` is in a world: a step."""
    assert real.fget is not None
    get = real.fget

    def look(thing: Any) -> Any:
        _look_at(thing)
        return get(thing)

    return property(look, doc=real.__doc__)
