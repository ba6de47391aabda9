"""What the methods of a queue, a pool or an orchestrator mean to the ledger.

A `Lifecycle` is found in three ways: from the names that such methods usually have, from a mapping the
user wrote, or from a plugin that implements the hook `pytest_littleloops_lifecycle(obj)`. What happens
when such a method is called is told in `watch`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """Which methods play which role. Every field may be empty; several names are alternatives."""

    submitted: Names = ()
    """Queue methods that take an issue in: `add(issue)`. A return value of False means: not taken."""
    started: Names = ()
    """Queue methods that hand an issue out: `get() -> issue`. None means: there was none."""
    completed: Names = ()
    """Marks of a terminal state, called with an issue or its id; likewise the next three."""
    failed: Names = ()
    cancelled: Names = ()
    interrupted: Names = ()
    requeued: Names = ()
    """Takes an issue back from any state."""
    done_with: Names = ()
    """Marks without an argument, `task_done()`: what the calling thread took last, or has just completed,
    is completed. Such a queue owes nothing for what was taken until the first of these marks, or a method
    of `idle`, is called; without effect beside `completed` and its like."""
    dispatched: Names = ()
    """Pool methods that start work: `submit(issue, on_complete) -> Future`, or any part of that."""
    completion: Names = (
        *("on_complete", "on_completion", "callback", "cb", "done", "on_done", "when_done"),
        *("done_callback", "on_result", "on_finished", "on_success", "on_error", "on_failure"),
    )
    """What `dispatched` calls the parameters that are the completion: any one of them is called. Failing
    these, the only callable that there is."""
    reports: Names = ()
    """A completion that the object keeps or is: an attribute or method called with each result."""
    work: Names = ()
    """The process function: an attribute or method called with an issue."""
    cancel: Names = ()
    """Asks for an issue to be cancelled."""
    shutdown: Names = ()
    """Ends the pool. With a true parameter `wait` its return claims that nothing is owed."""
    idle: Names = ()
    """Attributes or methods that claim, by 0 or True, that nothing is owed; of methods that return
    nothing (`join()`) the return itself claims it."""
    parts: Names = ()
    """Attributes that are watched along with the object: an orchestrator's queue and pool."""
    takes_function: bool = False
    """True for an `Executor`: `dispatched` takes a function instead of an issue, each call is an issue
    of its own, and what the future ends with is its state."""
    ends: Names = ()
    """Where `dispatched` takes a function and returns no future: its parameters that are called with the
    value of a call, and with its error, `("callback", "error_callback")`. Each call gets both, so that
    its end is heard; what the user gave is called as well, and need not be."""
    observes_executors: bool = True
    """Whether futures are observed from their birth in an executor that is an attribute of the pool."""
    issue_id: Callable[[object], str | None] | None = None
    """How to read the id off an issue, a result or a queue item; None where there is none to read."""

    def has_marks(self) -> bool:
        """True for an object that says itself which terminal state an issue is in."""
        return bool(self.completed or self.failed or self.cancelled or self.interrupted)

    def is_counted(self) -> bool:
        """True for a queue that is told how many items are done, and not which."""
        return bool(self.done_with) and not self.has_marks()

    def is_empty(self) -> bool:
        """True if no method of it would tell anything about an issue."""
        tells = self.submitted or self.started or self.dispatched or self.reports
        return not (tells or self.has_marks())


ROLES: Names = tuple(
    field.name
    for field in dataclasses.fields(Lifecycle)
    if field.name not in ("takes_function", "observes_executors", "issue_id", "completion", "ends")
)

USUAL_NAMES: Mapping[str, Names] = {
    "submitted": ("add", "put", "enqueue", "push"),
    "started": ("get", "pop", "take", "dequeue"),
    "completed": ("mark_completed", "mark_complete", "mark_done", "ack"),
    "failed": ("mark_failed", "nack"),
    "cancelled": ("mark_cancelled", "mark_canceled"),
    "interrupted": ("mark_interrupted",),
    "requeued": ("requeue",),
    "done_with": ("task_done",),
    "dispatched": ("submit", "dispatch", "spawn"),
    "reports": ("on_worker_complete", "on_complete", "_on_complete", "callback", "_callback"),
    "work": (
        *("process", "process_issue", "process_function", "process_fn", "work"),
        *("_process", "_process_issue", "_process_function", "_process_fn", "_work"),
    ),
    "cancel": ("cancel",),
    "shutdown": ("shutdown", "close", "stop", "terminate", "__exit__"),
    "idle": ("active_count", "is_idle", "drain", "join"),
    "parts": ("queue", "pool", "worker_pool"),
}


class NotWatchable(TypeError):
    """The ledger cannot understand this object, or the mapping does not fit it; says what would."""


def usual_lifecycle(obj: object) -> Lifecycle:
    """What the usual names among the attributes of `obj` say. May be empty."""
    found: dict[str, Any] = {
        role: tuple(name for name in names if _has(obj, name)) for role, names in USUAL_NAMES.items()
    }
    # A private method of the pool's class is a step of its own making; what it was given it keeps itself.
    found["work"] = tuple(
        name for name in found["work"] if not name.startswith("_") or name in getattr(obj, "__dict__", ())
    )
    if found["submitted"] and found["started"]:
        # What a queue calls its queue is where it keeps its items.
        found["parts"] = tuple(name for name in found["parts"] if name != "queue")
    lifecycle = Lifecycle(**found)
    if lifecycle.is_empty():
        # An orchestrator, if anything: it may keep its parts to itself.
        private = tuple(name for name in ("_queue", "_pool", "_worker_pool") if _has(obj, name))
        return dataclasses.replace(lifecycle, parts=lifecycle.parts + private)
    return lifecycle


