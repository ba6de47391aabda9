"""The ledger: it watches, keeps a journal, and knows which issues are lost.

It is the one object a test holds. What the parts do: `watch` makes objects speak, `journal` keeps what
they say, `accounts` and `diagnosis` know what it means, `explain` puts it into words.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from pytest_littleloops.harness.accounts.account import Finding
from pytest_littleloops.harness.accounts.books import Books
from pytest_littleloops.harness.accounts.diagnosis import lost_issues
from pytest_littleloops.harness.accounts.explain import Timeline, explain, timelines
from pytest_littleloops.harness.accounts.journal import Journal, Kind, error_text
from pytest_littleloops.harness.accounts.leaks import leaked_threads, unresolved_futures
from pytest_littleloops.harness.accounts.liveness import Baseline, Liveness
from pytest_littleloops.harness.accounts.rules import codes, find_rule, looks_like_a_rule
from pytest_littleloops.harness.watching.adapters import describe as describe_usual
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, NotWatchable, mapped_lifecycle
from pytest_littleloops.harness.watching.watch import Watcher
from pytest_littleloops.simulation.inside import is_in_world, patiently, unseen

Watched = TypeVar("Watched")

_RECORDABLE = {
    "submitted": Kind.QUEUED,
    **{
        kind.value: kind
        for kind in (
            Kind.QUEUED,
            Kind.STARTED,
            Kind.RUNNING,
            Kind.WORKED,
            Kind.COMPLETION,
            Kind.COMPLETED,
            Kind.FAILED,
            Kind.CANCELLED,
            Kind.INTERRUPTED,
            Kind.REQUEUED,
            Kind.FAULT,
        )
    },
}


class PromiseBroken(AssertionError):
    """An issue was lost, or another rule broken. The text begins with the code.

    `findings` has each one; `codes` the codes among them.
    """

    def __init__(self, text: str, findings: Sequence[Finding]) -> None:
        super().__init__(text)
        self.findings = tuple(findings)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the rules that were broken."""
        return frozenset(finding.code for finding in self.findings)


