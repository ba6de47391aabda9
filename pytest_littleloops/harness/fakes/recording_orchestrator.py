"""An orchestrator without a loop: the test dispatches, the queue is real, every completion is journalled.

It marks its queue by what a completion says, as a production orchestrator does, and by nothing else: what
a pool loses stays in progress here, for the test to see. Pools of any kind may call it, also inline.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol, TypeVar

from pytest_littleloops.harness.fakes.factories import require_issue_id
from pytest_littleloops.harness.fakes.fake_future import require_exception
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, hang, wait_for
from pytest_littleloops.reference.model import Issue, IssueState, WorkerResult
from pytest_littleloops.reference.queue import IssueQueue
from pytest_littleloops.simulation.inside import patiently

Accepted = TypeVar("Accepted")
Accepted_co = TypeVar("Accepted_co", covariant=True)


class AcceptsIssues(Protocol[Accepted_co]):
    """What `submit_all` asks of a pool; how its parameters are called does not matter."""

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object], /) -> Accepted_co:
        """Owe `on_complete` one call with the result of `issue`, or raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionCall:
    """One call of `on_worker_complete`, as it stood when the journal was read."""

    result: WorkerResult
    thread: str
    """The name of the thread that called."""
    raised: BaseException | None = None
    """What the call raised; None if it returned, or goes on."""
    has_ended: bool = False
    """True once the call has returned or raised."""

    def __str__(self) -> str:
        if self.raised is not None:
            ending = f"raised {self.raised!r}"
        else:
            ending = "returned" if self.has_ended else "has not ended yet"
        return f"{_told_by(self.result)}, called by {self.thread}, {ending}"


