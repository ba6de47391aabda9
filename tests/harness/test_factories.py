"""Issues and results that read well, and the same in every run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pytest_littleloops.harness.factories import IssueFactory, WorkerResults
from pytest_littleloops.reference.model import Issue, WorkerResult


@pytest.fixture
def make_issue() -> IssueFactory:
    """Give the factory behind the fixture of this name."""
    return IssueFactory()


@pytest.fixture
def results() -> WorkerResults:
    """Give the factory behind the `worker_result` fixture."""
    return WorkerResults()


def test_issues_are_numbered_by_themselves(make_issue: IssueFactory) -> None:
    """Without an id they are bugs from 101 on, of usual priority."""
    first, second = make_issue(), make_issue()
    assert (first.issue_id, first.issue_type, first.priority) == ("BUG-101", "BUG", "P3")
    assert second.issue_id == "BUG-102"


def test_issues_are_the_same_in_every_factory(make_issue: IssueFactory) -> None:
    """Two tests that make the same issues get equal ones, titles included."""
    again = IssueFactory()
    assert [make_issue(), make_issue("FEAT-7")] == [again(), again("FEAT-7")]


def test_titles_are_sentences_that_differ(make_issue: IssueFactory) -> None:
    """Issues next to each other can be told apart by their titles."""
    titles = {issue.title for issue in make_issue.many(8)}
    assert len(titles) > 3
    assert all(title[0].isupper() and " " in title for title in titles)


@pytest.mark.parametrize(
    ("issue_id", "issue_type"), [("FEAT-7", "FEAT"), ("ENH-1-b", "ENH"), ("229", "BUG"), ("-3", "BUG")]
)
def test_type_of_an_issue_is_the_prefix_of_its_id(
    make_issue: IssueFactory, issue_id: str, issue_type: str
) -> None:
    """An id without a prefix belongs to a bug."""
    issue = make_issue(issue_id)
    assert (issue.issue_id, issue.issue_type) == (issue_id, issue_type)


def test_type_that_is_given_is_the_prefix_of_a_new_id(make_issue: IssueFactory) -> None:
    """Ids of all types are counted together."""
    assert [make_issue().issue_id, make_issue(issue_type="FEAT").issue_id] == ["BUG-101", "FEAT-102"]


def test_everything_can_be_given(make_issue: IssueFactory) -> None:
    """What is given is taken as it is, also an empty title and a type that is no prefix."""
    path = Path("issues/BUG-229.md")
    issue = make_issue("BUG-229", priority="P0", issue_type="FEAT", title="", path=path)
    assert issue == Issue("BUG-229", priority="P0", issue_type="FEAT", title="", path=path)


def test_numbering_leaves_out_given_ids(make_issue: IssueFactory) -> None:
    """An issue made by number is never one that was made by name."""
    make_issue("BUG-101")
    make_issue("BUG-103")
    assert [issue.issue_id for issue in make_issue.many(2)] == ["BUG-102", "BUG-104"]


def test_an_id_may_be_made_twice(make_issue: IssueFactory) -> None:
    """Two submissions of one issue are a case that tests need."""
    assert make_issue("BUG-229") == make_issue("BUG-229")


def test_wrong_issues_are_refused_by_the_model(make_issue: IssueFactory) -> None:
    """The factory accepts nothing that an `Issue` would not."""
    with pytest.raises(
        ValueError, match="priority of BUG-1 must be one of P0, P1, P2, P3, P4, P5, not 'P9'"
    ):
        make_issue("BUG-1", priority="P9")


def test_many_makes_issues_alike(make_issue: IssueFactory) -> None:
    """They share everything but the id."""
    path = Path("issues")
    issues = make_issue.many(3, priority="P1", issue_type="ENH", title="All alike", path=path)
    assert issues == [
        Issue(f"ENH-{number}", priority="P1", issue_type="ENH", title="All alike", path=path)
        for number in (101, 102, 103)
    ]


def test_many_makes_none_but_no_negative_number(make_issue: IssueFactory) -> None:
    """Zero is a number of issues, minus one is not."""
    assert make_issue.many(0) == []
    with pytest.raises(ValueError, match=r"^many\(\) makes 0 issues or more, not -1$"):
        make_issue.many(-1)


def test_threads_get_ids_of_their_own(make_issue: IssueFactory) -> None:
    """No two threads make the same issue."""
    made: list[Issue] = []
    threads = [threading.Thread(target=lambda: made.extend(make_issue.many(25))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert len({issue.issue_id for issue in made}) == 100


def test_completed_is_a_success_on_a_branch(results: WorkerResults) -> None:
    """The branch and the worktree are named after the issue, and nothing else is set."""
    result = results.completed("BUG-229")
    assert result == WorkerResult("BUG-229", True, "issue/bug-229", Path("worktrees/bug-229"))


def test_failed_says_why(results: WorkerResults) -> None:
    """A failure has an error, by default one that reads well; the branch is there."""
    assert (results.failed("BUG-229").success, results.failed("BUG-229").error) == (False, "the tests fail")
    failed = results.failed("BUG-229", "no disk", stderr="ENOSPC")
    assert (failed.error, failed.stderr, failed.branch_name) == ("no disk", "ENOSPC", "issue/bug-229")


def test_failed_needs_an_error(results: WorkerResults) -> None:
    """The reference pool never gives a failure without a text, so no test should."""
    with pytest.raises(ValueError, match=r"^a failed result needs a text that says why, not ''$"):
        results.failed("BUG-229", "")


def test_closed_is_a_success_that_asks_to_close(results: WorkerResults) -> None:
    """The reason is there as a word for programs and as a status for people."""
    closed = results.closed("BUG-229")
    assert (closed.success, closed.should_close, closed.interrupted) == (True, True, False)
    assert (closed.close_reason, closed.close_status) == ("already_fixed", "Closed - Already Fixed")
    assert results.closed("BUG-229", "invalid").close_status == "Closed - Invalid"


def test_interrupted_is_no_success(results: WorkerResults) -> None:
    """A shutdown's result carries a text as every failure does."""
    stopped = results.interrupted("BUG-229")
    assert (stopped.success, stopped.interrupted) == (False, True)
    assert stopped.error == "interrupted by a shutdown"


