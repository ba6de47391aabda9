"""README and guide are true: their blocks run, and the output that they show is the real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_littleloops.harness.watching.lifecycle import USUAL_NAMES, Lifecycle

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def files(document: str) -> dict[str, str]:
    """The Python blocks of a document, by the file name in their first line."""
    found = {}
    for block in re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        name = block.partition("\n")[0]
        assert re.fullmatch(r"# \w+\.py", name), f"a block without a file name: {block}"
        # Whole, as a reader copies it: the lines that a message names are those of the block.
        found[name.removeprefix("# ")] = block
    return found


def write(folder: Path, document: str) -> None:
    """Write the files of a document, without the rewriting that pytester does."""
    for name, body in files(document).items():
        (folder / name).write_text(body)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest cuts the lines of its summary to the terminal's width."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("CI", raising=False)


def test_the_readme_shows_what_happens(pytester: pytest.Pytester) -> None:
    """The test on its first screen fails, with exactly the output that stands below it."""
    write(pytester.path, README)
    result = pytester.runpytest_inprocess("test_mypool.py", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    (shown,) = re.findall(r"^```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown in result.stdout.str() + "\n"


def test_the_readmes_first_test_is_short() -> None:
    """Ten lines at most."""
    assert len(files(README)["test_mypool.py"].splitlines()) <= 10


def test_the_readmes_pool_is_that_of_the_examples() -> None:
    """One pool, in one wording."""
    pool = (ROOT / "examples/seed_pool/mypool.py").read_text()
    assert pool.endswith(files(README)["mypool.py"].partition("\n")[2])


def test_the_readmes_mapping_finds_the_lost_item(pytester: pytest.Pytester) -> None:
    """What is not acknowledged is lost."""
    write(pytester.path, README)
    result = pytester.runpytest_inprocess("test_basket.py", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED test_basket.py::* - LL101 lost-issue: APPLE-1 (1 of 2 issues) *"])


def test_the_guides_blocks_run(pytester: pytest.Pytester) -> None:
    """Each of its tests passes."""
    write(pytester.path, GUIDE)
    tests = sum(name.startswith("test_") for name in files(GUIDE))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=tests)


@pytest.mark.parametrize("command", ["demo", "test", "check", "bench", "nightly"])
def test_every_make_command_of_the_readme_exists(command: str) -> None:
    """And none is named that does not."""
    assert f"`make {command}`" in README
    assert f"\n{command}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("document", ["README.md", "docs/guide.md", "docs/rules/README.md"])
def test_links_lead_somewhere(document: str) -> None:
    """Relative ones, that is."""
    page = ROOT / document
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_twenty_lines_are_caught_and_the_reference_is_not(pytester: pytest.Pytester) -> None:
    """The example of the demo, on real threads."""
    for file in ("mypool.py", "test_mypool.py"):
        (pytester.path / file).write_text((ROOT / "examples/seed_pool" / file).read_text())
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["LL102 completion-skipped: BUG-102, BUG-104 (2 of 4 issues) *"])


def test_the_guide_lists_the_usual_names() -> None:
    """All of them, role by role."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", GUIDE, re.MULTILINE))
    for role, names in {**USUAL_NAMES, "completion": Lifecycle().completion}.items():
        listed = set(re.findall(r"\w+", rows[role]))
        plain = {name for name in names if not (role == "work" and name.startswith("_"))}
        assert plain <= listed, role
