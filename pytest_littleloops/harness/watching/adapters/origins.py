"""Where the class of an object comes from, told without importing what it may come from."""

from __future__ import annotations

import inspect
from collections.abc import Collection

_FUNCTIONS = frozenset({"fn", "func", "function", "callable", "task", "args"})


def comes_from(obj: object, module: str, names: Collection[str]) -> bool:
    """Whether the class of `obj`, or one that it inherits from, is one of `names` in `module` or below."""
    return any(one.__name__ in names and is_within(one.__module__, module) for one in type(obj).__mro__)


def is_within(dotted: str, module: str) -> bool:
    """Whether a dotted name is that of `module` or lies in it."""
    return f"{dotted}.".startswith(f"{module}.")


def takes_function(pool: type, method: str, module: str) -> bool:
    """Whether a method that in `module` takes a function does so in the class `pool` too.

    A subclass may have a method of that name which takes an issue, or an issue and a completion.
    """
    definer = next(one for one in pool.__mro__ if method in vars(one))
    if is_within(definer.__module__, module):
        return True
    names = list(inspect.signature(getattr(pool, method)).parameters)[1:2]
    return not _FUNCTIONS.isdisjoint(names)
