"""How a watched object comes to speak: its class is exchanged for a subclass that notes and passes on.

A subclass, and not attributes set on the object, because that also reaches properties such as
`active_count`, leaves `vars(obj)` and pickling as they were, and keeps `isinstance`. What is noted is in
`roles`.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import threading
import types
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import SupportsIndex

from pytest_littleloops.harness.accounts.journal import Journal
from pytest_littleloops.harness.watching.completions import ObservedCall
from pytest_littleloops.harness.watching.futures import observe_born
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, NotWatchable, not_understood
from pytest_littleloops.harness.watching.observations import Observations
from pytest_littleloops.harness.watching.roles import Around, Method, Roles


class Watcher:
    """Makes objects speak to one journal, and gives them their own class back at the end.

    `describe` answers with the lifecycle of an object that the caller did not map, or an empty one.
    Objects are held weakly: a pool that the test drops is collected as it would be without.
    """

    def __init__(self, journal: Journal, describe: Callable[[object], Lifecycle]) -> None:
        self._journal = journal
        self._describe = describe
        self._observations = Observations(journal)
        self._restore: dict[int, Callable[[], None]] = {}
        self._living: dict[int, Callable[[], object]] = {}
        self._roles: list[Roles] = []

    def watch(self, obj: object, lifecycle: Lifecycle | None = None) -> bool:
        """Watch `obj` and its parts; True if one of them says itself which state an issue is in.

        Watching an object again changes nothing. Raises NotWatchable.
        """
        __tracebackhide__ = True
        if id(obj) in self._restore:
            return False
        is_mapped = lifecycle is not None
        if lifecycle is None:
            lifecycle = self._describe(obj)
        parts = [part for name in lifecycle.parts if (part := getattr(obj, name, None)) is not None]
        if not lifecycle.is_empty():
            self._observe(obj, lifecycle)
        has_marks = lifecycle.has_marks()
        unread: NotWatchable | None = not_understood(obj) if lifecycle.is_empty() else None
        for part in parts:
            try:
                has_marks |= self.watch(part)
                unread = None
            except NotWatchable as error:
                # An orchestrator's `queue` may be anything, unless the user named it.
                if is_mapped:
                    raise
                unread = unread and error
        if unread is not None:
            raise unread
        return has_marks

    def unresolved(self) -> list[int]:
        """The numbers of the submissions whose future somebody still holds and nobody has ended."""
        futures = self._observations.futures
        return [number for number, future in list(futures.items()) if not future.done()]

    def known_threads(self) -> set[threading.Thread]:
        """The threads that watched objects keep: in attributes, in collections, in their executors."""
        found: set[threading.Thread] = set()
        for find in list(self._living.values()):
            for value in list(getattr(find(), "__dict__", {}).values()):
                held = (value, *_elements(value), *_elements(getattr(value, "threads", ())))
                held += _elements(getattr(value, "_threads", ()))
                found |= {one for one in held if isinstance(one, threading.Thread)}
        return found

    def unreadable(self) -> list[str]:
        """A line for each watched object that was given things of which none could be read as an issue."""
        return [line for roles in self._roles for line in roles.unreadable()]

    def unwatch_all(self) -> None:
        """Give every watched object its own class back. What it does from now on is not noted."""
        while self._restore:
            self._restore.popitem()[1]()

    def _observe(self, obj: object, lifecycle: Lifecycle) -> None:
        before_dispatch = self._adopt_executors if lifecycle.observes_executors else _nothing
        roles = Roles(type(obj).__name__, lifecycle, self._journal, self._observations, before_dispatch)
        self._roles.append(roles)
        attributes = getattr(obj, "__dict__", {})
        # A callable attribute is exchanged below; a count that is kept in one is read through a property.
        members = [
            (name, around)
            for name, around in roles.members()
            if name not in attributes or not callable(attributes[name])
        ]
        subclass = _exchange_class(obj, members)
        # A process function or a completion handed to the constructor is no method, so the attribute is
        # exchanged; what an executor of other processes pickles is still the user's function.
        replaced: dict[str, object] = {}
        for names, around in ((lifecycle.work, roles.work), (lifecycle.reports, roles.report)):
            for name in names:
                function = attributes.get(name)
                if callable(function):
                    replaced[name] = function
                    setattr(obj, name, ObservedCall(function, functools.partial(around, obj)))
        self._remember(obj, subclass, replaced)

    def _adopt_executors(self, pool: object) -> None:
        # A pool adds its own done-callbacks before submit returns, so whoever wants to see what they do
        # must have the future from its birth, out of the executor inside the pool.
        for value in list(getattr(pool, "__dict__", {}).values()):
            if isinstance(value, Executor) and id(value) not in self._restore:
                with suppress(NotWatchable):
                    self._remember(value, _exchange_class(value, [("submit", self._born)]), {})

    def _born(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        future = call(*args, **kwargs)
        if isinstance(future, Future):
            observe_born(self._observations, future)
        return future

    def _remember(self, obj: object, subclass: type, replaced: dict[str, object]) -> None:
        key = id(obj)
        original = subclass.__base__
        assert original is not None
        find: Callable[[], object]
        try:
            # A later object may get the address of a collected one.
            find = weakref.ref(obj, lambda _: self._forget(key))
        except TypeError:
            find = functools.partial(_itself, obj)

        def restore() -> None:
            living = find()
            if type(living) is subclass:
                object.__setattr__(living, "__class__", original)
                for name, function in replaced.items():
                    setattr(living, name, function)

        self._living[key] = find
        self._restore[key] = restore

    def _forget(self, key: int) -> None:
        self._living.pop(key, None)
        self._restore.pop(key, None)


def _exchange_class(obj: object, members: Iterable[tuple[str, Around]]) -> type:
    original = type(obj)
    made: list[type] = []
    namespace: dict[str, object] = {
        "__slots__": (),
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
        "__reduce_ex__": _reduce_as_original,
    }
    for name, around in members:
        if inspect.iscoroutinefunction(getattr(original, name, None)):
            raise NotWatchable(
                f"watch() cannot observe {original.__name__}: its {name}() is a coroutine function\n"
                "  asyncio is not watched; tell the ledger by hand:\n"
                '    ledger.record("BUG-1", "completed")'
            )
        namespace[name] = _surrounded(original, name, around, made)
    try:
        subclass = types.new_class(original.__name__, (original,), exec_body=_filler(namespace))
        made.append(subclass)
        # Not by an assignment, which a frozen dataclass refuses.
        object.__setattr__(obj, "__class__", subclass)
    except TypeError as error:
        raise NotWatchable(
            f"watch() cannot observe {original.__name__}: {error}\n"
            "  wrap it in a class of your own, or tell the ledger by hand:\n"
            '    ledger.record("BUG-1", "completed")'
        ) from error
    return subclass


def _surrounded(original: type, name: str, around: Around, made: list[type]) -> object:
    # `made` holds the subclass once it exists: super() needs it to find the original member.
    static = inspect.getattr_static(original, name, None)
    if isinstance(static, property | functools.cached_property):

        def read(self: object) -> object:
            return around(self, functools.partial(getattr, super(made[0], self), name), (), {})

        return property(read, getattr(static, "fset", None))
    if not callable(getattr(original, name, None)):

        def read_stored(self: object) -> object:
            return around(self, functools.partial(self.__dict__.get, name, static), (), {})

        def write_stored(self: object, value: object) -> None:
            self.__dict__[name] = value

        return property(read_stored, write_stored)

    def method(self: object, *args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        if not isinstance(self, made[0]):
            # A bound method that somebody kept from the time when the object was watched.
            return getattr(self, name)(*args, **kwargs)
        return around(self, getattr(super(made[0], self), name), args, kwargs)

    return functools.update_wrapper(method, getattr(original, name))


def _reduce_as_original(self: object, protocol: SupportsIndex) -> str | tuple[object, ...]:
    # Pickled as what it was: the subclass cannot be imported on the other side.
    subclass, original = type(self), type(self).__base__
    assert original is not None
    self.__class__ = original
    try:
        reduced = self.__reduce_ex__(protocol)
    finally:
        self.__class__ = subclass
    if isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__:  # type: ignore[attr-defined]
        # pickle compares the first argument of this one with the class of the object.
        return (_new, *reduced[1:])
    return reduced


def _new(cls: type, *args: object) -> object:
    return cls.__new__(cls, *args)


def _filler(namespace: dict[str, object]) -> Callable[[dict[str, object]], None]:
    return lambda space: space.update(namespace)


def _itself(obj: object) -> object:
    return obj


def _elements(value: object) -> tuple[object, ...]:
    if isinstance(value, dict):
        value = list(value.values())
    return tuple(value) if isinstance(value, list | set | tuple | frozenset) else ()


def _nothing(obj: object) -> None:
    pass
