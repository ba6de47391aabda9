"""What user code took or made before an exploration, and in what ways: all of it is under control inside.

Two halves of an update of a plain variable, each under a guard, lose it only if the guard's operations are
points; one guard around an update of a `Cell` keeps it only if it really excludes. So each test finds what
is wrong, and is silent about its twin.
"""

from __future__ import annotations

import _thread
import contextvars
import functools
import importlib
import io
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Condition, Event, RLock, Semaphore, Timer
from threading import Lock as TakenLock
from types import ModuleType
from typing import Any, NoReturn

import pytest

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.cell import Cell
from pytest_littleloops.simulation.explore import explore
from pytest_littleloops.simulation.failures import Deadlock, NoProgress, Uncontrolled
from tests.simulation.scenarios import in_threads, sound

Guard = AbstractContextManager[object]

LOCK = threading.Lock()
RLOCK = threading.RLock()
CONDITION = threading.Condition()
CONDITION_OF_LOCK = threading.Condition(LOCK)
SEMAPHORE = threading.Semaphore(1)
BOUNDED = threading.BoundedSemaphore(1)
EVENT = threading.Event()
SET_EVENT = threading.Event()
SET_EVENT.set()
BARRIER = threading.Barrier(2)
QUEUE: queue.Queue[int] = queue.Queue()
SORTED: queue.PriorityQueue[int] = queue.PriorityQueue()
STACK: queue.LifoQueue[int] = queue.LifoQueue()
SIMPLE: queue.SimpleQueue[int] = queue.SimpleQueue()
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


class Guarded:
    """Guards in a class, a class within it, and a function of it."""

    lock = threading.Lock()

    class Inner:
        """A class in a class."""

        semaphore = threading.BoundedSemaphore(1)

    @staticmethod
    def default(lock: Guard = threading.Lock()) -> Guard:  # noqa: B008
        """The default argument of a static method."""
        return lock


@dataclass
class Factory:
    """A field whose factory was named before."""

    lock: Guard = field(default_factory=threading.Lock)


class NamedEvent(threading.Event):
    """An event whose constructor wants more than that of the plain one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class NamedQueue(queue.Queue[int]):
    """A queue likewise, with a lock of its own."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(size)
        self.name = name
        self.lock = threading.Lock()


NAMED_EVENT = NamedEvent("door")
NAMED_QUEUE = NamedQueue("jobs", 3)


class Proxy:
    """Raises when it is asked what it stands for, as one does that was not set up."""

    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]
        """What `isinstance` asks for."""
        raise RuntimeError("not configured")


PROXY = Proxy()


def by_default(lock: Guard = threading.RLock()) -> Guard:  # noqa: B008
    """A guard as a default argument."""
    return lock


def by_keyword(*, lock: Guard = threading.Lock()) -> Guard:  # noqa: B008
    """A guard as the default of a keyword."""
    return lock


def close_over(lock: Guard) -> Callable[[], Guard]:
    """A guard in a closure."""

    def get() -> Guard:
        return lock

    return get


closed = close_over(threading.Lock())


def synchronized(function: Callable[[], None]) -> Callable[[], None]:
    """A decorator whose lock is nowhere but in the closure of what it returns."""
    lock = threading.Lock()

    @functools.wraps(function)
    def locked() -> None:
        with lock:
            function()

    return locked


def plain(function: Callable[[], None]) -> Callable[[], None]:
    """A decorator that does nothing, around one that locks: the lock is one wrapper further in."""

    @functools.wraps(function)
    def call() -> None:
        function()

    return call


GUARDS: dict[str, Callable[[], Guard]] = {
    "named lock": TakenLock,
    "named rlock": RLock,
    "named condition": Condition,
    "named semaphore": lambda: Semaphore(1),
    "named bounded semaphore": lambda: BoundedSemaphore(1),
    "factory": lambda: Factory().lock,
    "lock": lambda: LOCK,
    "rlock": lambda: RLOCK,
    "condition": lambda: CONDITION,
    "condition of a lock": lambda: CONDITION_OF_LOCK,
    "semaphore": lambda: SEMAPHORE,
    "bounded semaphore": lambda: BOUNDED,
    "class attribute": lambda: Guarded.lock,
    "class in a class": lambda: Guarded.Inner.semaphore,
    # Not the function itself, which would be in the closure of the scenario.
    "static method": lambda: Guarded.default(),
    "default": lambda: by_default(),
    "keyword": lambda: by_keyword(),
    "closure": lambda: closed(),
    "attribute of a queue": lambda: NAMED_QUEUE.lock,
}


