"""Taking control: which names mean the world's primitives while a world runs, and giving all of them back.

The standard library's own `threading`, `queue` and `concurrent.futures` run as they are; only the few
names that they build on are exchanged. Other modules may have taken such names, or made locks, before: in
globals, class attributes, default arguments and closure cells these are found once an exploration
(`Sites`), and exchanged for each world.

A thread that is no task of the world gets what is real from all of them.
"""

from __future__ import annotations

import _thread
import concurrent.futures._base as futures_base
import concurrent.futures.thread as futures_thread
import gc
import itertools
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pytest_littleloops.simulation import clock, membership, outside, primitives, threads
from pytest_littleloops.simulation.failures import TaskKilled
from pytest_littleloops.simulation.frames import is_asked_by_user, user_place
from pytest_littleloops.simulation.placement import Placement
from pytest_littleloops.simulation.sites import Sites
from pytest_littleloops.simulation.trace import Key
from pytest_littleloops.simulation.world import World

_MISSING = object()

_sched_getaffinity: Any = getattr(os, "sched_getaffinity", None)


def _nanoseconds(clock: Callable[[], float]) -> Callable[[], int]:
    return lambda: int(clock() * 1_000_000_000)


_FUNCTIONS: list[tuple[object, str, object]] = [
    (threading, "Lock", primitives.Lock),
    (threading, "RLock", primitives.RLock),
    (queue, "SimpleQueue", primitives.SimpleQueue),
    (time, "sleep", clock.sleep),
    (time, "monotonic", clock.monotonic),
    (time, "perf_counter", clock.monotonic),
    (time, "time", clock.epoch),
    (time, "monotonic_ns", _nanoseconds(clock.monotonic)),
    (time, "perf_counter_ns", _nanoseconds(clock.monotonic)),
    (time, "time_ns", _nanoseconds(clock.epoch)),
    (_thread, "start_new_thread", threads.start_new_thread),
]
"""What user code calls."""

_INSIDE: list[tuple[object, str, object]] = [
    (threading, "_allocate_lock", primitives.Lock),
    (threading, "_CRLock", primitives.RLock),
    (threading, "_start_new_thread", threads.start_new_thread),
    (threading, "_set_sentinel", threads.set_sentinel),
    (threading, "_start_joinable_thread", threads.start_joinable_thread),
    (threading, "_ThreadHandle", threads.ThreadHandle),
    (threading, "_time", clock.monotonic),
    (threading.Event, "is_set", primitives.is_set),
    (threading.Event, "isSet", primitives.is_set),
    (threading.Barrier, "n_waiting", primitives.looked_at(threading.Barrier.n_waiting)),  # type: ignore[arg-type]
    (threading.Barrier, "broken", primitives.looked_at(threading.Barrier.broken)),  # type: ignore[arg-type]
    (gc, "enable", gc.disable),
    (queue, "time", clock.monotonic),
]
"""What the standard library calls; not every version has every one."""


_REAL = {id(getattr(owner, name)): new for owner, name, new in _FUNCTIONS}
"""The replacement of a function that a module may have named before, by the identity of the real one."""


def _clocks() -> Iterator[tuple[object, str, object]]:
    """Where modules of the standard library keep a clock, if they are there."""
    scheduling, timing = sys.modules.get("sched"), sys.modules.get("timeit")
    if scheduling is not None:
        yield scheduling, "_time", clock.monotonic
        yield scheduling.scheduler.__init__, "__defaults__", (clock.monotonic, clock.sleep)
    if timing is not None:
        yield timing, "default_timer", clock.monotonic


