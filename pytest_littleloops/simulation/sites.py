"""Sites: where modules outside the standard library hold a real primitive from before an exploration.

In globals, class attributes, default arguments, dataclass factories and closure cells; also what the
scenario itself has in its closure, which no module knows of. Found once an exploration, exchanged for each
world. What only an instance holds is not found.
"""

from __future__ import annotations

import queue
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_littleloops.simulation import primitives, real
from pytest_littleloops.simulation.failures import Uncontrolled
from pytest_littleloops.simulation.frames import is_standard_library

Put = Callable[[object], None]

_LEFT_ALONE = frozenset(
    {"pytest", "_pytest", "pluggy", "xdist", "execnet", "coverage", "iniconfig", "pytest_littleloops"}
)
"""Packages that run outside of worlds too, and must keep what is real."""


_SimpleQueue = queue.SimpleQueue

_BUILT = (threading.Event, threading.Condition, threading.Semaphore, threading.Barrier, queue.Queue)
"""What the standard library builds on locks, in Python."""


class Sites:
    """The places that hold a real primitive at this moment; `functions` are known by their real selves."""

    def __init__(self, scenario: Callable[[], object], functions: Mapping[int, object]) -> None:
        self._functions = functions
        places = _Places(self._is_real)
        for name, module in list(sys.modules.items()):
            if is_of_the_user(name, module):
                places.look_into(vars(module), module.__name__)
        function = getattr(scenario, "__func__", scenario)
        if isinstance(function, types.FunctionType):
            places.look_into_function(function)
        self.exchanges: list[tuple[Put, object]] = places.found
        """How to put something there, and what is there."""

    def twins(self) -> Iterator[tuple[Put, object]]:
        """How to put something there, and what takes its place in a new world."""
        twins = _Twins(primitives.Lock, primitives.RLock, primitives.SimpleQueue)
        for put, value in self.exchanges:
            function = self._functions.get(id(value))
            if function is None:
                _refuse_held(value)
            yield put, twins.of(value) if function is None else function

    def _is_real(self, value: object) -> bool:
        return id(value) in self._functions or _is_a(
            value, real.LockType, real.RLockType, _SimpleQueue, *_BUILT
        )


class _Places:
    """Where modules, classes and functions hold what is wanted, as far as they were looked into.

    With `objects` also where an object does that is itself a global of the module that has its class.
    """

    def __init__(self, is_wanted: Callable[[object], bool], *, objects: bool = False) -> None:
        self.found: list[tuple[Put, object]] = []
        self._is_wanted = is_wanted
        self._objects = objects
        self._seen: set[int] = set()

    def look_into(self, namespace: dict[str, Any], module: str) -> None:
        """Into a module's globals."""
        if id(namespace) in self._seen:
            return
        self._seen.add(id(namespace))
        for name, value in list(namespace.items()):
            if self._is_wanted(value):
                self.found.append((_item_setter(namespace, name), value))
            elif _is_a(value, types.FunctionType):
                self.look_into_function(value)
            elif _is_a(value, type) and value.__module__ == module:
                self._look_into_class(value, module)
            elif self._objects and type(value).__module__ == module:
                self._look_into_object(value)

    def _look_into_object(self, one: object) -> None:
        try:
            parts = object.__getattribute__(one, "__dict__")
        except AttributeError:
            return
        for name, value in list(parts.items()):
            if self._is_wanted(value):
                self.found.append((_item_setter(parts, name), value))

    def _look_into_class(self, one: type, module: str) -> None:
        if id(one) in self._seen:
            return
        self._seen.add(id(one))
        for name, value in list(vars(one).items()):
            if self._is_wanted(value):
                self.found.append((_attribute_setter(one, name), value))
                continue
            function = value
            if _is_a(value, staticmethod, classmethod):
                function = value.__func__
            elif _is_a(value, property):
                function = value.fget
            if _is_a(function, types.FunctionType):
                self.look_into_function(function)
            elif _is_a(value, type) and value.__module__ == module:
                self._look_into_class(value, module)

    def look_into_function(self, function: types.FunctionType) -> None:
        """Into its default arguments and its closure."""
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        for position, value in enumerate(function.__defaults__ or ()):
            if self._is_wanted(value):
                self.found.append((_default_setter(function, position), value))
        for name, value in (function.__kwdefaults__ or {}).items():
            if self._is_wanted(value):
                assert function.__kwdefaults__ is not None
                self.found.append((_item_setter(function.__kwdefaults__, name), value))
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if self._is_wanted(value):
                self.found.append((_attribute_setter(cell, "cell_contents"), value))
            elif _is_a(value, types.FunctionType):
                self.look_into_function(value)
        # What a decorator wrapped is often only there.
        wrapped = function.__dict__.get("__wrapped__")
        if isinstance(wrapped, types.FunctionType):
            self.look_into_function(wrapped)


