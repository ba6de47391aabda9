"""What is observed between a pool and its orchestrator: the future, its callbacks, the completion.

A lost issue is mostly lost here: somebody read `future.result()`, it raised, and the completion was not
called. So a watched pool's futures note who read them and what the done-callbacks made of it, and the
completion handed to a watched pool notes when it was called, what it was given and how it ended.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_littleloops.harness.journal import Journal, Kind, error_text
from pytest_littleloops.harness.lifecycle import Lifecycle, find_issue_id

Arguments = tuple[tuple[object, ...], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Owed:
    """A submission that was accepted and whose completion has not returned yet."""

    issue_id: str
    pool: int
    """The `id` of the pool that owes it."""
    accepted: int
    """The how-many-eth to be accepted, to compare with an idle claim's beginning."""


class Observations:
    """What the observers of one ledger share: the journal, submission numbers, what is owed.

    Thread-safe without a lock: every step is one operation on a dictionary or a counter.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.owed: dict[int, Owed] = {}
        self.futures: weakref.WeakValueDictionary[int, Future[object]] = weakref.WeakValueDictionary()
        self.accepted = 0
        self._settled: set[int] = set()
        self._numbers = itertools.count(1)
        self._acceptances = itertools.count(1)
        self._local = threading.local()

    def next_number(self) -> int:
        """A new submission's number."""
        return next(self._numbers)

    def accept(self, number: int, issue_id: str, pool: object) -> None:
        """Note that a completion is owed from now on, unless it came before `submit` returned."""
        accepted = next(self._acceptances)
        self.owed[number] = Owed(issue_id, id(pool), accepted)
        self.accepted = max(self.accepted, accepted)
        if number in self._settled:
            self.settle(number)

    def settle(self, number: int) -> None:
        """Note that the completion of this submission has returned, or raised."""
        self._settled.add(number)
        if self.owed.pop(number, None) is not None:
            self._settled.discard(number)

    def claimed_idle(self, pool: object, before: int, claim: str) -> None:
        """Note each completion that `pool` owed all through a call that claimed that nothing is owed.

        `before` is `accepted` as read when the call began. A claim from inside the pool's own work
        is none: what calls it is itself still owed.
        """
        if not self.owed or self.is_own_work():
            return
        for number, owed in list(self.owed.items()):
            if owed.pool == id(pool) and owed.accepted <= before:
                self.journal.append(Kind.IDLE, owed.issue_id, number, detail=claim)

    @contextmanager
    def own_work(self) -> Iterator[None]:
        """Mark the calling thread as inside a process function or a completion."""
        self._local.depth = getattr(self._local, "depth", 0) + 1
        try:
            yield
        finally:
            self._local.depth -= 1

    def is_own_work(self) -> bool:
        """True in a thread that is inside `own_work`."""
        return getattr(self._local, "depth", 0) > 0

    @contextmanager
    def completing(self, issue_id: str | None) -> Iterator[bool]:
        """Whether the calling thread is not yet inside a completion of this issue."""
        outer = getattr(self._local, "completing", None)
        self._local.completing = issue_id
        try:
            yield outer != issue_id
        finally:
            self._local.completing = outer

    @contextmanager
    def dispatching(self, number: int, issue_id: str) -> Iterator[None]:
        """Attribute futures that the calling thread brings forth to this submission."""
        outer = getattr(self._local, "dispatch", None)
        self._local.dispatch = number, issue_id
        try:
            yield
        finally:
            self._local.dispatch = outer

    def observe_born(self, future: Future[object]) -> None:
        """Observe a future that an executor made while a submission was being dispatched."""
        dispatch = getattr(self._local, "dispatch", None)
        if dispatch is not None:
            self.observe_future(future, *dispatch)

    def observe_future(self, future: Future[object], number: int, issue_id: str) -> None:
        """Have `future` note how it ends, who reads it, and what its done-callbacks raise."""
        self.futures[number] = future
        if isinstance(future, ObservedFuture):
            return
        ended = functools.partial(_note_end, self.journal, number, issue_id)
        # The first done-callback of a new future: its end is noted before anybody handles it.
        Future.add_done_callback(future, ended)
        try:
            future.__class__ = _observed_class(type(future))
        except TypeError:  # a future with a layout of its own only tells how it ended
            return
        future.__dict__["_littleloops"] = _Handling(self, number, issue_id)


