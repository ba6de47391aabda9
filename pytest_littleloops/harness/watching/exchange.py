"""The exchange of an object's class for a subclass of it that surrounds some of its members.

A subclass, and not attributes set on the object, because that also reaches properties such as
`active_count`, leaves `vars(obj)` and pickling as they were, and keeps `isinstance`. Everything else about
the object is meant to stay what it was; what is noted about the surrounded members is told in `roles`.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import SupportsIndex

from pytest_littleloops.harness.watching.lifecycle import NotWatchable

Method = Callable[..., object]
Around = Callable[[object, Method, tuple[object, ...], dict[str, object]], object]
"""What surrounds one call: the object, its own method, the arguments of the call."""


def exchange_class(obj: object, members: Iterable[tuple[str, Around]]) -> Callable[[object], None]:
    """Surround members of `obj`; returns what gives an object of that class its own one back.

    Raises NotWatchable, and the object is what it was.
    """
    original = type(obj)
    made: list[type] = []
    namespace: dict[str, object] = {
        "__slots__": (),
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
        "__reduce_ex__": functools.partialmethod(_reduce_as, original),
    }
    for name, around in members:
        if inspect.iscoroutinefunction(getattr(original, name, None)):
            raise _refusal(original, f"its {name}() is a coroutine function, and asyncio is not watched")
        namespace[name] = _surrounded(original, name, around, made)
    try:
        subclass = types.new_class(
            original.__name__, (original,), exec_body=lambda space: space.update(namespace)
        )
        made.append(subclass)
        # Not by an assignment, which a frozen dataclass refuses.
        object.__setattr__(obj, "__class__", subclass)
    except Exception as error:
        raise _refusal(original, str(error)) from error

    def give_back(living: object) -> None:
        if type(living) is subclass:
            object.__setattr__(living, "__class__", original)

    return give_back


def _refusal(original: type, why: str) -> NotWatchable:
    return NotWatchable(
        f"watch() cannot observe {original.__name__}: {why}\n"
        "  wrap it in a class of your own, or tell the ledger by hand:\n"
        '    ledger.record("BUG-1", "completed")'
    )


def _surrounded(original: type, name: str, around: Around, made: list[type]) -> object:
    # `made` holds the subclass once it exists: super() needs it to find the original member.
    static = inspect.getattr_static(original, name, None)
    is_descriptor = hasattr(type(static), "__set__") or isinstance(static, functools.cached_property)
    if is_descriptor:  # a property, a slot, a descriptor of the user's

        def read(self: object) -> object:
            return around(self, functools.partial(getattr, super(made[0], self), name), (), {})

        def write(self: object, value: object) -> None:
            if isinstance(static, functools.cached_property):
                self.__dict__[name] = value
            else:
                static.__set__(self, value)

        return property(read, write, doc=getattr(static, "__doc__", None))
    if not callable(getattr(original, name, None)):

        def read_stored(self: object) -> object:
            return around(self, functools.partial(self.__dict__.get, name, static), (), {})

        def write_stored(self: object, value: object) -> None:
            self.__dict__[name] = value

        return property(read_stored, write_stored)

    def method(self: object, /, *args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        if not isinstance(self, made[0]):
            # A bound method that somebody kept from the time when the object was watched.
            return getattr(self, name)(*args, **kwargs)
        return around(self, getattr(super(made[0], self), name), args, kwargs)

    return functools.update_wrapper(method, getattr(original, name))


def _reduce_as(self: object, original: type, protocol: SupportsIndex) -> str | tuple[object, ...]:
    # Pickled and copied as what it was: the subclass cannot be imported on the other side. The class is
    # not put back meanwhile, since other threads may be calling.
    subclass = type(self)
    reduced = original.__reduce_ex__(self, protocol)  # type: ignore[call-arg, arg-type]
    if not isinstance(reduced, tuple):
        return reduced
    function, arguments, *rest = reduced
    assert isinstance(arguments, tuple)
    arguments = tuple(original if one is subclass else one for one in arguments)
    if function is subclass:
        function = original
    if function is copyreg.__newobj__:  # type: ignore[attr-defined]
        # pickle compares the first argument of this one with the class of the object.
        function = _new
    return (function, arguments, *rest)


def _new(cls: type, *args: object) -> object:
    return cls.__new__(cls, *args)
