"""The adapters: what of other libraries is understood without a mapping, and what of it is lost work."""

from __future__ import annotations

import gc
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.pool import Pool, ThreadPool
from typing import Any

import pytest

from pytest_littleloops import explore
from pytest_littleloops.harness.ledger import Ledger, PromiseBroken
from pytest_littleloops.harness.watching.adapters import multiprocessing_pool
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, NotWatchable
from pytest_littleloops.reference.model import Issue, WorkerResult
from tests.harness.lossy_pools import ListQueue, SwallowingPool, codes, leave, refuse, succeed

PATIENCE = 10
QUEUES = (queue.Queue, queue.LifoQueue, queue.PriorityQueue)


def square(number: int) -> int:
    """A job that a process pool can carry."""
    return number * number


def vanish(issue: Issue) -> None:
    """A job that takes its process along."""
    os._exit(3)


def object_to(outcome: object) -> None:
    """A callback that raises. A KeyError would be taken by the pool for one of its own."""
    raise ValueError("stage")


def consume_one(jobs: Any) -> None:
    """Take an item out of a queue and mark it, maybe in another process."""
    jobs.get(timeout=PATIENCE)
    jobs.task_done()


def eventually(read: Callable[[], object], expected: object) -> None:
    """Assert that `read` comes to give what is expected."""
    deadline = time.monotonic() + PATIENCE
    while (found := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.005)
    assert found == expected


def whats(books: Ledger, issue_id: str) -> list[str]:
    """What happened to an issue."""
    return [step.what for step in books.timeline(issue_id).steps]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, so that no thread waits for ever."""
    event = threading.Event()
    yield event
    event.set()


def in_threads(*functions: Callable[[], object]) -> None:
    """Run each in a thread of its own, at once."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


# ----------------------------------------------------------------------- multiprocessing's pools


@pytest.fixture
def threads(books: Ledger) -> Iterator[ThreadPool]:
    """A watched pool of one thread."""
    pool = books.watch(ThreadPool(1))
    yield pool
    with suppress(AssertionError):  # its result handler may be dead
        pool.terminate()


def test_a_pools_calls_are_issues_of_their_own(books: Ledger, threads: ThreadPool) -> None:
    """Named after an issue among the arguments, in the tuple or the mapping, or after the function."""
    threads.apply_async(square, (3,))
    threads.apply_async(succeed, (Issue("BUG-1"),))
    threads.apply_async(func=succeed, kwds={"issue": Issue("BUG-2")})
    assert threads.apply(square, [4]) == 16
    threads.close()
    threads.join()
    assert books.states() == dict.fromkeys(("square#1", "BUG-1", "BUG-2", "square#4"), "completed")
    assert codes(books) == []


def test_sound_callbacks_are_called_and_silent(books: Ledger, threads: ThreadPool) -> None:
    """With their results, by position and by name; a failure needs no callback to be one."""
    heard: list[object] = []
    threads.apply_async(square, (3,), {}, heard.append)
    threads.apply_async(refuse, (Issue("BUG-1"),), error_callback=heard.append)
    result = threads.apply_async(refuse, (Issue("BUG-2"),), callback=heard.append)
    with pytest.raises(ValueError, match="no branch for BUG-2"):
        result.get(PATIENCE)
    threads.close()
    threads.join()
    assert [str(one) for one in heard] == ["9", "no branch for BUG-1"]
    assert books.states() == {"square#1": "completed", "BUG-1": "failed", "BUG-2": "failed"}
    assert codes(books) == []
    assert books.leaks() == []


def test_a_job_of_a_pool_is_told_step_by_step(books: Ledger, threads: ThreadPool) -> None:
    """Where its work ran, how it ended, and its callback."""
    threads.apply_async(refuse, (Issue("BUG-1"),), error_callback=lambda error: None)
    threads.close()
    threads.join()
    assert whats(books, "BUG-1") == [
        "submitted",
        "work began",
        "work raised ValueError: no branch for BUG-1",
        "future failed with ValueError: no branch for BUG-1",
        "completion called: failed",
    ]


def test_processes_carry_what_is_watched(books: Ledger) -> None:
    """The function travels as itself."""
    with books.watch(Pool(1)) as pool:
        assert pool.apply_async(succeed, (Issue("BUG-1"),)).get(60).success
        assert pool.apply(square, (3,)) == 9
        pool.close()
        pool.join()
    assert codes(books) == []


