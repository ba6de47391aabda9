"""What the work on an issue does while its pool is on trial, and which work has begun.

Within this process that is kept in memory. Work that is sent to other processes finds it in a folder:
what it is to do, which gates are open, and where to say that it has begun.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from pytest_littleloops.harness.watching.lifecycle import find_issue_id
from pytest_littleloops.simulation.inside import patiently

Work = Callable[[], object]


class Works(Protocol):
    """The work on the issues of one trial; what a pool calls is `process`."""

    def __setitem__(self, issue_id: str, work: Work) -> None:
        """Have the work on this issue do this."""
        ...

    @property
    def begun(self) -> list[str]:
        """The issues whose work has begun, in that order, as often as it has."""
        ...

    @property
    def process(self) -> Callable[[object], object]:
        """The process function."""
        ...

    def offer(self, issue_id: str, result: object) -> None:
        """Have the work on this issue return this, unless it was told something else."""
        ...

    def hold(self, issue_id: str, result: object, patience: float) -> Callable[[], None]:
        """Have the work on this issue wait until what this returns is called, or `patience` is over."""
        ...


class LocalWorks:
    """Works that are done in this process."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._works: dict[str, Work] = {}
        self._results: dict[str, object] = {}

    def __setitem__(self, issue_id: str, work: Work) -> None:
        self._works[issue_id] = work

    def process(self, issue: object) -> object:
        """Do what was said of this issue."""
        issue_id = find_issue_id(issue) or str(issue)
        self.begun.append(issue_id)
        work = self._works.get(issue_id)
        return self._results.get(issue_id) if work is None else work()

    def offer(self, issue_id: str, result: object) -> None:
        """Have the work on this issue return this, unless it was told something else."""
        self._results[issue_id] = result

    def hold(self, issue_id: str, result: object, patience: float) -> Callable[[], None]:
        """Have the work on this issue wait until what this returns is called, or `patience` is over."""
        opened = threading.Event()

        def wait() -> object:
            with patiently():
                opened.wait(patience)
            return result

        self._works[issue_id] = wait
        return opened.set


class SentWorks:
    """Works that are done in other processes, which see the same folder.

    What is set is pickled, and so is `process`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __setitem__(self, issue_id: str, work: Work) -> None:
        self._path(issue_id, "work").write_bytes(pickle.dumps(work))

    @property
    def begun(self) -> list[str]:
        """The issues whose work has begun, in that order, as often as it has."""
        path = self._folder / "begun"
        return path.read_text().split() if path.exists() else []

    @property
    def process(self) -> Callable[[object], object]:
        """The process function: it can be pickled, as it is no more than the name of the folder."""
        return self._process

    def _process(self, issue: object) -> object:
        issue_id = find_issue_id(issue) or str(issue)
        # One write at the end of a file, so that no two of them mingle.
        descriptor = os.open(self._folder / "begun", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, f"{issue_id}\n".encode())
        finally:
            os.close(descriptor)
        path = self._path(issue_id, "work")
        if not path.exists():
            path = self._path(issue_id, "result")
        work: Work = pickle.loads(path.read_bytes())
        return work()

    def offer(self, issue_id: str, result: object) -> None:
        """Have the work on this issue return this, unless it was told something else."""
        self._path(issue_id, "result").write_bytes(pickle.dumps(partial(_give, result)))

    def hold(self, issue_id: str, result: object, patience: float) -> Callable[[], None]:
        """Have the work on this issue wait until what this returns is called, or `patience` is over."""
        gate = self._path(issue_id, "open")
        gate.unlink(missing_ok=True)
        self[issue_id] = partial(_give_behind, gate, result, patience)
        return gate.touch

    def _path(self, issue_id: str, what: str) -> Path:
        return self._folder / f"{issue_id}.{what}"


def _give(result: object) -> object:
    return result


def _give_behind(gate: Path, result: object, patience: float) -> object:
    end = time.monotonic() + patience
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.005)
    return result
