"""An orchestrator that keeps a journal of every completion, over a real queue.

It marks the queue as an orchestrator does, and can be told to raise or to be slow about an issue. It has
no loop and no threads: the test dispatches by `submit_all`, to whatever pool it wants to try.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from pytest_littleloops.harness.fake_future import require_exception
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang, wait_for
from pytest_littleloops.reference.model import IllegalTransition, Issue, IssueState, WorkerResult
from pytest_littleloops.reference.queue import IssueQueue


class SubmitsIssues(Protocol):
    """What `submit_all` needs of a pool."""

    def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> Future[WorkerResult]:
        """Accept `issue` and owe `on_complete` one call, or raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionCall:
    """One call of `on_worker_complete`, in the journal from its first moment on."""

    result: WorkerResult
    thread: str
    """The name of the thread that called."""
    raised: BaseException | None = None
    """What the call raised; None if it returned, or has not ended."""
    has_ended: bool = False
    """True once it has returned or raised."""

    def __str__(self) -> str:
        outcome = _state_by(self.result)
        said = f", {self.result.error}" if self.result.error else ""
        if self.raised is not None:
            ending = f"it raised {type(self.raised).__name__}: {self.raised}"
        else:
            ending = "it returned" if self.has_ended else "it has not ended"
        return f"{outcome}{said}, called in {self.thread}; {ending}"


