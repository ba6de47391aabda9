"""What is noted when a watched method is called, role by role.

Every note of an intention (queued, submitted, a mark) is written before the object acts, so that a thread
which sees the effect finds the entry already there; where the object then refuses, a second entry takes
it back. What a method returns or raises is passed on unchanged.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from pytest_littleloops.harness.accounts.journal import Journal, Kind, error_text
from pytest_littleloops.harness.watching.completions import complete, observe_completion
from pytest_littleloops.harness.watching.futures import observe_future
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, find_issue_id
from pytest_littleloops.harness.watching.observations import Observations

Method = Callable[..., object]
Around = Callable[[object, Method, tuple[object, ...], dict[str, object]], object]
"""What surrounds one call: the object, its own method, the arguments of the call."""

_MARKS = {
    "completed": Kind.COMPLETED,
    "failed": Kind.FAILED,
    "cancelled": Kind.CANCELLED,
    "interrupted": Kind.INTERRUPTED,
    "requeued": Kind.REQUEUED,
}


class Roles:
    """The surroundings of the methods of one object, as its lifecycle describes it."""

    def __init__(
        self,
        owner: str,
        lifecycle: Lifecycle,
        journal: Journal,
        observations: Observations,
        before_dispatch: Callable[[object], None],
    ) -> None:
        self._owner = owner
        self._lifecycle = lifecycle
        self._has_read = False
        self._unread: dict[str, str] = {}
        self._journal = journal
        self._observations = observations
        self._before_dispatch = before_dispatch
        self._active = threading.local()
        # Work that is submitted to a pool which keeps its completion is owed that completion.
        self._kept_completion = next(iter(lifecycle.reports), None)

    def members(self) -> Iterator[tuple[str, Around]]:
        """Each name to be surrounded, and with what."""
        lifecycle = self._lifecycle
        plain: tuple[tuple[tuple[str, ...], Around], ...] = (
            (lifecycle.submitted, self._submitted),
            (lifecycle.started, self._started),
            (lifecycle.dispatched, self._dispatched),
            (lifecycle.work, self.work),
            (lifecycle.reports, self.report),
            (lifecycle.cancel, self._cancel),
            (lifecycle.shutdown, self._shutdown),
        )
        for names, around in plain:
            for name in names:
                yield name, around
        for role, kind in _MARKS.items():
            for name in getattr(lifecycle, role):
                yield name, functools.partial(self._marked, kind)
        for name in lifecycle.idle:
            yield name, functools.partial(self._idle, name)

    def unreadable(self) -> list[str]:
        """What came without an id that could be read, if nothing else came; a queue's sentinel is fine."""
        if self._has_read:
            return []
        return [f"{self._owner}.{name}() got a {kind}" for name, kind in self._unread.items()]

    def work(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Surrounds the process function: when it began on an issue, and how it ended."""
        __tracebackhide__ = True
        issue_id = self._first_id(args, kwargs)
        with self._outermost("work") as is_outermost:
            if issue_id is None or not is_outermost:
                return call(*args, **kwargs)
            with self._observations.own_work():
                place = self._journal.place_of_function(call)
                self._journal.append(Kind.RUNNING, issue_id, place=place)
                try:
                    result = call(*args, **kwargs)
                except BaseException as error:
                    place = self._journal.place_of_raise(error.__traceback__)
                    is_exit = not isinstance(error, Exception)
                    self._journal.append(
                        Kind.WORK_EXITED if is_exit else Kind.WORK_RAISED,
                        issue_id,
                        detail=error_text(error),
                        place=place,
                    )
                    raise
                self._journal.append(Kind.WORKED, issue_id)
                return result

    def report(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Surrounds a completion that the object keeps or is."""
        __tracebackhide__ = True
        issue_id = self._first_id(args, kwargs)
        return complete(self._observations, 0, issue_id, self._lifecycle, call, args, kwargs)

    def _submitted(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        issue_id = self._first_id(args, kwargs)
        if issue_id is None and any(value is not None for value in args):
            self._unread.setdefault(getattr(call, "__name__", "?"), type(args[0]).__name__)
        with self._outermost("submitted") as is_outermost:
            if issue_id is None or not is_outermost:
                return call(*args, **kwargs)
            self._journal.append(Kind.QUEUED, issue_id)
            try:
                is_taken = call(*args, **kwargs)
            except BaseException as error:
                self._journal.append(Kind.NOT_QUEUED, issue_id, detail=error_text(error))
                raise
            if is_taken is False:
                self._journal.append(Kind.NOT_QUEUED, issue_id, detail="refused")
            return is_taken

    def _started(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        with self._outermost("started") as is_outermost:
            item = call(*args, **kwargs)
            issue_id = find_issue_id(item, self._lifecycle.issue_id) if is_outermost else None
            if issue_id is not None:
                self._journal.append(Kind.STARTED, issue_id)
            return item

    def _marked(
        self,
        kind: Kind,
        obj: object,
        call: Method,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        __tracebackhide__ = True
        issue_id = self._first_id(args, kwargs)
        with self._outermost("marked") as is_outermost:
            if issue_id is None or not is_outermost:
                return call(*args, **kwargs)
            self._journal.append(kind, issue_id)
            try:
                return call(*args, **kwargs)
            except BaseException as error:
                said = f"{kind}: {error_text(error)}"
                self._journal.append(Kind.MARK_REFUSED, issue_id, detail=said)
                raise

    def _dispatched(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        with self._outermost("dispatched") as is_outermost:
            if not is_outermost:
                return call(*args, **kwargs)
            number = self._observations.next_number()
            completion = None
            if self._lifecycle.takes_function:
                issue_id = _function_id(args, kwargs, number)
            else:
                issue_id = self._first_id(args, kwargs) or f"{type(obj).__name__}#{number}"
                (args, kwargs), completion = observe_completion(
                    self._observations, number, issue_id, self._lifecycle, call, (args, kwargs)
                )
                if completion is None:
                    completion = self._kept_completion
                self._before_dispatch(obj)
            self._journal.append(Kind.SUBMITTED, issue_id, number, detail=completion or "")
            try:
                with self._observations.dispatching(number, issue_id):
                    returned = call(*args, **kwargs)
            except BaseException as error:
                self._journal.append(Kind.REJECTED, issue_id, number, detail=error_text(error))
                raise
            if completion is not None:
                self._observations.accept(number, issue_id, obj)
            is_future = isinstance(returned, Future)
            if isinstance(returned, Future):
                observe_future(self._observations, returned, number, issue_id)
            detail = "future" if is_future else ""
            self._journal.append(Kind.ACCEPTED, issue_id, number, detail=detail)
            return returned

    def _cancel(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        issue_id = self._first_id(args, kwargs)
        with self._outermost("cancel") as is_outermost:
            if issue_id is not None and is_outermost:
                self._journal.append(Kind.CANCEL_ASKED, issue_id)
            return call(*args, **kwargs)

    def _shutdown(
        self, obj: object, call: Method, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        __tracebackhide__ = True
        with self._outermost("shutdown") as is_outermost:
            if not is_outermost:
                return call(*args, **kwargs)
            waits = _waits(call, args, kwargs)
            detail = "waiting" if waits else ""
            before = self._observations.accepted
            self._journal.append(Kind.SHUTDOWN, detail=detail)
            returned = call(*args, **kwargs)
            self._journal.append(Kind.SHUTDOWN_RETURNED, detail=detail)
            if waits:
                self._observations.claimed_idle(obj, before, "shutdown(wait=True) returned")
            return returned

    def _idle(
        self,
        name: str,
        obj: object,
        call: Method,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        __tracebackhide__ = True
        before = self._observations.accepted
        with self._outermost("idle") as is_outermost:
            answer = call(*args, **kwargs)
            if is_outermost and _claims_idle(answer, args, kwargs):
                said = "returned" if answer is None else f"was {answer}"
                self._observations.claimed_idle(obj, before, f"{name} {said}")
            return answer

    def _first_id(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
        for value in (*args[:1], *kwargs.values()):
            issue_id = find_issue_id(value, self._lifecycle.issue_id)
            if issue_id is not None:
                self._has_read = True
                return issue_id
        return None

    @contextmanager
    def _outermost(self, role: str) -> Iterator[bool]:
        # put_nowait() calls put(), get_nowait() calls get(): the inner call is part of the outer one.
        active: set[str] = self._active.__dict__.setdefault("roles", set())
        if role in active:
            yield False
            return
        active.add(role)
        try:
            yield True
        finally:
            active.discard(role)


def _function_id(args: tuple[object, ...], kwargs: dict[str, object], number: int) -> str:
    for value in (*args[1:], *kwargs.values()):
        # A text among a function's arguments may be anything.
        issue_id = None if isinstance(value, str) else find_issue_id(value)
        if issue_id is not None:
            return issue_id
    function = args[0] if args else kwargs.get("fn")
    return f"{getattr(function, '__name__', type(function).__name__)}#{number}"


def _waits(call: Method, args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
    try:
        bound = inspect.signature(call).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    bound.apply_defaults()
    return bound.arguments.get("wait") is True


def _claims_idle(answer: object, args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
    if answer is None:
        # join() without a timeout: that it returned is its claim.
        return not args and not kwargs
    if isinstance(answer, bool):
        return answer
    return isinstance(answer, int) and answer == 0
