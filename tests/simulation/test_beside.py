"""What runs beside a world and what comes in between: neither disturbs the other, and all is as it was."""

from __future__ import annotations

import _thread
import concurrent.futures.thread
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType, SimpleNamespace
from typing import NoReturn

import pytest

from pytest_littleloops.simulation import carriers, real
from pytest_littleloops.simulation.cell import Cell
from pytest_littleloops.simulation.explore import explore
from pytest_littleloops.simulation.failures import Nondeterministic
from tests.simulation.scenarios import in_threads, sound

real_affinity = getattr(os, "sched_getaffinity", None)
AFFINITY = None if real_affinity is None else real_affinity(0)
"""Before any exploration of this module."""


def work_a_while() -> None:
    """Two workers, some points."""
    with ThreadPoolExecutor(2) as executor:
        executor.submit(time.sleep, 1)
        executor.submit(time.sleep, 2)


def lose_an_update() -> None:
    """Fails in some orders; the names of its tasks are part of what it raises."""
    cell = Cell(0)

    def increment() -> None:
        cell.set(cell.get() + 1)

    in_threads(increment, increment, work_a_while)
    assert cell.get() == 2, threading.current_thread().name


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[list[int]]:
    """`work` is done again and again in a real thread that was there before; yields how often."""
    rounds, errors = [0], list[BaseException]()
    is_over = real.allocate_lock()
    is_over.acquire()

    def run() -> None:
        while not is_over.acquire(blocking=False):
            try:
                work()
            except BaseException as error:
                errors.append(error)
                return
            rounds[0] += 1

    thread = threading.Thread(target=run, name="beside")
    thread.start()
    try:
        yield rounds
    finally:
        is_over.release()
        thread.join(60)
    assert errors == []
    assert not thread.is_alive()


def make_and_take_locks() -> None:
    """They are real, and so is all that is built on them."""
    lock, again = threading.Lock(), threading.RLock()
    assert isinstance(lock, real.LockType)
    assert isinstance(again, real.RLockType)
    assert isinstance(threading.Condition()._lock, real.RLockType)  # type: ignore[attr-defined]
    with lock, again, again:
        assert lock.locked()
        assert not lock.acquire(timeout=0.0005)


def sleep_and_look_at_clocks() -> None:
    """They run by themselves, and agree with the real ones."""
    begin = real.monotonic()
    assert begin <= time.monotonic() <= time.perf_counter() <= real.monotonic()
    assert abs(time.time() - real.epoch()) < 60
    assert abs(time.monotonic_ns() / 1e9 - real.monotonic()) < 60
    time.sleep(0.002)
    assert real.monotonic() - begin >= 0.002


def start_and_join_threads() -> None:
    """Threads that wait for one another."""
    event, seen = threading.Event(), list[str]()

    def wait() -> None:
        assert event.wait(60)
        seen.append(threading.current_thread().name)

    thread = threading.Thread(target=wait, name="of beside")
    thread.start()
    event.set()
    thread.join(60)
    assert seen == ["of beside"]
    assert not thread.is_alive()


def put_and_get() -> None:
    """Queues of both kinds, timed and not."""
    for jobs in (queue.Queue[int](), queue.SimpleQueue[int]()):
        begin = real.monotonic()
        with pytest.raises(queue.Empty):
            jobs.get(timeout=0.001)
        assert real.monotonic() - begin >= 0.001
        jobs.put(1)
        assert jobs.get() == 1


def take_a_turn_in_every_executor(executor: ThreadPoolExecutor) -> None:
    """One from before, and a new one."""
    assert executor.submit(abs, -1).result(60) == 1
    with ThreadPoolExecutor(1) as new:
        assert new.submit(abs, -2).result(60) == 2


@pytest.mark.parametrize(
    "work",
    [make_and_take_locks, sleep_and_look_at_clocks, start_and_join_threads, put_and_get],
)
def test_a_real_thread_beside_keeps_what_is_real(work: Callable[[], None]) -> None:
    """And the exploration finds what it finds alone, at the same schedule."""
    alone = explore(lose_an_update, seed=4)
    assert alone.verdict == "failed"
    with beside(work) as rounds:
        while not rounds[0]:
            real.sleep(0.001)
        begin = rounds[0]
        found = explore(lose_an_update, seed=4)
        sound(work_a_while, 200)
        end = time.monotonic() + 60
        while rounds[0] < begin + 3 and time.monotonic() < end:
            sound(work_a_while)
    assert (found.token, found.schedules) == (alone.token, alone.schedules)
    assert str(found.failure) == str(alone.failure)
    assert rounds[0] >= begin + 3


