"""What slipped through once: losses that no schedule showed, and alarms that were false."""

from __future__ import annotations

import contextlib
import logging
import queue
import sched
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_littleloops import explore
from pytest_littleloops.simulation import carriers, real
from pytest_littleloops.simulation.inside import patiently


def trylock_drops() -> None:
    """Who finds the lock taken gives up, though nothing happens while it is held."""
    lock, counted = threading.Lock(), [0]

    def count() -> None:
        with lock:
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    if lock.acquire(blocking=False):
        counted[0] += 1
        lock.release()
    thread.join()
    assert counted[0] == 2


def stop_between_empty_and_flag() -> None:
    """The queue was empty, then an item and the stop came, then the flag is read."""
    jobs, done, stop = queue.Queue[str](), list[str](), threading.Event()

    def work() -> None:
        while True:
            try:
                done.append(jobs.get(timeout=0.1))
            except queue.Empty:
                if stop.is_set():
                    return

    worker = threading.Thread(target=work)
    worker.start()
    jobs.put("A")
    stop.set()
    worker.join()
    assert done == ["A"]


def taken_and_not_yet_noted() -> None:
    """Plain data behind the release of a queue's own lock."""
    jobs, in_progress, seen = queue.Queue[str](), list[str](), list[bool]()
    jobs.put("A")

    def work() -> None:
        in_progress.append(jobs.get())

    worker = threading.Thread(target=work)
    worker.start()
    seen.append(jobs.empty() and not in_progress)
    worker.join()
    assert seen == [False]


def leaked_by_a_dead_thread() -> None:
    """A re-entrant lock whose owner has ended is nobody's, also on a thread that is used again."""
    lock = threading.RLock()

    def use() -> None:
        with lock:
            pass

    for function in (lock.acquire, use):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()


@pytest.mark.parametrize(
    "scenario",
    [trylock_drops, stop_between_empty_and_flag, taken_and_not_yet_noted, leaked_by_a_dead_thread],
)
def test_a_loss_at_the_release_of_a_lock_is_found(scenario: Callable[[], None]) -> None:
    """And its token replays."""
    found = explore(scenario)
    assert found.verdict == "failed"
    again = explore(scenario, replay=found.token)
    assert again.verdict == "failed"
    assert type(again.failure) is type(found.failure)


def test_many_reads_of_the_clock_are_no_timeout() -> None:
    """Each log line reads it: a waiter of a minute is not overtaken by thirty of them."""
    log = logging.getLogger("test_gaps")

    def write() -> None:
        for number in range(30):
            log.info("line %d", number)
            time.perf_counter()

    def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(write).result(timeout=60)

    explore(scenario, early_timeouts=0, schedules=20).raise_for_failure()


def test_what_takes_many_steps_and_goes_on_is_no_lack_of_progress() -> None:
    """A consumer is woken again and again: cut off, and not LL303."""

    def scenario() -> None:
        jobs = queue.Queue[int]()

        def produce() -> None:
            for number in range(500):
                jobs.put(number)
                time.sleep(0.01)

        threading.Thread(target=produce).start()
        for _ in range(500):
            jobs.get()

    result = explore(scenario, max_steps=1000, schedules=2, early_timeouts=0)
    assert (result.failure, result.blocked) == (None, 2)


def test_the_scheduler_of_the_standard_library_sleeps_in_virtual_time() -> None:
    """Its defaults were taken before any world."""

    def scenario() -> None:
        ran: list[int] = []
        scheduler = sched.scheduler()
        scheduler.enter(3600, 1, ran.append, (1,))
        scheduler.run()
        assert ran == [1]

    explore(scenario, schedules=3).raise_for_failure()


def test_a_failure_of_a_class_that_the_scenario_makes_is_confirmed() -> None:
    """The class is another one in each schedule, and the failure is the same."""

    def scenario() -> None:
        class LostIssue(Exception):
            pass

        raise LostIssue("A")

    result = explore(scenario, schedules=1)
    assert (result.verdict, str(result.failure)) == ("failed", "A")


def test_the_worker_of_an_executor_from_before_survives() -> None:
    """It is a stranger to the world: LL502, and it goes on working afterwards."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result(10)
        result = explore(lambda: executor.submit(int).result(), schedules=2, patience=0.2)
        assert str(result.failure).startswith("LL502 uncontrolled")
        assert executor.submit(int).result(10) == 0


def test_what_an_earlier_schedule_made_and_this_one_uses_is_uncontrolled() -> None:
    """A pool that is made on first use, and kept: LL502 says so, not what it looks like."""
    kept: list[ThreadPoolExecutor] = []

    def scenario() -> None:
        if not kept:
            kept.append(ThreadPoolExecutor(1))
        kept[0].submit(int).result()

    result = explore(scenario, schedules=3)
    assert str(result.failure).startswith("LL502 uncontrolled: what an earlier schedule made")


def test_a_task_that_catches_all_is_left_behind() -> None:
    """It will not end, so it sleeps for ever; the schedules go on."""

    def scenario() -> None:
        jobs = queue.SimpleQueue[int]()

        def work() -> None:
            while True:
                try:
                    jobs.get()
                except BaseException:  # as the workers of some pools do
                    continue

        jobs.put(1)
        threading.Thread(target=work, daemon=True).start()
        while not jobs.empty():
            time.sleep(1)

    before = len(carriers.left_behind)
    explore(scenario, schedules=5).raise_for_failure()
    assert len(carriers.left_behind) == before + 6


@pytest.mark.parametrize("look", ["event", "simple queue", "lock"])
def test_between_two_looks_others_may_act(look: str) -> None:
    """Each look is a step, also where a task stops behind no release."""

    def scenario() -> None:
        event, jobs, lock = threading.Event(), queue.SimpleQueue[int](), threading.Lock()
        looks: dict[str, Callable[[], bool]] = {
            "event": event.is_set,
            "simple queue": lambda: not jobs.empty(),
            "lock": lock.locked,
        }
        acts: dict[str, Callable[[], object]] = {
            "event": event.set,
            "simple queue": lambda: jobs.put(1),
            "lock": lock.acquire,
        }
        thread = threading.Thread(target=acts[look], name="other")
        thread.start()
        first, second = looks[look](), looks[look]()
        thread.join()
        assert (first, second) != (False, True)

    assert explore(scenario, strategy="dfs", preemptions=2).verdict == "failed"


def test_a_patient_wait_does_not_end_early() -> None:
    """That of a harness: the other one does, in some schedule."""

    def scenario(is_patient: bool) -> None:
        event = threading.Event()
        threading.Thread(target=event.set).start()
        with patiently() if is_patient else contextlib.nullcontext():
            assert event.wait(60)

    assert explore(lambda: scenario(True), schedules=200).verdict == "proved"
    assert explore(lambda: scenario(False), schedules=200).verdict == "failed"


def test_a_task_that_was_left_behind_does_not_come_to_life_in_another_exploration() -> None:
    """Where it wakes up in one, it ends at its next step."""
    ours, theirs = socket.socketpair()
    went_on: list[float] = []

    def block() -> None:
        ours.recv(1)
        went_on.append(time.monotonic())

    def wake() -> None:
        theirs.send(b"x")
        for _ in range(1000):
            if len(carriers.left_behind) < left:
                return
            real.sleep(0.01)

    with ours, theirs:
        result = explore(block, schedules=1, patience=0.05)
        assert str(result.failure).startswith("LL502 uncontrolled")
        left = len(carriers.left_behind)
        explore(wake, schedules=1)
        assert len(carriers.left_behind) == left - 1
    assert went_on == []