class RecordingOrchestrator:
    """A real `queue`, and a journal of every call of `on_worker_complete`.

    No lock is held while the pool or the queue is called, and each wait is bounded by `patience`, in
    seconds. All methods may be called from any thread.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self.queue = IssueQueue()
        self._patience = patience
        self._changed = threading.Condition()
        self._journal: list[CompletionCall] = []
        self._called: set[str] = set()
        self._owed: dict[str, int] = {}
        self._errors: dict[str, BaseException] = {}
        self._gates: dict[str, threading.Event] = {}

    @property
    def completions(self) -> tuple[CompletionCall, ...]:
        """Every call so far, in the order in which they began."""
        with self._changed:
            return tuple(self._journal)

    def completions_of(self, issue_id: str) -> tuple[CompletionCall, ...]:
        """The calls for one issue."""
        require_issue_id(issue_id, "completions_of()")
        return tuple(call for call in self.completions if _id_in(call.result) == issue_id)

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Journal this call, then mark the issue interrupted, completed or failed, as `result` says.

        Raises what `raise_on` asked for, Hang if a `slow` one is not let go, TypeError for what carries
        no id, and IllegalTransition if the mark contradicts the queue. All of that is in the journal.
        """
        with self._changed:
            position = len(self._journal)
            self._journal.append(CompletionCall(result=result, thread=threading.current_thread().name))
            self._called.add(_id_in(result))
            self._changed.notify_all()
        try:
            self._complete(result)
        except BaseException as error:
            self._end(position, error)
            raise
        self._end(position, None)

    def raise_on(self, issue_id: str, error: BaseException) -> None:
        """Have each completion of this issue raise `error` from now on, instead of marking it.

        Raises TypeError if `error` is no exception.
        """
        require_issue_id(issue_id, "raise_on()")
        require_exception(error, "raise_on()")
        with self._changed:
            self._errors[issue_id] = error

    def slow(self, issue_id: str) -> None:
        """Have each completion of this issue wait for `proceed` from now on, before it does anything."""
        require_issue_id(issue_id, "slow()")
        with self._changed:
            if issue_id not in self._gates or self._gates[issue_id].is_set():
                self._gates[issue_id] = threading.Event()

    def proceed(self, issue_id: str) -> None:
        """Let the completions of a slow issue go on, those that wait and those that come.

        Raises LookupError if `slow` was not called for it.
        """
        require_issue_id(issue_id, "proceed()")
        with self._changed:
            gate = self._gates.get(issue_id)
        if gate is None:
            raise LookupError(f"no completion of {issue_id} waits for proceed(); call slow() for it first")
        gate.set()

    def wait_until_called(self, issue_id: str) -> None:
        """Wait until a completion of this issue has been called; it may go on still.

        Raises Hang after `patience` seconds.
        """
        __tracebackhide__ = True
        require_issue_id(issue_id, "wait_until_called()")
        with self._changed, patiently():
            is_called = self._changed.wait_for(lambda: issue_id in self._called, self._patience)
        if not is_called:
            raise hang(f"on_worker_complete() to be called for {issue_id}", self._patience)

    def submit_all(self, pool: AcceptsIssues[Accepted], issues: Iterable[Issue]) -> list[Accepted]:
        """Add the issues to the queue, then take out what waits there, P0 first, and submit it.

        Gives what `pool.submit` returned, in the order of `issues`; what else waited in the queue is
        submitted as well, and comes last. An issue that another thread's `submit_all` took is missing.

        Whatever `pool.submit` raises is raised at once. The refused issue stays in progress and is the
        caller's to mark, since to repair that here would hide LL104; those behind it stay queued.

        Raises ValueError, and adds nothing, for an issue that is given twice or was taken before.
        """
        positions = {issue_id: position for position, issue_id in enumerate(self._admit(issues))}
        returned: list[tuple[int, Accepted]] = []
        while True:
            try:
                issue = self.queue.get(block=False)
            except queue.Empty:
                return [value for _, value in sorted(returned, key=itemgetter(0))]
            position = positions.get(issue.issue_id, len(positions))
            returned.append((position, self._submit(pool, issue)))

    def wait_for_all(self, timeout: float | None = None) -> None:
        """Wait until for each issue that a pool accepted from `submit_all` a completion has ended.

        Raises Hang, naming those without, after `timeout` seconds, by default `patience`.
        """
        __tracebackhide__ = True
        limit = self._patience if timeout is None else timeout
        with self._changed:
            with patiently():
                self._changed.wait_for(lambda: not self._owed, limit)
            missing = ", ".join(self._owed)
        if missing:
            raise hang(f"the completion of {missing} to end", limit)

    def assert_terminal(self, issue_id: str, state: IssueState | str | None = None) -> None:
        """Raise AssertionError unless the queue has this issue in a terminal state: in `state` if given.

        Never waits. Raises ValueError if `state` is no terminal state.
        """
        __tracebackhide__ = True
        require_issue_id(issue_id, "assert_terminal()")
        terminal = [one for one in IssueState if one.is_terminal]
        if state is not None and state not in terminal:
            raise ValueError(f"{str(state)!r} is no terminal state; those are {', '.join(terminal)}")
        found = self.queue.states().get(issue_id)
        if found in (terminal if state is None else [state]):
            return
        calls = self.completions_of(issue_id)
        facts = [f"  completion {number}: {call}" for number, call in enumerate(calls, start=1)]
        claim = f"{issue_id} should be {state or 'in a terminal state'}"
        says = "never had it" if found is None else f"says {found}"
        raise AssertionError(
            f"{claim}, but the queue {says}\n"
            + "\n".join(facts or ["  no completion was called for it"])
            + f"\n  next step: {_next_step(found, calls)}"
        )

    def _admit(self, issues: Iterable[Issue]) -> list[str]:
        """Add issues to the queue, if they may all be; their ids."""
        admitted: dict[str, Issue] = {}
        states = self.queue.states()
        for issue in issues:
            if not isinstance(issue, Issue):
                raise TypeError(f"submit_all() takes a pool and issues, not {issue!r}")
            issue_id = issue.issue_id
            state = "given" if issue_id in admitted else states.get(issue_id, IssueState.QUEUED)
            if state != IssueState.QUEUED:
                raise ValueError(
                    f"submit_all() does not submit {issue_id} again, which is {state} already\n"
                    f"  next step: queue.requeue({issue_id!r}) in between, or an id of its own"
                )
            admitted[issue_id] = issue
        self.queue.add_many(admitted.values())
        return list(admitted)

    def _submit(self, pool: AcceptsIssues[Accepted], issue: Issue) -> Accepted:
        with self._changed:
            # Beforehand, since the completion may be called before submit() returns.
            self._owed[issue.issue_id] = self._owed.get(issue.issue_id, 0) + 1
        try:
            return pool.submit(issue, self.on_worker_complete)
        except BaseException:
            with self._changed:
                self._settle(issue.issue_id)
            raise

    def _complete(self, result: WorkerResult) -> None:
        issue_id = _id_in(result)
        with self._changed:
            gate, error = self._gates.get(issue_id), self._errors.get(issue_id)
        if gate is not None:
            wait_for(gate, f"proceed() to be called for the slow completion of {issue_id}", self._patience)
        if error is not None:
            raise error
        if not issue_id:
            raise TypeError(f"on_worker_complete() takes a WorkerResult, not {result!r}")
        mark = {
            IssueState.INTERRUPTED: self.queue.mark_interrupted,
            IssueState.COMPLETED: self.queue.mark_completed,
            IssueState.FAILED: self.queue.mark_failed,
        }
        mark[_state_told_by(result)](issue_id)

    def _end(self, position: int, raised: BaseException | None) -> None:
        with self._changed:
            call = dataclasses.replace(self._journal[position], raised=raised, has_ended=True)
            self._journal[position] = call
            self._settle(_id_in(call.result))

    def _settle(self, issue_id: str) -> None:
        """Owe one completion of this issue less, if one is owed. Called with the lock held."""
        owed = self._owed.pop(issue_id, 0)
        if owed > 1:
            self._owed[issue_id] = owed - 1
        self._changed.notify_all()


def _id_in(result: object) -> str:
    # A faulty pool may complete with anything; that call belongs into the journal too.
    found = getattr(result, "issue_id", None)
    return found if isinstance(found, str) else ""


def _state_told_by(result: WorkerResult) -> IssueState:
    # Other projects' results do not all know interruption.
    if getattr(result, "interrupted", False):
        return IssueState.INTERRUPTED
    return IssueState.COMPLETED if result.success else IssueState.FAILED


def _told_by(result: WorkerResult) -> str:
    if not hasattr(result, "success"):
        return repr(result)
    # The text of a hang has all stacks; its first line is enough here.
    error = (getattr(result, "error", None) or "").partition("\n")[0]
    return f"{_state_told_by(result)}{f' ({error})' if error else ''}"


def _next_step(found: IssueState | None, calls: tuple[CompletionCall, ...]) -> str:
    if found is None:
        return "check the id, or dispatch the issue with submit_all()"
    if found.is_terminal:
        return "see which completion above, or which mark by hand, decided that"
    if found is IssueState.QUEUED:
        return "dispatch it: submit_all(pool, []) submits whatever waits"
    if not all(call.has_ended for call in calls):
        return "let the completion end: proceed() if it is slow, then wait_for_all()"
    if any(call.raised is not None for call in calls):
        return "mark an issue failed when its completion raises"
    return "wait_for_all() before asserting; if that hangs, the pool has lost the completion"
