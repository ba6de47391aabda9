"""Control: what is exchanged while a world runs and given back after it, and what cannot be controlled."""

from __future__ import annotations

import gc
import queue
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock
from time import sleep

import pytest

from pytest_littleloops.simulation import carriers, real
from pytest_littleloops.simulation.cell import Cell
from pytest_littleloops.simulation.explore import explore
from pytest_littleloops.simulation.failures import Uncontrolled
from tests.simulation.scenarios import sound

MODULE_LOCK = threading.Lock()
MODULE_CONDITION = threading.Condition()
LOCAL = threading.local()


class Counter:
    """Counts under a lock of its class."""

    lock = threading.Lock()
    event = threading.Event()

    def __init__(self) -> None:
        self.cell = Cell(0)

    def count(self) -> None:
        """One more."""
        with self.lock:
            self.cell.set(self.cell.get() + 1)


@dataclass
class Locked:
    """A lock by a factory that was named before any world."""

    lock: object = field(default_factory=threading.Lock)


def with_default(make: Callable[[], object] = threading.Lock) -> object:
    """A factory in a default argument."""
    return make()


class Ticker(threading.Thread):
    """A subclass of a thread, with a run of its own."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self.counter = counter

    def run(self) -> None:
        """Count once."""
        self.counter.count()


def is_controlled(lock: object) -> bool:
    """Whether a lock belongs to a world."""
    return type(lock).__module__.startswith("pytest_littleloops.simulation")


def test_names_and_locks_from_before_are_controlled() -> None:
    """Globals, class attributes, factories, default arguments, closures."""
    make_lock = threading.Lock

    def scenario() -> None:
        assert is_controlled(Lock())
        assert is_controlled(MODULE_LOCK)
        assert is_controlled(Counter.lock)
        assert is_controlled(Locked().lock)
        assert is_controlled(with_default())
        assert is_controlled(threading.RLock())
        assert is_controlled(MODULE_CONDITION._lock)  # type: ignore[attr-defined]
        assert not Counter.event.is_set()
        assert type(SimpleQueue()).__module__ == "pytest_littleloops.simulation.primitives"
        sleep(3600)
        assert is_controlled(make_lock())

    sound(scenario)
    assert isinstance(MODULE_LOCK, real.LockType)
    assert isinstance(Counter.lock, real.LockType)
    assert isinstance(Locked().lock, real.LockType)


def test_futures_and_threads_hash_by_their_number() -> None:
    """So sets of them have one order, in every execution: mostly that in which they were made."""
    seen = set[tuple[int, ...]]()

    def scenario() -> None:
        made = [Future[int](), Future[int](), threading.Thread(), threading.Thread()]
        numbers = [hash(one) for one in made]
        assert sorted(set(numbers)) == numbers
        # As it is also for whoever asks in another order.
        assert [hash(one) for one in reversed(made)] == numbers[::-1]
        seen.add(tuple(numbers))

    sound(scenario)
    assert len(seen) == 1


def test_garbage_stays_between_two_schedules() -> None:
    """Whoever turns the collector on within one does so in vain."""

    def scenario() -> None:
        gc.enable()
        assert not gc.isenabled()

    sound(scenario)
    assert gc.isenabled()


def test_everything_is_given_back_after_a_failure_too() -> None:
    """The very objects that were there."""
    names = [
        (threading, "Lock"),
        (threading, "RLock"),
        (threading, "excepthook"),
        (threading, "_start_new_thread"),
        (queue, "SimpleQueue"),
        (time, "sleep"),
        (time, "monotonic"),
    ]
    names = [(owner, name) for owner, name in names if hasattr(owner, name)]
    before = [getattr(owner, name) for owner, name in names]
    hashes = Future.__hash__, threading.Thread.__hash__
    lock = MODULE_LOCK
    for scenario in (lambda: None, lambda: 1 / 0):
        explore(scenario, schedules=3)
        assert [getattr(owner, name) for owner, name in names] == before
        assert (Future.__hash__, threading.Thread.__hash__) == hashes
        assert MODULE_LOCK is lock


def test_a_lock_of_a_class_guards() -> None:
    """A thread's subclass, a timer, and a lock from before, under many schedules."""

    def scenario() -> None:
        counter = Counter()
        tasks: list[threading.Thread] = [Ticker(counter), threading.Timer(5, counter.count)]
        for task in tasks:
            task.start()
        counter.count()
        for task in tasks:
            task.join()
        assert counter.cell.get() == 3

    sound(scenario, 100)


def test_the_primitives_of_threading_work() -> None:
    """Condition, Event, Semaphore, Barrier, RLock, queues, timed and not."""

    def scenario() -> None:
        barrier, semaphore, lock = threading.Barrier(2), threading.Semaphore(1), threading.RLock()
        jobs: queue.Queue[int] = queue.Queue(maxsize=1)
        heard: list[int] = []

        def work() -> None:
            barrier.wait()
            with semaphore, lock, lock:
                heard.append(jobs.get())
            jobs.task_done()

        worker = threading.Thread(target=work)
        worker.start()
        barrier.wait()
        jobs.put(7)
        jobs.join()
        worker.join()
        assert heard == [7]
        assert not lock._is_owned()  # type: ignore[attr-defined]
        assert lock.acquire(timeout=1)
        lock.release()

    sound(scenario, 100)


