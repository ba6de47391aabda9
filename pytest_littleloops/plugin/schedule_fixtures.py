"""The fixtures of an explored test: set up and torn down afresh for every schedule, inside its world.

What pytest itself provides (`request`, `tmp_path`, `capsys`, `monkeypatch`, ...) and what has a wider scope
than the test stays for the whole test, since neither can hold anything of a world; what these recorded is
cleared between two schedules. pytest's own machinery does the work, hooks and `request` included: this only
rewinds what it keeps of a test between two schedules. Costs some 60 microseconds a fixture and schedule.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from _pytest.tmpdir import tmppath_result_key

from pytest_littleloops.simulation.membership import own_world
from pytest_littleloops.simulation.story import Story
from pytest_littleloops.simulation.world import World


def is_kept(definition: pytest.FixtureDef[Any]) -> bool:
    """Whether a fixture stays for the whole test."""
    if definition.scope != "function":
        return True
    # The names of setup_method and its kin are made by pytest, what they run is the user's.
    is_pytests = getattr(definition.func, "__module__", "").startswith("_pytest.")
    return is_pytests and not definition.argname.startswith("_xunit_")


def kept_names(item: pytest.Function) -> list[str]:
    """The names of the fixtures that are set up before the first schedule, in their order."""
    definitions = item._fixtureinfo.name2fixturedefs
    return [
        name
        for name in item.fixturenames
        if name == "request"
        or (name in definitions and all(map(is_kept, definitions[name])))
        # A direct parametrization is a value that was there before.
        or (name not in definitions)
    ]


class ScheduleFixtures:
    """Sets up and tears down what belongs to one schedule. Made once the kept fixtures are set up."""

    def __init__(self, item: pytest.Function) -> None:
        self._item = item
        self._names = [name for name in item.fixturenames if name not in item.funcargs]
        self._funcargs = dict(item.funcargs)
        self._definitions: dict[str, Any] = dict(item._request._fixture_defs)
        self._marks = {
            name: len(one._finalizers)
            for name, one in self._definitions.items()
            if hasattr(one, "_finalizers")
        }
        finalizers: list[Callable[[], object]] = item.session._setupstate.stack[item][0]
        self._finalizers = finalizers
        self._mark = len(finalizers)
        self._folder = self._temporary_folder()
        self._was_there = set() if self._folder is None else {one.name for one in self._folder.iterdir()}
        self.first_error: BaseException | None = None
        """What went wrong first in the schedule, before anything had ended it."""

    def _temporary_folder(self) -> Path | None:
        # A fixture or parameter of the user's may have that name, and a folder that is not to be touched.
        function = getattr(self._definitions.get("tmp_path"), "func", None)
        folder = self._funcargs.get("tmp_path")
        is_pytests = getattr(function, "__module__", "") == "_pytest.tmpdir"
        return folder if is_pytests and isinstance(folder, Path) else None

    def empty_folder(self) -> None:
        """Take out of `tmp_path`, which is one for all schedules, what an earlier one put there."""
        if self._folder is None:
            return
        # What cannot be taken away is there again, as all of it would be without this.
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for one in self._folder.iterdir():
                if one.name in self._was_there:
                    continue
                if one.is_dir() and not one.is_symlink():
                    shutil.rmtree(one, ignore_errors=True)
                else:
                    one.unlink()

    @contextmanager
    def fresh(self) -> Iterator[dict[str, Any]]:
        """The arguments of the test for one schedule.

        What the body raises is raised; what the teardown raises after a body that did not, too.
        """
        item = self._item
        world = own_world()
        assert world is not None
        self._forget_instance()
        self.first_error = None
        is_failed = True
        try:
            for name in self._names:
                item.funcargs[name] = item._request.getfixturevalue(name)
            yield {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
            is_failed = False
        except BaseException as error:
            self._note(error, world)
            raise
        finally:
            story = world.recorder
            with story.part("the teardown of the fixtures") if isinstance(story, Story) else nullcontext():
                errors = list(self._tear_down(world))
            if errors and not is_failed:
                raise errors[0]

    def _note(self, error: BaseException, world: World) -> None:
        if self.first_error is None and not world.is_ending:
            self.first_error = error

    def _tear_down(self, world: World) -> Iterator[BaseException]:
        while len(self._finalizers) > self._mark:
            try:
                self._finalizers.pop()()
            except BaseException as error:
                self._note(error, world)
                yield error
        item = self._item
        # Taken away by a `tmp_path` that was made in the schedule, which the next one needs again.
        item.stash.setdefault(tmppath_result_key, {})
        item.funcargs.clear()
        item.funcargs.update(self._funcargs)
        definitions = item._request._fixture_defs
        definitions.clear()
        definitions.update(self._definitions)
        # A fixture that uses a kept one has left a finalizer there.
        for name, mark in self._marks.items():
            del self._definitions[name]._finalizers[mark:]
        self._forget_instance()

    def _forget_instance(self) -> None:
        # A method runs on a new object of its class, as each test does.
        if self._item.cls is not None:
            for name in ("_instance", "_obj"):
                self._item.__dict__.pop(name, None)


_RECORDS = (
    *((name, "readouterr") for name in ("capsys", "capfd", "capsysbinary", "capfdbinary", "capteesys")),
    ("recwarn", "clear"),
    # The levels that were set; there is no public way back to them before the fixture's own end.
    ("caplog", "_finalize"),
)
"""The kept fixtures that record or change something, and what takes that back."""


def clear_records(item: pytest.Function) -> None:
    """Forget what the kept fixtures recorded, so that a schedule sees its own alone."""
    for name, method in _RECORDS:
        if name in item.funcargs:
            getattr(item.funcargs[name], method)()
    if "recwarn" in item.funcargs:
        # A warning that was given once would not be given again; the fixture begins with this line too.
        warnings.simplefilter("default")