class Ledger:
    """The journal of everything observed about each issue, and the judgement on it.

    Thread-safe. A context manager: leaving it without an exception asserts that all is terminal, and
    in any case every watched object gets its own class back.

    `describe` finds the lifecycle of an object that `watch` is given without a mapping.
    """

    def __init__(self, *, describe: Callable[[object], Lifecycle] = describe_usual) -> None:
        self._journal = Journal()
        self._books = Books(self._journal)
        self._watcher = Watcher(self._journal, describe)
        self._baseline = Baseline()
        self._allowed: set[str] = set()
        self._lock = threading.RLock()
        self.accepting = 'ledger.allow("{code}")'
        """How a message says that a rule is allowed; `{code}` stands for its code."""

    def watch(
        self, obj: Watched, **mapping: str | Sequence[str] | Callable[[object], str | None]
    ) -> Watched:
        """Make a queue, a pool, an executor or an orchestrator speak, and return the same object.

        What its methods mean is found by a plugin's hook or by their usual names, or told by
        `mapping`, for example `watch(q, submitted="put", started="pop", completed="ack",
        failed="nack")`; `issue_id=` may be a function that reads the id off an item. An orchestrator's
        `queue` and `pool` are watched along. Watching an object again changes nothing.

        Raises NotWatchable, which says what was looked for.
        """
        __tracebackhide__ = True
        lifecycle = mapped_lifecycle(obj, mapping) if mapping else None
        knows_more = _knows_issues_already(obj)
        with unseen(), self._lock:
            self._watcher.watch(obj, lifecycle)
            self._books.joined_late |= knows_more
        return obj

    def record(
        self, issue_id: str, event: str, *, detail: str = "", error: BaseException | None = None
    ) -> None:
        """Tell the ledger by hand what happened to an issue.

        `event` is `submitted` or `queued`, `started`, `running`, `worked`, `completion` (with the
        outcome as `detail`), a terminal state, `requeued`, or `fault` (with its name as `detail`).

        Raises ValueError for any other word, TypeError if the id is no text.
        """
        if not isinstance(issue_id, str) or not issue_id:
            raise TypeError(f"record() takes an issue's id, not {issue_id!r}")
        kind = _RECORDABLE.get(event)
        if kind is None:
            raise ValueError(f"record() knows no event {event!r}; it knows {', '.join(_RECORDABLE)}")
        if kind is Kind.COMPLETION and not detail:
            detail = "failed" if error is not None else "completed"
        self._journal.append(kind, issue_id, detail=detail or (error_text(error) if error else ""))

    def allow(self, *rules: str) -> None:
        """Accept violations of these rules (codes or names) from now on.

        Raises ValueError for a rule that does not exist.
        """
        self._allowed |= codes(rules)

    def violations(self) -> tuple[Finding, ...]:
        """What is broken now, without waiting: lost issues first, then what went wrong on the way."""
        with unseen(), self._lock:
            self._books.advance()
            lost = list(lost_issues(self._books, self._liveness(), self._watcher.is_done))
            # What happened on the way to a loss is told by its timeline, not by a second finding.
            lost_codes = {(finding.code, finding.issue_id) for finding in lost}
            lost_ids = {finding.issue_id for finding in lost}
            found = lost + [
                finding
                for finding in self._books.findings.values()
                if (finding.code, finding.issue_id) not in lost_codes
                and (finding.code != "LL301" or finding.issue_id not in lost_ids)
            ]
        return tuple(finding for finding in found if finding.code not in self._allowed)

    def assert_all_terminal(self, allow: Iterable[str] = ()) -> None:
        """Raise PromiseBroken unless every issue is terminal and no other rule is broken; never waits.

        `allow` has rules (codes or names) and ids of issues to leave out. An issue in flight at this
        moment is LL301; use `settle` first to wait for it.

        Raises ValueError for what looks like a rule and is none.
        """
        __tracebackhide__ = True
        self._refuse_blindness()
        entries = [allow] if isinstance(allow, str) else list(allow)
        rules = {find_rule(entry).code for entry in entries if looks_like_a_rule(entry)}
        left_out = {entry for entry in entries if not looks_like_a_rule(entry)}
        self.raise_for(
            finding
            for finding in self.violations()
            if finding.code not in rules and finding.issue_id not in left_out
        )

    def _refuse_blindness(self) -> None:
        __tracebackhide__ = True
        unreadable = self._watcher.unreadable()
        if unreadable:
            raise NotWatchable(
                f"the ledger sees no issue in what it watches: {'; '.join(unreadable)}, and found no id\n"
                "  say how to read it, for example\n"
                "    ledger.watch(queue, ..., issue_id=lambda item: item.name)"
            )

    def _liveness(self) -> Liveness:
        # The threads of what is watched, if it shows them; a timer of the test's own is nobody's worker.
        return self._baseline.liveness(self._watcher.known_threads())

    def settle(self, timeout: float) -> bool:
        """Wait until every issue is terminal; True if that happened within `timeout` seconds.

        One that is lost by a rule that is allowed is not waited for.
        """
        deadline = time.monotonic() + timeout
        pause = 0.001
        while True:
            with unseen(), self._lock:
                self._books.advance()
                lost = lost_issues(self._books, self._liveness(), self._watcher.is_done)
                is_settled = all(finding.code in self._allowed for finding in lost)
            left = deadline - time.monotonic()
            if is_settled or left <= 0:
                return is_settled
            # Asking costs what is new, but a fast poll would keep the workers from the interpreter. Where
            # nobody sleeps for real, a long wait is to take no more steps than a short one.
            pause = min(pause * 2, left) if is_in_world() else min(pause * 2, 0.05, left)
            with patiently():
                time.sleep(pause)

    def timeline(self, issue_id: str) -> Timeline:
        """What was observed of one issue, in order; `str` of it gives the lines of a message.

        Raises KeyError for an id that was never seen.
        """
        states = self.states()
        found = timelines(self._journal, {issue_id: states.get(issue_id, "unknown")})[0]
        if not found.steps:
            known = ", ".join(list(states)[:20]) or "none"
            raise KeyError(f"the ledger has seen no {issue_id!r}; it has seen {known}")
        return found

    def states(self) -> dict[str, str]:
        """The state of each issue that was submitted, in the order in which they were first seen."""
        with unseen(), self._lock:
            self._books.advance()
            books = self._books
            return {one.issue_id: books.state_of(one) for one in books.accounts.values()}

    def leaks(self, patience: float = 1.0, *, spared: Iterable[threading.Thread] = ()) -> list[Finding]:
        """What is left behind: threads started since the ledger began, futures that nobody ended.

        Waits up to `patience` seconds for threads to end, since a pool that was shut down without
        waiting ends them soon. Threads count if they had to do with an issue, or if something that is
        watched keeps them. `spared` are those that are meant to live on.
        """
        with unseen(), self._lock:
            self._books.advance()
            seen = {entry.thread for entry in self._journal.entries} | self._watcher.known_threads()
            found = leaked_threads(self._baseline, seen, set(spared), patience)
            found += unresolved_futures(self._books, self._watcher.unresolved())
        return [finding for finding in found if finding.code not in self._allowed]

    def raise_for(self, findings: Iterable[Finding]) -> None:
        """Raise PromiseBroken for these findings, if there are any."""
        __tracebackhide__ = True
        found = list(findings)
        if found:
            states = self.states()
            total = sum(state != "rejected" for state in states.values())
            raise PromiseBroken(
                explain(found, self._journal, states, of=total, accepting=self.accepting), found
            )

    def close(self) -> None:
        """Give every watched object its own class back. The journal stays readable."""
        with unseen(), self._lock:
            self._watcher.unwatch_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        try:
            if exc_type is None:
                self.assert_all_terminal()
        finally:
            self.close()


def _knows_issues_already(obj: object) -> bool:
    # What was put in before the ledger came is not unknown, only unseen.
    for name in ("qsize", "in_progress_count"):
        try:
            size = getattr(obj, name, None)
            size = size() if callable(size) else size
        except Exception:
            continue
        if isinstance(size, int) and size > 0:
            return True
    return False
