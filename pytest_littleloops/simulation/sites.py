"""Sites: where modules outside the standard library hold a real primitive from before an exploration.

In globals, class attributes, default arguments, dataclass factories and closure cells; also what the
scenario itself has in its closure, which no module knows of. Found once an exploration, exchanged for each
world. What only an instance holds is not found.
"""

from __future__ import annotations

import queue
import sys
import sysconfig
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

from pytest_littleloops.simulation import primitives, real
from pytest_littleloops.simulation.failures import Uncontrolled

Make = Callable[[], object]
Put = Callable[[object], None]

_LEFT_ALONE = frozenset(
    {"pytest", "_pytest", "pluggy", "xdist", "execnet", "coverage", "iniconfig", "pytest_littleloops"}
)
"""Packages that run outside of worlds too, and must keep what is real."""

_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


class Sites:
    """The places that hold a real primitive at this moment; `functions` are known by their real selves."""

    def __init__(self, scenario: Callable[[], object], functions: Mapping[int, object]) -> None:
        self.exchanges: list[tuple[Put, object, Make]] = []
        """How to put something there, what is there, and how to make what takes its place."""
        self._functions = functions
        self._seen: set[int] = set()
        for name, module in list(sys.modules.items()):
            if is_of_the_user(name, module):
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
        # What a decorator wrapped is often only there.
        wrapped = function.__dict__.get("__wrapped__")
        if isinstance(wrapped, types.FunctionType):
            self._look_into_function(wrapped)

    def _replacement(self, value: object) -> Make | None:
        function = self._functions.get(id(value))
        if function is not None:
            return lambda: function
        if isinstance(value, real.LockType):
            return lambda: _lock_like(value)
        if isinstance(value, real.RLockType):
            return primitives.RLock
        if isinstance(value, threading.Event):
            return lambda: _event_like(value)
        if type(value) in (threading.Condition, threading.Semaphore, threading.BoundedSemaphore):
            return lambda: _rebuilt(value)
        if isinstance(value, queue.Queue):
            return lambda: _queue_like(value)
        return None


def is_of_the_user(name: str, module: object) -> bool:
    """Whether a module is neither the standard library's nor one that runs outside of worlds too."""
    if not isinstance(module, types.ModuleType) or name.partition(".")[0] in _LEFT_ALONE:
        return name.startswith("pytest_littleloops.reference")
    file = getattr(module, "__file__", None)
    if file is None:
        return name == "__main__"
    return not is_standard_library(file)


def is_standard_library(file: str) -> bool:
    """Whether a file is part of Python."""
    return file.startswith((_STANDARD_LIBRARY, "<frozen")) and "site-packages" not in file


def heal(modules: set[str]) -> None:
    """Give modules that were imported inside a world, so not in `modules`, real primitives to keep.

    What they made at their import belongs to that world, which has ended.
    """
    for name in [name for name in sys.modules if name not in modules]:
        module = sys.modules[name]
        if not isinstance(module, types.ModuleType):
            continue
        for key, value in list(vars(module).items()):
            if _is_of_a_world(value):
                setattr(module, key, _real_twin(value))
            elif isinstance(value, type) and value.__module__ == module.__name__:
                for attribute, inner in list(vars(value).items()):
                    if _is_of_a_world(inner):
                        setattr(value, attribute, _real_twin(inner))


def _is_of_a_world(value: object) -> bool:
    if isinstance(value, threading.Event):
        value = value._cond  # type: ignore[attr-defined]
    if isinstance(value, threading.Condition | threading.Semaphore):
        value = getattr(value, "_cond", value)
        value = value._lock  # type: ignore[attr-defined]
    if isinstance(value, queue.Queue):
        value = value.mutex
    return isinstance(value, primitives.Lock | primitives.RLock)


def _real_twin(value: Any) -> object:
    if isinstance(value, primitives.RLock):
        return real.RLockType()
    if isinstance(value, primitives.Lock):
        return real.allocate_lock()
    if isinstance(value, threading.Event):
        return _event_like(value)
    if isinstance(value, queue.Queue):
        return _queue_like(value)
    return _rebuilt(value)


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


def _lock_like(value: Any) -> object:
    if value.locked():
        raise Uncontrolled(
            "LL502 uncontrolled: a lock from before the exploration is held at its beginning\n"
            "  next: let it go first, or make it inside"
        )
    return primitives.Lock()


def _event_like(event: threading.Event) -> threading.Event:
    new = type(event)()
    if event.is_set():
        new._flag = True  # type: ignore[attr-defined]
    return new


def _rebuilt(value: Any) -> object:
    if isinstance(value, threading.Condition):
        return threading.Condition()
    if isinstance(value, threading.BoundedSemaphore):
        new = type(value)(value._initial_value)  # type: ignore[attr-defined]
        new._value = value._value
        return new
    return type(value)(value._value)


def _queue_like(value: queue.Queue[Any]) -> queue.Queue[Any]:
    new = type(value)(value.maxsize)
    new.queue = value.queue.copy()
    new.unfinished_tasks = value.unfinished_tasks
    return new