def test_results_take_an_issue_for_its_id(results: WorkerResults, make_issue: IssueFactory) -> None:
    """An issue and its id give equal results."""
    issue = make_issue("FEAT-7")
    assert results.completed(issue) == results.completed("FEAT-7")
    assert results.failed(issue) == results.failed("FEAT-7")
    assert results.closed(issue) == results.closed("FEAT-7")
    assert results.interrupted(issue) == results.interrupted("FEAT-7")


def test_results_take_any_field(results: WorkerResults) -> None:
    """What is given by name wins over what the outcome would set."""
    assert results.completed("BUG-1", changed_files=["a.py"], duration=1.5).changed_files == ["a.py"]
    assert results.failed("BUG-1", interrupted=True).interrupted
    assert results.closed("BUG-1", close_status="Done").close_status == "Done"
    assert results.interrupted("BUG-1", error="ctrl-c").error == "ctrl-c"


def test_results_share_no_lists(results: WorkerResults) -> None:
    """A test that changes one result changes no other."""
    results.completed("BUG-1").changed_files.append("a.py")
    assert results.completed("BUG-1").changed_files == []


@pytest.mark.parametrize("nobody", [None, "", 229])
def test_results_need_an_issue(results: WorkerResults, nobody: object) -> None:
    """The message shows how it is done."""
    with pytest.raises(TypeError) as caught:
        results.completed(nobody)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"a result is made for an Issue or its id, for example 'BUG-229', not {nobody!r}"
    )