class _Twins:
    """One twin for each primitive: two places that hold the same lock get the same twin."""

    def __init__(
        self, lock: Callable[[], object], rlock: Callable[[], object], simple_queue: Callable[[], Any]
    ) -> None:
        self._lock = lock
        self._rlock = rlock
        self._simple_queue = simple_queue
        self._made: dict[int, tuple[object, object]] = {}
        """Each object that has a twin, by its identity; it is kept, as that may come again."""

    def of(self, value: object) -> object:
        """What takes its place: itself, if it is no primitive."""
        made = self._made.get(id(value))
        if made is not None:
            return made[1]
        if _is_a(value, *_BUILT):
            return self._copy(value)
        twin = self._plain(value)
        self._made[id(value)] = value, twin
        return twin

    def _plain(self, value: Any) -> object:
        if _is_a(value, real.LockType, primitives.Lock):
            return self._lock()
        if _is_a(value, real.RLockType, primitives.RLock):
            return self._rlock()
        if _is_a(value, _SimpleQueue):
            # Nobody can see what is in it without taking it out.
            return self._simple_queue() if value.empty() else value
        if _is_a(value, primitives.SimpleQueue):
            twin = self._simple_queue()
            for item in value._items:
                twin.put(item)
            return twin
        return value

    def _copy(self, value: Any) -> object:
        # What the constructor of a subclass wants is not known.
        new = object.__new__(type(value))
        self._made[id(value)] = value, new
        parts = vars(new)
        for name, part in vars(value).items():
            parts[name] = self.of(part)
        if isinstance(new, threading.Condition):
            # It has methods that are those of its lock.
            threading.Condition.__init__(new, parts["_lock"])
        elif isinstance(new, queue.Queue):
            new.queue = new.queue.copy()
        return new


def is_of_the_user(name: str, module: object) -> bool:
    """Whether a module is neither the standard library's nor one that runs outside of worlds too."""
    if not isinstance(module, types.ModuleType) or name.partition(".")[0] in _LEFT_ALONE:
        return name.startswith("pytest_littleloops.reference")
    file = getattr(module, "__file__", None)
    if file is None:
        return name == "__main__"
    return not is_standard_library(file)


def heal(modules: set[str]) -> None:
    """Give modules that were imported inside a world, so not in `modules`, real primitives to keep.

    What they made at their import belongs to that world, which has ended.
    """
    places = _Places(_is_of_a_world, objects=True)
    for name in [name for name in sys.modules if name not in modules]:
        module = sys.modules[name]
        if isinstance(module, types.ModuleType):
            places.look_into(vars(module), module.__name__)
    twins = _Twins(real.allocate_lock, real.RLockType, _SimpleQueue)
    for put, value in places.found:
        put(twins.of(value))


def _is_of_a_world(value: Any) -> bool:
    if _is_a(value, primitives.SimpleQueue):
        return True
    if _is_a(value, threading.Event, threading.Semaphore, threading.Barrier):
        value = value._cond
    if _is_a(value, queue.Queue):
        value = value.mutex
    elif _is_a(value, threading.Condition):
        value = value._lock
    return _is_a(value, primitives.Lock, primitives.RLock)


def _is_a(value: object, *kinds: type) -> bool:
    # A proxy is not asked what it stands for: that might bring it about.
    return issubclass(type(value), kinds)


def _item_setter(namespace: dict[str, Any], name: str) -> Put:
    return lambda value: namespace.__setitem__(name, value)


def _attribute_setter(owner: object, name: str) -> Put:
    return lambda value: setattr(owner, name, value)


def _default_setter(function: types.FunctionType, position: int) -> Put:
    def put(value: object) -> None:
        defaults = list(function.__defaults__ or ())
        defaults[position] = value
        function.__defaults__ = tuple(defaults)

    return put


def _refuse_held(value: Any) -> None:
    if _has_waiters(value):
        raise Uncontrolled(
            "LL502 uncontrolled: a thread from before the exploration waits for what a module holds\n"
            "  next: start it inside, or keep it out of the test"
        )
    lock = value._lock if _is_a(value, threading.Condition) else value
    # Before Python 3.14 nothing but its text says of a re-entrant lock whether it is held.
    if (_is_a(lock, real.LockType) and lock.locked()) or (
        _is_a(lock, real.RLockType) and repr(lock).startswith("<locked")
    ):
        raise Uncontrolled(
            "LL502 uncontrolled: a lock from before the exploration is held at its beginning\n"
            "  next: let it go first, or make it inside"
        )


def _has_waiters(value: Any) -> bool:
    if _is_a(value, queue.Queue):
        return any(map(_has_waiters, (value.not_empty, value.not_full, value.all_tasks_done)))
    if _is_a(value, threading.Event, threading.Semaphore, threading.Barrier):
        value = value._cond
    return bool(_is_a(value, threading.Condition) and value._waiters)