class RecordingOrchestrator:
    """A real `queue`, and a journal of every `on_worker_complete` call.

    Each completion marks the queue by its result: interrupted, completed or failed. A mark that
    contradicts an earlier one raises IllegalTransition into the pool, as it would in production, and is
    in the journal. All methods may be called from any thread; `patience`, in seconds, bounds every wait.
    """

    def __init__(self, *, patience: float = DEFAULT_PATIENCE) -> None:
        self.queue = IssueQueue()
        self._patience = patience
        self._dispatching = threading.Lock()
        self._lock = threading.Lock()
        self._calls: list[CompletionCall] = []
        self._called: dict[str, threading.Event] = defaultdict(lambda: threading.Event())
        self._proceed: dict[str, threading.Event] = {}
        self._errors: dict[str, BaseException] = {}
        self._owed: Counter[str] = Counter()
        self._nothing_owed = threading.Event()
        self._nothing_owed.set()

    @property
    def completions(self) -> tuple[CompletionCall, ...]:
        """Every call so far, in the order in which they began."""
        with self._lock:
            return tuple(self._calls)

    def completions_of(self, issue_id: str) -> tuple[CompletionCall, ...]:
        """The calls that spoke of this issue."""
        return tuple(call for call in self.completions if _id_of(call.result) == issue_id)

    def on_worker_complete(self, result: WorkerResult) -> None:
        """Journal the call, then do what `slow` and `raise_on` said of the issue, or mark the queue.

        Raises what `raise_on` was given, Hang if nobody lets a slow one proceed, IllegalTransition if
        the mark contradicts an earlier one.
        """
        issue_id = _id_of(result)
        with self._lock:
            position = len(self._calls)
            self._calls.append(CompletionCall(result=result, thread=threading.current_thread().name))
            called = self._called[issue_id]
            gate = self._proceed.get(issue_id)
            error = self._errors.get(issue_id)
        called.set()
        raised: BaseException | None = None
        try:
            if gate is not None:
                wait_for(gate, f"proceed({issue_id!r}), its completion being slow", self._patience)
            if error is not None:
                raise error
            self._mark(result)
        except BaseException as caught:
            raised = caught
            raise
        finally:
            with self._lock:
                self._calls[position] = replace(self._calls[position], raised=raised, has_ended=True)
            self._settle(issue_id)
            # The exception's traceback holds this frame, so the frame must not hold the exception.
            del raised

    def raise_on(self, issue_id: str, error: BaseException) -> None:
        """Have completions of this issue raise `error` instead of marking.

        Raises TypeError if `error` is no exception.
        """
        require_exception(error, "raise_on()")
        with self._lock:
            self._errors[issue_id] = error

    def slow(self, issue_id: str) -> None:
        """Have completions of this issue block until `proceed`, at most `patience` seconds."""
        with self._lock:
            self._proceed.setdefault(issue_id, threading.Event())

    def proceed(self, issue_id: str) -> None:
        """Let completions of a slow issue go on, now and from now on.

        Raises LookupError if it is not slow.
        """
        with self._lock:
            gate = self._proceed.get(issue_id)
        if gate is None:
            raise LookupError(f"no completion of {issue_id} is slow; call slow({issue_id!r}) first")
        gate.set()

    def wait_until_called(self, issue_id: str) -> None:
        """Wait until a completion of this issue has been called; it may not have ended yet.

        Raises Hang after `patience` seconds.
        """
        __tracebackhide__ = True
        with self._lock:
            called = self._called[issue_id]
        wait_for(called, f"on_worker_complete() to be called for {issue_id}", self._patience)

    def submit_all(self, pool: SubmitsIssues, issues: Iterable[Issue]) -> list[Future[WorkerResult]]:
        """Dispatch each issue as an orchestrator does: into the queue, out of it, to the pool.

        Gives the futures in the order of `issues`. What else waits in the queue is dispatched along where
        it is more urgent. If the pool refuses an issue, that one is marked failed and what the pool
        raised is raised at once; the issues behind it are not in the queue yet.

        Raises ValueError for an issue that the queue knows and that is not waiting there.
        """
        futures = []
        for issue in issues:
            # One step, so that of two threads each takes what it added.
            with self._dispatching:
                taken = self._take(issue)
            futures.append(self._submit_in_turn(pool, taken))
        return futures

    def wait_for_all(self, timeout: float | None = None) -> None:
        """Wait until each submission of `submit_all` has had a completion that returned or raised.

        Raises Hang after `timeout` seconds, by default `patience`.
        """
        __tracebackhide__ = True
        timeout = self._patience if timeout is None else timeout
        if not self._nothing_owed.wait(timeout):
            with self._lock:
                owed = ", ".join(sorted(self._owed))
            raise Hang(f"the completions of {owed}", timeout)

    def assert_terminal(self, issue_id: str, state: IssueState | str | None = None) -> None:
        """Raise AssertionError unless the queue has this issue in a terminal state, `state` if given.

        Never waits. Raises ValueError for a word that is no terminal state.
        """
        __tracebackhide__ = True
        wanted = _terminal(state)
        found = self.queue.states().get(issue_id)
        if found is not None and found.is_terminal and wanted in (None, found):
            return
        calls = self.completions_of(issue_id)
        lines = [f"    {number}. {call}" for number, call in enumerate(calls, start=1)]
        raise AssertionError(
            f"{issue_id} is {found or 'unknown'}, not {wanted or 'in a terminal state'}\n"
            f"  the queue says: {found or 'it was never added'}\n"
            f"  completions: {len(calls)}\n"
            + "".join(f"{line}\n" for line in lines)
            + f"  next step: {_next_step(issue_id, found, calls)}"
        )

    def _take(self, issue: Issue) -> list[Issue]:
        """The issues that the queue hands out up to `issue`."""
        is_new = self.queue.add(issue)
        state = self.queue.state_of(issue.issue_id)
        if not is_new and state is not IssueState.QUEUED:
            raise ValueError(
                f"{issue.issue_id} cannot be submitted: in this queue it is {state} already\n"
                f"  next step: queue.requeue({issue.issue_id!r}) first, or submit it to the pool by hand"
            )
        taken = [self.queue.get(block=False)]
        while taken[-1].issue_id != issue.issue_id:
            taken.append(self.queue.get(block=False))
        return taken

    def _submit_in_turn(self, pool: SubmitsIssues, taken: list[Issue]) -> Future[WorkerResult]:
        """The future of the last of them. If one is refused, those behind it go back into the queue."""
        *before, last = taken
        for position, issue in enumerate(before, start=1):
            try:
                self._submit(pool, issue)
            except BaseException:
                for left in taken[position:]:
                    self.queue.requeue(left.issue_id)
                raise
        return self._submit(pool, last)

    def _submit(self, pool: SubmitsIssues, issue: Issue) -> Future[WorkerResult]:
        issue_id = issue.issue_id
        with self._lock:
            # Before the pool has it, since the completion may come before submit() returns.
            self._owed[issue_id] += 1
            self._nothing_owed.clear()
        try:
            return pool.submit(issue, on_complete=self.on_worker_complete)
        except BaseException:
            self._settle(issue_id)
            # A pool that completed it and then raised has decided its state.
            with suppress(IllegalTransition):
                self.queue.mark_failed(issue_id)
            raise

    def _settle(self, issue_id: str) -> None:
        with self._lock:
            self._owed[issue_id] -= 1
            if self._owed[issue_id] <= 0:
                del self._owed[issue_id]
            if not self._owed:
                self._nothing_owed.set()

    def _mark(self, result: WorkerResult) -> None:
        mark = {
            IssueState.INTERRUPTED: self.queue.mark_interrupted,
            IssueState.COMPLETED: self.queue.mark_completed,
            IssueState.FAILED: self.queue.mark_failed,
        }
        mark[_state_by(result)](result.issue_id)


def _id_of(result: WorkerResult) -> str:
    # A lossy pool may complete with anything, and that call belongs in the journal too.
    return str(getattr(result, "issue_id", ""))


def _state_by(result: WorkerResult) -> IssueState:
    if result.interrupted:
        return IssueState.INTERRUPTED
    return IssueState.COMPLETED if result.success else IssueState.FAILED


def _terminal(state: IssueState | str | None) -> IssueState | None:
    if state is None:
        return None
    terminal = [one for one in IssueState if one.is_terminal]
    if state not in terminal:
        raise ValueError(f"{str(state)!r} is no terminal state; these are: {', '.join(terminal)}")
    return IssueState(state)


def _next_step(issue_id: str, found: IssueState | None, calls: tuple[CompletionCall, ...]) -> str:
    if found is None:
        return f"submit_all(pool, [...]) with {issue_id} among the issues"
    if found.is_terminal:
        return "see which of the completions above marked it, and with what result"
    if not all(call.has_ended for call in calls):
        return f"proceed({issue_id!r}) if it is slow, then wait_for_all(), before asserting"
    if calls:
        return "have the completion mark the issue also where it raises"
    return "wait_for_all() before asserting; if that hangs, find where the pool lost the completion"
