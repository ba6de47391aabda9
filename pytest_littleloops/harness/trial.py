"""One pool or executor on trial: what is submitted to it, what came of that, and the judgement.

The steps of a contract are written on this. It knows how to start, feed, cancel and end what a user's
factory makes, without assuming that `submit` returns before the work has run, or that there is more than
`submit`.
"""

from __future__ import annotations

import gc
import inspect
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pytest_littleloops.harness.accounts.account import Finding
from pytest_littleloops.harness.accounts.processes import child_processes
from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.ledger import Ledger, PromiseBroken
from pytest_littleloops.harness.nemesis import Nemesis
from pytest_littleloops.harness.patience import hang
from pytest_littleloops.harness.watching.adapters import describe as describe_usual
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, find_issue_id
from pytest_littleloops.harness.works import LocalWorks, SentWorks, Works
from pytest_littleloops.reference.model import Issue
from pytest_littleloops.simulation.failures import TaskKilled
from pytest_littleloops.simulation.inside import is_in_world, patiently

_LONG = 10_000.0

_succeed = WorkerResults().completed


class NotOffered(Exception):
    """What the object on trial does not have, so that a promise about it is none of its own."""


class Trial:
    """Everything around one object on trial. To be closed, so that it gives back what it watched.

    `patience` is how many seconds a wait may take; in an exploration it is some hours of virtual time,
    which work that is slow does not exceed.
    """

    def __init__(
        self,
        *,
        make_issue: Callable[[str], Any] = Issue,
        make_result: Callable[[str], object] = _succeed,
        describe: Callable[[object], Lifecycle] = describe_usual,
        patience: float = 10.0,
        works: Works | None = None,
    ) -> None:
        self.ledger = Ledger(describe=describe)
        self.ledger.accepting = 'allow = ("{code}",) in the contract\'s class'
        self.nemesis = Nemesis(note=self._note_fault, patience=patience)
        self.patience = _LONG if is_in_world() else patience
        self.subject: Any = None
        self.works: Works = LocalWorks() if works is None else works
        """What the work on an issue does, other than succeed: `trial.works[issue_id] = function`."""
        self.submitted: list[str] = []
        """The issues that were submitted, each as often as it was."""
        self.completed: list[str] = []
        """The issues whose completion was called."""
        self.refused: dict[str, BaseException] = {}
        """What `submit` raised."""
        self.futures: dict[str, Any] = {}
        self._make_issue = make_issue
        self._make_result = make_result
        self._takes_function = False
        self._helpers: list[threading.Thread] = []
        self._completing: dict[threading.Thread, str] = {}
        # Who did not come back, once that is told.
        self._told: set[threading.Thread] = set()
        self._deaths: list[str] = []
        self._hook = threading.excepthook
        self._before = set(threading.enumerate())
        # Processes are real in an exploration too, and a look at all of them is no cheap one.
        self._processes_before = {} if is_in_world() else child_processes()
        self._worktrees: dict[str, Path] = {}
        self._errors: list[BaseException] = []

    # -- the object

    def put(
        self,
        subject: object,
        *,
        must_have: tuple[str, ...] = ("submit",),
        takes_function: bool = False,
        is_watched: bool = True,
    ) -> None:
        """Have this be the object on trial. Raises TypeError if it has not these methods.

        One that takes a function is given the work with each issue, and a done-callback for a completion.
        """
        for name in must_have:
            if not callable(getattr(subject, name, None)):
                raise TypeError(f"the factory returned {subject!r}, which has no method {name}()")
        self._takes_function = takes_function
        threading.excepthook = self._note_death
        self.subject = self.ledger.watch(subject) if is_watched else subject
        start = getattr(subject, "start", None)
        if callable(start):
            start()

    def needs(self, *names: str) -> None:
        """Raises NotOffered if the object on trial lacks one of these attributes."""
        for name in names:
            if not hasattr(self.subject, name):
                raise NotOffered(f"it has no {name}")

    @property
    def process(self) -> Callable[[object], object]:
        """The process function that the object on trial is given."""
        return self.works.process

    @property
    def begun(self) -> list[str]:
        """The issues whose work has begun, in that order, as often as it has."""
        return self.works.begun

    # -- what is done to it

    def submit(
        self,
        issue_id: str,
        on_complete: Callable[[Any], object] | None = None,
        *,
        issue: object = None,
    ) -> None:
        """Submit an issue with a completion; a refusal is kept. `issue` is one of your own making."""
        issue = self._make_issue(issue_id) if issue is None else issue
        self.works.offer(issue_id, self._make_result(issue_id))

        def complete(result: Any) -> None:
            self.completed.append(issue_id)
            worktree = getattr(result, "worktree_path", None)
            if isinstance(worktree, Path) and worktree != Path():
                self._worktrees[issue_id] = worktree
            if not self._takes_function and find_issue_id(result) is None:
                # As whoever marks an issue does: it needs to know which.
                raise AttributeError(f"the completion of {issue_id} was called with {result!r}")
            if on_complete is not None:
                thread = threading.current_thread()
                self._completing[thread] = issue_id
                try:
                    on_complete(result)
                finally:
                    self._completing.pop(thread, None)

        self.submitted.append(issue_id)
        try:
            if self._takes_function:
                self.futures[issue_id] = self.subject.submit(self.process, issue)
            else:
                self.futures[issue_id] = self.subject.submit(issue, complete)
        except TaskKilled:
            raise
        except BaseException as error:
            self.refused[issue_id] = error
            return
        if self._takes_function:
            # If it is done already the callback is called right here, and what that raises is ours.
            with suppress(Exception, SystemExit):
                self.future_of(issue_id).add_done_callback(complete)

    def cancel(self, issue_id: str, *, by_future: bool = False) -> bool:
        """Ask for an issue to be cancelled, by the pool or else its future.

        Raises NotOffered if there is no such thing.
        """
        cancel = getattr(self.subject, "cancel", None)
        if callable(cancel) and not by_future:
            return bool(cancel(issue_id))
        return bool(self.future_of(issue_id).cancel())

    def future_of(self, issue_id: str) -> Any:
        """The future of an issue. Raises NotOffered if `submit` returned none."""
        future = self.futures.get(issue_id)
        if not hasattr(future, "add_done_callback"):
            raise NotOffered("its submit() returns no future")
        return future

    def shut_down(self, *, wait: bool = True, cancels: bool = False) -> None:
        """Shut it down. Raises NotOffered if it has no way to, or not that way."""
        self.shutdown_by(wait=wait, cancels=cancels)()

    def shutdown_by(self, *, wait: bool = True, cancels: bool = False) -> Callable[[], object]:
        """What shuts it down that way. Raises NotOffered, here and not when called, if there is none."""
        shutdown = next(
            (
                found
                for name in ("shutdown", "close", "stop")
                if callable(found := getattr(self.subject, name, None))
            ),
            None,
        )
        if shutdown is None:
            raise NotOffered("it has no shutdown()")
        parameters = inspect.signature(shutdown).parameters
        arguments: dict[str, bool] = {}
        if "wait" in parameters:
            arguments["wait"] = wait
        elif not wait:
            raise NotOffered("its shutdown() always waits")
        flag = next(
            (one for one in ("cancel_pending", "cancel_futures", "cancel") if one in parameters), None
        )
        if cancels:
            if flag is None:
                raise NotOffered("its shutdown() cancels nothing")
            arguments[flag] = True
        return partial(shutdown, **arguments)

    def aside(self, act: Callable[[], object], name: str = "another caller") -> threading.Thread:
        """Have another thread do this; what it raises is raised by `end`."""

        def run() -> None:
            try:
                act()
            except Exception as error:
                self._errors.append(error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._helpers.append(thread)
        thread.start()
        return thread

    def await_thread(self, thread: threading.Thread, code: str, issue_id: str, claim: str) -> None:
        """Wait for a thread to end. Raises PromiseBroken with this code and claim if it does not."""
        with patiently():
            thread.join(self.patience)
        if thread.is_alive():
            self._told.add(thread)
            self.broken(code, issue_id, claim)

    def drop(self) -> Callable[[], None]:
        """Let go of the object, as a caller does who keeps no name for it.

        What this returns ends it after all, if it lives on: it owes its completions, and not its threads.
        """
        try:
            find: Callable[[], object] = weakref.ref(self.subject)
        except TypeError:
            find = _nothing
        self.subject = None
        gc.collect()

        def bury() -> None:
            self.subject = find()
            if self.subject is not None:
                with suppress(NotOffered):
                    self.shut_down(wait=False)

        return bury

    # -- the judgement

    def end(self) -> None:
        """Judge, shut it down, and judge again: first before it, lest a shutdown is blamed for others."""
        if self.subject is not None:
            self.judge()
            self._compare_count()
            with suppress(NotOffered):
                self.shut_down()
        self.judge()

    def _compare_count(self) -> None:
        """Raise PromiseBroken if there is an `active_count` that goes on to say that something is owed."""

        def count() -> object:
            found = getattr(self.subject, "active_count", 0)
            return found() if callable(found) else found

        if self.submitted and not wait_until(lambda: not count(), self.patience):
            claim = f"and all others have ended, and active_count stays {count()!r}"
            self.broken("LL303", self.submitted[0], claim)

    def judge(self) -> None:
        """Wait until every issue is terminal, and raise PromiseBroken for what is not as promised."""
        with patiently():
            for thread in self._helpers:
                if thread not in self._told:
                    thread.join(self.patience)
        self.nemesis.close()
        self.ledger.settle(self.patience)
        for issue_id in self.refused:
            if issue_id in self.completed:
                self.broken("LL203", issue_id, "was refused, and its completion was called all the same")
            if issue_id in self.begun and not isinstance(
                self.refused[issue_id], (SystemExit, KeyboardInterrupt)
            ):
                self.broken("LL304", issue_id, "was refused, and was worked on all the same")
        # Also what seems in flight: a pool may have threads beside the one that is gone.
        codes = ("LL101", "LL105", "LL106", "LL301")
        lost = [one for one in self.ledger.violations() if one.code in codes]
        if lost and self._deaths:
            self.broken("LL106", lost[0].issue_id, f"is lost: {', '.join(self._deaths)}")
        stuck = list(self._stuck())
        if stuck:
            self.ledger.raise_for([*self.ledger.violations(), *stuck])
        self.ledger.assert_all_terminal()
        if self._errors:
            raise self._errors[0]
        for issue_id in set(self.begun):
            if self.begun.count(issue_id) > max(self.submitted.count(issue_id), 1):
                self.broken("LL201", issue_id, "was worked on more than once")

    def _stuck(self) -> Iterator[Finding]:
        """A finding for each call that had all the time that is allowed, and has not returned."""
        for thread in self._helpers:
            if thread.is_alive() and thread not in self._told:
                self._told.add(thread)
                claim = f"and the pool do not end: {thread.name} has not come back"
                yield Finding(code="LL302", issue_id=self.submitted[0], claim=claim)
        if not wait_until(lambda: self._told >= self._completing.keys(), self.patience):
            for thread, issue_id in list(self._completing.items()):
                self._told.add(thread)
                claim = "has a completion that does not return: what it called waits, perhaps for itself"
                yield Finding(code="LL302", issue_id=issue_id, claim=claim)

    def left_behind(self) -> None:
        """Raise PromiseBroken for what it has left behind, once it was shut down.

        That is: threads, futures that nobody ended, processes, worktrees.
        """
        self.ledger.raise_for(self.ledger.leaks(self.patience))
        others = {*self._before, *self._helpers, threading.current_thread()}
        threads = [one for one in threading.enumerate() if one not in others]
        end = time.monotonic() + self.patience
        for thread in threads:
            with patiently():
                thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                self.broken("LL401", self.submitted[0], f"has ended, and {thread.name} of its pool has not")
        if not is_in_world():
            wait_until(lambda: not self._later_processes(), self.patience)
            for number, name in self._later_processes().items():
                claim = f"has ended, and process {number} of its pool has not: {name}"
                self.broken("LL403", self.submitted[0], claim)
        for issue_id, worktree in self._worktrees.items():
            if worktree.exists():
                self.broken("LL404", issue_id, f"has ended, and its worktree is still there: {worktree}")

    def _later_processes(self) -> dict[int, str]:
        return {pid: name for pid, name in child_processes().items() if pid not in self._processes_before}

    def broken(self, code: str, issue_id: str, claim: str, *, remedy: str = "") -> None:
        """Raise PromiseBroken: this rule, on this issue. Nothing if the rule is allowed.

        `remedy` is what to do, if that is something else than what the rule says.
        """
        if code not in self.ledger._allowed:
            finding = Finding(code=code, issue_id=issue_id, claim=claim, remedy=remedy)
            self.ledger.raise_for([finding])

    @contextmanager
    def held(self, issue_id: str) -> Iterator[Callable[[], None]]:
        """The work on this issue waits until what this gives is called, or the block ends."""
        go = self.works.hold(issue_id, self._make_result(issue_id), self.patience)
        try:
            yield go
        finally:
            go()

    def run(self, promise: Callable[[], object], name: str) -> None:
        """Do this; on real threads in one of its own, so that a hang is an error with stacks.

        Raises PromiseBroken with the stacks, or Hang if nothing was submitted, after three times the
        patience.
        """
        __tracebackhide__ = True
        if is_in_world():
            promise()
            return
        raised: list[BaseException] = []

        def run() -> None:
            try:
                promise()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        thread.join(3 * self.patience)
        if thread.is_alive():
            hung = hang(f"{name} to come to its end", 3 * self.patience)
            if not self.submitted:
                raise hung
            try:
                # The issue that the wait is for says more than the wait.
                self.ledger.raise_for(self.ledger.violations())
                self.broken("LL302", self.submitted[0], "has ended, and a call does not return")
            except PromiseBroken as broken:
                broken.add_note(str(hung))
                raise
        if raised:
            raise raised[0]

    def close(self) -> None:
        """Give back what was watched, and kill the processes that work was sent to and that live on.

        The interpreter would wait for them at its end, for ever if need be; not so for daemons, and who
        kills those may leave a lock behind that others wait for.
        """
        threading.excepthook = self._hook
        self.ledger.close()
        if isinstance(self.works, SentWorks):
            daemons = {child.pid for child in multiprocessing.active_children() if child.daemon}
            for number in self._later_processes().keys() - daemons:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)

    def _note_death(self, args: threading.ExceptHookArgs) -> None:
        # Told by what became of the issues, and not as an error of its own.
        if args.thread is not None and args.exc_type is not SystemExit:
            self._deaths.append(f"{args.thread.name} died of {args.exc_type.__name__}")

    def _note_fault(self, issue_id: str, fault: str) -> None:
        if issue_id:
            self.ledger.record(issue_id, "fault", detail=fault)


def _nothing() -> None:
    return


def wait_until(is_so: Callable[[], bool], patience: float) -> bool:
    """Whether this came to be so within `patience` seconds."""
    end = time.monotonic() + patience
    pause = 0.001
    while not is_so():
        left = end - time.monotonic()
        if left <= 0:
            return False
        pause = min(pause * 2, left) if is_in_world() else min(pause * 2, 0.02, left)
        with patiently():
            time.sleep(pause)
    return True
