"""The rules: each broken promise has a stable code, a name, a claim and what to do about it.

Here is what a code means. When it is found is decided in `accounts` (at the moment it happens) and in
`diagnosis` (for an issue that has no end); how it reads is told in `explain`. LL302, LL303, LL501 and LL502
are the engine's: it finds and tells them itself, and no ledger can allow them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `docs/rules/<code>.md` has its page."""

    code: str
    name: str
    remedy: str
    """What to do, as the last line of a failure message."""

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


_ALL = (
    Rule(
        code="LL101",
        name="lost-issue",
        remedy="every path that takes an issue must end in a mark or a completion",
    ),
    Rule(
        code="LL102",
        name="completion-skipped",
        remedy="call the completion however the work ended; if it raised, with a failed result",
    ),
    Rule(
        code="LL103",
        name="completion-raised",
        remedy="mark the issue failed when its completion raises; do not only log it",
    ),
    Rule(
        code="LL104",
        name="dispatch-lost",
        remedy="when submit raises after the queue gave the issue out, mark it failed or requeue it",
    ),
    Rule(
        code="LL105",
        name="dropped-at-shutdown",
        remedy="a shutdown owes each issue it discards a completion, for example an interrupted one",
    ),
    Rule(
        code="LL106",
        name="worker-lost",
        remedy="catch BaseException around the work; report the issue, and keep the worker for the others",
    ),
    Rule(
        code="LL201",
        name="completed-twice",
        remedy="let exactly one of the racing paths complete a submission",
    ),
    Rule(
        code="LL202",
        name="contradictory-states",
        remedy="refuse a mark that leaves a terminal state; requeue first where it is meant",
    ),
    Rule(
        code="LL203",
        name="unknown-issue",
        remedy="report the id that was submitted; if the issue is known elsewhere, watch that queue too",
    ),
    Rule(
        code="LL301",
        name="early-idle",
        remedy="count a submission, in one place, until its completion has returned",
    ),
    Rule(
        code="LL302",
        name="deadlock",
        remedy="see what each task waits for, and who should have woken it; take locks in one order",
    ),
    Rule(
        code="LL303",
        name="no-progress",
        remedy="see what would end the poll, and which path never sets it; give the poll a deadline",
    ),
    Rule(
        code="LL304",
        name="late-success",
        remedy="stop the work before its issue is marked, or let its own result decide",
    ),
    Rule(
        code="LL401",
        name="leaked-thread",
        remedy="shut the pool down, with wait=True, where it was made",
    ),
    Rule(
        code="LL402",
        name="unresolved-future",
        remedy="give the future a result, an exception or a cancellation; its waiters sleep for ever",
    ),
    Rule(
        code="LL403",
        name="leaked-process",
        remedy="tell the process to end, and wait for it, where the pool is shut down",
    ),
    Rule(
        code="LL404",
        name="leaked-worktree",
        remedy="remove the worktree of an issue however its work ended",
    ),
    Rule(
        code="LL501",
        name="nondeterministic",
        remedy="make everything anew in each schedule; look for what differs between two runs of the code",
    ),
    Rule(
        code="LL502",
        name="uncontrolled",
        remedy="replace what blocks there by what the engine controls, or give it a timeout",
    ),
)

_OF_THE_ENGINE = frozenset({"LL302", "LL303", "LL501", "LL502"})

RULES = MappingProxyType({rule.code: rule for rule in _ALL})
"""All rules by code."""


def find_rule(code_or_name: str) -> Rule:
    """The rule that is called so, by code (`LL103`) or by name (`completion-raised`).

    Raises ValueError listing the rules there are.
    """
    for rule in _ALL:
        if code_or_name in (rule.code, rule.name):
            return rule
    known = ", ".join(str(rule) for rule in _ALL)
    raise ValueError(f"there is no rule {code_or_name!r}; the rules are {known}")


def may_be_allowed(code: str) -> bool:
    """Whether a ledger can accept this: it cannot what ends an exploration."""
    return code not in _OF_THE_ENGINE


def looks_like_a_rule(text: str) -> bool:
    """True for what is written like a code or is a rule's name, so that a typo is not taken for an id."""
    is_code = len(text) == 5 and text.startswith("LL") and text[2:].isdigit()
    return is_code or any(text == rule.name for rule in _ALL)


def codes(rules: Iterable[str]) -> frozenset[str]:
    """The codes of these rules. Raises ValueError for one that does not exist or cannot be allowed."""
    found = frozenset(find_rule(rule).code for rule in rules)
    refused = sorted(found & _OF_THE_ENGINE)
    if refused:
        raise ValueError(
            f"{refused[0]} cannot be allowed: it is how an exploration fails, and no finding of the ledger"
        )
    return found