def in_two_halves(first: Guard, second: Guard | None = None) -> None:
    """Two tasks read under a guard, and write under it again: nothing else is a point."""
    count = 0

    def increment(guard: Guard) -> None:
        nonlocal count
        with guard:
            read = count
        with guard:
            count = read + 1

    in_threads(lambda: increment(first), lambda: increment(second or first))
    assert count == 2, "an update was lost"


def as_a_whole(first: Guard, second: Guard | None = None) -> None:
    """Two tasks read and write under a guard, with points inside."""
    cell = Cell(0)

    def increment(guard: Guard) -> None:
        with guard:
            cell.set(cell.get() + 1)

    in_threads(lambda: increment(first), lambda: increment(second or first))
    assert cell.get() == 2


def fails(scenario: Callable[[], object], schedules: int = 300) -> BaseException:
    """The failure of the scenario, which is certain: it was replayed."""
    result = explore(scenario, schedules=schedules, patience=2)
    assert result.verdict == "failed", result
    assert result.failure is not None
    return result.failure


@pytest.mark.parametrize("guard", GUARDS.values(), ids=list(GUARDS))
def test_a_guard_from_before_has_points_and_excludes(guard: Callable[[], Guard]) -> None:
    """Wherever it was held, and by whatever name it is made."""
    assert "an update was lost" in str(fails(lambda: in_two_halves(guard())))
    sound(lambda: as_a_whole(guard()))


def test_a_guard_of_the_scenarios_own_closure_is_controlled() -> None:
    """No module knows of it."""
    lock = threading.Lock()
    assert "an update was lost" in str(fails(lambda: in_two_halves(lock)))
    sound(lambda: as_a_whole(lock))


def test_the_lock_of_a_decorator_is_controlled() -> None:
    """It is in no namespace, only in a closure; also where another decorator wraps that."""
    cell = Cell(0)

    def increment() -> None:
        cell.set(cell.get() + 1)

    def scenario(one: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            cell.set(0)
            in_threads(one, one)
            assert cell.get() == 2, "an update was lost"

        return run

    assert "an update was lost" in str(fails(scenario(plain(increment))))
    sound(scenario(synchronized(increment)))
    sound(scenario(plain(synchronized(increment))))


def neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **texts: str) -> list[ModuleType]:
    """Modules of the user, imported now."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    return [importlib.import_module(name) for name in texts]


def test_a_lock_with_two_names_is_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that imports the lock of another one excludes the other one."""
    one, two = neighbours(
        tmp_path,
        monkeypatch,
        ll_owner="import threading\nLOCK = threading.Lock()\nOTHER = threading.Lock()\n",
        ll_borrower="from ll_owner import LOCK\n",
    )
    assert one.LOCK is two.LOCK
    sound(lambda: as_a_whole(one.LOCK, two.LOCK))
    assert isinstance(fails(lambda: as_a_whole(one.OTHER, two.LOCK)), AssertionError)


