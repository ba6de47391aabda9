"""`ledger.watch`: what it understands, what it leaves as it was, and what it says when it cannot."""

from __future__ import annotations

import gc
import pickle
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

import pytest

from pytest_littleloops.harness.ledger import Ledger
from pytest_littleloops.harness.watching.lifecycle import Lifecycle, NotWatchable
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.reference.queue import IssueQueue
from tests.harness.lossy_pools import DispatcherPool, ListQueue, SwallowingPool, codes, refuse, succeed


def square(number: int) -> int:
    """A job that a process pool can carry."""
    return number * number


class Basket:
    """A queue whose method names tell nothing."""

    def __init__(self) -> None:
        self.items: list[dict[str, str]] = []

    def put(self, item: dict[str, str]) -> None:
        """Take an item in."""
        self.items.append(item)

    def pop(self) -> dict[str, str]:
        """Hand an item out."""
        return self.items.pop(0)

    def ack(self, item: dict[str, str]) -> None:
        """The item is done."""

    def nack(self, item: dict[str, str]) -> None:
        """The item is not done."""


def test_watch_returns_the_same_object(books: Ledger) -> None:
    """Its class is another one, of the same name, and `isinstance` holds."""
    pool = SwallowingPool()
    watched = books.watch(pool)
    assert watched is pool
    assert isinstance(pool, SwallowingPool)
    assert type(pool).__name__ == "SwallowingPool"
    assert type(pool).__qualname__ == SwallowingPool.__qualname__
    pool.shutdown()


def test_watching_twice_notes_once(books: Ledger) -> None:
    """A fixture may have watched the object already."""
    waiting = books.watch(books.watch(ListQueue()))
    waiting.add(Issue("BUG-1"))
    assert [step.what for step in books.timeline("BUG-1").steps] == ["queued"]


def test_close_gives_the_class_back(books: Ledger) -> None:
    """And what was exchanged in the object's own dictionary."""
    pool = WorkerPool(succeed)
    before = dict(vars(pool))
    books.watch(pool)
    assert type(pool) is not WorkerPool
    books.close()
    assert type(pool) is WorkerPool
    assert vars(pool) == before


def test_a_mapping_says_which_method_means_what(books: Ledger) -> None:
    """The example of the documentation, with the id read off the item by a function."""
    basket = books.watch(
        Basket(),
        submitted="put",
        started="pop",
        completed="ack",
        failed="nack",
        issue_id=lambda item: item["name"],  # type: ignore[index]
    )
    basket.put({"name": "BUG-1"})
    basket.put({"name": "BUG-2"})
    basket.ack(basket.pop())
    basket.pop()
    assert codes(books) == [("LL101", "BUG-2")]


def test_a_mapping_may_name_several_methods(books: Ledger) -> None:
    """`completed=("ack", "nack")`: both end an issue."""
    basket = books.watch(Basket(), submitted=["put"], completed=("ack", "nack"))
    basket.put({"issue_id": "BUG-1"})
    basket.nack({"issue_id": "BUG-1"})
    assert books.states() == {"BUG-1": "completed"}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"finished": "ack"}, r"watch\(\) knows no role 'finished'\n  roles: submitted, started, "),
        (
            {"completed": "done"},
            r"watch\(completed='done'\): Basket has no attribute 'done'\n  it has: ack, nack, pop, put",
        ),
        ({"completed": print}, r"watch\(completed=...\) takes the name of a method, not <built-in"),
    ],
)
def test_a_wrong_mapping_is_an_error_that_lists_what_would_be_right(
    books: Ledger, mapping: dict[str, str], said: str
) -> None:
    """And the object is left as it was."""
    basket = Basket()
    with pytest.raises(NotWatchable, match=said):
        books.watch(basket, **mapping)
    assert type(basket) is Basket


def test_an_object_whose_class_cannot_be_exchanged(books: Ledger) -> None:
    """Objects of C say so, with the two ways out."""
    with pytest.raises(NotWatchable, match=r"cannot observe SimpleQueue: .*\n.*\n.*ledger.record"):
        books.watch(queue.SimpleQueue())