def test_the_end_is_noted_before_anybody_wakes(books: Ledger, threads: ThreadPool) -> None:
    """Whoever has the result in hand may check at once."""
    for number in range(100):
        threads.apply_async(square, (number,)).get(PATIENCE)
        assert codes(books) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_takes_its_thread_along(books: Ledger) -> None:
    """LL106 for the job alone, while another thread is there; also once the pool is gone."""
    with books.watch(ThreadPool(2)) as pool:
        pool.apply_async(leave, (Issue("BUG-1"),))
        assert pool.apply_async(square, (3,)).get(PATIENCE) == 9
        eventually(lambda: codes(books), [("LL106", "BUG-1")])
        assert "died of SystemExit: BUG-1" in books.violations()[0].note
    assert codes(books) == [("LL106", "BUG-1")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_takes_the_only_thread_along(books: Ledger, threads: ThreadPool) -> None:
    """LL106 for what waits behind it too: nobody wakes up to replace the thread."""
    (worker,) = threads._pool  # type: ignore[attr-defined]
    threads.apply_async(leave, (Issue("BUG-1"),))
    eventually(worker.is_alive, False)
    threads.apply_async(succeed, (Issue("BUG-2"),))
    eventually(lambda: codes(books), [("LL106", "BUG-1"), ("LL106", "BUG-2")])
    assert books.violations()[1].note.endswith("died of SystemExit: BUG-1, and nobody took over")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_raises(books: Ledger, threads: ThreadPool) -> None:
    """LL103 for its job; nobody hears of the others, LL102, also after the end of the pool."""
    threads.apply_async(succeed, (Issue("BUG-1"),), callback=object_to)
    eventually(threads._result_handler.is_alive, False)  # type: ignore[attr-defined]
    threads.apply_async(succeed, (Issue("BUG-2"),))
    expected = [("LL103", "BUG-1"), ("LL102", "BUG-2")]
    eventually(lambda: codes(books), expected)
    assert books.violations()[1].note == "the work on it returned; nobody has heard of it"
    with pytest.raises(AssertionError, match="Cannot have cache"):
        threads.terminate()
    assert codes(books) == expected


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_that_raises_over_processes(books: Ledger) -> None:
    """Where the others are at work is not seen, so they are lost with the thread that would hear of it."""
    pool = books.watch(Pool(1))
    pool.apply_async(refuse, (Issue("BUG-1"),), error_callback=object_to)
    eventually(pool._result_handler.is_alive, False)  # type: ignore[attr-defined]
    pool.apply_async(succeed, (Issue("BUG-2"),))
    eventually(lambda: codes(books), [("LL103", "BUG-1"), ("LL106", "BUG-2")])
    assert "died of ValueError: stage, and nobody took over" in books.violations()[1].note
    with suppress(AssertionError):
        pool.terminate()
    for process in pool._pool:  # type: ignore[attr-defined]
        process.terminate()


def test_a_job_that_takes_its_process_along(books: Ledger) -> None:
    """Nobody ends it: in flight for ever, LL301, and LL105 once the pool is gone."""
    with books.watch(Pool(1)) as pool:
        result = pool.apply_async(vanish, (Issue("BUG-1"),))
        assert pool.apply(square, (3,)) == 9
        assert codes(books) == [("LL301", "BUG-1")]
        pool.terminate()
        pool.join()
    assert codes(books) == [("LL105", "BUG-1")]
    assert [(finding.code, finding.issue_id) for finding in books.leaks()] == [("LL402", "BUG-1")]
    del result


def test_terminate_drops_what_waits_and_what_runs(books: Ledger, gate: threading.Event) -> None:
    """LL105 for both; while one of them runs it is in flight."""
    begun = threading.Event()

    def wait(issue: Issue) -> None:
        begun.set()
        gate.wait(PATIENCE)

    with books.watch(ThreadPool(1)) as pool:
        pool.apply_async(wait, (Issue("BUG-1"),))
        pool.apply_async(wait, (Issue("BUG-2"),))
        assert begun.wait(PATIENCE)
    assert codes(books) == [("LL301", "BUG-1"), ("LL301", "BUG-2")]
    gate.set()
    pool.join()
    eventually(lambda: codes(books), [("LL105", "BUG-1"), ("LL105", "BUG-2")])


def test_close_is_no_shutdown(books: Ledger, threads: ThreadPool, gate: threading.Event) -> None:
    """What was taken is still done, so it is in flight, and then it ends."""
    threads.apply_async(gate.wait, (PATIENCE,))
    threads.close()
    assert [finding.code for finding in books.violations()] == ["LL301"]
    gate.set()
    threads.join()
    assert "shutdown" not in whats(books, "wait#1")
    assert codes(books) == []


def test_a_refused_job_is_nobodys(books: Ledger, threads: ThreadPool) -> None:
    """The caller was told: by a closed pool, and for wrong arguments."""
    threads.close()
    with pytest.raises(ValueError, match="Pool not running"):
        threads.apply_async(succeed, (Issue("BUG-1"),))
    with pytest.raises(TypeError, match="unexpected keyword argument 'task'"):
        threads.apply_async(succeed, task=Issue("BUG-2"))  # type: ignore[call-arg]
    assert set(books.states().values()) == {"rejected"}
    assert codes(books) == []


def test_a_join_that_does_not_wait(books: Ledger, gate: threading.Event) -> None:
    """LL301: that it returned claimed that nothing is owed."""

    class HastyPool(ThreadPool):
        def join(self) -> None:
            """Return at once."""

    pool = books.watch(HastyPool(1))
    result = pool.apply_async(gate.wait, (PATIENCE,))
    pool.close()
    pool.join()
    gate.set()
    result.get(PATIENCE)
    assert codes(books) == [("LL301", "wait#1")]
    assert books.violations()[0].claim == "was owed a completion while join returned"


def test_what_is_no_call_of_one_issue_is_left_alone(books: Ledger, threads: ThreadPool) -> None:
    """Chunks tell of no single issue how it ended."""
    assert threads.map(square, [1, 2]) == [1, 4]
    assert threads.starmap_async(pow, [(2, 3)]).get(PATIENCE) == [8]
    assert sorted(threads.imap_unordered(square, [3])) == [9]
    assert books.states() == {}


def test_a_pool_that_submits_in_its_own_way(books: Ledger) -> None:
    """A subclass whose `apply_async` takes an issue is no pool of functions."""

    class IssuePool(ThreadPool):
        def apply_async(self, issue: Issue) -> object:  # type: ignore[override]
            return super().apply_async(succeed, (issue,))

    with IssuePool(1) as pool:
        assert multiprocessing_pool.pytest_littleloops_lifecycle(pool) is None
        with pytest.raises(NotWatchable):
            books.watch(pool)


def test_a_function_reaches_another_process_without_this_package() -> None:
    """What a process pool pickles needs nothing that the other side may not have."""
    program = (
        "import pickle, sys; from pytest_littleloops.harness.watching.completions import ObservedCall; "
        "sys.stdout.buffer.write(pickle.dumps(ObservedCall(len, print)))"
    )
    pickled = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
    assert b"littleloops" not in pickled
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer) is len)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], input=pickled, check=True, capture_output=True
    ).stdout
    assert loaded.strip() == b"True"