def test_executors_beside_go_on_while_those_of_a_world_end() -> None:
    """The end of a schedule is for them not that of the interpreter."""
    with (
        ThreadPoolExecutor(1) as executor,
        beside(lambda: take_a_turn_in_every_executor(executor)) as rounds,
    ):
        sound(work_a_while, 200)
        while not rounds[0]:
            sound(work_a_while)
        workers = set(executor._threads)
    assert {worker.is_alive() for worker in workers} == {False}


def test_a_real_thread_may_end_during_a_world() -> None:
    """One from before, which a task lets go and then joins; it is gone as any other."""
    # Not a name of its own, which would mean a lock of the world.
    held = SimpleNamespace(lock=real.allocate_lock())
    kept: list[threading.Thread] = []

    def scenario() -> None:
        if kept:
            held.lock.release()
            kept.pop().join()
        work_a_while()

    before = threading.active_count()
    for _ in range(3):
        held.lock.acquire()
        thread = threading.Thread(target=held.lock.acquire)
        thread.start()
        kept.append(thread)
        sound(scenario)
        assert not thread.is_alive()
        held.lock.release()
    assert threading.active_count() == before


def test_one_exploration_cannot_run_inside_another_or_beside_it() -> None:
    """RuntimeError for the second one; the first one goes on."""
    heard: list[str] = []

    def try_again() -> None:
        with pytest.raises(RuntimeError, match="an exploration is running already") as caught:
            explore(lambda: None)
        heard.append(str(caught.value))

    def scenario() -> None:
        in_threads(try_again)
        real_thread = real.allocate_lock()
        real_thread.acquire()

        def run() -> None:
            try_again()
            real_thread.release()

        real.start_new_thread(run, ())
        real_thread.acquire()

    sound(scenario, 3)
    assert len(heard) == 8
    sound(work_a_while)


MODULES = (threading, queue, time, _thread, concurrent.futures.thread, concurrent.futures._base, os, sys)
CLASSES = (threading.Thread, concurrent.futures.Future, ThreadPoolExecutor)


def names() -> list[dict[str, object]]:
    """All that could have been exchanged, and was not given back."""
    return [dict(vars(owner)) for owner in (*MODULES, *CLASSES)]


def threads() -> set[int]:
    """The threads of this process but those that wait to be used again."""
    return set(sys._current_frames()) - {carrier.ident for carrier in carriers._idle}


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true soon."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def spin() -> None:
    """A schedule that reaches no point."""
    while True:
        pass


def run_for_ever() -> None:
    """A schedule with points all along."""
    while True:
        time.sleep(1)


def explore_for_ever(scenario: Callable[[], None], presser: threading.Thread) -> NoReturn:
    """Also one that fails, until somebody presses Ctrl-C: on a busy machine before `start` returns."""
    presser.start()
    while True:
        explore(scenario, schedules=1_000_000, max_steps=1_000_000_000)


def press_ctrl_c(scenario: Callable[[], None], after: float) -> None:
    """Explore, be interrupted, and look around."""
    # What a shell starts in the background inherits that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sound(work_a_while, 3)
    names_before, threads_before = names(), threads()
    main = real.get_ident()

    def press() -> None:
        time.sleep(after)
        signal.pthread_kill(main, signal.SIGINT)

    presser = threading.Thread(target=press)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        explore_for_ever(scenario, presser)
    assert time.monotonic() - begin < 30
    presser.join()
    assert names() == names_before
    assert until(lambda: threads() <= threads_before)
    sound(work_a_while)


