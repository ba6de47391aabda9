"""What whoever subclasses a contract meets: what is missing, not offered, or kept otherwise."""

from __future__ import annotations

import pytest

# Loaded here, since pytester forgets after each run what that run has imported.
import pytest_littleloops.contract
import pytest_littleloops.plugin.exploration  # noqa: F401

HEAD = """
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_littleloops import WorkerPool
from pytest_littleloops.contract import ExecutorContract, IssueQueueContract, WorkerPoolContract
"""

POOL = """
class TestPool(WorkerPoolContract):
    schedules = 10

    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: WorkerPool(process, max_workers=max_workers)
"""


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    """Run this module, one promise of it if that is said."""
    pytester.makepyfile(HEAD + text)
    return pytester.runpytest("-p", "littleloops", "-rs", "--littleloops-patience=1", *options)


def test_a_missing_fixture_is_named_with_an_example(pytester: pytest.Pytester) -> None:
    """Each promise says it."""
    text = "class TestQueue(IssueQueueContract):\n    pass\n"
    result = run(pytester, text, "-k", "most_urgent and real")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["TestQueue has no fixture 'queue_factory'; give it one, for example", "*def queue_factory(self):"]
    )


def test_a_factory_that_returns_something_else(pytester: pytest.Pytester) -> None:
    """The error says what it returned, and what that lacks."""
    text = """
class TestPool(WorkerPoolContract):
    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: "a pool"
"""
    result = run(pytester, text, "-k", "second_shutdown and real")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*TypeError: the factory returned 'a pool', which has no method submit()*"]
    )


def test_what_is_kept_otherwise_is_skipped_with_its_reason(pytester: pytest.Pytester) -> None:
    """In both ways; the summary prints the reason."""
    text = POOL + "    kept_otherwise = {'test_a_second_shutdown_changes_nothing': 'it raises'}\n"
    result = run(pytester, text, "-k", "second_shutdown or is_dropped")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED * kept otherwise: it raises"])


def test_what_is_kept_otherwise_has_to_be_a_promise(pytester: pytest.Pytester) -> None:
    """A name that is misspelt would pass over nothing."""
    text = POOL + "    kept_otherwise = {'test_a_second_shutdown': 'it raises'}\n"
    result = run(pytester, text, "-k", "second_shutdown and real")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["kept_otherwise has 'test_a_second_shutdown', which is no promise *"])


def test_what_an_object_does_not_offer_is_skipped(pytester: pytest.Pytester) -> None:
    """An executor has no `active_count`, and cancels by its futures."""
    text = """
class TestExecutor(ExecutorContract):
    schedules = 10

    @pytest.fixture
    def executor_factory(self):
        return ThreadPoolExecutor
"""
    result = run(pytester, text, "-k", "nothing_is_owed or forgets_none or more_jobs")
    result.assert_outcomes(passed=2, skipped=6)
    result.stdout.fnmatch_lines_random(
        ["SKIPPED * it has no active_count, is_idle() or drain()", "SKIPPED * it has no cancel"]
    )


def test_a_rule_can_be_allowed(pytester: pytest.Pytester) -> None:
    """The executor of the standard library wakes nobody: known, and accepted by this class."""
    text = """
class TestExecutor(ExecutorContract):
    is_explored = False
    {allow}

    @pytest.fixture
    def executor_factory(self):
        return ThreadPoolExecutor
"""
    chosen = "-k", "woken_by_a_shutdown and real-wait"
    result = run(pytester, text.format(allow=""), *chosen)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["LL105 dropped-at-shutdown: BUG-102 *who waits for it is not woken"])
    run(pytester, text.format(allow="allow = ('dropped-at-shutdown',)"), *chosen).assert_outcomes(passed=1)


def test_a_pool_that_hangs_fails_and_the_rest_goes_on(pytester: pytest.Pytester) -> None:
    """With the stacks of all threads; explored, it is a deadlock."""
    text = """
class Pool(WorkerPool):
    def shutdown(self, *args, **kwargs):
        threading.Lock().acquire()
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

class TestPool(WorkerPoolContract):
    schedules = 10

    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: Pool(process, max_workers=max_workers)

class TestOther(WorkerPoolContract):
    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: WorkerPool(process, max_workers=max_workers)
"""
    result = run(pytester, text, "-k", "more_jobs")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*hang: waited 3 s for test_more_jobs*", "*in shutdown*", "*LL302 deadlock: *"]
    )


def test_fixtures_of_the_same_names_stay_the_users(pytester: pytest.Pytester) -> None:
    """A contract uses its own, whatever a conftest calls its fixtures."""
    names = ("kept", "pool", "issues", "ledger", "nemesis", "worker_pool")
    pytester.makeconftest(
        "import pytest\n"
        + "".join(f"@pytest.fixture\ndef {name}():\n    raise AssertionError\n" for name in names)
    )
    run(pytester, POOL, "-k", "is_dropped").assert_outcomes(passed=2)