def test_a_condition_is_that_of_its_lock() -> None:
    """Who holds the lock may notify, and is excluded from what the condition guards."""
    heard: list[int] = []

    def wait() -> None:
        with CONDITION_OF_LOCK:
            assert CONDITION_OF_LOCK.wait_for(lambda: heard)

    def tell() -> None:
        with LOCK:
            heard.append(1)
            CONDITION_OF_LOCK.notify_all()

    def forget() -> None:
        with LOCK:
            heard.append(1)

    def scenario(speak: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            heard.clear()
            in_threads(wait, speak)

        return run

    sound(scenario(tell), 100)
    sound(lambda: as_a_whole(LOCK, CONDITION_OF_LOCK))
    assert isinstance(fails(scenario(forget)), Deadlock)


@pytest.mark.parametrize("event", [lambda: EVENT, Event, lambda: NAMED_EVENT], ids=["it", "name", "named"])
def test_an_event_from_before_is_controlled(event: Callable[[], threading.Event]) -> None:
    """A check before the set races, a wait for it does not, and nobody sets it: LL302."""

    def check_and_set(guard: Guard) -> None:
        one = event()
        winners: list[int] = []

        def enter() -> None:
            with guard:
                if not one.is_set():
                    one.set()
                    winners.append(1)

        in_threads(enter, enter)
        assert len(winners) == 1, "two came first"

    assert "two came first" in str(fails(lambda: check_and_set(threading.Semaphore(2))))
    sound(lambda: check_and_set(threading.Semaphore(1)))

    def wait(one: threading.Event) -> None:
        in_threads(one.wait, one.set)
        one.clear()

    sound(lambda: wait(event()))
    assert isinstance(fails(lambda: event().wait()), Deadlock)
    assert NAMED_EVENT.name == "door"


def test_an_event_that_was_set_begins_so_in_each_schedule() -> None:
    """Whatever the schedule before did with it; and outside it stays as it is."""

    def scenario() -> None:
        assert SET_EVENT.wait()
        SET_EVENT.clear()
        assert not EVENT.is_set()
        EVENT.set()

    sound(scenario)
    assert SET_EVENT.is_set()
    assert not EVENT.is_set()


def test_a_barrier_from_before_is_controlled() -> None:
    """Two meet, one waits for ever; and what one schedule broke is whole in the next."""

    def meet(barrier: threading.Barrier) -> None:
        numbers: list[int] = []
        in_threads(*[lambda: numbers.append(barrier.wait())] * 2)
        assert sorted(numbers) == [0, 1]
        barrier.abort()

    sound(lambda: meet(BARRIER))
    sound(lambda: meet(threading.Barrier(2)))
    assert isinstance(fails(lambda: BARRIER.wait()), Deadlock)
    assert not BARRIER.broken


QUEUES: dict[str, Callable[[], Any]] = {
    "queue": lambda: QUEUE,
    "priority queue": lambda: SORTED,
    "stack": lambda: STACK,
    "simple queue": lambda: SIMPLE,
    "named queue": lambda: NAMED_QUEUE,
    "new queue": queue.Queue,
    "new priority queue": queue.PriorityQueue,
    "new simple queue": queue.SimpleQueue,
}


@pytest.mark.parametrize("make", QUEUES.values(), ids=list(QUEUES))
def test_a_queue_is_controlled(make: Callable[[], Any]) -> None:
    """Two that look before they take race for one job, two that try do not, and nobody puts: LL302."""

    def scenario(*, looks: bool) -> None:
        jobs, taken = make(), list[int]()
        jobs.put(7)

        def take() -> None:
            if looks and jobs.empty():
                return
            try:
                taken.append(jobs.get_nowait())
            except queue.Empty:
                if looks:
                    raise

        in_threads(take, take)
        assert taken == [7]
        assert jobs.empty()

    assert isinstance(fails(lambda: scenario(looks=True)), queue.Empty)
    sound(lambda: scenario(looks=False))

    def wait(jobs: Any) -> None:
        in_threads(jobs.get, lambda: jobs.put(1))

    sound(lambda: wait(make()))
    assert isinstance(fails(lambda: make().get()), Deadlock)


def test_a_queue_has_in_each_schedule_what_it_had_before() -> None:
    """In its order; and outside it has that still."""
    for number in (3, 1, 2):
        QUEUE.put(number)
        SORTED.put(number)

    def scenario() -> None:
        assert [QUEUE.get(), QUEUE.get()] == [3, 1]
        assert [SORTED.get(), SORTED.get()] == [1, 2]
        QUEUE.put(9)
        assert NAMED_QUEUE.name == "jobs"
        assert NAMED_QUEUE.maxsize == 3

    try:
        sound(scenario)
        assert [QUEUE.get(), QUEUE.get(), QUEUE.get()] == [3, 1, 2]
        assert [SORTED.get(), SORTED.get(), SORTED.get()] == [1, 2, 3]
    finally:
        QUEUE.queue.clear()
        SORTED.queue.clear()


def test_an_object_that_does_not_like_to_be_looked_at_is_left_alone() -> None:
    """A proxy in a module's globals is not asked what it stands for."""
    with pytest.raises(RuntimeError, match="not configured"):
        isinstance(PROXY, int)
    sound(lambda: None, 3)


@pytest.mark.parametrize("held", [RLOCK, CONDITION, LOCK], ids=["rlock", "condition", "lock"])
def test_a_guard_that_is_held_at_the_beginning_is_uncontrolled(held: Guard) -> None:
    """Its twin would be free, which is not what the scenario would meet."""
    with held:
        result = explore(lambda: None, schedules=3)
    assert result.verdict == "not certified"
    assert isinstance(result.failure, Uncontrolled)
    assert "held at its beginning" in str(result.failure)


class Adder(threading.Thread):
    """A thread with a `run` of its own, which counts what its class shares."""

    count = 0
    lock = threading.Lock()

    def run(self) -> None:
        """Read under the lock, and write under it again."""
        with self.lock:
            read = Adder.count
        with self.lock:
            Adder.count = read + 1


class WholeAdder(Adder):
    """Its fixed twin."""

    def run(self) -> None:
        """Read and write under the lock."""
        with self.lock:
            time.sleep(1)
            Adder.count += 1


@pytest.mark.parametrize("kind", [Adder, WholeAdder])
def test_threads_of_a_subclass_are_tasks(kind: type[Adder]) -> None:
    """A race in their `run` is found."""

    def scenario() -> None:
        Adder.count = 0
        adders = [kind(), kind()]
        for adder in adders:
            adder.start()
        for adder in adders:
            adder.join()
        assert Adder.count == 2, "an update was lost"

    if kind is Adder:
        assert "an update was lost" in str(fails(scenario))
    else:
        sound(scenario)


def test_a_timer_races_its_cancellation() -> None:
    """Of an hour: both outcomes are seen, and without a cancellation it always fires."""
    outcomes: list[int] = []

    def scenario(*, cancels: bool) -> None:
        fired: list[int] = []
        timer = Timer(3600, lambda: fired.append(1))
        timer.start()
        if cancels:
            timer.cancel()
        timer.join()
        outcomes.append(len(fired))

    sound(lambda: scenario(cancels=True), 100)
    assert set(outcomes) == {0, 1}
    outcomes.clear()
    sound(lambda: scenario(cancels=False))
    assert set(outcomes) == {1}


def test_a_loop_that_polls_by_the_hour_ends_at_once() -> None:
    """If somebody ends it; else it makes no progress."""
    days = 2

    def scenario(*, ends: bool) -> None:
        done: list[float] = []

        def finish() -> None:
            time.sleep(days * 86_400)
            if ends:
                done.append(1)

        worker = threading.Thread(target=finish)
        worker.start()
        polls = 0
        while not done:
            time.sleep(3600)
            polls += 1
        worker.join()
        assert polls in (days * 24, days * 24 + 1)

    begin = time.monotonic()
    result = explore(lambda: scenario(ends=True), schedules=10, early_timeouts=0)
    result.raise_for_failure()
    failure = explore(lambda: scenario(ends=False), schedules=10, max_steps=500).failure
    assert isinstance(failure, NoProgress)
    assert time.monotonic() - begin < 60


def test_a_logger_takes_its_own_lock_and_nobody_is_kept_waiting() -> None:
    """It is real, and no point lies inside; between two calls of it the task may change."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("ll-controlled-before")
    logger.propagate = False
    logger.addHandler(handler)
    orders: set[str] = set()

    def scenario() -> None:
        written.seek(0)
        written.truncate()

        def work(name: str) -> None:
            for number in range(2):
                logger.warning("%s%d", name, number)
                time.sleep(0)

        in_threads(lambda: work("a"), lambda: work("b"))
        lines = written.getvalue().split()
        assert sorted(lines) == ["a0", "a1", "b0", "b1"]
        orders.add(" ".join(lines))

    try:
        sound(scenario, 100)
    finally:
        logger.removeHandler(handler)
    assert len(orders) == 6


def test_a_thread_of_the_lowest_level_is_a_task() -> None:
    """What `_thread.start_new_thread` starts races, and its twin does not."""

    def scenario(*, is_locked: bool) -> None:
        lock, cell = threading.Lock(), Cell(0)
        done: queue.SimpleQueue[int] = queue.SimpleQueue()

        def increment(by: int, times: int = 1) -> None:
            if is_locked:
                lock.acquire()
            cell.set(cell.get() + by * times)
            if is_locked:
                lock.release()
            done.put(by)

        assert isinstance(_thread.start_new_thread(increment, (1,)), int)
        _thread.start_new_thread(increment, (1,), {"times": 2})
        done.get()
        done.get()
        assert cell.get() == 3, "an update was lost"

    assert "an update was lost" in str(fails(lambda: scenario(is_locked=False)))
    sound(lambda: scenario(is_locked=True))


def test_each_task_has_a_context_of_its_own() -> None:
    """Nothing of the caller's, of another task's, or of what its thread ran before."""
    VARIABLE.set("of the caller")

    def scenario() -> None:
        def work(name: str) -> None:
            assert VARIABLE.get() == "unset"
            VARIABLE.set(name)
            time.sleep(1)
            assert VARIABLE.get() == name

        assert VARIABLE.get() == "unset"
        VARIABLE.set("of the scenario")
        in_threads(lambda: work("one"), lambda: work("two"))
        assert VARIABLE.get() == "of the scenario"

    sound(scenario)
    assert VARIABLE.get() == "of the caller"


MODULE = """
import functools
import queue
import threading
from threading import Lock

LOCK = Lock()
SAME = LOCK
CONDITION = threading.Condition(LOCK)
EVENT = threading.Event()
EVENT.set()
SEMAPHORE = threading.Semaphore(3)
BARRIER = threading.Barrier(2)
JOBS = queue.Queue(5)
JOBS.put(1)
SIMPLE = queue.SimpleQueue()
SIMPLE.put(1)


class Guarded:
    rlock = threading.RLock()

    def __init__(self):
        self.own = threading.RLock()


REGISTRY = Guarded()


def by_default(lock=threading.Lock()):
    return lock


def synchronized(function):
    lock = threading.Lock()

    @functools.wraps(function)
    def locked():
        with lock:
            return lock

    return locked


@synchronized
def get():
    pass
"""


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that nobody has imported yet."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"ll_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    return name


def is_plain(lock: object) -> bool:
    """Whether it is a real lock, and nobody holds it."""
    return isinstance(lock, real.LockType) and not lock.locked()


def test_a_module_that_is_imported_inside_keeps_what_is_real(importable: str) -> None:
    """Locks, all that is built on them, and these the same ones where they were the same."""
    sound(lambda: importlib.import_module(importable), 3)
    module = sys.modules[importable]
    assert is_plain(module.LOCK)
    assert module.SAME is module.LOCK is module.CONDITION._lock
    assert isinstance(module.Guarded.rlock, real.RLockType)
    assert isinstance(module.REGISTRY.own, real.RLockType)
    assert is_plain(module.EVENT._cond._lock)
    assert module.EVENT.is_set()
    assert is_plain(module.SEMAPHORE._cond._lock)
    assert module.SEMAPHORE._value == 3
    assert is_plain(module.BARRIER._cond._lock)
    assert is_plain(module.JOBS.mutex)
    assert module.JOBS.not_empty._lock is module.JOBS.mutex
    assert (module.JOBS.get_nowait(), module.JOBS.maxsize) == (1, 5)
    assert type(module.SIMPLE) is queue.SimpleQueue
    assert module.SIMPLE.get_nowait() == 1
    assert is_plain(module.by_default())
    assert isinstance(module.get(), real.LockType)
    assert isinstance(module.Lock(), real.LockType)
    # They do what such objects are for, between real threads.
    in_threads(module.BARRIER.wait, module.BARRIER.wait)
    with module.LOCK:
        module.CONDITION.notify_all()


@pytest.mark.parametrize("first", [1, 3], ids=["the warm-up", "a later schedule"])
def test_a_module_that_is_imported_inside_is_controlled_from_the_next_schedule_on(
    importable: str, first: int
) -> None:
    """Whichever schedule imports it."""
    number = 0

    def scenario(race: Callable[[Guard], None]) -> Callable[[], None]:
        def run() -> None:
            nonlocal number
            number += 1
            if number == first:
                importlib.import_module(importable)
            elif number > first:
                race(sys.modules[importable].LOCK)

        return run

    assert "an update was lost" in str(fails(scenario(in_two_halves)))
    del sys.modules[importable]
    number = 0
    sound(scenario(as_a_whole))
    del sys.modules[importable]


def test_a_lock_of_an_earlier_schedule_that_tasks_share_is_uncontrolled() -> None:
    """LL502 says what it is; made anew in each schedule it guards."""
    kept: list[threading.Lock] = []

    def keeping() -> None:
        if not kept:
            kept.append(threading.Lock())
        as_a_whole(kept[0])

    result = explore(keeping, schedules=100)
    assert result.verdict == "not certified"
    assert str(result.failure).startswith(
        "LL502 uncontrolled: tasks share a lock that was made in an earlier schedule"
    )
    assert "in increment" in str(result.failure)

    def making() -> None:
        kept[:] = [threading.Lock()]
        as_a_whole(kept[0])

    sound(making)


def test_a_finalizer_that_takes_a_lock_of_an_earlier_schedule_is_silent() -> None:
    """Nobody else has it: whether it was left free or held."""
    finalized: list[bool] = []

    class Resource:
        def __init__(self) -> None:
            self.lock, self.held = threading.Lock(), threading.RLock()
            self.jobs: queue.Queue[int] = queue.Queue()
            self.again = threading.RLock()
            self.held.acquire()

        def __del__(self) -> None:
            with self.lock:
                self.jobs.put(1)
            for _ in range(2):
                with self.again, self.again:
                    pass
            self.held.release()
            finalized.append(self.lock.acquire(timeout=1))

    kept: list[Resource] = []

    def scenario() -> None:
        kept[:] = [Resource()]
        in_threads(lambda: time.sleep(1))

    sound(scenario, 20)
    assert finalized == [True] * 20
    kept.clear()
    assert len(finalized) == 21
