"""Taking control: which names mean the world's primitives while a world runs, and giving all of them back.

The standard library's own `threading`, `queue` and `concurrent.futures` run as they are; only the few
names that they build on are exchanged. Other modules may have taken such names, or made locks, before: in
globals, class attributes, default arguments and closure cells these are found once an exploration
(`Sites`), and exchanged for each world.
"""

from __future__ import annotations

import concurrent.futures._base as futures_base
import concurrent.futures.thread as futures_thread
import queue
import sys
import sysconfig
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import Any

from pytest_littleloops.simulation import primitives, real
from pytest_littleloops.simulation.failures import Uncontrolled
from pytest_littleloops.simulation.world import World

_MISSING = object()
_LEFT_ALONE = frozenset(
    {"pytest", "_pytest", "pluggy", "xdist", "execnet", "coverage", "iniconfig", "pytest_littleloops"}
)
"""Packages that run outside of worlds too, and must keep what is real."""


def _epoch() -> float:
    return 1_700_000_000.0 + primitives.monotonic()


def _nanoseconds(clock: Callable[[], float]) -> Callable[[], int]:
    return lambda: int(clock() * 1_000_000_000)


_FUNCTIONS: list[tuple[object, str, object]] = [
    (threading, "Lock", primitives.Lock),
    (threading, "RLock", primitives.RLock),
    (queue, "SimpleQueue", queue._PySimpleQueue),  # type: ignore[attr-defined]
    (time, "sleep", primitives.sleep),
    (time, "monotonic", primitives.monotonic),
    (time, "perf_counter", primitives.monotonic),
    (time, "time", _epoch),
    (time, "monotonic_ns", _nanoseconds(primitives.monotonic)),
    (time, "perf_counter_ns", _nanoseconds(primitives.monotonic)),
    (time, "time_ns", _nanoseconds(_epoch)),
]
"""What user code calls."""

_INSIDE: list[tuple[object, str, object]] = [
    (threading, "_allocate_lock", primitives.Lock),
    (threading, "_CRLock", primitives.RLock),
    (threading, "_start_new_thread", primitives.start_new_thread),
    (threading, "_set_sentinel", primitives.set_sentinel),
    (threading, "_start_joinable_thread", primitives.start_joinable_thread),
    (threading, "_ThreadHandle", primitives.ThreadHandle),
    (threading, "_time", primitives.monotonic),
    (queue, "time", primitives.monotonic),
]
"""What the standard library calls; not every version has every one."""


class Sites:
    """The places outside the standard library that hold a real primitive, found at one moment.

    Also what the scenario itself has in its closure, which no module knows of.
    """

    def __init__(self, scenario: Callable[[], object]) -> None:
        self._real = {id(getattr(owner, name)): new for owner, name, new in _FUNCTIONS}
        self.exchanges: list[tuple[Callable[[object], None], object, Callable[[], object]]] = []
        self._seen: set[int] = set()
        for name, module in list(sys.modules.items()):
            if _is_of_the_user(name, module):
                self._look_into(vars(module), module.__name__)
        function = getattr(scenario, "__func__", scenario)
        if isinstance(function, types.FunctionType):
            self._look_into_function(function)

    def _look_into(self, namespace: dict[str, Any], module: str) -> None:
        if id(namespace) in self._seen:
            return
        self._seen.add(id(namespace))
        for name, value in list(namespace.items()):
            new = self._replacement(value)
            if new is not None:
                self.exchanges.append((_item_setter(namespace, name), value, new))
            elif isinstance(value, types.FunctionType):
                self._look_into_function(value)
            elif isinstance(value, type) and value.__module__ == module:
                self._look_into_class(value, module)

    def _look_into_class(self, one: type, module: str) -> None:
        if id(one) in self._seen:
            return
        self._seen.add(id(one))
        for name, value in list(vars(one).items()):
            new = self._replacement(value)
            if new is not None:
                self.exchanges.append((_attribute_setter(one, name), value, new))
                continue
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(function, types.FunctionType):
                self._look_into_function(function)
            elif isinstance(value, type) and value.__module__ == module:
                self._look_into_class(value, module)

    def _look_into_function(self, function: types.FunctionType) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        for position, value in enumerate(function.__defaults__ or ()):
            new = self._replacement(value)
            if new is not None:
                self.exchanges.append((_default_setter(function, position), value, new))
        for name, value in (function.__kwdefaults__ or {}).items():
            new = self._replacement(value)
            if new is not None:
                assert function.__kwdefaults__ is not None
                self.exchanges.append((_item_setter(function.__kwdefaults__, name), value, new))
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            new = self._replacement(value)
            if new is not None:
                self.exchanges.append((_attribute_setter(cell, "cell_contents"), value, new))
            elif isinstance(value, types.FunctionType):
                self._look_into_function(value)

    def _replacement(self, value: object) -> Callable[[], object] | None:
        function = self._real.get(id(value))
        if function is not None:
            return lambda: function
        if isinstance(value, real.LockType):
            return _lock_like(value, primitives.Lock)
        if isinstance(value, real.RLockType):
            return primitives.RLock
        if isinstance(value, threading.Event):
            return lambda: _event_like(value)
        if type(value) in (threading.Condition, threading.Semaphore, threading.BoundedSemaphore):
            return lambda: _rebuilt(value)
        if isinstance(value, queue.Queue):
            return lambda: _queue_like(value)
        return None


