"""The house: arrows between the wings run one way, and importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_littleloops
from pytest_littleloops.harness.accounts.rules import RULES

PACKAGE = Path(pytest_littleloops.__file__).parent
ROOT = PACKAGE.parent
MAY_IMPORT = {
    "contracts": {"contracts", "plugin", "harness", "reference", "simulation"},
    "plugin": {"plugin", "report", "harness", "reference", "simulation"},
    "report": {"report", "harness", "reference", "simulation"},
    "harness": {"harness", "reference", "simulation"},
    "reference": {"reference"},
    "simulation": {"simulation"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(module: Path) -> set[str]:
    """The dotted names that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found.add(str(node.module))
    return found


def wing(dotted: str) -> str | None:
    """The wing of this package that a dotted name lies in."""
    package, _, rest = dotted.partition(".")
    return rest.partition(".")[0] if package == "pytest_littleloops" and rest else None


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_run_one_way(module: Path) -> None:
    """contracts -> plugin -> report -> harness -> reference, harness -> simulation; nothing turns back."""
    relative = module.relative_to(PACKAGE)
    if len(relative.parts) == 1:
        return
    allowed = MAY_IMPORT[relative.parts[0]]
    taken = {name: found for name in imports(module) if (found := wing(name)) is not None}
    assert set(taken.values()) <= allowed, taken


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_plugin_knows_pytest(module: Path) -> None:
    """pytest, xdist and coverage stay in one wing; the reference system has the standard library only."""
    relative = module.relative_to(PACKAGE)
    roots = {name.partition(".")[0] for name in imports(module)}
    if relative.parts[0] not in ("plugin", "contracts", "contract.py"):
        assert not roots & {"pytest", "_pytest", "xdist", "coverage"}
    if relative.parts[0] == "reference":
        assert roots <= {"pytest_littleloops", *sys.stdlib_module_names}


def test_importing_the_package_loads_nothing_else() -> None:
    """Names are loaded on first use, so that a suite which uses none of them pays nothing."""
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pytest_littleloops; print([n for n in sys.modules if n.startswith('pytest_')])",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert loaded.strip() == "['pytest_littleloops']"


@pytest.mark.parametrize("name", pytest_littleloops.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """What `__all__` promises can be imported, and says what it is."""
    public = getattr(pytest_littleloops, name)
    assert public.__doc__
    assert public.__module__.startswith("pytest_littleloops.")


def test_the_names_for_a_type_checker_are_the_names_at_run_time() -> None:
    """The block under TYPE_CHECKING and the table of homes say the same."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    for_checkers = {
        (str(node.module), alias.name)
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    at_run_time = {
        (f"pytest_littleloops.{home}", name)
        for home, names in pytest_littleloops._HOMES.items()
        for name in names
    }
    assert for_checkers == at_run_time


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelled import fails as it does for any module."""
    with pytest.raises(AttributeError, match="has no attribute 'WorkerPol'"):
        pytest_littleloops.WorkerPol  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    """An interactive reader finds what is not loaded yet."""
    assert set(pytest_littleloops.__all__) <= set(dir(pytest_littleloops))


@pytest.mark.parametrize("rule", RULES.values(), ids=str)
def test_every_rule_has_a_page(rule: object) -> None:
    """The message of a rule names a page, so there is one, under its own heading."""
    code = str(rule).partition(" ")[0]
    page = ROOT / "docs" / "rules" / f"{code}.md"
    assert page.read_text().startswith(f"# {rule}\n")
    assert f"[{code}]({code}.md)" in (ROOT / "docs" / "rules" / "README.md").read_text()
