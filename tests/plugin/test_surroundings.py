"""The plugin in other people's runs: autoload off, xdist, no terminal, no cache, wrong settings."""

from __future__ import annotations

import pytest

from tests.plugin.test_checks import LOST, LOST_LINE, POOL


@pytest.fixture
def lost_test(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with one test that loses an issue and one that does not."""
    pytester.makepyfile(POOL + LOST + LOST.replace("refuse", "succeed").replace("test_lost", "test_sound"))
    return pytester


@pytest.mark.parametrize(
    "args",
    [
        ("-p", "no:xdist"),
        ("-p", "no:cacheprovider"),
        ("-p", "littleloops"),
        ("-p", "no:cacheprovider", "-p", "no:xdist", "-v"),
    ],
    ids=" ".join,
)
def test_without_some_other_plugin(lost_test: pytest.Pytester, args: tuple[str, ...]) -> None:
    """What the plugin does not need may be missing."""
    result = lost_test.runpytest_inprocess(*args)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"FAILED *::test_lost - {LOST_LINE}"])


def test_without_a_terminal(lost_test: pytest.Pytester) -> None:
    """The exit code is all that is left."""
    result = lost_test.runpytest_inprocess("-p", "no:terminal")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_under_xdist(lost_test: pytest.Pytester) -> None:
    """The message crosses from the worker to the controller as it is."""
    result = lost_test.runpytest_subprocess("-n", "2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([LOST_LINE, "*BUG-229  in_progress"])
    result.stdout.fnmatch_lines([f"FAILED *::test_lost - {LOST_LINE}"])


def test_with_autoload_off(lost_test: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-p littleloops` finds the entry point by its name."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = lost_test.runpytest_subprocess("-p", "littleloops")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"FAILED *::test_lost - {LOST_LINE}"])


def test_with_autoload_off_and_no_option(
    lost_test: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without autoload and without `-p` there is no fixture of ours."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = lost_test.runpytest_subprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*fixture 'ledger' not found"])


def test_no_littleloops_takes_all_of_it_away(lost_test: pytest.Pytester) -> None:
    """No fixture, no option, no ini key."""
    result = lost_test.runpytest_subprocess("-p", "no:littleloops")
    result.assert_outcomes(errors=2)
    result = lost_test.runpytest_subprocess("-p", "no:littleloops", "--littleloops-allow=LL101")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_run_that_uses_nothing_loads_nothing(pytester: pytest.Pytester) -> None:
    """Beside the plugin's own frame no module of the package is imported."""
    pytester.makepyfile(
        """
        import sys

        def test_loaded():
            ours = {name for name in sys.modules if name.startswith("pytest_littleloops")}
            assert ours <= {
                "pytest_littleloops",
                "pytest_littleloops.plugin",
                "pytest_littleloops.plugin.fixtures",
                "pytest_littleloops.plugin.hookspecs",
                "pytest_littleloops.plugin.settings",
            }
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("source", ["option", "ini"])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("allow", "LL999", "there is no rule 'LL999'; the rules are LL101 lost-issue, "),
        ("patience", "soon", "'soon' is no number of seconds above 0, for example 10"),
        ("patience", "0", "'0' is no number of seconds above 0"),
        ("patience", "nan", "'nan' is no number of seconds above 0"),
    ],
)
def test_a_wrong_setting_is_a_usage_error(
    pytester: pytest.Pytester, source: str, name: str, value: str, said: str
) -> None:
    """Before any test runs, naming the setting and what would be right."""
    pytester.makepyfile("def test_nothing(): pass")
    args = [f"--littleloops-{name}={value}"] if source == "option" else []
    if source == "ini":
        pytester.makeini(f"[pytest]\nlittleloops_{name} = {value}\n")
    result = pytester.runpytest_inprocess(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    where = f"--littleloops-{name}" if source == "option" else f"littleloops_{name}"
    result.stderr.fnmatch_lines([f"ERROR: {where}: {said}*"])


def test_the_plugins_options_are_in_the_help(pytester: pytest.Pytester) -> None:
    """Options and ini keys, each with its meaning."""
    result = pytester.runpytest_inprocess("--help")
    result.stdout.fnmatch_lines(["*--littleloops-allow=RULES", "*--littleloops-patience=SECONDS"])
    result.stdout.fnmatch_lines(["*littleloops_allow (args):*", "*littleloops_patience (string):*"])


def test_a_rules_page_is_shown(pytester: pytest.Pytester) -> None:
    """What a failure message refers to, by code or by name, wherever the package came from."""
    for rule in ("LL102", "completion-skipped"):
        result = pytester.runpytest_inprocess(f"--littleloops-explain={rule}")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["# LL102 completion-skipped", "## What to do"])


def test_an_unknown_rule_has_no_page(pytester: pytest.Pytester) -> None:
    """A usage error that lists the rules."""
    result = pytester.runpytest_inprocess("--littleloops-explain=LL9")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --littleloops-explain: there is no rule 'LL9'; the rules are *"])