CTRL_C = """
import sys
from tests.simulation import test_beside
for after in sys.argv[2:]:
    test_beside.press_ctrl_c(getattr(test_beside, sys.argv[1]), float(after))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent between threads here")
@pytest.mark.parametrize(
    ("scenario", "after"),
    [
        (work_a_while, "0.003 0.01 0.02 0.05"),
        (lose_an_update, "0.003 0.01 0.02 0.05"),
        (run_for_ever, "0.003 0.02"),
        (spin, "0.02"),
    ],
)
def test_ctrl_c_ends_an_exploration(scenario: Callable[[], None], after: str) -> None:
    """Soon, wherever it is: all names are given back, no thread stays, and the next exploration works."""
    # In a process of its own: a tool that measures coverage would not survive it everywhere.
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C, scenario.__name__, *after.split()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_trace_function_is_called_in_tasks_and_stays_in_none() -> None:
    """One for all threads, and one that a task sets for itself."""
    traced: set[str] = set()
    own: list[object] = []

    def trace(frame: FrameType, event: str, arg: object) -> None:
        traced.add(frame.f_code.co_name)

    def work() -> None:
        own.append(sys.gettrace())
        # Where it is not the last act, a tool that measures coverage would miss what follows.
        sys.settrace(trace)

    before, of_threads = sys.gettrace(), threading.gettrace()
    threading.settrace(trace)
    try:
        sound(work_a_while)
    finally:
        threading.settrace(of_threads)
    assert "_worker" in traced
    assert "work_a_while" in traced
    traced.clear()
    sound(lambda: in_threads(work, work))
    sound(work_a_while)
    assert "work_a_while" not in traced
    assert trace not in own
    assert sys.gettrace() is before


def test_a_profile_function_is_called_in_tasks_and_stays_in_none() -> None:
    """Likewise."""
    profiled: set[str] = set()
    own: list[object] = []

    def profile(frame: FrameType, event: str, arg: object) -> None:
        profiled.add(frame.f_code.co_name)

    def work() -> None:
        own.append(sys.getprofile())
        sys.setprofile(profile)

    before, of_threads = sys.getprofile(), threading.getprofile()
    threading.setprofile(profile)
    try:
        sound(work_a_while)
    finally:
        threading.setprofile(of_threads)
    assert "_worker" in profiled
    assert "work_a_while" in profiled
    profiled.clear()
    sound(lambda: in_threads(work, work))
    sound(work_a_while)
    assert "work_a_while" not in profiled
    assert profile not in own
    assert sys.getprofile() is before


@pytest.mark.skipif(real_affinity is None, reason="here no thread chooses its processor")
def test_tasks_are_told_every_processor_and_the_caller_keeps_its_own() -> None:
    """They run on one, but a number of workers that depends on it is what it would be."""
    assert real_affinity is not None
    everywhere = AFFINITY
    assert everywhere is not None
    told: list[set[int]] = []
    used: list[int] = []

    def scenario() -> None:
        def work() -> None:
            told.append(os.sched_getaffinity(0))
            used.append(len(real_affinity(0)))

        in_threads(work, work)
        told.append(os.sched_getaffinity(0))

    def check(expected: set[int]) -> None:
        told.clear()
        sound(scenario)
        assert {frozenset(one) for one in told} == {frozenset(expected)}
        assert set(used) == {1}
        assert real_affinity(0) == expected
        explore(lambda: 1 / 0)
        assert real_affinity(0) == expected

    check(everywhere)
    one = {min(everywhere)}
    os.sched_setaffinity(0, one)
    try:
        check(one)
    finally:
        os.sched_setaffinity(0, everywhere)


@pytest.mark.skipif(real_affinity is None, reason="here no thread chooses its processor")
def test_a_real_thread_beside_is_told_its_own_processors() -> None:
    """Not those of the exploration."""
    assert real_affinity is not None
    everywhere = real_affinity(0)
    if len(everywhere) < 2:
        pytest.skip("there is one processor")
    one = {max(everywhere)}

    def look() -> None:
        os.sched_setaffinity(0, one)
        assert os.sched_getaffinity(0) == one
        real.sleep(0.0005)

    with beside(look):
        sound(work_a_while, 100)
    assert os.sched_getaffinity(0) == everywhere


def test_a_token_whose_choices_meet_other_operations_is_nondeterministic() -> None:
    """LL501, though there are as many choices, each with as many options."""

    def scenario(is_other: bool) -> Callable[[], None]:
        def run() -> None:
            cell, locks = Cell(0), [threading.Lock(), threading.Lock()]

            def increment() -> None:
                if is_other:
                    # The same number of points, of locks and not of the cell.
                    for lock in locks:
                        lock.acquire()
                    return
                cell.set(cell.get() + 1)

            in_threads(increment, increment)
            assert is_other or cell.get() == 2

        return run

    found = explore(scenario(is_other=False))
    assert found.verdict == "failed"
    assert explore(scenario(is_other=False), replay=found.token).verdict == "failed"
    other = explore(scenario(is_other=True), replay=found.token)
    assert other.verdict == "not certified"
    assert isinstance(other.failure, Nondeterministic)
    assert "took the choices at other operations" in str(other.failure)