def test_slots_are_no_obstacle(books: Ledger) -> None:
    """An object without a dictionary, and without weak references."""

    class Slotted:
        __slots__ = ("taken",)

        def add(self, issue: Issue) -> None:
            self.taken = issue

    slotted = books.watch(Slotted())
    slotted.add(Issue("BUG-1"))
    assert codes(books) == [("LL101", "BUG-1")]
    books.close()
    assert type(slotted) is Slotted


def test_an_orchestrators_queue_and_pool_are_watched_along(books: Ledger) -> None:
    """Parts that mean nothing are passed over."""

    class Boss:
        def __init__(self) -> None:
            self.queue = ListQueue()
            self.pool = SwallowingPool()
            self.worker_pool = 3

    boss = books.watch(Boss())
    boss.queue.add(Issue("BUG-1"))
    issue = boss.queue.get()
    assert issue is not None
    boss.pool.submit(issue, lambda result: boss.queue.mark_completed(result.issue_id))
    boss.pool.shutdown()
    assert [step.what for step in books.timeline("BUG-1").steps][:3] == [
        "queued",
        "taken from the queue",
        "submitted",
    ]
    assert codes(books) == []


def test_a_dropped_pool_is_collected(books: Ledger) -> None:
    """The ledger holds what it watches weakly."""
    pool = books.watch(ListQueue())
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


def test_a_watched_pool_is_pickled_as_what_it_is(books: Ledger) -> None:
    """Work that carries its pool along must not need a class that no other process can import."""
    basket = books.watch(Basket())
    basket.put({"issue_id": "BUG-1"})
    copy = pickle.loads(pickle.dumps(basket))
    assert type(copy) is Basket
    assert copy.items == basket.items
    assert type(basket) is not Basket


def test_properties_are_read_through(books: Ledger) -> None:
    """A property, a cached one, one with a setter, and a plain attribute keep their values."""

    class Counting:
        def __init__(self) -> None:
            self.active_count = 7
            self._idle = False

        def submit(self, issue: Issue) -> None:
            pass

        @cached_property
        def is_idle(self) -> bool:
            return self._idle

    counting = books.watch(Counting())
    assert counting.active_count == 7
    counting.active_count -= 1
    assert counting.active_count == 6
    assert counting.is_idle is False
    books.close()
    assert vars(counting)["active_count"] == 6


def test_calls_within_calls_are_one(books: Ledger) -> None:
    """`put_nowait` calls `put`; a mark that calls another mark on the way is one mark."""

    class Nested(ListQueue):
        def put(self, issue: Issue) -> bool:
            return self.add(issue)

        def pop(self) -> Issue | None:
            return self.get()

        def mark_done(self, issue_id: str) -> None:
            self.mark_completed(issue_id)

    nested = books.watch(Nested())
    nested.put(Issue("BUG-1"))
    nested.pop()
    nested.mark_done("BUG-1")
    assert [step.what for step in books.timeline("BUG-1").steps] == [
        "queued",
        "taken from the queue",
        "marked completed",
    ]


def test_what_has_no_id_is_passed_on(books: Ledger) -> None:
    """A sentinel in a queue is no issue."""
    waiting: queue.Queue[object] = books.watch(queue.Queue())
    waiting.put(None)
    assert waiting.get() is None
    assert books.states() == {}


def test_a_queue_that_refuses_by_raising_has_not_taken_the_issue(books: Ledger) -> None:
    """The caller was told, so nothing is lost."""
    waiting: queue.Queue[Issue] = books.watch(queue.Queue(maxsize=1))
    waiting.put(Issue("BUG-1"))
    with pytest.raises(queue.Full):
        waiting.put_nowait(Issue("BUG-2"))
    assert list(books.states()) == ["BUG-1"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda heard: lambda result: heard.append(result),
        lambda heard: lambda *args: heard.append(args[0]),
        lambda heard: lambda result, extra=None, *, key=1: heard.append(result),
        lambda heard: partial(heard.append),
    ],
)
def test_a_completion_may_have_any_signature(
    books: Ledger, wrap: Callable[[list[object]], Callable[..., object]]
) -> None:
    """It is called exactly as the pool calls it."""
    heard: list[object] = []
    pool = books.watch(SwallowingPool())
    pool.submit(Issue("BUG-1"), wrap(heard))
    pool.shutdown()
    assert [type(result) for result in heard] == [WorkerResult]
    assert codes(books) == []


