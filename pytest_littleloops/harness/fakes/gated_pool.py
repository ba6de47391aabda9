"""A reference pool whose workers wait until the test says how the work on their issue ends.

Only the process function is special. Submitting, cancelling, counting and completing are those of the real
pool, so a test of them is one of the real pool.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pytest_littleloops.harness.fakes.factories import WorkerResults, require_issue_id
from pytest_littleloops.harness.fakes.fake_future import require_exception
from pytest_littleloops.harness.fakes.pool_factory import wait_until_ended
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, wait_for
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool


class GatedPool(WorkerPool):
    """A `WorkerPool` with a gate in front of the end of each issue, which only the test opens.

    `release`, `fail` and `crash` open the gate of an id and say how its work ends. That holds for every
    submission of the id, also for one that comes later; so a gate may be opened before its issue is
    submitted, but not a second time for something else. `cancel` is the pool's own: it reaches what waits
    for a worker, not what waits at a gate.

    Work that waits longer than `patience` seconds raises Hang, which the pool makes a failed result. As
    any pool it is started by `start` or a `with` block. All methods may be called from any thread.
    """

    def __init__(self, *, max_workers: int = 4, patience: float = DEFAULT_PATIENCE) -> None:
        self._patience = patience
        # Not a method of the pool's own: a pool that holds itself lives on when the test drops it.
        self._gates = _Gates(patience)
        super().__init__(self._gates.pass_through, max_workers=max_workers)

    def release(self, issue_id: str, result: WorkerResult | None = None) -> None:
        """Let the work on this issue end with `result`, by default that of a success.

        Raises TypeError if `result` is something else, ValueError if the gate is open for something else.
        """
        if result is not None and not isinstance(result, WorkerResult):
            raise TypeError(f"release() takes a WorkerResult or nothing, not {result!r}")
        self._gates.open(issue_id, _Ending(method="release", result=result))

    def fail(self, issue_id: str, error: Exception) -> None:
        """Let the work on this issue raise `error`.

        Raises TypeError if that is no `Exception`, ValueError if the gate is open for something else.
        """
        require_exception(error, "fail()")
        if not isinstance(error, Exception):
            raise TypeError(f"fail() takes an Exception, not {error!r}; crash() takes any exception")
        self._gates.open(issue_id, _Ending(method="fail", error=error))

    def crash(self, issue_id: str, error: BaseException | None = None) -> None:
        """Let the work on this issue raise `error`, by default SystemExit, which is no `Exception`.

        Raises TypeError if `error` is no exception, ValueError if the gate is open for something else.
        """
        if error is not None:
            require_exception(error, "crash()")
        self._gates.open(issue_id, _Ending(method="crash", error=error))

    def cancel(self, issue_id: str) -> bool:
        """Cancel what waits for a worker; let what waits at its gate end with an interrupted result.

        True if there was anything of this issue that had not ended. Either way the completion is
        `interrupted`; the future of work that had begun carries that result and is not cancelled.
        """
        is_cancelled = super().cancel(issue_id)
        with self._lock:
            is_at_its_gate = issue_id in self._pending_callbacks.values()
        if is_at_its_gate:
            is_cancelled |= self._gates.interrupt(issue_id)
        return is_cancelled

    def wait_until_running(self, issue_id: str) -> None:
        """Wait until the work on this issue has begun; it may have ended since.

        Raises Hang after `patience` seconds.
        """
        __tracebackhide__ = True
        begun = self._gates.of(issue_id, "wait_until_running()").begun
        wait_for(begun, f"the work on {issue_id} to begin", self._patience)

    def shutdown(self, wait: bool = True, cancel_pending: bool = False) -> None:
        """Accept nothing more. With `wait`, open the gates that are closed and wait for the end.

        Work behind a gate that was opened here ends with an interrupted result, as does the work that
        begins only now; with `cancel_pending` the latter is cancelled before. So nothing has to be
        released for a shutdown to return, and neither for a `with` block to end.

        Raises Hang if the completions take longer than `patience` seconds, or then the threads. From
        inside this pool's own work, which cannot be waited for there, it only opens the gates.
        """
        __tracebackhide__ = True
        super().shutdown(wait=False, cancel_pending=cancel_pending)
        if not wait:
            return
        self._gates.open_all()
        if not self._own_calls.is_inside():
            wait_until_ended(self, self._patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """How the work on an issue ends, and the method that said so."""

    method: str
    result: WorkerResult | None = None
    error: BaseException | None = None

    def __str__(self) -> str:
        given = self.error if self.result is None else self.result
        return f"{self.method}()" if given is None else f"{self.method}() with {given!r}"

    def come(self, issue_id: str) -> WorkerResult:
        """End the calling work so."""
        if self.error is not None:
            raise self.error
        if self.method == "crash":
            raise SystemExit(f"the worker of {issue_id} crashed")
        if self.method in ("shutdown", "cancel"):
            return WorkerResults().interrupted(issue_id)
        return WorkerResults().completed(issue_id) if self.result is None else self.result


class _Gate:
    """Where the work on one id waits."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()
        self.ending: _Ending | None = None


class _Gates:
    """A gate for every id there may be, made when it is first asked for. Thread-safe."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._gates: dict[str, _Gate] = {}
        self._is_all_open = False

    def pass_through(self, issue: Issue) -> WorkerResult:
        """Wait at the gate of this issue, and end as it says: the process function."""
        __tracebackhide__ = True
        issue_id = issue.issue_id
        gate = self.of(issue_id, "the pool")
        gate.begun.set()
        wait_for(gate.opened, f"release(), fail() or crash() to be called for {issue_id}", self._patience)
        assert gate.ending is not None, "it is set before the event"
        return gate.ending.come(issue_id)

    def of(self, issue_id: str, caller: str) -> _Gate:
        """The gate of this id, which `caller` asks for. Raises TypeError if it is no string."""
        require_issue_id(issue_id, caller)
        with self._lock:
            if issue_id not in self._gates:
                self._gates[issue_id] = _Gate()
                if self._is_all_open:
                    _open(self._gates[issue_id], _Ending(method="shutdown"))
            return self._gates[issue_id]

    def open(self, issue_id: str, ending: _Ending) -> None:
        """Open one gate. Raises ValueError if it is open for something else."""
        gate = self.of(issue_id, f"{ending.method}()")
        with self._lock:
            before = gate.ending
            if before is None:
                _open(gate, ending)
        if before not in (None, ending):
            raise ValueError(
                f"the gate of {issue_id} was opened by {before} before, and cannot be by {ending}\n"
                "  next step: use another id, since all work on this one ends alike"
            )

    def interrupt(self, issue_id: str) -> bool:
        """Open one gate for a cancellation; False if it is open already."""
        gate = self.of(issue_id, "cancel()")
        with self._lock:
            if gate.ending is not None:
                return False
            _open(gate, _Ending(method="cancel"))
            return True

    def open_all(self) -> None:
        """Open all gates that are closed now, and all that are made from now on, for a shutdown."""
        with self._lock:
            self._is_all_open = True
            for gate in self._gates.values():
                if gate.ending is None:
                    _open(gate, _Ending(method="shutdown"))


def _open(gate: _Gate, ending: _Ending) -> None:
    gate.ending = ending
    gate.opened.set()
