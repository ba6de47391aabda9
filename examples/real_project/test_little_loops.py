"""The pool, queue and orchestrator of little-loops 1.47.0, unmodified, under the ledger.

Where a test runs into a bug it says not a word about it: what fails the test is the ledger.
"""

from __future__ import annotations

import pytest
from little_loops.parallel import IssuePriorityQueue, WorkerPool, WorkerResult
from scenarios import (
    Commits,
    Gated,
    NoSecondWorker,
    OnceDispatched,
    Project,
    Urgent,
    exits,
    fails,
    run,
    succeeds,
)

from pytest_littleloops import Ledger


def submit_all(queue: IssuePriorityQueue, pool: WorkerPool) -> None:
    """Give each queued issue to the pool, and mark it when its completion comes."""

    def mark(result: WorkerResult) -> None:
        if result.success:
            queue.mark_completed(result.issue_id)
        else:
            queue.mark_failed(result.issue_id)

    while (queued := queue.get(block=False)) is not None:
        pool.submit(queued.issue_info, mark)


def test_worker_exits(project: Project, ledger: Ledger) -> None:
    (issue,) = project.write_issues("P2-BUG-229-exit-in-the-worker")
    work = Gated(exits)
    pool = ledger.watch(project.pool(work))
    results: list[WorkerResult] = []

    pool.submit(issue, results.append)
    work.open()
    pool.shutdown(wait=True)


def test_issue_behind_dead_workers(project: Project, ledger: Ledger) -> None:
    issues = project.write_issues(
        "P1-BUG-301-exit-in-the-first-worker",
        "P1-BUG-302-exit-in-the-second-worker",
        "P2-BUG-303-wait-behind-them",
    )
    work = Gated(Urgent(exits, others=succeeds))
    queue = ledger.watch(IssuePriorityQueue())
    pool = ledger.watch(project.pool(work))

    queue.add_many(issues)
    submit_all(queue, pool)
    work.open()
    pool.shutdown(wait=True)


def test_run_behind_dead_workers(project: Project, ledger: Ledger) -> None:
    project.write_issues(
        "P1-BUG-311-exit-in-the-first-worker",
        "P1-BUG-312-exit-in-the-second-worker",
        "P2-BUG-313-wait-behind-them",
    )
    work = OnceDispatched(Urgent(exits, others=fails), project)
    orchestrator = ledger.watch(project.orchestrator(work))

    # Once both workers are gone, the run turns for ever.
    run(orchestrator, interrupt_when=lambda: "BUG-313" in project.saved_state())


def test_sequential_issue_fails(project: Project, ledger: Ledger) -> None:
    project.write_issues("P0-BUG-401-fail-alone")
    orchestrator = ledger.watch(project.orchestrator(fails))

    run(orchestrator)


def test_dispatch_raises(project: Project, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write_issues("P1-BUG-501-keep-the-first-worker-busy", "P2-BUG-502-need-a-second-worker")
    machine = NoSecondWorker()
    machine.install(monkeypatch)
    orchestrator = ledger.watch(project.orchestrator(machine.work))

    run(orchestrator)


def test_ordinary_ends(project: Project, ledger: Ledger) -> None:
    issues = project.write_issues("P1-BUG-601-fail", "P2-BUG-602-succeed", "P3-BUG-603-succeed-too")
    queue = ledger.watch(IssuePriorityQueue())
    pool = ledger.watch(project.pool(Urgent(fails, others=succeeds)))

    queue.add_many(issues)
    submit_all(queue, pool)
    pool.shutdown(wait=True)

    assert queue.failed_ids == ["BUG-601"]
    assert sorted(queue.completed_ids) == ["BUG-602", "BUG-603"]


def test_run_with_a_failure(project: Project, ledger: Ledger) -> None:
    project.write_issues("P1-BUG-611-fail")
    orchestrator = ledger.watch(project.orchestrator(fails))

    exit_code = run(orchestrator)

    assert exit_code == 1
    assert orchestrator.queue.failed_ids == ["BUG-611"]


def test_run_with_merges(project: Project, ledger: Ledger) -> None:
    project.write_issues("P0-BUG-621-alone", "P1-BUG-622-in-parallel")
    orchestrator = ledger.watch(project.orchestrator(Commits(project)))

    exit_code = run(orchestrator)

    assert exit_code == 0
    assert sorted(orchestrator.queue.completed_ids) == ["BUG-621", "BUG-622"]
    assert (project.root / "bug-621.txt").exists()
    assert (project.root / "bug-622.txt").exists()