class KeywordPool:
    """Calls its completion inline, with whatever arguments `call` gives it."""

    def __init__(self, call: Callable[[Callable[..., object]], object]) -> None:
        self._call = call

    def submit(self, issue: Issue, *, when_done: Callable[..., object]) -> None:
        """Work on an issue at once."""
        self._call(when_done)


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (lambda done: done(), ""),
        (lambda done: done({"ok": False}), "failed"),
        (lambda done: done("BUG-1", False), "failed"),
        (lambda done: done(issue="BUG-1", success=True), "completed"),
        (lambda done: done({"issue_id": "BUG-1", "success": False}), "failed"),
        (lambda done: done(error=ValueError()), "failed"),
        (lambda done: done({"interrupted": True}), "interrupted"),
        (lambda done: done(future_of(lambda future: future.set_result(True))), "completed"),
        (lambda done: done(future_of(lambda future: future.set_exception(OSError()))), "failed"),
        (lambda done: done(future_of(lambda future: future.cancel())), "cancelled"),
    ],
)
def test_a_completions_outcome_is_read_off_its_arguments(
    books: Ledger, call: Callable[..., object], outcome: str
) -> None:
    """Results, flags, mappings, errors, futures; a keyword of any name."""
    pool = books.watch(KeywordPool(call))
    pool.submit(Issue("BUG-1"), when_done=lambda *args, **kwargs: None)
    what = f"completion called: {outcome}" if outcome else "completion called"
    assert what in [step.what for step in books.timeline("BUG-1").steps]
    assert books.states() == {"BUG-1": outcome or "completed"}
    assert codes(books) == []


def future_of(end: Callable[[Future[object]], object]) -> Future[object]:
    """A future that ended so."""
    future: Future[object] = Future()
    end(future)
    return future


def test_a_pool_that_keeps_its_completion(books: Ledger) -> None:
    """The completion is an attribute of the pool, not an argument of `submit`."""

    class KeepingPool:
        def __init__(self, on_complete: Callable[[WorkerResult], object]) -> None:
            self._on_complete = on_complete
            self.forgets = False

        def submit(self, issue: Issue) -> None:
            if not self.forgets:
                self._on_complete(succeed(issue))

    pool = books.watch(KeepingPool(lambda result: None))
    pool.submit(Issue("BUG-1"))
    assert codes(books) == []
    pool.forgets = True
    pool.submit(Issue("BUG-2"))
    assert codes(books) == [("LL101", "BUG-2")]


def test_a_completion_of_a_watched_orchestrator_is_one(books: Ledger) -> None:
    """The pool calls what the orchestrator offers, and both are watched."""

    class Boss:
        def __init__(self) -> None:
            self.pool = SwallowingPool()

        def on_worker_complete(self, result: WorkerResult) -> None:
            pass

    boss = books.watch(Boss())
    boss.pool.submit(Issue("BUG-1"), boss.on_worker_complete)
    boss.pool.shutdown()
    assert codes(books) == []


def test_an_executors_calls_are_issues_of_their_own(books: Ledger) -> None:
    """Named after the function, or after an issue among its arguments; the future decides."""
    executor = books.watch(ThreadPoolExecutor(1))
    assert executor.submit(square, 3).result(10) == 9
    executor.submit(succeed, Issue("BUG-1"))
    executor.submit(int, "no number")
    executor.shutdown()
    assert list(books.states()) == ["square#1", "BUG-1", "int#3"]
    assert codes(books) == []


