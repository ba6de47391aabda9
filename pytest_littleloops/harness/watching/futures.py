"""What is observed of a future: how it ended, who read it, and what its done-callbacks made of that.

A lost issue is mostly lost here: somebody read `future.result()`, it raised, and the completion was not
called. So the futures of a watched pool note each read that raised, with its line, and each done-callback
that raised, or that read a failure and returned.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED
from dataclasses import dataclass
from typing import Any

from pytest_littleloops.harness.accounts.journal import Kind, error_text
from pytest_littleloops.harness.watching.completions import function_name, outcome_text
from pytest_littleloops.harness.watching.observations import Observations
from pytest_littleloops.simulation.inside import unseen


def has_ended(future: object) -> bool:
    """What `future.done()` says, without its lock: a look of the ledger's is no step of an exploration."""
    if not isinstance(future, Future):  # a library's own kind; that of multiprocessing says ready()
        ask = getattr(future, "done", None) or getattr(future, "ready", None)
        return callable(ask) and bool(ask())
    return future._state in _ENDED


_ENDED = (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)


def observe_born(observations: Observations, future: Future[object]) -> None:
    """Observe a future that an executor made while a submission was being dispatched."""
    if observations.dispatch is not None:
        number, issue_id = observations.dispatch
        observations.born[number] = future
        _observe(observations, future, number, issue_id)


def observe_returned(
    observations: Observations, future: Future[object], number: int, issue_id: str
) -> None:
    """Observe the future that a submission returned: how it ends is how the submission does.

    If it is another one than the executor's, that one is the pool's own business.
    """
    observations.futures[number] = future
    observations.returned[number] = id(future)
    _observe(observations, future, number, issue_id)


def _observe(observations: Observations, future: Future[object], number: int, issue_id: str) -> None:
    handling: _Handling | None = getattr(future, "__dict__", {}).get("_littleloops")
    if handling is not None and number in handling.numbers:
        return
    # Of a future that has ended already, nobody knows in which thread.
    when = " before submit returned" if has_ended(future) else ""
    ended = functools.partial(_note_end, observations, number, issue_id, when)
    # The first done-callback of a new future: its end is noted before anybody handles it.
    with unseen():
        Future.add_done_callback(future, ended)
    if handling is not None:
        handling.numbers.add(number)
        return
    try:
        future.__class__ = _observed_class(type(future))
    except TypeError:  # a future with a layout of its own only tells how it ended
        return
    future.__dict__["_littleloops"] = _Handling(observations, number, issue_id, {number})


@dataclass(slots=True)
class _Handling:
    observations: Observations
    number: int
    issue_id: str
    numbers: set[int]
    """Every submission that it was returned for: a pool may give one future to two."""
    reads_that_raised: int = 0

    def append(self, kind: Kind, detail: str) -> None:
        self.observations.journal.append(kind, self.issue_id, self.number, detail=detail)


class ObservedFuture(Future[object]):
    """Mixed into the class of an observed future: what is read from it, and by whom.

    Never instantiated. A subclass for each class of futures is made by exchange of `__class__`.
    """

    _littleloops: _Handling

    def result(self, *args: Any, **kwargs: Any) -> object:
        """What the future's own `result` gives; a raise is noted with the line that asked."""
        __tracebackhide__ = True
        try:
            return super().result(*args, **kwargs)
        except BaseException as error:
            if self.done():
                self._note_read("result() raised", error)
            raise

    def exception(self, *args: Any, **kwargs: Any) -> BaseException | None:
        """What the future's own `exception` gives; an exception is noted with the line that asked."""
        __tracebackhide__ = True
        try:
            error = super().exception(*args, **kwargs)
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


def _note_end(
    observations: Observations, number: int, issue_id: str, when: str, future: Future[object]
) -> None:
    journal = observations.journal
    returned = observations.returned.get(number)
    if returned is not None and returned != id(future):
        return
    if future.cancelled():
        journal.append(Kind.FUTURE_CANCELLED, issue_id, number)
        return
    # The base class's own method: neither an observed nor a fake future may count this as a read.
    error = Future.exception(future)
    if error is None:
        said = f"{outcome_text(Future.result(future))}{when}"
        journal.append(Kind.FUTURE_RESOLVED, issue_id, number, detail=said)
    else:
        place = journal.place_of_raise(error.__traceback__)
        journal.append(Kind.FUTURE_FAILED, issue_id, number, detail=error_text(error), place=place)


def _handle(
    callback: Callable[[Future[object]], object], handling: _Handling, future: Future[object]
) -> None:
    __tracebackhide__ = True
    reads = handling.reads_that_raised
    had_raised = handling.number in handling.observations.raised
    name = function_name(callback)
    try:
        callback(future)
    except BaseException as error:
        place = handling.observations.journal.place_of_raise(error.__traceback__, outermost=True)
        handling.observations.journal.append(
            Kind.HANDLER_RAISED if isinstance(error, Exception) else Kind.HANDLER_EXITED,
            handling.issue_id,
            handling.number,
            detail=f"{name} raised {error_text(error)}",
            place=place,
        )
        raise
    has_raised = handling.number in handling.observations.raised
    if handling.reads_that_raised > reads or has_raised > had_raised:
        handling.append(Kind.HANDLER_RETURNED, name)