class Control:
    """The exchange of names during an exploration, and of what modules hold for each world of it.

    Names stay exchanged from the first world on until `restore`; in between they mean what is real, as for
    any thread that is no task. To set an attribute of a class costs more than it seems to: the interpreter
    forgets what it knew of that class. To do so for each schedule took some 20 microseconds of it.
    """

    def __init__(self, scenario: Callable[[], object], placement: Placement) -> None:
        self._scenario = scenario
        self._placement = placement
        self._look()

    def _look(self) -> None:
        self._modules = len(sys.modules)
        self._sites = Sites(self._scenario, _REAL)
        self._names: list[tuple[object, Mapping[str, object], str, object, object]] = []
        self._inside = _Inside()
        everything = (
            *_FUNCTIONS,
            *_INSIDE,
            *_clocks(),
            *outside.exchanges(),
            *self._inside.exchanges(),
            (os, "sched_getaffinity", self._affinity),
        )
        for owner, name, new in everything:
            # One of them hides a name of the builtins.
            if hasattr(owner, name) or owner is futures_base:
                names = vars(owner)
                self._names.append((owner, names, name, names.get(name, _MISSING), new))

    def _affinity(self, pid: int) -> set[int]:
        if membership.own_world() is None:
            return set(_sched_getaffinity(pid))
        return self._placement.affinity(pid)

    @contextmanager
    def over(self, world: World) -> Iterator[None]:
        """Names mean the primitives of this world until the end of the block."""
        if len(sys.modules) != self._modules:
            self.restore()
            self._look()
        membership.enter(world)
        try:
            self._inside.begin(world)
            for owner, names, name, _, new in self._names:
                if names.get(name) is not new:
                    setattr(owner, name, new)
            for put, twin in self._sites.twins():
                put(twin)
            yield
        finally:
            try:
                self._leave()
            except BaseException:
                # Ctrl-C may come between any two of them, and each can be done twice.
                self._leave()
                raise
            finally:
                membership.leave()

    def _leave(self) -> None:
        # As long as threads hash as they did when they were put there.
        threads.forget_unstarted()
        for put, old in self._sites.exchanges:
            put(old)
        self._inside.end()

    def restore(self) -> None:
        """Names mean again what they meant before. Can be called twice."""
        for owner, _, name, old, _ in self._names:
            _give(owner, name, old)