def mapped_lifecycle(
    obj: object, mapping: Mapping[str, str | Sequence[str] | Callable[[object], str | None]]
) -> Lifecycle:
    """The lifecycle that a user's mapping describes: role to method name, or several names.

    Raises NotWatchable for a role that does not exist and for a method that `obj` does not have.
    """
    __tracebackhide__ = True
    fields: dict[str, Any] = {}
    issue_id = None
    for role, value in mapping.items():
        if role == "issue_id" and callable(value):
            issue_id = value
            continue
        if role not in (*ROLES, "completion"):
            raise NotWatchable(
                f"watch() knows no role {role!r}\n  roles: {', '.join((*ROLES, 'completion', 'issue_id'))}"
            )
        if callable(value):
            raise NotWatchable(f"watch({role}=...) takes the name of a method, not {value!r}")
        names = (value,) if isinstance(value, str) else tuple(value)
        missing = [name for name in names if not _has(obj, name)]
        if missing and role != "completion":
            raise NotWatchable(
                f"watch({role}={value!r}): {type(obj).__name__} has no attribute {missing[0]!r}\n"
                f"  it has: {', '.join(_public_names(obj)) or 'no public methods'}"
            )
        fields[role] = names
    _check_completion(obj, fields)
    # What the mapping does not speak of has its usual names, unless it uses them for something else.
    taken = {name for names in fields.values() for name in names}
    usual = usual_lifecycle(obj)
    for role in USUAL_NAMES:
        names = tuple(name for name in getattr(usual, role) if name not in taken)
        fields.setdefault(role, names)
    return dataclasses.replace(Lifecycle(issue_id=issue_id), **fields)


def checked_lifecycle(obj: object, lifecycle: Lifecycle) -> Lifecycle:
    """The lifecycle that a plugin's hook gave, if it fits; a name alone is taken for a tuple of it.

    Raises NotWatchable for a name that `obj` does not have.
    """
    fields: dict[str, Any] = {}
    for role in ROLES:
        value = getattr(lifecycle, role)
        names = (value,) if isinstance(value, str) else tuple(value)
        for name in names:
            if role not in ("parts", "work", "reports") and not _has(obj, name):
                raise NotWatchable(
                    f"the lifecycle of {type(obj).__name__} says {role}={name!r}, which it does not have\n"
                    f"  it has: {', '.join(_public_names(obj)) or 'no public methods'}"
                )
        fields[role] = names
    return dataclasses.replace(lifecycle, **fields)


def _check_completion(obj: object, fields: Mapping[str, Names]) -> None:
    names = fields.get("completion")
    if not names:
        return
    parameters: list[str] = []
    for method in fields.get("dispatched", USUAL_NAMES["dispatched"]):
        with suppress(TypeError, ValueError):
            signature = inspect.signature(getattr(obj, method, None))  # type: ignore[arg-type]
            parameters += signature.parameters
            if any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()):
                return
    if not set(names) & set(parameters):
        raise NotWatchable(
            f"watch(completion={names[0]!r}): no such parameter\n"
            f"  parameters: {', '.join(parameters) or 'none'}"
        )


def not_understood(obj: object) -> NotWatchable:
    """The error for an object with none of the usual names: which were looked for, and what helps."""
    looked_for = ", ".join(
        name
        for role in ("submitted", "started", "completed", "failed", "dispatched")
        for name in USUAL_NAMES[role]
    )
    return NotWatchable(
        f"watch() does not understand {type(obj).__name__}: it has none of the usual names\n"
        f"  looked for: {looked_for}\n"
        f"  it has: {', '.join(_public_names(obj)) or 'no public methods'}\n"
        "  say which of its methods mean what, for example\n"
        '    ledger.watch(q, submitted="put", started="pop", completed="ack", failed="nack")\n'
        "  or implement the hook pytest_littleloops_lifecycle(obj) in a conftest.py"
    )


def find_issue_id(
    value: object,
    read: Callable[[object], str | None] | None = None,
    *,
    own_id: bool = True,
) -> str | None:
    """The id that `value` stands for: itself if it is text, otherwise what it calls `issue_id`.

    A queue's item often wraps the issue (`item.issue`, `item.issue_info`, a tuple), a result may be a
    mapping. With `own_id` its `id` will do as well. `read`, the user's own, is asked for anything but
    text and None. Whatever raises has no id to read.
    """
    if value is None or isinstance(value, str):
        return value
    try:
        if read is not None:
            return read(value)
        if isinstance(value, Mapping):
            keys = ("issue_id", "id") if own_id else ("issue_id",)
            return next((found for key in keys if isinstance(found := value.get(key), str)), None)
        if isinstance(value, tuple | list):
            # A text in it may be anything; the issue is what carries an id.
            carriers = (one for one in value if not isinstance(one, str))
            return next((found for one in carriers if (found := find_issue_id(one)) is not None), None)
        for path in _PATHS if own_id else _PATHS[:-1]:
            held: object = value
            for name in path:
                held = getattr(held, name, None)
            if isinstance(held, str):
                return held
    except Exception:
        pass
    return None


_PATHS = (("issue_id",), ("issue", "issue_id"), ("issue_info", "issue_id"), ("id",))


def _has(obj: object, name: str) -> bool:
    # Without asking the object, which would run its properties, and not what only its metaclass has.
    is_of_its_class = any(name in vars(one) for one in type(obj).__mro__)
    return is_of_its_class or name in getattr(obj, "__dict__", ())


def _public_names(obj: object) -> list[str]:
    return sorted(name for name in dir(type(obj)) if not name.startswith("_"))
