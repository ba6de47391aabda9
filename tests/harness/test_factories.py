"""Issues and results for tests: deterministic, readable, and strict about typing errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_littleloops.harness.fakes.factories import IssueFactory, WorkerResults, require_issue_id
from pytest_littleloops.reference.model import Issue, WorkerResult

FIELDS = (
    "success, branch_name, worktree_path, changed_files, leaked_files, duration, error, stdout, stderr, "
    "was_corrected, corrections, should_close, close_reason, close_status, interrupted"
)


@pytest.fixture
def issues() -> IssueFactory:
    """Give the factory behind the `make_issue` fixture."""
    return IssueFactory()


@pytest.fixture
def results() -> WorkerResults:
    """Give the factory behind the `worker_result` fixture."""
    return WorkerResults()


def test_ids_count_from_101(issues: IssueFactory) -> None:
    """Issues without an id are numbered in the order in which they were asked for."""
    assert [issues().issue_id for _ in range(3)] == ["BUG-101", "BUG-102", "BUG-103"]


def test_two_factories_make_the_same_issues() -> None:
    """Nothing of an issue depends on the run, or on other factories."""
    assert IssueFactory().many(12) == IssueFactory().many(12)


def test_a_given_id_is_passed_over(issues: IssueFactory) -> None:
    """An id that was given explicitly is never made up again."""
    issues("BUG-101")
    issues("BUG-103")
    assert [issue.issue_id for issue in issues.many(2)] == ["BUG-102", "BUG-104"]


def test_a_given_id_may_be_given_again(issues: IssueFactory) -> None:
    """Two submissions of one id are what some tests are about."""
    assert issues("BUG-7") == issues("BUG-7")


@pytest.mark.parametrize(
    ("issue_id", "issue_type"),
    [("FEAT-7", "FEAT"), ("BUG-7-again", "BUG"), ("P1-7", "BUG"), ("seven", "BUG"), ("-7", "BUG")],
)
def test_the_type_is_the_prefix_of_the_id(issues: IssueFactory, issue_id: str, issue_type: str) -> None:
    """Letters before the first dash are the type; where there are none it is BUG."""
    assert issues(issue_id).issue_type == issue_type


def test_a_given_type_wins_over_the_prefix(issues: IssueFactory) -> None:
    """What a test says is not corrected."""
    assert issues("FEAT-7", issue_type="ENH").issue_type == "ENH"


def test_a_given_type_is_the_prefix_of_a_made_up_id(issues: IssueFactory) -> None:
    """An id says the type of its issue; the numbers are shared by all types."""
    made = [issues(), issues(issue_type="FEAT"), issues()]
    assert [issue.issue_id for issue in made] == ["BUG-101", "FEAT-102", "BUG-103"]
    assert made[1].issue_type == "FEAT"


def test_titles_are_sentences_that_differ_between_neighbours(issues: IssueFactory) -> None:
    """A failure that lists ten issues reads as ten different ones."""
    titles = [issue.title for issue in issues.many(10)]
    assert len(set(titles)) == 10
    assert all(len(title.split()) >= 4 for title in titles)


def test_a_title_depends_on_the_id_alone(issues: IssueFactory) -> None:
    """An issue is called the same wherever it was made."""
    assert issues("BUG-105").title == IssueFactory().many(5)[-1].title
    assert issues("nameless").title == issues("BUG-100").title


def test_everything_else_is_passed_on(issues: IssueFactory) -> None:
    """Priority, title and path reach the issue as they are, an empty title too."""
    made = issues("BUG-7", priority="P0", title="", path=Path("bug-7.md"))
    assert made == Issue("BUG-7", priority="P0", issue_type="BUG", title="", path=Path("bug-7.md"))


def test_the_usual_priority_is_p3(issues: IssueFactory) -> None:
    """As it is for an issue that is made by hand."""
    assert issues().priority == "P3"


def test_many_share_what_is_given(issues: IssueFactory) -> None:
    """All keywords but the id hold for each of them."""
    path = Path("shared.md")
    made = issues.many(2, priority="P1", issue_type="FEAT", title="Shared", path=path)
    assert made == [
        Issue("FEAT-101", "P1", "FEAT", "Shared", path),
        Issue("FEAT-102", "P1", "FEAT", "Shared", path),
    ]


def test_many_may_be_none(issues: IssueFactory) -> None:
    """No issues is a number of issues."""
    assert issues.many(0) == []


def test_a_negative_number_is_refused(issues: IssueFactory) -> None:
    """The message says what was asked for."""
    with pytest.raises(ValueError, match=r"^many\(\) makes no fewer than 0 issues, but was asked for -1$"):
        issues.many(-1)


def test_an_id_of_the_wrong_kind_is_refused(issues: IssueFactory) -> None:
    """The message names the call and shows what was given."""
    with pytest.raises(TypeError, match=r"^make_issue\(\) takes the id of an issue, .*'BUG-229', not 229$"):
        issues(229)  # type: ignore[arg-type]


def test_a_refused_issue_uses_up_no_given_id(issues: IssueFactory) -> None:
    """What `Issue` refuses was not made, so its id is free."""
    with pytest.raises(ValueError, match="priority of BUG-101"):
        issues("BUG-101", priority="P9")
    assert issues().issue_id == "BUG-101"


def test_no_two_threads_get_one_id(issues: IssueFactory) -> None:
    """Ids are unique also where workers make issues."""
    made: list[list[Issue]] = []
    threads = [threading.Thread(target=lambda: made.append(issues.many(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({issue.issue_id for some in made for issue in some}) == 200


def test_require_issue_id_accepts_an_id() -> None:
    """A string passes, whatever it says."""
    require_issue_id("BUG-229", "release()")


def test_completed_is_a_success_with_a_branch_and_a_worktree(results: WorkerResults) -> None:
    """The work on an issue happened somewhere, and where is told by its id."""
    assert results.completed("BUG-7") == WorkerResult(
        "BUG-7", True, "parallel/bug-7", Path(".worktrees/bug-7")
    )


def test_failed_says_why(results: WorkerResults) -> None:
    """A failure has an error also where the test gives none."""
    assert results.failed("BUG-7") == WorkerResult(
        "BUG-7", False, "parallel/bug-7", Path(".worktrees/bug-7"), error="2 tests fail"
    )
    assert results.failed("BUG-7", "no disk").error == "no disk"
    assert results.failed("BUG-7", error="no disk").error == "no disk"


def test_closed_is_a_success_that_asks_for_closing(results: WorkerResults) -> None:
    """The reason is kept as a word, and as a status for readers."""
    made = results.closed("BUG-7")
    assert (made.success, made.should_close) == (True, True)
    assert (made.close_reason, made.close_status) == ("already_fixed", "Closed - Already Fixed")
    assert results.closed("BUG-7", reason="duplicate").close_status == "Closed - Duplicate"


def test_interrupted_is_no_success_and_no_failure_of_the_work(results: WorkerResults) -> None:
    """A shutdown ended it; the error says so."""
    made = results.interrupted("BUG-7")
    assert (made.success, made.interrupted, made.error) == (False, True, "interrupted by a shutdown")


def outcomes(results: WorkerResults) -> list[Callable[..., WorkerResult]]:
    """All methods that make a result."""
    return [results.completed, results.failed, results.closed, results.interrupted]


def test_an_issue_does_as_well_as_its_id(results: WorkerResults, issues: IssueFactory) -> None:
    """Every outcome takes either."""
    issue = issues()
    for outcome in outcomes(results):
        assert outcome(issue) == outcome(issue.issue_id)


def test_fields_are_passed_on(results: WorkerResults) -> None:
    """Any other field of the result can be set by name."""
    for outcome in outcomes(results):
        made = outcome("BUG-7", duration=1.5, changed_files=["a.py"], branch_name="fix")
        assert (made.duration, made.changed_files, made.branch_name) == (1.5, ["a.py"], "fix")


def test_a_field_wins_over_the_outcome(results: WorkerResults) -> None:
    """A result that contradicts itself is what some tests are about."""
    assert results.completed("BUG-7", interrupted=True, success=False).interrupted
    assert results.interrupted("BUG-7", error="Ctrl-C").error == "Ctrl-C"


@pytest.mark.parametrize("name", ["completed", "failed", "closed", "interrupted"])
def test_an_unknown_field_is_refused_with_the_known_ones(results: WorkerResults, name: str) -> None:
    """A misspelled field is no silent nothing; the message lists those there are."""
    outcome: Callable[..., WorkerResult] = getattr(results, name)
    with pytest.raises(TypeError) as caught:
        outcome("BUG-7", seconds=1.5)
    assert str(caught.value) == f"{name}() takes no field 'seconds'; it takes {FIELDS}"


@pytest.mark.parametrize("name", ["completed", "failed", "closed", "interrupted"])
@pytest.mark.parametrize("issue", [None, 7, ""])
def test_a_result_of_nothing_is_refused(results: WorkerResults, name: str, issue: object) -> None:
    """What is neither an issue nor an id is a TypeError that shows it."""
    outcome: Callable[..., WorkerResult] = getattr(results, name)
    with pytest.raises(TypeError) as caught:
        outcome(issue)
    assert str(caught.value) == f"{name}() takes an Issue or its id, for example 'BUG-229', not {issue!r}"


def test_results_share_no_list(results: WorkerResults) -> None:
    """Changing one result changes no other."""
    results.completed("BUG-7").changed_files.append("a.py")
    assert results.completed("BUG-7").changed_files == []
