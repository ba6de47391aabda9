"""README and guide are true: their blocks run, and the output that they show is the real one."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from pytest_littleloops import Ledger, contract
from pytest_littleloops.harness.watching.lifecycle import USUAL_NAMES, Lifecycle

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
EXPLORED = ["README.md", "docs/explore.md", *(f"docs/rules/LL{code}.md" for code in (302, 303, 501, 502))]
"""The pages that show what explored tests print, each behind the command that prints it."""

DIFFERS = (
    (r"LL1-[a-z2-7]+", "LL1-token"),
    (r'File "[^"]*/', 'File "'),
    (r" +\[ *\d+%\]$", ""),
    (r"\bstep +\d+", "step #"),
    (r"\bschedule, \d+ steps with \d+ switch(es)?", "schedule, # steps with # switches"),
    (r"\bschedule [\d,]+ of", "schedule # of"),
    (r"\bFAILED \([\d,]+ schedules?\)", "FAILED (# schedules)"),
    (r"\b(proved|sampled|certified), [\d,]+ schedules", r"\1, # schedules"),
    (r"\ball [\d,]+ traces", "all # traces"),
    (r"\b[\d,]+ of them (cut off|blocked)", r"# of them \1"),
    (r"\b[\d,]+ traces, an estimated [-.\de]+% of all", "# traces, an estimated #% of all"),
    (r"\b\d+ switch(es)? after shrinking from \d+", "# switches after shrinking from #"),
    (r"^(E? +)\d+  +", r"\1#  "),
    (r"(?<=\S)  +", "  "),
    # A thread that another test of this process has left behind.
    (r"^E? *beside the exploration, and not waited for: .*\n", ""),
)
"""What depends on the version of Python, the folder and the width of columns, and what to read for it."""


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


def shown(document: str) -> list[tuple[list[str], str]]:
    """What a document says that pytest prints, block by block: the command's arguments and the output."""
    blocks = re.findall(r"^```text\n\$ pytest (.*?)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    return [(command.split(), output) for command, output in blocks]


def alike(output: str) -> str:
    """Output without what differs from one Python to the next."""
    for pattern, instead in DIFFERS:
        output = re.sub(pattern, instead, output, flags=re.MULTILINE)
    if sys.version_info >= (3, 13):
        # Its threads synchronise in another way, so that other schedules come first.
        row = r"(?:^E? +#  .*\n)+"
        output = re.sub(rf"(the schedule, .*\n){row}", r"\1(steps)\n", output, flags=re.MULTILINE)
    return output


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
    (message,) = re.findall(r"^```text\n(LL.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert message in result.stdout.str() + "\n"


@pytest.mark.parametrize("page", EXPLORED)
def test_explored_tests_print_what_is_shown(pytester: pytest.Pytester, page: str) -> None:
    """Line by line, but for what differs between versions of Python; `...` stands for lines left out."""
    document = (ROOT / page).read_text()
    write(pytester.path, document)
    assert shown(document)
    for command, output in shown(document):
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly", *command)
        printed = "\n" + alike(result.stdout.str() + "\n")
        position = 0
        for part in re.split(r"^\.\.\.$\n?", alike(output), flags=re.MULTILINE):
            found = printed.find("\n" + part, position)
            assert found >= 0, f"{page} shows\n{part}\nbut this is printed\n{printed}"
            position = found + len(part)


def test_what_the_page_on_exploring_shows_without_output_passes(pytester: pytest.Pytester) -> None:
    """The tests of those blocks that no command names."""
    document = (ROOT / "docs/explore.md").read_text()
    write(pytester.path, document)
    named = {word for command, _ in shown(document) for word in command}
    others = {name: body for name, body in files(document).items() if name not in named}
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *others)
    result.assert_outcomes(passed=sum(body.count("\ndef test_") for body in others.values()))


@pytest.mark.parametrize("code", ["LL302", "LL303", "LL501", "LL502"])
def test_what_the_engine_finds_cannot_be_allowed(pytester: pytest.Pytester, code: str) -> None:
    """As each of these pages says: not in a test, and not for all."""
    document = (ROOT / f"docs/rules/{code}.md").read_text()
    assert f'`ledger.allow("{code}")` is an error' in document.replace("\n", " ")
    with pytest.raises(ValueError, match=f"{code} cannot be allowed"):
        Ledger().allow(code)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", f"--littleloops-allow={code}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --littleloops-allow: {code} cannot be allowed*"])


@pytest.mark.parametrize("code", ["LL302", "LL303", "LL501", "LL502"])
def test_the_page_of_what_the_engine_finds_is_shown(pytester: pytest.Pytester, code: str) -> None:
    """By its code and by its name."""
    page = (ROOT / f"docs/rules/{code}.md").read_text()
    name = page.partition("\n")[0].rpartition(" ")[2]
    for word in (code, name):
        assert page in pytester.runpytest_inprocess("--littleloops-explain", word).stdout.str() + "\n"


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
    tests = sum(body.count("\ndef test_") for body in files(GUIDE).values())
    chosen = "--deselect=test_contract.py"
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", chosen)
    assert result.parseoutcomes()["passed"] == tests
    contract = pytester.runpytest_inprocess("-p", "no:cacheprovider", "test_contract.py", "-k", "shutdown")
    assert set(contract.parseoutcomes()) == {"passed", "deselected"}


@pytest.mark.parametrize("command", ["demo", "test", "check", "bench", "nightly"])
def test_every_make_command_of_the_readme_exists(command: str) -> None:
    """And none is named that does not."""
    assert f"`make {command}`" in README
    assert f"\n{command}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    "document", ["README.md", "docs/guide.md", "docs/explore.md", "docs/rules/README.md"]
)
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


def test_every_promise_has_its_line() -> None:
    """On the page of the contracts, with the words of its docstring, and no other."""
    page = (ROOT / "docs" / "contracts.md").read_text()
    promises = {
        f"* `{name}`: {function.__doc__.splitlines()[0]}".lower()
        for each in contract.__all__
        for name, function in inspect.getmembers(getattr(contract, each))
        if name.startswith("test_")
    }
    assert {line.lower() for line in page.splitlines() if line.startswith("* `test_")} == promises
