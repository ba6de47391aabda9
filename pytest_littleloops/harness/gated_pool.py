"""A reference pool in which the test decides when and how the work on each issue ends.

Only the process function is the test's: submitting, cancelling, counting and completing are the real
pool's. What is submitted, and what hears of the completions, lives elsewhere.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from pytest_littleloops.harness.factories import WorkerResults
from pytest_littleloops.harness.fake_future import require_exception
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang, wait_for
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool


class GatedPool(WorkerPool):
    """A `WorkerPool` whose bodies wait until the test says how they end.

    `release`, `fail` and `crash` open the gate of an issue id. That may come before or after its body
    begins, and holds for every submission of that id; to open a gate a second time with something else
    is a ValueError. The bodies wait at most `patience` seconds, then they fail with Hang.

    Start it as any pool, by `start` or as a context manager. All methods may be called from any thread.
    """

    def __init__(self, *, max_workers: int = 4, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        # The gates are an object of their own: a pool that held its own method would not be collected
        # when the test drops it.
        self._gates = _Gates(patience)
        super().__init__(self._gates.work, max_workers=max_workers)

    def release(self, issue_id: str, result: WorkerResult | None = None) -> None:
        """Have the body of `issue_id` return `result`, by default a completed one."""
        self._gates.open(issue_id, _Outcome(verb="release", result=result))

    def fail(self, issue_id: str, error: Exception) -> None:
        """Have the body of `issue_id` raise `error`.

        Raises TypeError for what is no `Exception`; `crash` takes the others.
        """
        require_exception(error, "fail()")
        if not isinstance(error, Exception):
            raise TypeError(f"fail() takes an Exception, not {error!r}; crash() takes any BaseException")
        self._gates.open(issue_id, _Outcome(verb="fail", error=error))

    def crash(self, issue_id: str, error: BaseException | None = None) -> None:
        """Have the body of `issue_id` raise `error`, by default SystemExit.

        Raises TypeError if `error` is no exception.
        """
        if error is not None:
            require_exception(error, "crash()")
        self._gates.open(issue_id, _Outcome(verb="crash", error=error))

    def open_all(self) -> None:
        """Have every body whose gate is closed, now and from now on, return an interrupted result."""
        self._gates.open_all()

    def wait_until_running(self, issue_id: str) -> None:
        """Wait until a body of `issue_id` has begun; it may have ended since.

        Raises Hang after `patience` seconds.
        """
        __tracebackhide__ = True
        wait_for(self._gates.of(issue_id).has_begun, f"the body of {issue_id} to begin", self._patience)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Shut down as any pool does; with `wait`, `open_all` comes first, since else it would hang.

        What `cancel_pending` cancels is cancelled before that. Raises Hang if a completion does not return
        within `patience` seconds.
        """
        __tracebackhide__ = True
        super().shutdown(wait=False, cancel_pending=cancel_pending)
        if not wait:
            return
        self.open_all()
        # From inside its own work the pool cannot be waited for, and does not wait below either.
        if not self._own_calls.is_inside() and not super().drain(self._patience):
            raise Hang(f"the completions of {super().active_count} submissions to return", self._patience)
        super().shutdown(wait=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    verb: str
    result: WorkerResult | None = None
    error: BaseException | None = None

    def __str__(self) -> str:
        given = self.error if self.result is None else self.result
        return self.verb if given is None else f"{self.verb} with {given!r}"

    def end(self, issue_id: str) -> WorkerResult:
        """End a body this way."""
        if self.verb == "crash" and self.error is None:
            raise SystemExit(f"the worker of {issue_id} crashed")
        if self.error is not None:
            raise self.error
        if self is _INTERRUPTED:
            return WorkerResults().interrupted(issue_id)
        return WorkerResults().completed(issue_id) if self.result is None else self.result


_INTERRUPTED = _Outcome(verb="open_all")


@dataclass(slots=True, eq=False)
class _Gate:
    has_begun: threading.Event = field(default_factory=lambda: threading.Event())
    is_open: threading.Event = field(default_factory=lambda: threading.Event())
    outcome: _Outcome | None = None


class _Gates:
    """One gate for each issue id, made when it is first spoken of, and the work that waits there."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._gates: dict[str, _Gate] = {}
        self._are_all_open = False

    def work(self, issue: Issue) -> WorkerResult:
        """The process function: wait at the gate, then end as it says."""
        __tracebackhide__ = True
        gate = self.of(issue.issue_id)
        gate.has_begun.set()
        wait_for(gate.is_open, f"release(), fail() or crash() of {issue.issue_id}", self._patience)
        assert gate.outcome is not None, "a gate is told its outcome before it opens"
        return gate.outcome.end(issue.issue_id)

    def of(self, issue_id: str) -> _Gate:
        """The gate of this id."""
        with self._lock:
            gate = self._gates.setdefault(issue_id, _Gate())
            if self._are_all_open and gate.outcome is None:
                gate.outcome = _INTERRUPTED
                gate.is_open.set()
            return gate

    def open(self, issue_id: str, outcome: _Outcome) -> None:
        """Open one gate. Raises ValueError if it is open for something else."""
        gate = self.of(issue_id)
        with self._lock:
            before = gate.outcome
            if before is None:
                gate.outcome = outcome
        if before is not None and before != outcome:
            raise ValueError(
                f"the gate of {issue_id} is open already, and what it was opened for stays\n"
                f"  before: {before}\n"
                f"  now:    {outcome}\n"
                "  next step: give each outcome an issue of its own"
            )
        gate.is_open.set()

    def open_all(self) -> None:
        """Open every gate that is closed, also those not spoken of yet."""
        with self._lock:
            self._are_all_open = True
            issue_ids = list(self._gates)
        for issue_id in issue_ids:
            self.of(issue_id)
