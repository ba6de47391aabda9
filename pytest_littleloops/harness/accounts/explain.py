"""How findings read: claim, facts, next step, the first line complete in itself and led by the code.

Findings of one rule with one claim stand together. Timelines of many issues, and long ones, are cut, and
say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_littleloops.harness.accounts.account import Finding
from pytest_littleloops.harness.accounts.journal import Entry, Journal, Kind
from pytest_littleloops.harness.accounts.rules import RULES, may_be_allowed

_SHOWN_ISSUES = 3
_SHOWN_STEPS = 16

_PHRASES = {
    Kind.QUEUED: "queued",
    Kind.NOT_QUEUED: "not queued: {detail}",
    Kind.STARTED: "taken from the queue",
    Kind.SUBMITTED: "submitted",
    Kind.REJECTED: "submit raised {detail}",
    Kind.RUNNING: "work began",
    Kind.WORKED: "work returned",
    Kind.WORK_RAISED: "work raised {detail}",
    Kind.WORK_EXITED: "work raised {detail}",
    Kind.FUTURE_RESOLVED: "future resolved{detail}",
    Kind.FUTURE_FAILED: "future failed with {detail}",
    Kind.FUTURE_CANCELLED: "future cancelled",
    Kind.READ_RAISED: "{detail}",
    Kind.HANDLER_RAISED: "done-callback {detail}",
    Kind.HANDLER_EXITED: "done-callback {detail}",
    Kind.COMPLETION: "completion called",
    Kind.COMPLETION_RAISED: "completion raised {detail}",
    Kind.COMPLETED: "marked completed",
    Kind.FAILED: "marked failed",
    Kind.CANCELLED: "marked cancelled",
    Kind.INTERRUPTED: "marked interrupted",
    Kind.REQUEUED: "requeued",
    Kind.MARK_REFUSED: "mark refused, {detail}",
    Kind.CANCEL_ASKED: "cancel asked for",
    Kind.SHUTDOWN: "shutdown",
    Kind.SHUTDOWN_RETURNED: "shutdown returned",
    Kind.IDLE: "reported idle: {detail}",
    Kind.FAULT: "fault: {detail}",
}
"""Every kind that a reader is shown; the others only serve the books."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a timeline: the position in the journal, counted from 1, and what happened there."""

    number: int
    entry: Entry

    @property
    def what(self) -> str:
        """What happened, in words."""
        phrase = _PHRASES[self.entry.kind].format(detail=self.entry.detail)
        if self.entry.kind is Kind.COMPLETION and self.entry.detail:
            phrase += f": {self.entry.detail}"
        return phrase


@dataclass(frozen=True, slots=True)
class Timeline:
    """What was observed of one issue, in order. `str` gives the lines that a failure message shows."""

    issue_id: str
    state: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, note: str = "", at: int | None = None) -> list[str]:
        """The lines of a message, with `note` under the step `at`, or the last one before it."""
        shown = self.steps
        left_out = len(shown) - _SHOWN_STEPS
        if left_out > 0:
            shown = (*shown[: _SHOWN_STEPS // 2], *shown[-_SHOWN_STEPS // 2 :])
        number_width = max((len(str(step.number)) for step in shown), default=1)
        thread_width = max((len(step.entry.thread.name) for step in shown), default=1)
        what_width = min(max((len(step.what) for step in shown), default=1), 64)
        lines = [f"  {self.issue_id}  {self.state}"]
        explained = [step for step in shown if at is None or step.number <= at][-1:]
        indent = " " * (4 + len("step ") + number_width + 2)
        for position, step in enumerate(shown):
            if left_out > 0 and position == _SHOWN_STEPS // 2:
                lines.append(f"    ... {left_out} steps left out")
            place = "" if step.entry.place is None else str(step.entry.place)
            line = (
                f"    step {step.number:>{number_width}}  {step.entry.thread.name:<{thread_width}}  "
                f"{step.what:<{what_width}}  {place}"
            )
            lines.append(line.rstrip())
            if note and [step] == explained:
                lines.append(indent + note)
        return lines


def timelines(journal: Journal, states: dict[str, str]) -> list[Timeline]:
    """The timelines of the issues in `states` (id to state), read in one pass over the journal.

    What concerns a pool as a whole, a shutdown, is a step of each of them from its first step on.
    """
    steps: dict[str, list[Step]] = {issue_id: [] for issue_id in states}
    for number, entry in enumerate(list(journal.entries), start=1):
        if entry.kind not in _PHRASES:
            continue
        if entry.issue_id:
            if entry.issue_id in steps:
                steps[entry.issue_id].append(Step(number, entry))
        else:
            for begun in steps.values():
                if begun:
                    begun.append(Step(number, entry))
    return [Timeline(issue_id, states[issue_id], tuple(found)) for issue_id, found in steps.items()]


def explain(
    findings: Sequence[Finding], journal: Journal, states: dict[str, str], *, of: int, accepting: str
) -> str:
    """The message for these findings; `of` is how many issues there were, `states` names theirs.

    `accepting` says how a rule is allowed, with `{code}` in the place of its code.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.claim), []).append(finding)
    return "\n".join(_group(group, journal, states, of, accepting) for group in groups.values())


def _group(
    group: Sequence[Finding], journal: Journal, states: dict[str, str], of: int, accepting: str
) -> str:
    rule = RULES[group[0].code]
    ids = list(dict.fromkeys(finding.issue_id for finding in group))
    named = ", ".join(ids[:_SHOWN_ISSUES])
    if len(ids) > _SHOWN_ISSUES:
        named += f" and {len(ids) - _SHOWN_ISSUES} more"
    is_of_an_issue = not rule.code.startswith("LL4") and rule.code != "LL203"
    share = f" ({len(ids)} of {of} issues)" if is_of_an_issue else ""
    lines = [f"{rule}: {named}{share} {group[0].claim}"]
    firsts = {finding.issue_id: finding for finding in reversed(group)}
    shown = {one: states.get(one, "unknown") for one in ids[:_SHOWN_ISSUES]}
    for timeline in timelines(journal, shown):
        finding = firsts[timeline.issue_id]
        if timeline.steps:
            lines += timeline.lines(finding.note, journal.step_of(finding.at))
        elif finding.note:
            lines.append(f"  {timeline.issue_id}  {finding.note}")
    if len(ids) > _SHOWN_ISSUES:
        lines.append(f"  ... {len(ids) - _SHOWN_ISSUES} more: {', '.join(ids[_SHOWN_ISSUES:][:20])}")
    lines.append(f"  next: {group[0].remedy or rule.remedy}")
    more = f"  more: pytest --littleloops-explain {rule.code}"
    if may_be_allowed(rule.code):
        more += f"; to accept it here: {accepting.format(code=rule.code)}"
    lines.append(more)
    return "\n".join(lines)