@dataclass(slots=True)
class _Handling:
    observations: Observations
    number: int
    issue_id: str
    reads_that_raised: int = 0

    def append(self, kind: Kind, detail: str) -> None:
        self.observations.journal.append(kind, self.issue_id, self.number, detail=detail)


class ObservedFuture(Future[object]):
    """Mixed into the class of an observed future: what is read from it, and by whom.

    Never instantiated. A subclass for each class of futures is made by exchange of `__class__`.
    """

    _littleloops: _Handling

    def result(self, timeout: float | None = None) -> object:
        """What the future's own `result` gives; a raise is noted with the line that asked."""
        try:
            return super().result(timeout)
        except BaseException as error:
            if self.done():
                self._note_read("result() raised", error)
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the future's own `exception` gives; an exception is noted with the line that asked."""
        try:
            error = super().exception(timeout)
        except BaseException as raised:
            if self.done():
                self._note_read("exception() raised", raised)
            raise
        if error is not None:
            self._note_read("exception() returned", error)
        return error

    def add_done_callback(self, fn: Callable[[Future[object]], object]) -> None:
        """What the future's own does; a callback that raises, or swallows a failed read, is noted."""
        super().add_done_callback(functools.partial(_handle, fn, self._littleloops))

    def _note_read(self, claim: str, error: BaseException) -> None:
        handling = self._littleloops
        handling.reads_that_raised += 1
        caller: object = sys._getframe(2)
        function = getattr(getattr(caller, "f_code", None), "co_name", "?")
        handling.append(Kind.READ_RAISED, f"{claim} {error_text(error)} in {function}")


_observed_classes: weakref.WeakKeyDictionary[type, type[ObservedFuture]] = weakref.WeakKeyDictionary()


def _observed_class(original: type) -> type[ObservedFuture]:
    observed = _observed_classes.get(original)
    if observed is None:
        observed = type(original.__name__, (ObservedFuture, original), {"__slots__": ()})
        observed.__module__ = original.__module__
        observed.__qualname__ = original.__qualname__
        _observed_classes[original] = observed
    return observed


def _note_end(journal: Journal, number: int, issue_id: str, future: Future[object]) -> None:
    if future.cancelled():
        journal.append(Kind.FUTURE_CANCELLED, issue_id, number)
        return
    # The base class's own method: neither an observed nor a fake future may count this as a read.
    error = Future.exception(future)
    if error is None:
        journal.append(
            Kind.FUTURE_RESOLVED, issue_id, number, detail=outcome_word((Future.result(future),), {})
        )
    else:
        place = journal.place_of_raise(error.__traceback__)
        journal.append(Kind.FUTURE_FAILED, issue_id, number, detail=error_text(error), place=place)


def _handle(
    callback: Callable[[Future[object]], object], handling: _Handling, future: Future[object]
) -> None:
    reads = handling.reads_that_raised
    name = function_name(callback)
    try:
        callback(future)
    except BaseException as error:
        place = handling.observations.journal.place_of_raise(error.__traceback__)
        handling.observations.journal.append(
            Kind.HANDLER_RAISED if isinstance(error, Exception) else Kind.HANDLER_EXITED,
            handling.issue_id,
            handling.number,
            detail=f"{name} raised {error_text(error)}",
            place=place,
        )
        raise
    if handling.reads_that_raised > reads:
        handling.append(Kind.HANDLER_RETURNED, name)


