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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pytest_littleloops.simulation import clock, membership, outside, primitives, threads
from pytest_littleloops.simulation.failures import TaskKilled
from pytest_littleloops.simulation.placement import Placement
from pytest_littleloops.simulation.sites import Sites
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
    """The exchange of names during an exploration: looked up now and after imports, made for each world."""

    def __init__(self, scenario: Callable[[], object], placement: Placement) -> None:
        self._scenario = scenario
        self._placement = placement
        self._look()

    def _look(self) -> None:
        self._modules = len(sys.modules)
        self._sites = Sites(self._scenario, _REAL)
        self._names: list[tuple[object, str, object, object]] = []
        for owner, name, new in (*_FUNCTIONS, *_INSIDE, *_clocks(), *outside.exchanges()):
            if hasattr(owner, name):
                self._names.append((owner, name, vars(owner).get(name, _MISSING), new))
        if _sched_getaffinity is not None:
            self._names.append((os, "sched_getaffinity", _sched_getaffinity, self._affinity))

    def _affinity(self, pid: int) -> set[int]:
        if membership.own_world() is None:
            return set(_sched_getaffinity(pid))
        return self._placement.affinity(pid)

    @contextmanager
    def over(self, world: World) -> Iterator[None]:
        """Names mean the primitives of this world until the end of the block."""
        if len(sys.modules) != self._modules:
            self._look()
        given_back: list[Callable[[], object]] = []
        membership.enter(world)
        try:
            for owner, name, new in self._of_one_world(world):
                old = vars(owner).get(name, _MISSING)
                given_back.append(partial(_give, owner, name, old))
                setattr(owner, name, new)
            for owner, name, _, new in self._names:
                setattr(owner, name, new)
            for put, twin in self._sites.twins():
                put(twin)
            yield
        finally:
            try:
                self._restore(given_back)
            except BaseException:
                # Ctrl-C may come between any two of them, and each can be done twice.
                self._restore(given_back)
                raise
            finally:
                membership.leave()

    def _restore(self, given_back: list[Callable[[], object]]) -> None:
        # As long as threads hash as they did when they were put there.
        threads.forget_unstarted()
        for put, old in self._sites.exchanges:
            put(old)
        for owner, name, old, _ in self._names:
            _give(owner, name, old)
        for give in reversed(given_back):
            give()

    def _of_one_world(self, world: World) -> Iterator[tuple[object, str, object]]:
        numbers: dict[int, int] = {}
        kept: list[object] = []

        def number_of(thing: object) -> int:
            # The standard library orders futures by id() and keeps threads in sets: addresses differ
            # between two executions, creation does not. They are kept, as an address may come again.
            number = numbers.get(id(thing))
            if number is None:
                number = numbers[id(thing)] = len(numbers) + 1
                kept.append(thing)
            return number

        def hash_of_future(future: Any) -> int:
            # One from before may be in a set from before.
            is_new = _is_of_a_world(future, "_condition")
            return number_of(future) if is_new else object.__hash__(future)

        def hash_of_thread(thread: Any) -> int:
            is_new = _is_of_a_world(thread, "_started", "_cond")
            return number_of(thread) if is_new else object.__hash__(thread)

        everybody = threading.enumerate

        def enumerate_tasks() -> list[threading.Thread]:
            found = everybody()
            if membership.own_world() is not world:
                return found
            return [thread for thread in found if _is_of_a_world(thread, "_started", "_cond")]

        report = threading.excepthook

        def fail(args: threading.ExceptHookArgs) -> None:
            # The standard library ignores a SystemExit that ends a thread.
            if membership.own_world() is not world:
                report(args)
            elif args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
                world.fail(args.exc_value)

        complain = sys.unraisablehook

        def complain_unless_killed(unraisable: Any) -> None:
            # A finalizer of a task that unwinds is told as well that its world has ended.
            if not isinstance(unraisable.exc_value, TaskKilled):
                complain(unraisable)

        yield sys, "unraisablehook", complain_unless_killed

        def id_of(thing: object) -> int:
            return number_of(thing) if membership.own_world() is world else id(thing)

        yield futures_base, "id", id_of
        yield futures_base.Future, "__hash__", hash_of_future
        yield threading.Thread, "__hash__", hash_of_thread
        yield threading, "excepthook", fail
        yield threading, "enumerate", enumerate_tasks
        yield threading, "active_count", lambda: len(threading.enumerate())
        # Threads are called by their number, which goes on from one schedule to the next.
        numbering, workers = itertools.count(1).__next__, itertools.count().__next__
        apart: list[tuple[object, str, object]] = [
            (threading, "_shutdown_locks", set()),
            (threading, "_counter", numbering),
            (futures_thread, "_global_shutdown_lock", primitives.Lock.inside(world)),
            # Its values hold the world and so its keys, which would then never be collected.
            (futures_thread, "_threads_queues", weakref.WeakKeyDictionary()),
            (futures_thread, "_shutdown", False),
            (futures_thread.ThreadPoolExecutor, "_counter", workers),
        ]
        for owner, name, inside in apart:
            if hasattr(owner, name):
                yield owner, name, _Apart(world, inside, getattr(owner, name))


def _is_of_a_world(thing: object, *names: str) -> bool:
    """Whether a thing keeps a lock of a world there; True for one that has none yet."""
    if isinstance(getattr(thing, names[0], None), threads.Started):
        return True
    for name in (*names, "_lock"):
        found = getattr(thing, name, None)
        if found is None:
            return True
        thing = found
    return isinstance(thing, primitives.Lock | primitives.RLock)


class _Apart:
    """What a name means: one thing for the tasks of a world, another for whoever runs beside it."""

    def __init__(self, world: World, inside: Any, beside: Any) -> None:
        self._world = world
        self.inside = inside
        self._beside = beside

    def _meant(self) -> Any:
        return self.inside if membership.own_world() is self._world else self._beside

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