class _Inside:
    """What depends on which world it is: the numbers of its objects, what becomes of its exceptions."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []
        self._enumerate = threading.enumerate
        self._hooks: tuple[Any, Any] | None = None
        self._maintain: Any = getattr(threading, "_maintain_shutdown_locks", None)
        self._apart: list[tuple[object, str, Callable[[], object], _Apart]] = []
        for owner, name, make in (
            (threading, "_shutdown_locks", set),
            # Threads are called by their number, which goes on from one schedule to the next.
            (threading, "_counter", lambda: itertools.count(1).__next__),
            (futures_thread.ThreadPoolExecutor, "_counter", lambda: itertools.count().__next__),
            (futures_thread, "_global_shutdown_lock", self._lock),
            # Its values hold the world and so its keys, which would then never be collected.
            (futures_thread, "_threads_queues", weakref.WeakKeyDictionary),
            (futures_thread, "_shutdown", bool),
        ):
            if hasattr(owner, name):
                self._apart.append((owner, name, make, _Apart(getattr(owner, name))))

    def exchanges(self) -> Iterator[tuple[object, str, object]]:
        """What to put in the place of what."""
        yield futures_base, "id", self._id
        yield futures_base.Future, "__hash__", lambda future: self._hash(future, "_condition")
        yield threading.Thread, "__hash__", lambda thread: self._hash(thread, "_started", "_cond")
        yield threading, "enumerate", self.enumerate
        yield threading, "active_count", self.active_count
        yield threading.Thread, "_set_tstate_lock", self._set_tstate_lock()
        if hasattr(threading.Thread, "_stop"):
            yield threading.Thread, "_stop", threads.stop
            yield threading.Thread, "is_alive", threads.is_alive
        yield threading, "_maintain_shutdown_locks", self._maintain_shutdown_locks
        for owner, name, _, apart in self._apart:
            yield owner, name, apart

    def begin(self, world: World) -> None:
        """This world comes next."""
        self._world = world
        for _, _, make, apart in self._apart:
            apart.inside = make()
        # Whoever runs the tests may have others in each of their phases.
        self._hooks = threading.excepthook, sys.unraisablehook
        threading.excepthook, sys.unraisablehook = self._fail, self._complain

    def end(self) -> None:
        """It has ended; what it made may go now, and not in the midst of the next one."""
        if self._hooks is not None:
            threading.excepthook, sys.unraisablehook = self._hooks
            self._hooks = None
        self._numbers.clear()
        self._kept.clear()
        for *_, apart in self._apart:
            apart.inside = None

    def _id(self, thing: object) -> int:
        # The standard library orders futures by this: addresses differ between two executions.
        return id(thing) if membership.own_world() is None else self._number_of(thing, "_condition")

    def _number_of(self, thing: object, *names: str) -> int:
        number = self._numbers.get(id(thing))
        if number is None:
            # Its name is the same in all orders of a trace, as the how-many-eth that is asked for is not.
            maker, count = _name_of(thing, *names) or (-2, len(self._numbers))
            number = self._numbers[id(thing)] = (maker << 32) + count
            # An address may come again.
            self._kept.append(thing)
        return number

    def _hash(self, thing: Any, *names: str) -> int:
        known = self._numbers.get(id(thing))
        if known is not None:
            return known
        # One from before may be in a set from before.
        is_new = membership.current_world() is not None and _name_of(thing, *names) is not None
        return self._number_of(thing, *names) if is_new else object.__hash__(thing)

    def active_count(self) -> int:
        """How many they are."""
        return len(self._all_threads(sys._getframe(1)))

    def enumerate(self) -> list[threading.Thread]:
        """The tasks alone, for a task."""
        return self._all_threads(sys._getframe(1))

    def _all_threads(self, caller: FrameType) -> list[threading.Thread]:
        found = self._enumerate()
        world = membership.own_world()
        if world is None:
            return found
        if is_asked_by_user(caller):
            # That a thread begins or ends is no step to whoever counts them.
            world.note_outside(f"the list of all threads ({user_place(caller)})")
        return [thread for thread in found if _name_of(thread, "_started", "_cond") is not None]

    def _set_tstate_lock(self) -> Callable[[Any], None]:
        real: Any = getattr(threading.Thread, "_set_tstate_lock", None)

        def set_tstate_lock(thread: Any) -> None:
            if membership.own_world() is None:
                real(thread)
            else:
                thread._tstate_lock = threads.set_sentinel()
                thread._tstate_lock.is_new = False

        return set_tstate_lock

    def _maintain_shutdown_locks(self) -> None:
        # They are for the end of the interpreter, which waits for no task.
        if membership.own_world() is None:
            self._maintain()

    def _fail(self, args: threading.ExceptHookArgs) -> None:
        # The standard library ignores a SystemExit that ends a thread.
        world = membership.own_world()
        if world is None:
            (self._hooks or (threading.__excepthook__,))[0](args)
        elif args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            world.fail(args.exc_value)

    def _complain(self, unraisable: Any) -> None:
        # A finalizer of a task that unwinds is told as well that its world has ended.
        if not isinstance(unraisable.exc_value, TaskKilled):
            (sys.__unraisablehook__ if self._hooks is None else self._hooks[1])(unraisable)

    def _lock(self) -> object:
        assert self._world is not None
        return primitives.Lock.inside(self._world)


def _name_of(thing: object, *names: str) -> Key | None:
    """That of the lock of a world that a thing keeps there: none if it is real, () if there is none yet."""
    for name in (*names, "_lock"):
        if isinstance(thing, threads.Started):
            return thing.name
        found = getattr(thing, name, None)
        if found is None:
            return ()
        thing = found
    if isinstance(thing, primitives.RLock):
        thing = thing._lock
    return thing.name if isinstance(thing, primitives.Lock) else None


class _Apart:
    """What a name means: one thing for the tasks of a world, another for whoever runs beside it."""

    def __init__(self, beside: Any) -> None:
        self.inside: Any = None
        self._beside = beside

    def _meant(self) -> Any:
        return self._beside if membership.own_world() is None else self.inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meant(), name)

    def __enter__(self) -> object:
        return self._meant().__enter__()

    def __exit__(self, *error: object) -> object:
        return self._meant().__exit__(*error)

    def __bool__(self) -> bool:
        return bool(self._meant())

    def __call__(self) -> object:
        return self._meant()()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._meant())

    def __setitem__(self, key: object, value: object) -> None:
        self._meant()[key] = value


def _give(owner: object, name: str, old: object) -> None:
    if old is not _MISSING:
        setattr(owner, name, old)
    elif name in vars(owner):
        delattr(owner, name)


def leave_interpreter() -> None:
    """Do what the interpreter does at its exit, for executors of this world that nobody shut down."""
    shutdown: Any = futures_thread._shutdown
    shutdown.inside = True
    for thread, jobs in list(futures_thread._threads_queues.items()):
        # A real queue belongs to an executor outside: it goes on.
        if isinstance(jobs, primitives.SimpleQueue) and thread.is_alive():
            jobs.put(None)