def function_name(function: object) -> str:
    """What to call a callable in a message: its name, that of what a partial wraps, or its type's."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


class ObservedCall:
    """A function that is surrounded when it is called here, and is itself again where it is pickled to."""

    def __init__(
        self,
        function: Callable[..., object],
        around: Callable[[Callable[..., object], tuple[object, ...], dict[str, object]], object],
    ) -> None:
        self._function = function
        self._around = around
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the function, surrounded."""
        return self._around(self._function, args, kwargs)

    def __reduce__(self) -> tuple[Callable[[object], object], tuple[object]]:
        return _itself, (self._function,)


def _itself(function: object) -> object:
    return function


def observe_completion(
    observations: Observations,
    number: int,
    issue_id: str,
    lifecycle: Lifecycle,
    submit: Callable[..., object],
    arguments: Arguments,
) -> tuple[Arguments, str | None]:
    """The arguments of `submit` with the completion among them observed, and the completion's name.

    The completion is the parameter that the lifecycle names; failing that, the first callable that
    is not the issue itself. Its own signature does not matter.
    """
    args, kwargs = arguments
    slot = _completion_slot(lifecycle, submit, args, kwargs)
    if slot is None:
        return arguments, None
    completion = args[slot] if isinstance(slot, int) else kwargs[slot]
    assert callable(completion)
    observed = ObservedCall(
        completion, functools.partial(complete, observations, number, issue_id, lifecycle)
    )
    if isinstance(slot, int):
        args = (*args[:slot], observed, *args[slot + 1 :])
    else:
        kwargs = {**kwargs, slot: observed}
    return (args, kwargs), function_name(completion)


def _completion_slot(
    lifecycle: Lifecycle,
    submit: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> int | str | None:
    for name in lifecycle.completion:
        if callable(kwargs.get(name)):
            return name
    for position, name in enumerate(_positional_names(submit)[: len(args)]):
        if name in lifecycle.completion and callable(args[position]):
            return position
    for position, value in enumerate(args[1:], start=1):
        if callable(value):
            return position
    return next((name for name, value in kwargs.items() if callable(value)), None)


def _positional_names(function: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def complete(
    observations: Observations,
    number: int,
    issue_id: str | None,
    lifecycle: Lifecycle,
    completion: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> object:
    """Call `completion` and note that: which issue it spoke of, with what outcome, how it ended.

    A completion that calls another one for the same issue (a pool that calls what an orchestrator
    offers, both watched) is one completion.
    """
    journal = observations.journal
    for value in (*args, *kwargs.values()):
        # Text may be anything, an error's too; only an object that carries an id speaks of an issue.
        found = None if isinstance(value, str) else find_issue_id(value, lifecycle.issue_id)
        if found is not None:
            issue_id = found
            break
    with observations.completing(issue_id) as is_outermost:
        if issue_id is None or not is_outermost:
            return completion(*args, **kwargs)
        journal.append(Kind.COMPLETION, issue_id, number, detail=outcome_word(args, kwargs))
        try:
            with observations.own_work():
                returned = completion(*args, **kwargs)
        except BaseException as error:
            place = journal.place_of_raise(error.__traceback__)
            observations.settle(number)
            said = error_text(error)
            journal.append(Kind.COMPLETION_RAISED, issue_id, number, detail=said, place=place)
            raise
        observations.settle(number)
        journal.append(Kind.COMPLETION_RETURNED, issue_id, number)
        return returned


def outcome_word(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """The terminal state that a completion's arguments speak of; `completed` where none is recognised."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Future) and value.done():
            if value.cancelled():
                return "cancelled"
            error = Future.exception(value)
            return "failed" if error is not None else outcome_word((Future.result(value),), {})
        if isinstance(value, BaseException):
            return "failed"
        read = value.get if isinstance(value, Mapping) else functools.partial(_attribute, value)
        if read("interrupted", False) is True:
            return "interrupted"
        success = value if isinstance(value, bool) else read("success", None)
        if isinstance(success, bool):
            return "completed" if success else "failed"
    return "completed"


def _attribute(value: object, name: str, default: object) -> object:
    return getattr(value, name, default)