# ----------------------------------------------------------------------- queues of the standard library


@dataclass(frozen=True, order=True)
class Ticket:
    """An issue that a priority queue can hold."""

    issue_id: str


@pytest.mark.parametrize("kind", QUEUES, ids=lambda kind: kind.__name__)
def test_consumers_that_mark_are_sound(books: Ledger, kind: type[queue.Queue[Ticket]]) -> None:
    """Whatever the order; `task_done` in a `finally`, `join`, and the known false alarm is none."""
    jobs = books.watch(kind())
    for number in range(20):
        jobs.put(Ticket(f"BUG-{number}"))

    def consume() -> None:
        while True:
            try:
                jobs.get_nowait()
            except queue.Empty:
                return
            try:
                time.sleep(0)
            finally:
                jobs.task_done()

    in_threads(consume, consume, jobs.join)
    assert set(books.states().values()) == {"completed"}
    assert len(books.states()) == 20
    assert codes(books) == []


def test_task_done_alone_is_a_mark(books: Ledger) -> None:
    """Without any `join`."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    jobs.put(Issue("BUG-1"))
    jobs.get()
    jobs.task_done()
    assert whats(books, "BUG-1") == ["queued", "taken from the queue", "marked completed"]
    assert books.states() == {"BUG-1": "completed"}
    assert codes(books) == []


@pytest.mark.parametrize("kind", QUEUES, ids=lambda kind: kind.__name__)
def test_a_conveyor_owes_what_nobody_took(books: Ledger, kind: type[queue.Queue[Ticket]]) -> None:
    """Where nobody ever marks, what was taken is not asked after."""
    jobs = books.watch(kind())
    jobs.put(Ticket("BUG-1"))
    jobs.put(Ticket("BUG-1"))
    jobs.get()
    assert codes(books) == [("LL101", "BUG-1")]
    assert books.violations()[0].note == "it is still queued, and nobody took it"
    jobs.get()
    assert codes(books) == []


def test_the_one_that_a_consumer_passed_over(books: Ledger) -> None:
    """A mark is for what was taken last, so the others are not blamed."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    for number in range(3):
        jobs.put(Issue(f"BUG-{number}"))
    for _ in range(3):
        issue = jobs.get()
        if issue.issue_id != "BUG-1":
            jobs.task_done()
    assert codes(books) == [("LL101", "BUG-1")]
    assert books.violations()[0].note == "it was taken out of the queue and never marked"