def test_an_executor_that_forgets_its_queue(books: Ledger) -> None:
    """LL105: the shutdown left a future behind that nobody will ever end."""

    class ForgetfulExecutor(Executor):
        def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future[object]:  # type: ignore[override]
            return Future()

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            pass

    executor = books.watch(ForgetfulExecutor())
    future = executor.submit(square, 3)
    executor.shutdown()
    assert codes(books) == [("LL105", "square#1")]
    del future


def test_a_watched_process_pool_still_works(books: Ledger) -> None:
    """What travels to another process is not watched, and needs not be."""
    with books.watch(ProcessPoolExecutor(1)) as executor:
        assert executor.submit(square, 4).result(60) == 16
    assert codes(books) == []


def test_a_reference_pool_on_processes_still_works(books: Ledger) -> None:
    """Its process function is exchanged for an observed one, and pickled as itself."""
    with (
        ProcessPoolExecutor(1) as executor,
        books.watch(WorkerPool(succeed, executor=executor)) as pool,
    ):
        future = pool.submit(Issue("BUG-1"), lambda result: None)
        assert future.result(60).success
        assert pool.drain(60)
    assert codes(books) == []


def test_the_reference_queue_and_pool_together(books: Ledger) -> None:
    """The real things under the ledger: silent."""
    waiting, pool = books.watch(IssueQueue()), books.watch(WorkerPool(succeed))
    waiting.add_many([Issue("BUG-1"), Issue("BUG-2")])
    with pool:
        for _ in range(2):
            pool.submit(waiting.get(block=False), lambda result: waiting.mark_completed(result.issue_id))
    assert codes(books) == []
    assert set(books.states().values()) == {"completed"}


def test_a_lifecycle_without_any_role_is_empty() -> None:
    """It would tell nothing."""
    assert Lifecycle().is_empty()
    assert not Lifecycle(completed=("ack",)).is_empty()


