"""What all contracts share: how a promise is run, explored, skipped, or passed over for a reason."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from pytest_littleloops.harness.accounts.rules import find_rule
from pytest_littleloops.harness.fakes.factories import WorkerResults
from pytest_littleloops.harness.trial import NotOffered, Trial
from pytest_littleloops.harness.works import SentWorks
from pytest_littleloops.plugin import checks
from pytest_littleloops.plugin.settings import patience
from pytest_littleloops.reference.model import Issue

_Test = TypeVar("_Test", bound=Callable[..., object])

FIRST, SECOND, THIRD = "BUG-101", "BUG-102", "BUG-103"


def promise(*, faults: tuple[str, ...] = ()) -> Callable[[_Test], _Test]:
    """Mark a test as a promise, explored with these faults."""

    def mark(test: _Test) -> _Test:
        test.__dict__["littleloops_faults"] = faults
        return test

    return mark


class Contract:
    """A promise a test: subclassed by contracts, and these by whoever has something to put on trial."""

    kept_otherwise: ClassVar[Mapping[str, str]] = {}
    """Promises, by the name of the test, that the object keeps otherwise on purpose, and why."""
    allow: ClassVar[tuple[str, ...]] = ()
    """Rules, codes or names, that it is not failed for."""
    schedules: ClassVar[int] = 100
    """Under so many schedules each promise is explored, unless the command line says otherwise."""
    is_explored: ClassVar[bool] = True
    """False for what cannot be controlled, such as sockets: each promise is then tried for real only."""
    in_processes: ClassVar[bool] = False
    """True for what works in other processes: the work is pickled, its process may die, and no schedule
    is explored."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each promise for real, and explored."""
        faults = getattr(metafunc.function, "littleloops_faults", None)
        if faults is None or "kept" not in metafunc.fixturenames:
            return
        owner = metafunc.cls
        arguments: dict[str, Any] = {"faults": faults} if faults else {}
        if metafunc.config.getoption("--littleloops-schedules", None) is None:
            arguments["schedules"] = owner.schedules
        ways: list[Any] = [pytest.param("real", id="real")]
        if owner.is_explored and not owner.in_processes:
            mark = pytest.mark.explore(**arguments)
            ways.append(pytest.param("explored", id="explored", marks=mark))
        metafunc.parametrize("kept", ways, indirect=True)

    def make_issue(self, issue_id: str) -> Any:
        """What is submitted for an id; override it if that is no `Issue`."""
        return Issue(issue_id)

    def make_result(self, issue_id: str) -> Any:
        """What the process function returns for an id; override it if that is no `WorkerResult`."""
        return WorkerResults().completed(issue_id)

    def run_on_trial(
        self, kept: Trial, steps: Callable[[], object], request: pytest.FixtureRequest
    ) -> None:
        """Do the steps of a promise; what the object does not offer skips it, with that reason."""
        __tracebackhide__ = True
        try:
            kept.run(steps, request.node.name)
        except NotOffered as reason:
            pytest.skip(str(reason))

    @pytest.fixture
    def kept(self, request: pytest.FixtureRequest) -> Iterator[Trial]:
        """The trial of one promise. Defined here, so that no fixture of the user's stands before it."""
        name = request.node.originalname
        if not isinstance(self.kept_otherwise, Mapping):
            pytest.fail("kept_otherwise has to be a mapping, {'test_...': 'why'}", pytrace=False)
        known = [one for one in dir(type(self)) if one.startswith("test_")]
        for one in self.kept_otherwise:
            if one not in known:
                pytest.fail(
                    f"kept_otherwise has {one!r}, which is no promise of this contract", pytrace=False
                )
        if name in self.kept_otherwise:
            pytest.skip(f"kept otherwise: {self.kept_otherwise[name]}")
        with tempfile.TemporaryDirectory() if self.in_processes else nullcontext() as folder:
            trial = Trial(
                make_issue=self.make_issue,
                make_result=self.make_result,
                describe=checks.describer(request.node),
                patience=patience(request.config),
                works=None if folder is None else SentWorks(Path(folder)),
            )
            allowed = (self.allow,) if isinstance(self.allow, str) else self.allow
            trial.ledger.allow(*(find_rule(one).code for one in allowed))
            yield trial
            trial.close()


def missing(fixture: str, returns: str) -> Callable[..., Any]:
    """The function of a fixture that a subclass has to give; says so, with an example."""

    def give(self: object) -> Any:
        pytest.fail(
            f"{type(self).__name__} has no fixture {fixture!r}; give it one, for example\n"
            "    @pytest.fixture\n"
            f"    def {fixture}(self):\n"
            f"        return {returns}",
            pytrace=False,
        )

    return give