def test_join_makes_marks_due(books: Ledger) -> None:
    """Whoever waits in it will wait for ever, and what was taken is lost."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    jobs.put(Issue("BUG-1"))
    jobs.get()
    assert codes(books) == []
    waiter = threading.Thread(target=jobs.join, daemon=True)
    waiter.start()
    eventually(lambda: codes(books), [("LL101", "BUG-1")])
    jobs.task_done()
    waiter.join(PATIENCE)
    assert codes(books) == []


def test_a_consumer_at_work_is_in_flight(books: Ledger, gate: threading.Event) -> None:
    """LL301 as long as its thread is busy; the mark for a sentinel elsewhere is none for it."""
    jobs: queue.Queue[Issue | None] = books.watch(queue.Queue())
    is_taken = threading.Event()

    def consume() -> None:
        jobs.get()
        is_taken.set()
        gate.wait(PATIENCE)
        jobs.task_done()

    jobs.put(Issue("BUG-1"))
    consumer = threading.Thread(target=consume, name="consumer")
    consumer.start()
    assert is_taken.wait(PATIENCE)
    jobs.put(None)
    jobs.get()
    jobs.task_done()
    assert codes(books) == [("LL301", "BUG-1")]
    assert books.violations()[0].note == "consumer took it and is still at work"
    gate.set()
    consumer.join(PATIENCE)
    assert codes(books) == []


def test_one_mark_too_many_lets_join_return_early(books: Ledger) -> None:
    """LL301 for what was still in hand."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    jobs.put(Issue("BUG-1"))
    jobs.put(Issue("BUG-2"))
    jobs.get()
    jobs.task_done()
    jobs.task_done()
    jobs.get()
    jobs.join()
    with pytest.raises(ValueError, match="called too many times"):
        jobs.task_done()
    assert codes(books) == [("LL101", "BUG-2")]
    assert whats(books, "BUG-2")[2:] == [
        "reported idle: join returned",
        "marked completed",
        "mark refused, completed: ValueError: task_done() called too many times",
    ]
    jobs.put(Issue("BUG-3"))
    jobs.task_done()
    assert codes(books) == [("LL101", "BUG-3"), ("LL301", "BUG-2")]


def test_what_join_has_not_seen_it_does_not_claim(books: Ledger) -> None:
    """Put in while it waited, or marked meanwhile."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    jobs.put(Issue("BUG-1"))
    jobs.get()

    class LateQueue(queue.Queue[Issue]):
        def join(self) -> None:
            """Meanwhile an issue comes, and another one is done."""
            super().join()
            self.put(Issue("BUG-2"))

    late = books.watch(LateQueue())
    late.join()
    late.get()
    late.task_done()
    assert codes(books) == []


def test_a_completion_marks_its_own_issue(books: Ledger, gate: threading.Event) -> None:
    """Whichever thread calls it, and whoever took the issue; the others stay owed."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())

    def process(issue: Issue) -> WorkerResult:
        return succeed(issue) if issue.issue_id == "BUG-2" else refuse(issue)

    pool = books.watch(SwallowingPool(process))
    for number in (1, 2, 3):
        jobs.put(Issue(f"BUG-{number}"))
    for _ in range(3):
        pool.submit(jobs.get(), lambda result: jobs.task_done())
    pool.shutdown()
    assert codes(books) == [("LL102", "BUG-1"), ("LL102", "BUG-3")]