def test_many_threads_may_submit_at_once(books: Ledger) -> None:
    """Numbers, owed completions and entries are kept apart."""
    pool = books.watch(SwallowingPool(max_workers=4))

    def submit(start: int) -> None:
        for number in range(start, start + 50):
            pool.submit(Issue(f"BUG-{number}"), lambda result: None)

    threads = [threading.Thread(target=submit, args=(start,)) for start in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    pool.shutdown()
    assert len(books.states()) == 200
    assert codes(books) == []


def test_a_method_that_somebody_kept_still_works_afterwards(books: Ledger) -> None:
    """A timer or a registry may hold a bound method from the time of the watch."""
    waiting = books.watch(ListQueue())
    kept = waiting.add
    books.close()
    assert kept(Issue("BUG-1")) is True
    assert waiting.get() == Issue("BUG-1")


def test_a_reader_of_ids_that_raises_disturbs_nobody(books: Ledger) -> None:
    """It is asked for anything but text and None; what it cannot read has no id."""
    asked: list[object] = []

    def read(item: object) -> str:
        asked.append(item)
        return item.name  # type: ignore[attr-defined, no-any-return]

    waiting = books.watch(
        ListQueue(), submitted="add", started="get", completed="mark_completed", issue_id=read
    )
    waiting.add(Issue("BUG-1"))
    waiting.mark_completed("BUG-2")
    assert waiting.get() == Issue("BUG-1")
    assert waiting.get() is None
    assert asked == [Issue("BUG-1"), Issue("BUG-1")]


def test_a_watch_that_sees_no_issue_does_not_pass(books: Ledger) -> None:
    """Nothing that came in had an id: that is said, instead of certifying what was never seen."""
    waiting: queue.Queue[object] = books.watch(queue.Queue())
    waiting.put(7)
    with pytest.raises(
        NotWatchable, match=r"sees no issue in what it watches: Queue.put\(\) got a int, and"
    ):
        books.assert_all_terminal()


def test_a_sentinel_among_issues_is_passed_over(books: Ledger) -> None:
    """If some can be read, the others are none."""
    waiting: queue.Queue[object] = books.watch(queue.Queue())
    waiting.put(object())
    waiting.put((2, Issue("BUG-1")))
    assert codes(books) == [("LL101", "BUG-1")]
    with pytest.raises(AssertionError, match="LL101"):
        books.assert_all_terminal()


@pytest.mark.parametrize("method", ["add", "get"])
def test_a_coroutine_function_is_not_watchable(books: Ledger, method: str) -> None:
    """What it returns is no issue, and when it is awaited nobody here sees."""

    async def coroutine(self: object, *args: object) -> None:
        """Nothing."""

    one = type("Patient", (ListQueue,), {method: coroutine})()
    with pytest.raises(NotWatchable, match=rf"its {method}\(\) is a coroutine function"):
        books.watch(one)


def test_a_frozen_object_can_be_watched(books: Ledger) -> None:
    """And its class comes back."""

    @dataclass(frozen=True)
    class Frozen:
        items: tuple[str, ...] = ()

        def add(self, issue: Issue) -> None:
            """Take an issue in."""

    frozen = books.watch(Frozen())
    frozen.add(Issue("BUG-1"))
    assert codes(books) == [("LL101", "BUG-1")]
    books.close()
    assert type(frozen) is Frozen


def test_a_part_that_the_user_names_must_be_understood(books: Ledger) -> None:
    """A usual part may be anything; if none of them is understood, neither is the object."""

    class Runner:
        def __init__(self) -> None:
            self.book = threading.Event()
            self.queue = threading.Event()

    with pytest.raises(NotWatchable, match="does not understand Event"):
        books.watch(Runner(), parts="book")
    with pytest.raises(NotWatchable, match="does not understand Event"):
        books.watch(Runner())


def test_a_completion_that_no_method_has_is_an_error(books: Ledger) -> None:
    """A typo in the parameter's name would leave the completion unseen."""
    with pytest.raises(
        NotWatchable, match=r"watch\(completion='whendone'\): no such parameter\n  parameters: "
    ):
        books.watch(KeywordPool(print), dispatched="submit", completion="whendone")
    books.watch(KeywordPool(print), dispatched="submit", completion="when_done")


def test_a_timer_of_the_tests_own_is_nobodys_worker(books: Ledger) -> None:
    """All workers that the pool shows are gone, so a live thread beside them means nothing."""
    stop = threading.Event()
    timer = threading.Thread(target=stop.wait, args=(10,))
    timer.start()
    gate = threading.Event()

    class DroppingPool:
        def __init__(self) -> None:
            self.threads = [threading.Thread(target=gate.wait, args=(10,))]
            self.threads[0].start()

        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            pass

        def shutdown(self) -> None:
            gate.set()
            self.threads[0].join(10)

    pool = books.watch(DroppingPool())
    pool.submit(Issue("BUG-1"), print)
    pool.shutdown()
    assert codes(books) == [("LL105", "BUG-1")]
    stop.set()
    timer.join(10)


def test_work_that_raises_in_a_thread_of_the_pools_own(books: Ledger) -> None:
    """LL102: no future, the worker logs the exception, and the completion is never called."""

    class LoggingPool(DispatcherPool):
        def _run(self) -> None:
            while (job := self._jobs.get()) is not None:
                with suppress(ValueError):
                    job[1](self._work(job[0]))

    pool = books.watch(LoggingPool(refuse))
    pool.submit(Issue("BUG-1"), print)
    pool.close()
    assert codes(books) == [("LL102", "BUG-1")]
    assert books.violations()[0].note == "the work on it raised; print was never called"


def test_a_completion_that_submits_to_its_own_pool(books: Ledger) -> None:
    """Inline, so one submission is inside the other; the second one is lost, and seen."""

    class InlinePool:
        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            if issue.issue_id != "BUG-2":
                on_complete(succeed(issue))

    pool = books.watch(InlinePool())
    pool.submit(Issue("BUG-1"), lambda result: pool.submit(Issue("BUG-2"), print))
    assert [finding.issue_id for finding in books.violations()] == ["BUG-2"]


def test_a_completion_that_retries_its_own_issue(books: Ledger) -> None:
    """The same id anew, from inside its completion: two submissions, both complete."""

    class InlinePool:
        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            on_complete(succeed(issue))

    pool = books.watch(InlinePool())
    issue = Issue("BUG-1")
    pool.submit(issue, lambda result: pool.submit(issue, lambda result: None))
    assert codes(books) == []
    assert [step.what for step in books.timeline("BUG-1").steps].count("submitted") == 2


def test_an_executor_that_is_a_pool(books: Ledger) -> None:
    """A subclass whose own `submit` takes an issue and a completion owes that completion."""

    class Pool(ThreadPoolExecutor):
        def submit(self, issue: Issue, on_complete: Callable[..., object]) -> Future[object]:  # type: ignore[override]
            return super().submit(refuse, issue)

    with books.watch(Pool(1)) as pool:
        pool.submit(Issue("BUG-1"), print)
    assert codes(books) == [("LL102", "BUG-1")]


def test_the_future_that_was_returned_decides(books: Ledger) -> None:
    """The executor's own was cancelled; the pool's stays pending, and its issue is not ended by that."""

    class OuterPool:
        def __init__(self) -> None:
            self._executor = ThreadPoolExecutor(1)

        def submit(self, issue: Issue) -> Future[object]:
            self._executor.submit(succeed, issue)
            return Future()

    pool = books.watch(OuterPool())
    future = pool.submit(Issue("BUG-1"))
    pool._executor.shutdown()
    assert [finding.issue_id for finding in books.violations()] == ["BUG-1"]
    future.set_result(None)
    assert codes(books) == []


def test_slots_are_read_and_written_through(books: Ledger) -> None:
    """A count and a process function that live in slots keep their values."""

    class Slotted:
        __slots__ = ("active_count", "process")

        def __init__(self) -> None:
            self.active_count = 3
            self.process = succeed

        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            self.active_count += 1
            on_complete(self.process(issue))

    pool = books.watch(Slotted())
    pool.submit(Issue("BUG-1"), lambda result: None)
    assert pool.active_count == 4
    assert codes(books) == []


def test_success_and_error_are_one_completion(books: Ledger) -> None:
    """Of two callbacks one is called, and it does not matter which."""

    class EitherPool:
        def submit(
            self, issue: Issue, on_success: Callable[..., object], on_error: Callable[..., object]
        ) -> None:
            (on_error if issue.issue_id == "BUG-2" else on_success)(issue)

    pool = books.watch(EitherPool())
    pool.submit(Issue("BUG-1"), lambda issue: None, lambda issue: None)
    pool.submit(Issue("BUG-2"), on_success=lambda issue: None, on_error=lambda issue: None)
    assert codes(books) == []


def test_of_several_callables_none_is_guessed(books: Ledger) -> None:
    """A progress callback is no completion; here the future decides."""

    class ChattyPool:
        def submit(
            self, issue: Issue, progress: Callable[..., object], key: Callable[..., object]
        ) -> Future[object]:
            progress(issue)
            progress(issue)
            return future_of(lambda future: future.set_result(None))

    pool = books.watch(ChattyPool())
    pool.submit(Issue("BUG-1"), lambda issue: None, len)
    assert codes(books) == []


def test_the_issue_need_not_come_first(books: Ledger) -> None:
    """What carries an id is the issue, wherever it stands; a name helps where it is text."""

    class PriorityPool:
        def submit(self, lane: str, issue: Issue, on_complete: Callable[[WorkerResult], object]) -> None:
            on_complete(succeed(issue))

        def mark_failed(self, reason: str, issue_id: str) -> None:
            """Mark an issue."""

    pool = books.watch(PriorityPool())
    pool.submit("fast", Issue("BUG-1"), lambda result: None)
    pool.mark_failed(reason="none", issue_id="BUG-1")
    assert books.states() == {"BUG-1": "failed"}


def test_a_mark_for_many_marks_each(books: Ledger) -> None:
    """A list of ids is as many marks."""

    class BatchQueue(ListQueue):
        def mark_done(self, ids: list[str]) -> None:
            """Mark several."""

    waiting = books.watch(BatchQueue())
    for name in ("BUG-1", "BUG-2"):
        waiting.add(Issue(name))
        waiting.get()
    waiting.mark_done(["BUG-1", "BUG-2"])
    assert codes(books) == []


def test_a_future_is_read_before_its_callbacks_ran(books: Ledger) -> None:
    """Who waits for a future wakes before its done-callbacks run; the issue has ended all the same."""
    callbacks_may_run = threading.Event()

    class SlowCallbacks(Future[object]):
        def _invoke_callbacks(self) -> None:
            callbacks_may_run.wait(10)
            super()._invoke_callbacks()  # type: ignore[misc]

    class SlowExecutor(Executor):
        def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future[object]:  # type: ignore[override]
            future = SlowCallbacks()
            self.thread = threading.Thread(target=future.set_result, args=(fn(*args),))
            self.thread.start()
            return future

    executor = books.watch(SlowExecutor())
    assert executor.submit(square, 3).result(10) == 9
    assert codes(books) == []
    callbacks_may_run.set()
    executor.thread.join(10)


def test_a_kept_completion_pays_what_is_owed(books: Ledger) -> None:
    """It is bound to no submission: a pool that says it is idle afterwards says the truth."""

    class KeepingPool:
        def __init__(self, on_complete: Callable[[WorkerResult], object]) -> None:
            self.on_complete = on_complete
            self.active_count = 0

        def submit(self, issue: Issue) -> None:
            self.on_complete(succeed(issue))

    pool = books.watch(KeepingPool(lambda result: None))
    pool.submit(Issue("BUG-1"))
    assert pool.active_count == 0
    assert codes(books) == []


@pytest.mark.parametrize("thing", [ListQueue, threading], ids=["class", "module"])
def test_a_class_or_a_module_is_not_watched(books: Ledger, thing: object) -> None:
    """Nothing of it would be seen."""
    with pytest.raises(NotWatchable, match=r"watch\(\) takes an object, not the class or module "):
        books.watch(thing)


def test_another_mapping_of_what_is_watched_is_an_error(books: Ledger) -> None:
    """It would change nothing, and be believed."""
    waiting = books.watch(ListQueue())
    with pytest.raises(NotWatchable, match="ListQueue is watched already"):
        books.watch(waiting, completed="mark_failed")


def test_a_plugins_lifecycle_is_checked() -> None:
    """A typo in it is an error; a single name is taken for what it means."""
    with pytest.raises(NotWatchable, match="says dispatched='sumbit', which it does not have"):
        Ledger(describe=lambda obj: Lifecycle(dispatched=("sumbit",))).watch(ListQueue())
    ledger = Ledger(describe=lambda obj: Lifecycle(submitted="add"))  # type: ignore[arg-type]
    ledger.watch(ListQueue()).add(Issue("BUG-1"))
    assert codes(ledger) == [("LL101", "BUG-1")]


def test_the_shutdown_of_another_pool_drops_nothing(books: Ledger) -> None:
    """Each watched object has its own."""
    waiting, pool = books.watch(ListQueue()), books.watch(SwallowingPool())
    waiting.add(Issue("BUG-1"))
    waiting.get()
    pool.shutdown()
    assert codes(books) == [("LL101", "BUG-1")]


def test_an_orchestrator_may_keep_its_parts_to_itself(books: Ledger) -> None:
    """What offers nothing of its own is watched by what it has."""

    class Boss:
        def __init__(self) -> None:
            self._queue = ListQueue()

    boss = books.watch(Boss())
    boss._queue.add(Issue("BUG-1"))
    assert codes(books) == [("LL101", "BUG-1")]


def test_an_issue_that_refuses_to_be_asked_disturbs_nobody(books: Ledger) -> None:
    """What it raises is not for the submitter to see."""

    class Strict:
        def __getattr__(self, name: str) -> object:
            raise KeyError(name)

    class InlinePool:
        def submit(self, issue: object, on_complete: Callable[..., object]) -> None:
            on_complete(issue)

    pool = books.watch(InlinePool())
    pool.submit(Strict(), lambda issue: None)
    assert books.states() == {"Strict#1": "completed"}
    assert codes(books) == []
