"""What the ledger is told by hand, and what it says: `record`, `allow`, `timeline`, messages."""

from __future__ import annotations

import threading

import pytest

from pytest_littleloops.harness.accounts.rules import RULES
from pytest_littleloops.harness.ledger import Ledger, PromiseBroken


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "interrupted"])
def test_a_recorded_end_is_an_end(books: Ledger, state: str) -> None:
    """What cannot be watched is told."""
    books.record("BUG-1", "submitted")
    books.record("BUG-1", "started")
    assert [finding.code for finding in books.violations()] == ["LL101"]
    books.record("BUG-1", state)
    books.assert_all_terminal()
    assert books.states() == {"BUG-1": state}


def test_a_recorded_completion_is_an_end_where_nothing_is_marked(books: Ledger) -> None:
    """And a second one is one too many."""
    books.record("BUG-1", "submitted")
    books.record("BUG-1", "completion", detail="failed")
    books.assert_all_terminal()
    books.record("BUG-1", "completion", error=ValueError("late"))
    assert [finding.code for finding in books.violations()] == ["LL201"]


def test_a_requeued_issue_is_open_again(books: Ledger) -> None:
    """Until its next end."""
    for event in ("submitted", "started", "failed", "requeued"):
        books.record("BUG-1", event)
    assert [finding.code for finding in books.violations()] == ["LL101"]
    for event in ("started", "completed"):
        books.record("BUG-1", event)
    books.assert_all_terminal()


def test_an_unknown_event_is_an_error_that_lists_the_known_ones(books: Ledger) -> None:
    """Nothing is recorded."""
    with pytest.raises(ValueError, match="knows no event 'finished'; it knows submitted, queued, started,"):
        books.record("BUG-1", "finished")
    assert books.states() == {}


@pytest.mark.parametrize("issue_id", ["", None, 7])
def test_an_id_is_a_text(books: Ledger, issue_id: object) -> None:
    """Nothing else can be told apart in a message."""
    with pytest.raises(TypeError, match=r"record\(\) takes an issue's id, not"):
        books.record(issue_id, "submitted")  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["LL999", "lost_issue"])
def test_an_unknown_rule_cannot_be_allowed(books: Ledger, rule: str) -> None:
    """A typo would allow nothing and be believed."""
    with pytest.raises(ValueError, match=f"there is no rule '{rule}'; the rules are LL101 lost-issue"):
        books.allow(rule)


def test_a_typo_in_a_code_is_not_taken_for_an_issue(books: Ledger) -> None:
    """`assert_all_terminal(allow=...)` takes both, and tells them apart."""
    with pytest.raises(ValueError, match="there is no rule 'LL100'"):
        books.assert_all_terminal(allow=["LL100"])


def test_a_timeline_of_an_unknown_issue_is_an_error(books: Ledger) -> None:
    """It says which issues there are."""
    books.record("BUG-1", "submitted")
    with pytest.raises(KeyError, match="the ledger has seen no 'BUG-2'; it has seen BUG-1"):
        books.timeline("BUG-2")


def test_a_timeline_reads_as_lines(books: Ledger) -> None:
    """Step, thread, what, and the line of the caller."""
    books.record("BUG-1", "submitted")
    books.record("BUG-1", "completed")
    timeline = books.timeline("BUG-1")
    assert timeline.state == "completed"
    first, second, third = str(timeline).splitlines()
    assert first == "  BUG-1  completed"
    assert second.startswith("    step 1  MainThread  queued            ")
    assert third.startswith("    step 2  MainThread  marked completed  ")
    assert "test_ledger_words.py:" in second


def test_a_long_timeline_is_cut_in_the_middle(books: Ledger) -> None:
    """The beginning and the end tell the story."""
    for _ in range(12):
        books.record("BUG-1", "submitted")
        books.record("BUG-1", "started")
    text = str(books.timeline("BUG-1"))
    assert "    ... 8 steps left out" in text
    assert len(text.splitlines()) == 18


def test_many_lost_issues_are_one_message(books: Ledger) -> None:
    """Three timelines, the rest by name; the first line counts them all."""
    for number in range(1, 31):
        books.record(f"BUG-{number}", "submitted")
    with pytest.raises(PromiseBroken) as caught:
        books.assert_all_terminal()
    first, *others = str(caught.value).splitlines()
    assert first == (
        "LL101 lost-issue: BUG-1, BUG-2, BUG-3 and 27 more (30 of 30 issues) never reached a terminal state"
    )
    assert sum(line.startswith("    step ") for line in others) == 3
    assert "  ... 27 more: BUG-4, BUG-5, " in str(caught.value)
    assert others[-2] == "  next: every path that takes an issue must end in a mark or a completion"
    assert others[-1] == (
        '  more: pytest --littleloops-explain LL101; to accept it here: ledger.allow("LL101")'
    )


def test_different_rules_are_different_paragraphs(books: Ledger) -> None:
    """Lost issues first, then what went wrong on the way."""
    for event in ("submitted", "started", "completed", "failed"):
        books.record("BUG-1", event)
    books.record("BUG-2", "submitted")
    with pytest.raises(PromiseBroken) as caught:
        books.assert_all_terminal()
    heads = [line for line in str(caught.value).splitlines() if line.startswith("LL")]
    assert heads == [
        "LL101 lost-issue: BUG-2 (1 of 2 issues) never reached a terminal state",
        "LL202 contradictory-states: BUG-1 (1 of 2 issues) was marked failed after it was completed",
    ]


def test_settle_waits_for_another_thread(books: Ledger) -> None:
    """True as soon as the last issue has ended."""
    books.record("BUG-1", "submitted")
    timer = threading.Timer(0.01, books.record, ("BUG-1", "completed"))
    timer.start()
    assert books.settle(10)
    timer.join(10)


def test_settle_gives_up(books: Ledger) -> None:
    """False after its time; it raises nothing."""
    books.record("BUG-1", "submitted")
    assert books.settle(0.005) is False


def test_a_ledger_is_a_context_manager() -> None:
    """Leaving it asserts; leaving it with an exception does not hide that one."""
    with pytest.raises(PromiseBroken, match="LL101"), Ledger() as ledger:
        ledger.record("BUG-1", "submitted")
    with pytest.raises(KeyError, match="BUG-2"), Ledger() as ledger:
        ledger.timeline("BUG-2")


def test_every_rule_says_what_to_do() -> None:
    """One line, no full stop, as a message prints it."""
    for rule in RULES.values():
        assert rule.remedy
        assert not rule.remedy.endswith(".")
        assert "\n" not in rule.remedy