def test_another_thread_may_do_the_marking(books: Ledger) -> None:
    """As many marks as were taken are enough; one less, and what is held longest is not blamed."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    for number in range(3):
        jobs.put(Issue(f"BUG-{number}"))
    for _ in range(3):
        jobs.get()

    def mark() -> None:
        jobs.task_done()

    in_threads(mark)
    in_threads(mark)
    assert codes(books) == [("LL101", "BUG-2")]
    in_threads(mark)
    assert codes(books) == []


def test_a_retry_is_an_item_of_its_own(books: Ledger) -> None:
    """Put again before it is done, or afterwards: no state is contradicted."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    issue = Issue("BUG-1")
    jobs.put(issue)
    for _ in range(2):
        jobs.put(jobs.get())
        jobs.task_done()
        assert books.states() == {"BUG-1": "queued"}
        assert codes(books) == [("LL101", "BUG-1")]
    jobs.get()
    jobs.task_done()
    assert codes(books) == []
    jobs.put(issue)
    assert codes(books) == [("LL101", "BUG-1")]
    jobs.get()
    jobs.task_done()
    assert codes(books) == []


def test_a_second_try_has_an_outcome_of_its_own(books: Ledger) -> None:
    """What failed in an executor, and is done the next time, has not failed."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    issue = Issue("BUG-1")
    with books.watch(ThreadPoolExecutor(1)) as executor:
        jobs.put(issue)
        executor.submit(refuse, jobs.get())
    jobs.task_done()
    assert books.states() == {"BUG-1": "failed"}
    jobs.put(issue)
    jobs.get()
    jobs.task_done()
    assert books.states() == {"BUG-1": "completed"}


def test_from_one_queue_into_the_next(books: Ledger) -> None:
    """Each queue is told of its own items."""
    first: queue.Queue[Issue] = books.watch(queue.Queue())
    second: queue.Queue[Issue] = books.watch(queue.Queue())
    first.put(Issue("BUG-1"))
    second.put(first.get())
    first.task_done()
    assert codes(books) == [("LL101", "BUG-1")]
    second.get()
    assert codes(books) == []
    second.task_done()
    second.join()
    assert codes(books) == []


def test_a_full_queue_has_not_taken_it(books: Ledger) -> None:
    """Nor is it forgotten what the issue was before."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue(1))

    def refused(*names: str) -> dict[str, str]:
        for name in names:
            with pytest.raises(queue.Full):
                jobs.put_nowait(Issue(name))
        return books.states()

    jobs.put(Issue("BUG-1"))
    assert refused("BUG-1", "BUG-2") == {"BUG-1": "queued"}
    jobs.get()
    jobs.put(Issue("BUG-3"))
    assert refused("BUG-1") == {"BUG-1": "in_progress", "BUG-3": "queued"}
    jobs.task_done()
    assert refused("BUG-1") == {"BUG-1": "completed", "BUG-3": "queued"}
    jobs.get()
    jobs.task_done()
    jobs.join()
    assert codes(books) == []


def test_a_refusal_beside_another_item_of_the_same_issue(books: Ledger) -> None:
    """While one is refused, one is put in and taken: which of the two was meant makes no difference."""

    class Picky(queue.Queue[Issue]):
        def put(self, item: Issue, block: bool = True, timeout: float | None = None) -> None:
            """Refuse what is put in by the main thread, after another one has done its part."""
            if threading.current_thread() is not threading.main_thread():
                super().put(item, block, timeout)
                return
            in_threads(lambda: self._pass_on(item))
            raise queue.Full

        def _pass_on(self, item: Issue) -> None:
            self.put(item)
            self.get()

    jobs = books.watch(Picky())
    with pytest.raises(queue.Full):
        jobs.put(Issue("BUG-1"))
    assert codes(books) == []
    jobs.task_done()
    jobs.join()
    assert books.states() == {"BUG-1": "completed"}
    assert codes(books) == []


def test_a_poll_that_found_nothing_takes_no_mark(books: Ledger) -> None:
    """Some queues say by None that there was none."""

    class Jobs:
        def __init__(self) -> None:
            self.items: list[object] = []

        def put(self, item: object) -> None:
            """Take an item in."""
            self.items.append(item)

        def get(self) -> object:
            """Hand an item out, or None."""
            return self.items.pop(0) if self.items else None

        def task_done(self) -> None:
            """Something is done."""

    jobs = books.watch(Jobs())
    jobs.put(Issue("BUG-1"))
    jobs.get()

    def poll() -> None:
        jobs.get()
        jobs.task_done()

    in_threads(poll)
    assert codes(books) == []


