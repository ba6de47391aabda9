"""What is noted when a watched method is called, role by role.

Every note of an intention (queued, submitted, a mark) is written before the object acts, so that a thread
which sees the effect finds the entry already there; where the object then refuses, a second entry takes
it back. What a method returns or raises is passed on unchanged.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager

from pytest_littleloops.harness.accounts.journal import COUNTED, Journal, Kind, error_text
from pytest_littleloops.harness.watching.completions import (
    ObservedCall,
    complete,
    function_name,
    observe_completion,
    outcome_text,
)
from pytest_littleloops.harness.watching.exchange import Around, Method
from pytest_littleloops.harness.watching.futures import observe_returned
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, find_issue_id
from pytest_littleloops.harness.watching.observations import Observations, Takings

Args = tuple[object, ...]
Kwargs = dict[str, object]

_MARKS = {
    "completed": Kind.COMPLETED,
    "failed": Kind.FAILED,
    "cancelled": Kind.CANCELLED,
    "interrupted": Kind.INTERRUPTED,
    "requeued": Kind.REQUEUED,
}


class Roles:
    """The surroundings of the methods of one object, as its lifecycle describes it.

    `source` tells this object's entries from those of others.
    """

    def __init__(
        self,
        source: int,
        lifecycle: Lifecycle,
        journal: Journal,
        observations: Observations,
        before_dispatch: Callable[[object, Roles], None],
    ) -> None:
        self.lifecycle = lifecycle
        self.source = source
        self._journal = journal
        self._note = functools.partial(journal.append, source=source)
        self._observations = observations
        self._before_dispatch = before_dispatch
        self._takings = Takings(observations) if lifecycle.is_counted() else None
        self._is_counting = False
        self._active = threading.local()
        self._has_read = False
        self._unread: dict[str, str] = {}

    def members(self) -> Iterator[tuple[str, Around]]:
        """Each name to be surrounded, and with what."""
        lifecycle = self.lifecycle
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
        if self._takings is not None:
            for name in lifecycle.done_with:
                yield name, functools.partial(self._done, self._takings)
        for name in lifecycle.idle:
            yield name, functools.partial(self._idle, name)

    def unreadable(self) -> list[str]:
        """What came without an id that could be read, if nothing else came; a queue's sentinel is fine."""
        if self._has_read:
            return []
        return [f"{name}() got a {kind}" for name, kind in self._unread.items()]

    def work(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        """Surrounds the process function: when it began on an issue, and how it ended."""
        __tracebackhide__ = True
        issue_id = self._issue_of(args, kwargs)
        with self._outermost("work", issue_id) as is_outermost:
            if issue_id is None or not is_outermost:
                return call(*args, **kwargs)
            return self._run(issue_id, call, args, kwargs)

    def report(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        """Surrounds a completion that the object keeps or is."""
        __tracebackhide__ = True
        if any(callable(value) for value in args):
            # on_complete(function) that takes a listener is no completion.
            return call(*args, **kwargs)
        issue_id = self._issue_of(args, kwargs)
        return complete(self._observations, 0, issue_id, self.lifecycle, call, args, kwargs)

    def _run(self, issue_id: str, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        with self._observations.own_work():
            place = self._journal.place_of_function(call)
            self._note(Kind.RUNNING, issue_id, place=place)
            try:
                result = call(*args, **kwargs)
            except BaseException as error:
                place = self._journal.place_of_raise(error.__traceback__)
                kind = Kind.WORK_RAISED if isinstance(error, Exception) else Kind.WORK_EXITED
                self._note(kind, issue_id, detail=error_text(error), place=place)
                raise
            self._note(Kind.WORKED, issue_id)
            return result

    def _submitted(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        if any(callable(value) and find_issue_id(value) is None for value in (*args[1:], *kwargs.values())):
            # enqueue(issue, on_complete): a pool by a queue's name.
            return self._dispatched(obj, call, args, kwargs)
        issue_id = self._issue_of(args, kwargs)
        if issue_id is None:
            self._keep_unread(call, args)
        with self._outermost("submitted", issue_id) as is_outermost:
            takings = self._takings
            if issue_id is None or not is_outermost:
                if takings is not None and is_outermost:
                    takings.put_blank()
                return call(*args, **kwargs)
            number = 0 if takings is None else takings.next_number()
            self._note(Kind.QUEUED, issue_id, number, detail=self._marking())
            if takings is not None:
                takings.put(number, issue_id)
            try:
                is_taken = call(*args, **kwargs)
            except BaseException as error:
                self._not_queued(issue_id, number, error_text(error))
                raise
            if is_taken is False:
                self._not_queued(issue_id, number, "refused")
            elif takings is not None:
                takings.accept(number)
            return is_taken

    def _not_queued(self, issue_id: str, number: int, why: str) -> None:
        if self._takings is not None:
            number = self._takings.withdraw(number, issue_id)
        self._note(Kind.NOT_QUEUED, issue_id, number, detail=why)

    def _started(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        with self._outermost("started", None) as is_outermost:
            item = call(*args, **kwargs)
            if not is_outermost:
                return item
            issue_id, takings = find_issue_id(item, self.lifecycle.issue_id), self._takings
            if issue_id is not None:
                number = 0 if takings is None else takings.take(issue_id)
                self._note(Kind.STARTED, issue_id, number, detail=self._marking())
            elif takings is not None:
                takings.take_blank()
            return item

    def _done(self, takings: Takings, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        with self._outermost("marked", "") as is_outermost:
            self._count()
            done = takings.mark(self._issue_of(args, kwargs)) if is_outermost else None
            if done is None:
                return call(*args, **kwargs)
            number, issue_id = done
            self._note(Kind.COMPLETED, issue_id, number, detail=COUNTED)
            try:
                return call(*args, **kwargs)
            except BaseException as error:
                takings.refuse(number, issue_id)
                said = f"{Kind.COMPLETED}: {error_text(error)}"
                self._note(Kind.MARK_REFUSED, issue_id, number, detail=said)
                raise

    def _count(self) -> None:
        # Before its first mark nobody knows that a queue is more than a conveyor.
        if not self._is_counting:
            self._is_counting = True
            self._note(Kind.COUNTING)

    def _marked(self, kind: Kind, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        ids = self._issues_of(args, kwargs)
        with self._outermost("marked", ",".join(ids)) as is_outermost:
            if not ids or not is_outermost:
                return call(*args, **kwargs)
            for issue_id in ids:
                self._note(kind, issue_id)
            try:
                return call(*args, **kwargs)
            except BaseException as error:
                said = f"{kind}: {error_text(error)}"
                for issue_id in ids:
                    self._note(Kind.MARK_REFUSED, issue_id, detail=said)
                raise

    def _dispatched(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        observations, lifecycle = self._observations, self.lifecycle
        number = 0
        issue_id = None if lifecycle.takes_function else self._issue_of(args, kwargs)
        if issue_id is None and (args or (lifecycle.takes_function and kwargs)):
            # Work without an id is an issue of its own; what is given nothing, orchestrator.dispatch(),
            # is given no work.
            number = observations.next_number()
            issue_id = _function_id(args, kwargs, number)
        with self._outermost("dispatched", issue_id) as is_outermost:
            if issue_id is None or not is_outermost:
                return call(*args, **kwargs)
            number = number or observations.next_number()
            completion = None
            if not lifecycle.takes_function:
                (args, kwargs), completion = observe_completion(
                    observations, number, issue_id, lifecycle, call, (args, kwargs)
                )
                # Work that goes to a pool which keeps its completion is owed that one.
                attributes = getattr(obj, "__dict__", {})
                kept = (name for name in lifecycle.reports if callable(attributes.get(name)))
                completion = completion or next(kept, None)
                self._before_dispatch(obj, self)
            elif lifecycle.ends:
                args, kwargs = self._heard(number, issue_id, call, args, kwargs)
            self._note(Kind.SUBMITTED, issue_id, number, detail=completion or "")
            try:
                with observations.dispatching(number, issue_id):
                    returned = call(*args, **kwargs)
            except BaseException as error:
                self._note(Kind.REJECTED, issue_id, number, detail=error_text(error))
                raise
            if completion is not None or lifecycle.ends:
                observations.accept(number, issue_id, obj)
            detail = ""
            if isinstance(returned, Future):
                is_outer = observations.born.get(number, returned) is not returned
                observe_returned(observations, returned, number, issue_id)
                detail = "outer future" if is_outer else "future"
            elif lifecycle.ends:
                observations.keep(number, returned)
                detail = "future"
            observations.born.pop(number, None)
            self._note(Kind.ACCEPTED, issue_id, number, detail=detail)
            return returned

    def _heard(
        self, number: int, issue_id: str, call: Method, args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs]:
        # The function is observed where it runs in this process; to another one it travels as itself.
        try:
            bound = inspect.signature(call).bind(*args, **kwargs)
        except TypeError:  # the call will say so itself
            return args, kwargs
        given = bound.arguments
        function = next(iter(bound.signature.parameters))
        observed = functools.partial(self._run, issue_id)
        given[function] = ObservedCall(given[function], observed)
        kinds = Kind.FUTURE_RESOLVED, Kind.FUTURE_FAILED
        for name, kind in zip(self.lifecycle.ends, kinds, strict=True):
            given[name] = functools.partial(self._ended, kind, number, issue_id, given.get(name))
        return bound.args, bound.kwargs

    def _ended(
        self, kind: Kind, number: int, issue_id: str, callback: Method | None, outcome: object
    ) -> None:
        __tracebackhide__ = True
        observations = self._observations
        if isinstance(outcome, BaseException) and kind is Kind.FUTURE_FAILED:
            place = self._journal.place_of_raise(outcome.__traceback__)
            self._note(kind, issue_id, number, detail=error_text(outcome), place=place)
        else:
            self._note(kind, issue_id, number, detail=outcome_text(outcome))
        observations.settle(number)
        if callback is not None:
            complete(observations, number, issue_id, self.lifecycle, callback, (outcome,), {})

    def _cancel(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        issue_id = self._issue_of(args, kwargs)
        with self._outermost("cancel", issue_id) as is_outermost:
            if issue_id is not None and is_outermost:
                self._note(Kind.CANCEL_ASKED, issue_id)
            return call(*args, **kwargs)

    def _shutdown(self, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        waits = _waits(call, args, kwargs)
        with self._outermost("shutdown", str(waits)) as is_outermost:
            if not is_outermost:
                return call(*args, **kwargs)
            detail = "waiting" if waits else ""
            before = self._observations.accepted
            self._note(Kind.SHUTDOWN, detail=detail)
            try:
                returned = call(*args, **kwargs)
            finally:
                self._note(Kind.SHUTDOWN_RETURNED, detail=detail)
            if waits:
                self._observations.claimed_idle(obj, before, "shutdown(wait=True) returned")
            return returned

    def _idle(self, name: str, obj: object, call: Method, args: Args, kwargs: Kwargs) -> object:
        __tracebackhide__ = True
        before = self._observations.accepted
        held = None
        if self._takings is not None:
            self._count()
            held = self._takings.claimed_idle()
        with self._outermost("idle", name) as is_outermost:
            answer = call(*args, **kwargs)
            if is_outermost and _claims_idle(answer, args, kwargs):
                said = "returned" if answer is None else f"was {answer}"
                self._observations.claimed_idle(obj, before, f"{name} {said}")
                if held is not None:
                    held(f"{name} {said}")
            return answer

    def _marking(self) -> str:
        if self._takings is not None:
            return COUNTED
        return "marks" if self.lifecycle.has_marks() else ""

    def _keep_unread(self, call: Method, args: Args) -> None:
        if any(value is not None for value in args):
            name = getattr(call, "__qualname__", getattr(call, "__name__", "?"))
            self._unread.setdefault(name, type(args[0]).__name__)

    def _issues_of(self, args: Args, kwargs: Kwargs) -> list[str]:
        if args and isinstance(args[0], list | tuple | set | frozenset):
            found = (find_issue_id(one, self.lifecycle.issue_id) for one in args[0])
            return [one for one in found if one is not None]
        issue_id = self._issue_of(args, kwargs)
        return [] if issue_id is None else [issue_id]

    def _issue_of(self, args: Args, kwargs: Kwargs) -> str | None:
        issue_id = _find_issue(args, kwargs, self.lifecycle.issue_id)
        self._has_read |= issue_id is not None
        return issue_id

    @contextmanager
    def _outermost(self, role: str, what: str | None) -> Iterator[bool]:
        # put_nowait() calls put(), dispatch() calls submit(): the inner call is part of the outer one. Not
        # so if a completion or a process function came between, which may submit the same issue anew.
        active: set[tuple[str, str | None, int]] = self._active.__dict__.setdefault("calls", set())
        call = role, what, self._observations.depth
        if call in active:
            yield False
            return
        active.add(call)
        try:
            yield True
        finally:
            active.discard(call)


_ISSUE_PARAMETERS = ("issue_id", "issue", "item", "job_id", "id")


def _find_issue(args: Args, kwargs: Kwargs, read: Callable[[object], str | None] | None) -> str | None:
    if read is None:
        # What carries an issue's id stands for it, wherever it stands: submit(1, issue, on_complete).
        for value in (*args, *kwargs.values()):
            if not isinstance(value, str):
                issue_id = find_issue_id(value, own_id=False)
                if issue_id is not None:
                    return issue_id
    for name in _ISSUE_PARAMETERS:
        issue_id = find_issue_id(kwargs.get(name), read)
        if issue_id is not None:
            return issue_id
    for value in (*args[:1], *kwargs.values()):
        issue_id = find_issue_id(value, read)
        if issue_id is not None:
            return issue_id
    return None


def _function_id(args: Args, kwargs: Kwargs, number: int) -> str:
    values = [*args[1:], *kwargs.values()]
    # What is in a mapping may be the function's keyword arguments: apply_async(fn, (), {"issue": issue}).
    values += [held for value in values if isinstance(value, Mapping) for held in value.values()]
    for value in values:
        # A text among a function's arguments may be anything.
        issue_id = None if isinstance(value, str) else find_issue_id(value)
        if issue_id is not None:
            return issue_id
    function = args[0] if args else next(iter(kwargs.values()))
    return f"{function_name(function)}#{number}"


def _waits(call: Method, args: Args, kwargs: Kwargs) -> bool:
    try:
        bound = inspect.signature(call).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    bound.apply_defaults()
    return bound.arguments.get("wait") is True


def _claims_idle(answer: object, args: Args, kwargs: Kwargs) -> bool:
    if answer is None:
        # join() without a timeout: that it returned is its claim.
        return not args and not kwargs
    if isinstance(answer, bool):
        return answer
    return isinstance(answer, int) and answer == 0
