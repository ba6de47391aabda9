"""What the tests need to run little-loops for real: a repository, issues, and stand-ins for its command.

Nothing of little-loops is changed but `WorkerPool._process_issue`, which would run a command line tool in
a worktree for minutes. On each pool made here, a function from an issue to a result takes its place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from little_loops.config import BRConfig
from little_loops.issue_parser import IssueInfo
from little_loops.logger import Logger
from little_loops.parallel import (
    IssuePriorityQueue,
    ParallelConfig,
    ParallelOrchestrator,
    WorkerPool,
    WorkerResult,
)

Work = Callable[[IssueInfo], WorkerResult]
"""Stands in for the command that little-loops would run for one issue."""

PATIENCE = 10.0
"""No stand-in waits longer for its turn, and no run is left alone for longer, in seconds."""


@dataclass(frozen=True)
class Project:
    """A git repository with issue files in it, as little-loops finds them in any project that uses it."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> Project:
        """Make a project with one commit and no issue."""
        project = cls(root)
        root.mkdir()
        project.git("init", "--quiet", "--initial-branch=main")
        project.git("config", "user.name", "Demo")
        project.git("config", "user.email", "demo@example.invalid")
        (root / "README.md").write_text("A project with issues.\n")
        project.commit("Begin")
        return project

    def git(self, *arguments: str, folder: Path | None = None) -> None:
        """Run git in the project, or in one of its worktrees."""
        subprocess.run(["git", *arguments], cwd=folder or self.root, check=True, capture_output=True)

    def commit(self, message: str, *, folder: Path | None = None) -> None:
        """Commit all that has changed."""
        self.git("add", "--all", folder=folder)
        self.git("commit", "--quiet", "--message", message, folder=folder)

    def write_issues(self, *names: str) -> list[IssueInfo]:
        """Commit a file for each name (`P2-BUG-229-some-words`), and read them as little-loops does."""
        folder = self.root / ".issues" / "bugs"
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _, kind, number, *words = name.split("-")
            title = " ".join(words).capitalize()
            (folder / f"{name}.md").write_text(f"# {kind}-{number}: {title}\n\n## Summary\n\n{title}.\n")
        self.commit("Add issues")
        issues: list[IssueInfo] = IssuePriorityQueue.scan_issues(BRConfig(self.root))
        return issues

    def saved_state(self) -> str:
        """What the orchestrator wrote down last; it does so after each dispatch."""
        file = self.root / ".parallel-manage-state.json"
        return file.read_text() if file.exists() else ""

    def pool(self, work: Work) -> WorkerPool:
        """Start a pool of two workers that do `work`."""
        pool = WorkerPool(
            ParallelConfig(max_workers=2), BRConfig(self.root), Logger(use_color=False), self.root
        )
        _stand_in(pool, work)
        pool.start()
        return pool

    def orchestrator(self, work: Work) -> ParallelOrchestrator:
        """Make an orchestrator, with a queue and a pool of its own, whose two workers do `work`."""
        # The timeout is how long it waits for its workers after Ctrl-C.
        config = ParallelConfig(max_workers=2, p0_sequential=True, orchestrator_timeout=1)
        orchestrator = ParallelOrchestrator(config, BRConfig(self.root), self.root)
        _stand_in(orchestrator.worker_pool, work)
        return orchestrator


def _stand_in(pool: Any, work: Work) -> None:
    pool._process_issue = work


def never() -> bool:
    """Nothing happens that Ctrl-C is pressed for."""
    return False


def run(orchestrator: ParallelOrchestrator, *, interrupt_when: Callable[[], bool] = never) -> int:
    """Run it, and press Ctrl-C when the condition holds, or when patience is at its end."""
    is_over = threading.Event()
    deadline = time.monotonic() + PATIENCE

    def watch_over() -> None:
        while not is_over.wait(0.01):
            if interrupt_when() or time.monotonic() > deadline:
                os.kill(os.getpid(), signal.SIGINT)
                return

    watchman = threading.Thread(target=watch_over, name="ctrl-c")
    watchman.start()
    try:
        exit_code: int = orchestrator.run()
        return exit_code
    finally:
        is_over.set()
        watchman.join()


def succeeds(issue: IssueInfo) -> WorkerResult:
    """The command did its work."""
    return WorkerResult(issue.issue_id, success=True, branch_name="", worktree_path=Path())


def fails(issue: IssueInfo) -> WorkerResult:
    """The command ended with an error."""
    return WorkerResult(
        issue.issue_id, success=False, branch_name="", worktree_path=Path(), error="the command failed"
    )


def exits(issue: IssueInfo) -> WorkerResult:
    """Something below the worker called `sys.exit()`."""
    raise SystemExit(f"{issue.issue_id} gave up")


@dataclass(frozen=True)
class Urgent:
    """One of these for P1, another one for the others."""

    work: Work
    others: Work

    def __call__(self, issue: IssueInfo) -> WorkerResult:
        return self.work(issue) if issue.priority == "P1" else self.others(issue)


@dataclass(frozen=True)
class Gated:
    """Any of these, but not before the gate is open: when all has been submitted.

    What ends sooner may have its completion called inside `submit`, by the thread that submits. Then
    `SystemExit` leaves `submit`: the same bug with another end, and which one it is would be chance.
    """

    work: Work
    gate: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        """Let the work begin."""
        self.gate.set()

    def __call__(self, issue: IssueInfo) -> WorkerResult:
        self.gate.wait(PATIENCE)
        return self.work(issue)


@dataclass(frozen=True)
class OnceDispatched:
    """`Gated` for a whole run: not before the orchestrator is done with submitting the issue."""

    work: Work
    project: Project

    def __call__(self, issue: IssueInfo) -> WorkerResult:
        deadline = time.monotonic() + PATIENCE
        while issue.issue_id not in self.project.saved_state() and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.work(issue)


@dataclass(frozen=True)
class Commits:
    """The command commits a change on a branch of its own, in a worktree, as the real one does."""

    project: Project

    def __call__(self, issue: IssueInfo) -> WorkerResult:
        name = issue.issue_id.lower()
        branch = f"parallel/{name}"
        worktree = self.project.root / ".worktrees" / f"worker-{name}"
        self.project.git("worktree", "add", "--quiet", "-b", branch, str(worktree))
        (worktree / f"{name}.txt").write_text("fixed\n")
        self.project.commit(f"Fix {issue.issue_id}", folder=worktree)
        return WorkerResult(
            issue.issue_id,
            success=True,
            branch_name=branch,
            worktree_path=worktree,
            changed_files=[f"{name}.txt"],
        )


@dataclass
class NoSecondWorker:
    """A machine at its limit: the pool's first thread starts, its second one is refused, once.

    Until then the first worker is kept busy, since an idle one would make a second thread unneeded.
    """

    refused: threading.Event = field(default_factory=threading.Event)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it between `Thread.start` and whoever calls that."""
        start = threading.Thread.start

        def start_unless_second(thread: threading.Thread) -> None:
            if thread.name == "issue-worker_1" and not self.refused.is_set():
                self.refused.set()
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_unless_second)

    def work(self, issue: IssueInfo) -> WorkerResult:
        """Fail, but not before a thread was refused."""
        self.refused.wait(PATIENCE)
        return fails(issue)