def test_a_mark_may_name_its_item(books: Ledger) -> None:
    """A queue whose `task_done` takes one; another one is not meant."""

    class Jobs(queue.Queue[Issue]):
        def task_done(self, issue: Issue | None = None) -> None:
            """The issue is done."""
            super().task_done()

    jobs = books.watch(Jobs())
    for number in (1, 2):
        jobs.put(Issue(f"BUG-{number}"))
        jobs.get()
    jobs.put(Issue("BUG-3"))
    jobs.task_done(Issue("BUG-1"))
    jobs.task_done(Issue("BUG-3"))
    assert codes(books) == [("LL101", "BUG-2"), ("LL101", "BUG-3")]


def test_marks_that_name_an_issue_decide(books: Ledger) -> None:
    """A subclass that has such marks too is no conveyor."""

    class Marked(queue.Queue[Issue]):
        def mark_failed(self, issue_id: str) -> None:
            """Mark an issue."""

    jobs = books.watch(Marked())
    jobs.put(Issue("BUG-1"))
    jobs.get()
    jobs.task_done()
    assert codes(books) == [("LL101", "BUG-1")]
    jobs.mark_failed("BUG-1")
    assert books.states() == {"BUG-1": "failed"}
    assert codes(books) == []


def test_marks_in_another_queue_decide(books: Ledger) -> None:
    """What is passed on after its end is over, though nobody takes it."""
    waiting = books.watch(ListQueue())
    results: queue.Queue[Issue] = books.watch(queue.Queue())
    waiting.add(Issue("BUG-1"))
    waiting.get()
    waiting.mark_completed("BUG-1")
    results.put(Issue("BUG-1"))
    assert books.states() == {"BUG-1": "completed"}
    assert codes(books) == []


def test_a_mapping_may_say_what_counts(books: Ledger) -> None:
    """By another name; and how to read an id, with everything else as usual."""

    class Basket(queue.Queue[dict[str, str]]):
        def tick(self) -> None:
            """One is done."""
            self.task_done()

    by_name = books.watch(Basket(), done_with="tick", issue_id=lambda item: item["name"])  # type: ignore[index]
    usual: queue.Queue[dict[str, str]] = books.watch(queue.Queue(), issue_id=lambda item: item["name"])  # type: ignore[index]
    for jobs, name in ((by_name, "BUG-1"), (usual, "BUG-2")):
        jobs.put({"name": name})
        jobs.put({"name": f"{name}0"})
        jobs.get()
        jobs.get()
    by_name.tick()
    usual.task_done()
    assert codes(books) == [("LL101", "BUG-1"), ("LL101", "BUG-2")]


def test_a_queue_that_is_shut_down_at_once(books: Ledger) -> None:
    """LL105 for what it throws away."""

    class Closing(queue.Queue[Issue]):
        def shutdown(self, immediate: bool = False) -> None:
            """As since 3.13."""
            self.queue.clear()

    jobs = books.watch(Closing())
    jobs.put(Issue("BUG-1"))
    jobs.shutdown(immediate=True)
    assert codes(books) == [("LL105", "BUG-1")]


def test_that_it_was_marked_ends_no_submission(books: Ledger) -> None:
    """A dispatcher marks what it has handed on; what becomes of that, the completion tells."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    pool = books.watch(SwallowingPool())
    jobs.put(Issue("BUG-1"))
    pool.submit(jobs.get(), object_to)
    jobs.task_done()
    pool.shutdown()
    assert codes(books) == [("LL103", "BUG-1")]


class Bench:
    """What works on issues where it is called."""

    def process(self, issue: Issue) -> None:
        """Work, or leave, or look at the books."""
        if issue.issue_id == "BUG-2":
            raise SystemExit

    def mark_skipped(self, issue_id: str) -> None:
        """Of no use here."""


@pytest.mark.parametrize("marks", [True, False])
def test_work_on_what_was_handed_over_is_not_late(books: Ledger, marks: bool) -> None:
    """The queue has done with it before it is worked on; only work that left is lost."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())
    bench = books.watch(Bench(), work="process", interrupted="mark_skipped")
    jobs.put(Issue("BUG-1"))
    issue = jobs.get()
    if marks:
        jobs.task_done()
    bench.process(issue)
    assert codes(books) == []
    jobs.put(Issue("BUG-2"))
    with suppress(SystemExit):
        bench.process(jobs.get())
    assert codes(books) == [("LL101", "BUG-2")]


