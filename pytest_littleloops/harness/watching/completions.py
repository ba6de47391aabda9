"""What is observed of a completion: when it was called, what it was given, and how it ended.

The completion that a watched pool is handed is exchanged for one that notes all this. Its own signature
does not matter.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from pytest_littleloops.harness.accounts.journal import Kind, error_text
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, find_issue_id
from pytest_littleloops.harness.watching.observations import Observations

Arguments = tuple[tuple[object, ...], dict[str, object]]


class ObservedCall:
    """A function that is surrounded when it is called here, and is itself again where it is pickled to."""

    def __init__(
        self,
        function: Callable[..., object],
        around: Callable[[Callable[..., object], tuple[object, ...], dict[str, object]], object],
    ) -> None:
        self.function = function
        self._around = around
        functools.update_wrapper(self, function, updated=())

    def __call__(self, /, *args: object, **kwargs: object) -> object:
        """Call the function, surrounded."""
        __tracebackhide__ = True
        return self._around(self.function, args, kwargs)

    def __getattr__(self, name: str) -> object:
        # What the user's callable offers beside being called.
        # Nor its code, by which whoever looks at parameters would count a bound method's `self`.
        if name in ("function", "__code__"):
            raise AttributeError(name)
        return getattr(self.function, name)

    def __eq__(self, other: object) -> bool:
        return self.function == (other.function if isinstance(other, ObservedCall) else other)

    def __hash__(self) -> int:
        return hash(self.function)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object]]:
        # By the standard library alone: the other side need not load this package.
        return operator.itemgetter(0), ((self.function,),)


def observe_completion(
    observations: Observations,
    number: int,
    issue_id: str,
    lifecycle: Lifecycle,
    submit: Callable[..., object],
    arguments: Arguments,
) -> tuple[Arguments, str | None]:
    """The arguments of `submit` with the completion among them observed, and the completion's name.

    The completion is every parameter that the lifecycle names (`on_success` and `on_error` together, of
    which one is called); failing that, the only callable that there is. Of several nothing is guessed.
    """
    args, kwargs = arguments
    names = []
    around = functools.partial(complete, observations, number, issue_id, lifecycle)
    for slot in _completion_slots(lifecycle, submit, args, kwargs):
        completion = args[slot] if isinstance(slot, int) else kwargs[slot]
        assert callable(completion)
        if inspect.iscoroutinefunction(completion):
            continue
        observed = ObservedCall(completion, around)
        if isinstance(slot, int):
            args = (*args[:slot], observed, *args[slot + 1 :])
        else:
            kwargs = {**kwargs, slot: observed}
        names.append(function_name(completion))
    return (args, kwargs), " or ".join(names) or None


_OTHER_CALLABLES = frozenset(
    {"key", "process", "work", "fn", "func", "function", "target", "task", "job", "factory"}
    | {"progress", "on_progress", "on_start", "log", "logger", "predicate", "default"}
)
"""Parameters that are called for something else than the end of an issue."""


def _completion_slots(
    lifecycle: Lifecycle,
    submit: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> list[int | str]:
    positional = _positional_names(submit)[: len(args)]
    positional += ["?"] * (len(args) - len(positional))
    slots: list[tuple[str, int | str, object]] = [
        *((name, place, value) for place, (name, value) in enumerate(zip(positional, args, strict=True))),
        *((name, name, value) for name, value in kwargs.items()),
    ]
    callables = [(name, slot) for name, slot, value in slots if _may_be_completion(value)]
    named = [slot for name, slot in callables if name in lifecycle.completion]
    if named:
        return named
    unnamed = [slot for name, slot in callables if name not in _OTHER_CALLABLES]
    return unnamed if len(unnamed) == 1 else []


def _may_be_completion(value: object) -> bool:
    # An issue may be callable too.
    return callable(value) and find_issue_id(value) is None


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
    __tracebackhide__ = True
    journal = observations.journal
    for value in (*args, *kwargs.values()):
        # Text may be anything, an error's too; only what calls it an issue's id speaks of an issue.
        found = None if isinstance(value, str) else find_issue_id(value, lifecycle.issue_id, own_id=False)
        if found is not None:
            issue_id = found
            break
    with observations.completing(number, issue_id) as is_own:
        if issue_id is None or not is_own:
            return completion(*args, **kwargs)
        journal.append(Kind.COMPLETION, issue_id, number, detail=outcome_word(args, kwargs))
        try:
            with observations.own_work():
                returned = completion(*args, **kwargs)
        except BaseException as error:
            place = journal.place_of_raise(error.__traceback__)
            _settle(observations, number, issue_id)
            observations.raised.add(number)
            said = error_text(error)
            journal.append(Kind.COMPLETION_RAISED, issue_id, number, detail=said, place=place)
            raise
        _settle(observations, number, issue_id)
        journal.append(Kind.COMPLETION_RETURNED, issue_id, number)
        return returned


def _settle(observations: Observations, number: int, issue_id: str) -> None:
    if number:
        observations.settle(number)
    else:
        observations.settle_issue(issue_id)


def outcome_word(args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
    """The terminal state that a completion's arguments speak of; empty where none is recognised.

    A result says so by `interrupted`, and by `success`, `succeeded` or `ok`, as attributes or keys; a
    flag, an exception and a future speak for themselves.
    """
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
        claims = (value, *(read(name, None) for name in ("success", "succeeded", "ok")))
        for claim in claims:
            if isinstance(claim, bool):
                return "completed" if claim else "failed"
    return ""


def outcome_text(value: object) -> str:
    """What a timeline adds to the end of a call, for what it returned."""
    outcome = outcome_word((value,), {})
    return f" with a {outcome} result" if outcome else ""


def _attribute(value: object, name: str, default: object) -> object:
    # Asked of whatever the user hands around: what it raises is not for the user's caller to see.
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def function_name(function: object) -> str:
    """What to call a callable in a message: its name, that of what a partial wraps, or its type's."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(_attribute(function, "__name__", type(function).__name__))
