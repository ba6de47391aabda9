"""The watcher: which objects speak to a journal, what they keep, and what they get back at the end.

How an object comes to speak is in `exchange`, what is noted when one of its methods is called in `roles`.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress

from pytest_littleloops.harness.accounts.journal import Journal
from pytest_littleloops.harness.accounts.liveness import threads_within
from pytest_littleloops.harness.watching.completions import ObservedCall
from pytest_littleloops.harness.watching.exchange import Method, exchange_class
from pytest_littleloops.harness.watching.futures import has_ended, observe_born
from pytest_littleloops.harness.watching.lifecycle import (
    Lifecycle,
    NotWatchable,
    checked_lifecycle,
    not_understood,
)
from pytest_littleloops.harness.watching.observations import Observations
from pytest_littleloops.harness.watching.roles import Roles


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

    def watch(self, obj: object, lifecycle: Lifecycle | None = None) -> None:
        """Watch `obj` and its parts. Watching an object again changes nothing.

        Raises NotWatchable, also for another mapping of an object that is watched already.
        """
        __tracebackhide__ = True
        if id(obj) in self._restore:
            if lifecycle is not None:
                raise NotWatchable(
                    f"{type(obj).__name__} is watched already; give the mapping when it is watched first"
                )
            return
        if isinstance(obj, type | types.ModuleType):
            raise NotWatchable(f"watch() takes an object, not the class or module {obj.__name__}")
        is_mapped = lifecycle is not None
        if lifecycle is None:
            lifecycle = checked_lifecycle(obj, self._describe(obj))
        if not lifecycle.is_empty():
            self._observe(obj, lifecycle)
        unread: NotWatchable | None = not_understood(obj) if lifecycle.is_empty() else None
        for part in self._parts(obj, lifecycle):
            try:
                self.watch(part)
                unread = None
            except NotWatchable as error:
                # An orchestrator's `queue` may be anything, unless the user named it.
                if is_mapped:
                    self._restore.pop(id(obj), _nothing)()
                    raise
                unread = unread and error
        if unread is not None:
            raise unread

    def _parts(self, obj: object, lifecycle: Lifecycle) -> list[object]:
        found = []
        for name in lifecycle.parts:
            # A property of the user's may raise, or make the part too early.
            if isinstance(inspect.getattr_static(type(obj), name, None), property):
                continue
            part = getattr(obj, name, None)
            if part is not None:
                found.append(part)
        return found

    def is_done(self, number: int) -> bool:
        """Whether the future of this submission has ended, though its done-callbacks may still run."""
        future = self._observations.futures.get(number)
        return future is not None and has_ended(future)

    def unresolved(self) -> list[int]:
        """The numbers of the submissions whose future somebody still holds and nobody has ended."""
        futures = self._observations.futures
        return [number for number, future in list(futures.items()) if not has_ended(future)]

    def known_threads(self) -> set[threading.Thread]:
        """The threads that watched objects keep: in attributes, in collections, in their executors."""
        found: set[threading.Thread] = set()
        for find in list(self._living.values()):
            # The pool, its executor, the executor's set of threads.
            found |= threads_within(find(), 3)
        return found

    def unreadable(self) -> list[str]:
        """A line for each watched object that was given things of which none could be read as an issue."""
        return [line for roles in self._roles for line in roles.unreadable()]

    def unwatch_all(self) -> None:
        """Give every watched object its own class back. What it does from now on is not noted."""
        while self._restore:
            self._restore.popitem()[1]()

    def _observe(self, obj: object, lifecycle: Lifecycle) -> None:
        roles = Roles(
            len(self._roles) + 1, lifecycle, self._journal, self._observations, self._before_dispatch
        )
        self._roles.append(roles)
        attributes = getattr(obj, "__dict__", {})
        # A callable attribute is exchanged below; a count that is kept in one is read through a property.
        members = [
            (name, around)
            for name, around in roles.members()
            if name not in attributes or not callable(attributes[name])
        ]
        give_back = exchange_class(obj, members)
        self._remember(obj, give_back, (*lifecycle.work, *lifecycle.reports))
        self._exchange_kept(obj, roles)

    def _exchange_kept(self, obj: object, roles: Roles) -> None:
        # A process function or a completion handed to the constructor is no method, so the attribute is
        # exchanged; what an executor of other processes pickles is still the user's function.
        attributes = getattr(obj, "__dict__", {})
        lifecycle = roles.lifecycle
        for names, around in ((lifecycle.work, roles.work), (lifecycle.reports, roles.report)):
            for name in names:
                function = attributes.get(name)
                if function is None or isinstance(function, ObservedCall):
                    continue
                if callable(function) and not inspect.iscoroutinefunction(function):
                    attributes[name] = ObservedCall(function, functools.partial(around, None))

    def _before_dispatch(self, obj: object, roles: Roles) -> None:
        # What the user set since the object was watched is looked at now.
        self._exchange_kept(obj, roles)
        if roles.lifecycle.observes_executors:
            self._adopt_executors(obj)

    def _adopt_executors(self, pool: object) -> None:
        # A pool adds its own done-callbacks before submit returns, so whoever wants to see what they do
        # must have the future from its birth, out of the executor inside the pool.
        for value in list(getattr(pool, "__dict__", {}).values()):
            if isinstance(value, Executor) and id(value) not in self._restore:
                with suppress(NotWatchable):
                    self._remember(value, exchange_class(value, [("submit", self._born)]), ())

    def _born(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        future = call(*args, **kwargs)
        if isinstance(future, Future):
            observe_born(self._observations, future)
        return future

    def _remember(
        self, obj: object, give_back: Callable[[object], None], exchanged: tuple[str, ...]
    ) -> None:
        key = id(obj)
        find: Callable[[], object]
        try:
            # A later object may get the address of a collected one.
            find = weakref.ref(obj, lambda _: self._forget(key))
        except TypeError:
            find = functools.partial(_itself, obj)

        def restore() -> None:
            living = find()
            give_back(living)
            attributes = getattr(living, "__dict__", {})
            for name in exchanged:
                # Not what the user has put there since.
                if isinstance(attributes.get(name), ObservedCall):
                    attributes[name] = attributes[name].function

        self._living[key] = find
        self._restore[key] = restore

    def _forget(self, key: int) -> None:
        self._living.pop(key, None)
        self._restore.pop(key, None)


def _itself(obj: object) -> object:
    return obj


def _nothing() -> None:
    pass