def test_what_was_there_before_the_watch(books: Ledger) -> None:
    """It is taken and marked like anything else."""
    jobs: queue.Queue[Issue] = queue.Queue()
    jobs.put(Issue("BUG-1"))
    jobs.put(Issue("BUG-2"))
    books.watch(jobs)
    jobs.get()
    jobs.get()
    jobs.task_done()
    assert codes(books) == [("LL101", "BUG-1")]


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_many_threads_may_put_take_and_mark(books: Ledger) -> None:
    """No mark is lost, and none is given twice."""
    jobs: queue.Queue[Issue] = books.watch(queue.Queue())

    def produce() -> None:
        for number in range(200):
            jobs.put(Issue(f"BUG-{number % 3}"))

    def consume() -> None:
        for _ in range(200):
            jobs.get(timeout=PATIENCE)
            jobs.task_done()

    in_threads(*(produce,) * 4, *(consume,) * 4)
    jobs.join()
    assert codes(books) == []


def test_a_queue_between_processes(books: Ledger) -> None:
    """What this process takes counts; what another one takes is not missed."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    jobs = books.watch(context.JoinableQueue())
    jobs.put(Issue("BUG-1"))
    process = context.Process(target=consume_one, args=(jobs,))
    process.start()
    jobs.join()
    process.join()
    assert codes(books) == []
    jobs.put(Issue("BUG-2"))
    jobs.put(Issue("BUG-3"))
    assert [jobs.get(timeout=PATIENCE).issue_id for _ in range(2)] == ["BUG-2", "BUG-3"]
    jobs.task_done()
    assert codes(books) == [("LL101", "BUG-2")]
    jobs.task_done()
    jobs.join()
    assert codes(books) == []


def consume_all(jobs: queue.Queue[Issue | None]) -> None:
    """A consumer that marks what it takes, its sentinel too."""
    while jobs.get() is not None:
        jobs.task_done()
    jobs.task_done()


def test_a_watched_queue_is_explored() -> None:
    """Sound under every schedule."""

    def scenario() -> None:
        with Ledger() as ledger:
            jobs: queue.Queue[Issue | None] = ledger.watch(queue.Queue())
            consumers = [threading.Thread(target=consume_all, args=(jobs,)) for _ in range(2)]
            for consumer in consumers:
                consumer.start()
            jobs.put(Issue("BUG-1"))
            jobs.put(Issue("BUG-2"))
            jobs.join()
            for _ in consumers:
                jobs.put(None)
            for consumer in consumers:
                consumer.join()

    found = explore(scenario, schedules=50)
    assert found.verdict in ("proved", "sampled"), found.failure


def test_a_race_for_the_last_item_is_found() -> None:
    """A consumer that marks only where more wait: under some schedule the last one is lost."""

    def consume(jobs: queue.Queue[Issue]) -> None:
        jobs.get()
        if not jobs.empty():
            jobs.task_done()

    def scenario() -> None:
        with Ledger() as ledger:
            jobs: queue.Queue[Issue] = ledger.watch(queue.Queue())
            jobs.put(Issue("BUG-1"))
            jobs.put(Issue("BUG-2"))
            consumers = [threading.Thread(target=consume, args=(jobs,)) for _ in range(2)]
            for consumer in consumers:
                consumer.start()
            for consumer in consumers:
                consumer.join()

    found = explore(scenario, schedules=200)
    assert isinstance(found.failure, PromiseBroken)
    assert found.failure.codes == {"LL101"}


# ----------------------------------------------------------------------- pebble


@pytest.fixture(params=["ThreadPool", "ProcessPool"])
def pebbles(request: pytest.FixtureRequest, books: Ledger) -> Iterator[Any]:
    """A watched pool of one worker."""
    pebble = pytest.importorskip("pebble", reason="pebble is not installed")
    pool = books.watch(getattr(pebble, request.param)(max_workers=1))
    yield pool
    pool.stop()
    pool.join()


def test_calls_of_pebble_are_issues_of_their_own(books: Ledger, pebbles: Any) -> None:
    """However they are scheduled; `submit` is a `schedule`, and each chunk of `map` is one."""
    no_timeout = () if type(pebbles).__name__ == "ThreadPool" else (None,)
    assert pebbles.schedule(square, args=(3,)).result(60) == 9
    assert pebbles.schedule(function=succeed, kwargs={"issue": Issue("BUG-1")}).result(60).success
    assert pebbles.submit(square, *no_timeout, 4).result(60) == 16
    with pytest.raises(ValueError, match="no branch for BUG-2"):
        pebbles.schedule(refuse, args=(Issue("BUG-2"),)).result(60)
    assert list(pebbles.map(square, [5]).result(60)) == [25]
    pebbles.close()
    pebbles.join()
    assert books.states() == {
        "square#1": "completed",
        "BUG-1": "completed",
        "square#3": "completed",
        "BUG-2": "failed",
        "process_chunk#5": "completed",
    }
    assert codes(books) == []


def test_pebble_closed_is_not_stopped(books: Ledger, pebbles: Any) -> None:
    """`close` and `join` end what was taken."""
    pebbles.schedule(time.sleep, args=(0.1,))
    pebbles.schedule(square, args=(3,))
    pebbles.close()
    assert [finding.code for finding in books.violations()][-1] == "LL301"
    pebbles.join()
    assert codes(books) == []


def test_pebble_stopped_drops_what_waits(books: Ledger, gate: threading.Event) -> None:
    """LL105, and its future would be waited for for ever."""
    pebble = pytest.importorskip("pebble", reason="pebble is not installed")
    pool = books.watch(pebble.ThreadPool(max_workers=1))
    first = pool.schedule(gate.wait, args=(PATIENCE,))
    second = pool.schedule(succeed, args=(Issue("BUG-2"),))
    eventually(first.running, True)
    pool.stop()
    gate.set()
    pool.join()
    assert codes(books) == [("LL105", "BUG-2")]
    assert ("LL402", "BUG-2") in [(finding.code, finding.issue_id) for finding in books.leaks()]
    del second


def test_pebbles_processes_stopped(books: Ledger) -> None:
    """Some are dropped, some aborted with an error: lost are those whose future has no end."""
    pebble = pytest.importorskip("pebble", reason="pebble is not installed")
    pool = books.watch(pebble.ProcessPool(max_workers=1))
    futures = {f"BUG-{n}": pool.schedule(succeed, args=(Issue(f"BUG-{n}"),)) for n in range(50)}
    pool.stop()
    pool.join()
    dropped = [name for name, future in futures.items() if not future.done()]
    assert codes(books) == [("LL105", name) for name in dropped]


def test_a_process_of_pebble_that_dies_tells(books: Ledger) -> None:
    """It fails its future, as does a timeout: no loss."""
    pebble = pytest.importorskip("pebble", reason="pebble is not installed")
    with books.watch(pebble.ProcessPool(max_workers=1)) as pool:
        pool.schedule(vanish, args=(Issue("BUG-1"),))
        pool.schedule(time.sleep, args=(PATIENCE,), timeout=0.1)
    assert books.states() == {"BUG-1": "failed", "sleep#2": "failed"}
    assert codes(books) == []


# ----------------------------------------------------------------------- all of them


def test_the_ledger_imports_no_library_of_the_adapters() -> None:
    """A suite that uses none of them pays for none."""
    libraries = {"pebble", "multiprocessing.pool", "multiprocessing.queues", "little_loops"}
    program = f"import sys, pytest_littleloops.harness.ledger; print({libraries} & set(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert loaded.strip() == "set()"


def test_a_look_at_the_threads_keeps_nothing_alive(books: Ledger, gate: threading.Event) -> None:
    """What a thread of a pool is at when it is looked at may not be left to the garbage collector."""
    held: list[weakref.ref[threading.Event]] = []
    begun = threading.Event()

    def run() -> None:
        mine = threading.Event()
        held.append(weakref.ref(mine))
        begun.set()
        gate.wait(PATIENCE)

    thread = threading.Thread(target=run)
    gc.disable()
    try:
        thread.start()
        assert begun.wait(PATIENCE)
        assert codes(books) == []
        gate.set()
        thread.join(PATIENCE)
        assert held[0]() is None
    finally:
        gc.enable()


def test_a_lifecycle_that_counts() -> None:
    """Only where no mark names an issue."""
    assert Lifecycle(done_with=("task_done",)).is_counted()
    assert not Lifecycle(done_with=("task_done",), failed=("nack",)).is_counted()
    assert not Lifecycle(submitted=("put",)).is_counted()


def test_an_issue_in_a_mapping_names_an_executors_call(books: Ledger) -> None:
    """As keyword arguments of a call do."""
    with books.watch(ThreadPoolExecutor(1)) as executor:
        executor.submit(dict, {"issue": Issue("BUG-1")})
    assert books.states() == {"BUG-1": "completed"}