def test_a_local_of_one_schedule_is_unseen_in_the_next() -> None:
    """Carriers are used again; what a task left in their thread-locals is not."""

    def scenario() -> None:
        assert not hasattr(LOCAL, "value")
        LOCAL.value = 1

        def other() -> None:
            assert not hasattr(LOCAL, "value")
            LOCAL.value = 2

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert LOCAL.value == 1

    sound(scenario)
    assert not hasattr(LOCAL, "value")


def test_many_explorations_leave_nothing_behind() -> None:
    """No thread beside the carriers, and no growing heap."""

    def scenario() -> None:
        with ThreadPoolExecutor(2) as executor:
            executor.submit(abs, 1)

    explore(scenario, schedules=20)
    gc.collect()
    threads, objects, idle = threading.active_count(), len(gc.get_objects()), len(carriers._idle)
    for _ in range(50):
        explore(scenario, schedules=3)
    gc.collect()
    assert threading.active_count() == threads
    assert len(gc.get_objects()) < objects * 1.05
    assert len(carriers._idle) == idle


def test_objects_of_a_finished_world_are_inert() -> None:
    """A finalizer that still acts on them is neither blocked nor told."""
    kept: list[object] = []

    def scenario() -> None:
        lock, condition, jobs = threading.Lock(), threading.Condition(), queue.SimpleQueue[int]()
        lock.acquire()
        kept[:] = [lock, condition, jobs, threading.RLock()]

    sound(scenario, 3)
    lock, condition, jobs, again = kept
    assert lock.acquire()  # type: ignore[attr-defined]
    lock.release()  # type: ignore[attr-defined]
    with condition:  # type: ignore[attr-defined]
        condition.notify_all()  # type: ignore[attr-defined]
    jobs.put(1)  # type: ignore[attr-defined]
    with again:  # type: ignore[attr-defined]
        pass


def test_a_finalizer_of_a_task_that_unwinds_complains_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It meets a lock of the world that ends, and what that raises is no news of the test's."""
    complaints: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)

    class Late:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __del__(self) -> None:
            with self.lock:
                pass

    def scenario() -> None:
        def wait() -> None:
            try:
                threading.Event().wait()
            finally:
                Late()

        threading.Thread(target=wait).start()

    result = explore(scenario, schedules=3)
    assert str(result.failure).startswith("LL302 deadlock")
    assert complaints == []


def test_a_lock_that_is_held_from_before_is_uncontrolled() -> None:
    """LL502 at the beginning, and the names are given back."""
    with MODULE_LOCK:
        result = explore(lambda: None, schedules=3)
    assert result.verdict == "not certified"
    assert isinstance(result.failure, Uncontrolled)
    assert "held at its beginning" in str(result.failure)
    assert isinstance(threading.Lock(), real.LockType)


def test_what_blocks_in_c_is_abandoned_and_named() -> None:
    """LL502 with its stack: a socket that nobody writes to."""
    ours, theirs = socket.socketpair()
    try:
        result = explore(lambda: ours.recv(1), schedules=3, patience=0.05)
        assert result.verdict == "not certified"
        text = str(result.failure)
        assert text.startswith("LL502 uncontrolled: MainThread reached no step of the engine for 0.05 s")
        assert "ours.recv(1)" in text
    finally:
        theirs.close()
        ours.close()
    # What was left behind comes to its end now, and touches nothing of this world.
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(abs, -1).result(10) == 1


def test_a_busy_loop_is_interrupted() -> None:
    """LL502: a loop in Python that reaches no point."""

    def scenario() -> None:
        while True:
            pass

    result = explore(scenario, schedules=3, patience=0.05)
    assert str(result.failure).startswith("LL502 uncontrolled: MainThread reached no step")


def test_a_thread_behind_the_engines_back_is_uncontrolled() -> None:
    """LL502: it was started by the system's own function, and came to a lock of the world."""

    def scenario() -> None:
        lock, done = threading.Lock(), real.allocate_lock()
        done.acquire()

        def strange() -> None:
            try:
                lock.acquire()
            except Uncontrolled:
                pass
            finally:
                done.release()

        real.start_new_thread(strange, ())
        done.acquire()

    result = explore(scenario, schedules=3)
    assert result.verdict == "not certified"
    assert "a thread that the engine did not start" in str(result.failure)


def test_a_cell_outside_of_a_world_is_an_ordinary_variable() -> None:
    """Also one that compares and exchanges."""
    cell = Cell(1)
    assert cell.get() == 1
    cell.set(2)
    assert not cell.compare_exchange(1, 3)
    assert cell.compare_exchange(2, 3)
    assert cell.get() == 3


def test_a_cell_exchanges_in_one_step() -> None:
    """Two that race for it: one wins."""

    def scenario() -> None:
        cell, winners = Cell(0), list[int]()

        def race(number: int) -> None:
            if cell.compare_exchange(0, number):
                winners.append(number)

        threads = [threading.Thread(target=race, args=(number,)) for number in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert winners == [cell.get()]

    sound(scenario, 50)


@pytest.mark.parametrize(("blocking", "timeout"), [(False, 1.0), (True, -2.0)])
def test_wrong_arguments_of_a_lock_are_errors_as_in_the_real_one(blocking: bool, timeout: float) -> None:
    """The same ValueError."""

    def scenario() -> None:
        with pytest.raises(ValueError, match="timeout"):
            threading.Lock().acquire(blocking, timeout)
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            threading.Lock().release()
        with pytest.raises(RuntimeError, match="un-acquired"):
            threading.RLock().release()

    sound(scenario, 2)