def test_a_failing_schedule_is_replayed_by_its_token(pytester: pytest.Pytester) -> None:
    """The line that says how is one to copy."""
    text = """
class Pool(WorkerPool):
    @property
    def active_count(self):
        return len(self._pending_callbacks) and self.futures_running()

    def futures_running(self):
        return 0

class TestPool(WorkerPoolContract):
    schedules = 200

    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: Pool(process, max_workers=max_workers)
"""
    result = run(pytester, text, "-k", "nothing_is_owed and explored")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["LL301 early-idle: *"])
    token = next(
        line.split("--littleloops-replay=")[1]
        for line in result.outlines
        if "--littleloops-replay=" in line
    )
    again = run(pytester, text, "-k", "nothing_is_owed and explored", f"--littleloops-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["LL301 early-idle: *"])


LOSSY = """
import os, sys, tempfile
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

class Refusing(WorkerPool):
    def submit(self, issue, on_complete=None):
        raise RuntimeError("not today")

class Leaving(WorkerPool):
    def submit(self, issue, on_complete=None):
        os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", "import time; time.sleep(5)"])
        return super().submit(issue, on_complete)

class Keeping(WorkerPool):
    def submit(self, issue, on_complete=None):
        folder = Path(tempfile.mkdtemp(dir="."))
        return super().submit(issue, lambda result: on_complete(replace(result, worktree_path=folder)))

class Counting(WorkerPool):
    count = 0

    @property
    def active_count(self):
        return self.count

    def submit(self, issue, on_complete=None):
        self.count += 1
        return super().submit(issue, on_complete)

class TestPool(WorkerPoolContract):
    schedules = 5

    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: {pool}(process, max_workers=max_workers)
"""


@pytest.mark.parametrize(
    ("pool", "promise", "told"),
    [
        (
            "Refusing",
            "work_is_accepted",
            "LL104 *: BUG-101 *was refused without need: *not today*",
        ),
        ("Leaving", "left_behind and real-well", "LL403 leaked-process: BUG-101 *and process * has not: *"),
        (
            "Keeping",
            "left_behind and well",
            "LL404 *: BUG-101 *its worktree is still there: *",
        ),
        ("Counting", "no_other and KeyError", "LL303 no-progress: BUG-101 *active_count stays 4"),
    ],
)
def test_what_is_not_lost_but_not_put_right_either(
    pytester: pytest.Pytester, pool: str, promise: str, told: str
) -> None:
    """Work that is refused, what is left behind, and a count that never comes to its end."""
    result = run(pytester, LOSSY.replace("{pool}", pool), "-k", promise, "--littleloops-patience=0.5")
    result.stdout.fnmatch_lines([told])
    assert result.ret == 1


def test_processes(pytester: pytest.Pytester) -> None:
    """Work is sent to them; one that dies, and what cannot be sent, loses nothing and hangs nothing."""
    text = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

class TestExecutor(ExecutorContract):
    in_processes = True

    @pytest.fixture
    def executor_factory(self):
        context = multiprocessing.get_context("spawn")
        return lambda max_workers: ProcessPoolExecutor(max_workers, mp_context=context)
"""
    result = run(pytester, text, "-k", "pickled or dies or more_jobs or whatever_goes_wrong or held")
    result.assert_outcomes(passed=6, skipped=1)


def test_processes_that_lose_their_work(pytester: pytest.Pytester) -> None:
    """What cannot be sent is never heard of again: no result, no error."""
    text = """
import pickle
from concurrent.futures import Executor, Future

class Sender(Executor):
    def submit(self, fn, /, *args):
        future = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(fn))(*pickle.loads(pickle.dumps(args))))
        except Exception:
            pass
        return future

class TestExecutor(ExecutorContract):
    in_processes = True

    @pytest.fixture
    def executor_factory(self):
        return lambda max_workers: Sender()
"""
    result = run(pytester, text, "-k", "pickled", "--littleloops-patience=0.5")
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["LL101 lost-issue: BUG-101 *"])


def test_who_lets_go_of_a_pool_is_owed_no_threads(pytester: pytest.Pytester) -> None:
    """They wait for ever for more, and are no daemons; that they keep their pool is no loss of an issue."""
    text = """
class Pool:
    def __init__(self, process):
        self.process, self.jobs, self.changed = process, [], threading.Condition()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def submit(self, issue, on_complete):
        with self.changed:
            self.jobs.append((issue, on_complete))
            self.changed.notify()

    def shutdown(self, wait=True):
        with self.changed:
            self.jobs.append(None)
            self.changed.notify()
        if wait:
            self.thread.join()

    def work(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.jobs)
                job = self.jobs.pop(0)
            if job is None:
                return
            job[1](self.process(job[0]))

class TestPool(WorkerPoolContract):
    @pytest.fixture
    def pool_factory(self):
        return lambda process, max_workers: Pool(process)
"""
    run(pytester, text, "-k", "is_dropped").assert_outcomes(passed=2)
