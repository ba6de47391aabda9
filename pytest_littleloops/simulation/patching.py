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


def _nanoseconds(clock: Callable[[], float]) -> Callable[[], int]:
    return lambda: int(clock() * 1_000_000_000)


_FUNCTIONS: list[tuple[object, str, object]] = [
    (threading, "Lock", primitives.Lock),
    (threading, "RLock", primitives.RLock),
    (queue, "SimpleQueue", queue._PySimpleQueue),  # type: ignore[attr-defined]
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
    (queue, "time", clock.monotonic),
]
"""What the standard library calls; not every version has every one."""


_REAL = {id(getattr(owner, name)): new for owner, name, new in _FUNCTIONS}
"""The replacement of a function that a module may have named before, by the identity of the real one."""


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
        for owner, name, new in (*_FUNCTIONS, *_INSIDE, *outside.exchanges()):
            if hasattr(owner, name):
                self._names.append((owner, name, vars(owner).get(name, _MISSING), new))
        if hasattr(os, "sched_getaffinity"):
            self._names.append((os, "sched_getaffinity", os.sched_getaffinity, self._placement.affinity))

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
            is_new = isinstance(future._condition._lock, primitives.RLock)
            return number_of(future) if is_new else object.__hash__(future)

        def hash_of_thread(thread: Any) -> int:
            is_new = isinstance(thread._started._cond._lock, primitives.Lock)
            return number_of(thread) if is_new else object.__hash__(thread)

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
        yield futures_base, "id", number_of
        yield futures_base.Future, "__hash__", hash_of_future
        yield threading.Thread, "__hash__", hash_of_thread
        yield threading, "excepthook", fail
        if hasattr(threading, "_shutdown_locks"):
            yield threading, "_shutdown_locks", set()
        yield futures_thread, "_global_shutdown_lock", primitives.Lock()
        # Its values hold the world and so its keys, which would then never be collected.
        yield futures_thread, "_threads_queues", weakref.WeakKeyDictionary()
        yield futures_thread, "_shutdown", False
        # Threads are called by their number, which goes on from one schedule to the next.
        yield threading, "_counter", itertools.count(1).__next__
        yield futures_thread.ThreadPoolExecutor, "_counter", itertools.count().__next__


def _give(owner: object, name: str, old: object) -> None:
    if old is not _MISSING:
        setattr(owner, name, old)
    elif name in vars(owner):
        delattr(owner, name)


def leave_interpreter() -> None:
    """Do what the interpreter does at its exit, for executors of this world that nobody shut down."""
    futures_thread._shutdown = True
    for thread, jobs in list(futures_thread._threads_queues.items()):
        # A real queue belongs to an executor outside: it goes on.
        if isinstance(jobs, queue._PySimpleQueue) and thread.is_alive():  # type: ignore[attr-defined]
            jobs.put(None)