class Control:
    """The exchange of names for one world."""

    def __init__(self, world: World, sites: Sites) -> None:
        self._world = world
        self._sites = sites
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        primitives.enter(self._world)
        try:
            self._exchange()
        except BaseException:
            self.__exit__()
            raise

    def _exchange(self) -> None:
        for owner, name, new in (*_FUNCTIONS, *_INSIDE):
            if hasattr(owner, name):
                self._set(owner, name, new)
        if hasattr(threading, "_shutdown_locks"):
            self._set(threading, "_shutdown_locks", set())
        self._set(threading, "excepthook", self._except)
        self._set(futures_thread, "_global_shutdown_lock", primitives.Lock())
        # Its values hold the world and so its keys, which would then never be collected.
        self._set(futures_thread, "_threads_queues", weakref.WeakKeyDictionary())
        self._set(futures_thread, "_shutdown", False)
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

        self._set(futures_base, "id", number_of)
        self._set(futures_base.Future, "__hash__", number_of)
        self._set(threading.Thread, "__hash__", number_of)
        for put, old, make in self._sites.exchanges:
            put(make())
            self._undo.append(lambda put=put, old=old: put(old))  # type: ignore[misc]

    def __exit__(self, *exc: object) -> None:
        while self._undo:
            self._undo.pop()()
        primitives.leave()

    def _set(self, owner: object, name: str, new: object) -> None:
        old = vars(owner).get(name, _MISSING)
        setattr(owner, name, new)
        if old is _MISSING:
            self._undo.append(lambda: delattr(owner, name))
        else:
            self._undo.append(lambda: setattr(owner, name, old))

    def _except(self, args: threading.ExceptHookArgs) -> None:
        # The standard library ignores a SystemExit that ends a thread.
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self._world.fail(args.exc_value)


def _is_of_the_user(name: str, module: object) -> bool:
    if not isinstance(module, types.ModuleType) or name.partition(".")[0] in _LEFT_ALONE:
        return name.startswith("pytest_littleloops.reference")
    file = getattr(module, "__file__", None)
    if file is None:
        return name == "__main__"
    is_stdlib = file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file
    return not is_stdlib


def _item_setter(namespace: dict[str, Any], name: str) -> Callable[[object], None]:
    return lambda value: namespace.__setitem__(name, value)


def _attribute_setter(owner: object, name: str) -> Callable[[object], None]:
    return lambda value: setattr(owner, name, value)


def _default_setter(function: types.FunctionType, position: int) -> Callable[[object], None]:
    def put(value: object) -> None:
        defaults = list(function.__defaults__ or ())
        defaults[position] = value
        function.__defaults__ = tuple(defaults)

    return put


def _lock_like(value: Any, make: Callable[[], object]) -> Callable[[], object]:
    def lock() -> object:
        if value.locked():
            raise Uncontrolled(
                "LL502 uncontrolled: a lock from before the exploration is held at its beginning\n"
                "  next: let it go first, or make it inside"
            )
        return make()

    return lock


def _event_like(event: threading.Event) -> threading.Event:
    new = type(event)()
    if event.is_set():
        new._flag = True  # type: ignore[attr-defined]
    return new


def _rebuilt(value: Any) -> object:
    if isinstance(value, threading.Condition):
        return threading.Condition()
    return type(value)(value._value)


def _queue_like(value: queue.Queue[Any]) -> queue.Queue[Any]:
    new = type(value)(value.maxsize)
    new.queue = value.queue.copy()
    return new


def leave_interpreter() -> None:
    """Do what the interpreter does at its exit, for executors of this world that nobody shut down."""
    futures_thread._shutdown = True
    for thread, jobs in list(futures_thread._threads_queues.items()):
        # A real queue belongs to an executor outside: it goes on.
        if isinstance(jobs, queue._PySimpleQueue) and thread.is_alive():  # type: ignore[attr-defined]
            jobs.put(None)
