"""What is not under control: brief it passes and is named, and where it blocks long that is LL502."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from pytest_littleloops.simulation import real
from pytest_littleloops.simulation.explore import explore
from pytest_littleloops.simulation.failures import Deadlock, Uncontrolled
from tests.simulation.scenarios import in_threads, sound

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
ignores_fork_warning = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


class Holder:
    """Has a lock that nothing but this object knows of."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


HOLDER = Holder()


def blocked(scenario: Callable[[], object], patience: float = 0.1) -> str:
    """What is said of a scenario that blocks for real. Nothing is said of any schedule after that."""
    result = explore(scenario, schedules=3, patience=patience)
    assert result.verdict == "not certified"
    assert isinstance(result.failure, Uncontrolled)
    return str(result.failure)


def place(scenario: Callable[..., object], line: int) -> str:
    """Where a line of the scenario is; the `def` is 0."""
    return f"test_outside.py:{scenario.__code__.co_firstlineno + line}"


def test_a_brief_word_over_a_socket_passes_and_is_named() -> None:
    """By file and line; also what a file on top of it does."""

    def scenario() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b"hello\n")
            assert theirs.makefile("rb").readline() == b"hello\n"

    result = sound(scenario)
    assert result.outside == (f"socket ({place(scenario, 3)})", f"socket ({place(scenario, 4)})")
    assert result.summary() == f"sampled, 30 schedules, outside of control: {', '.join(result.outside)}"


@pytest.mark.parametrize("strategy", ["auto", "dpor", "dfs"])
def test_what_was_outside_is_not_proved(strategy: str) -> None:
    """Nobody knows what it conflicts with, so the samples go on."""

    def scenario(is_outside: bool) -> None:
        if is_outside:
            select.select([], [], [], 0)

    result = explore(lambda: scenario(True), strategy=strategy, schedules=100)
    assert (result.verdict, result.schedules == 100) == ("sampled", strategy == "auto")
    assert result.outside == (f"select ({place(scenario, 2)})",)
    assert explore(lambda: scenario(False), strategy=strategy, schedules=100).verdict == "proved"


def test_a_socket_that_stays_silent_is_uncontrolled() -> None:
    """Also where the task that would speak is kept waiting by that."""
    ours, theirs = socket.socketpair()

    def scenario() -> None:
        def speak() -> None:
            time.sleep(1)
            theirs.send(b"x")

        in_threads(speak, lambda: ours.recv(1))

    with ours, theirs:
        text = blocked(scenario)
        assert "reached no step of the engine for 0.1 s of real time" in text
        assert "ours.recv(1)" in text
        assert "in speak" in text
        theirs.send(b"x")


def test_a_child_process_passes_and_is_named() -> None:
    """Its start at the line of the user's code, not of the standard library's."""

    def scenario() -> None:
        done = subprocess.run([sys.executable, "-S", "-c", "print(7)"], capture_output=True, timeout=60)
        assert done.stdout.strip() == b"7"

    result = sound(scenario, 2)
    assert f"subprocess ({place(scenario, 1)})" in result.outside
    assert {what.partition("(")[2] for what in result.outside} == {f"{place(scenario, 1)})"}


def test_a_brief_select_passes_and_is_named() -> None:
    """The function, and a selector."""

    def scenario() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, selectors.DefaultSelector() as selector:
            ours.send(b"x")
            assert select.select([theirs], [], [], 1)[0] == [theirs]
            selector.register(theirs, selectors.EVENT_READ)
            assert len(selector.select(1)) == 1

    result = sound(scenario)
    assert f"select ({place(scenario, 4)})" in result.outside
    assert f"select ({place(scenario, 6)})" in result.outside


def test_a_select_whose_time_is_up_took_that_time() -> None:
    """On the clock of the world too, which does not run by itself."""

    def scenario() -> None:
        begin = time.monotonic()
        select.select([], [], [], 0.01)
        with selectors.DefaultSelector() as selector:
            assert selector.select(timeout=0.01) == []
        assert 0.02 <= time.monotonic() - begin < 0.03

    sound(scenario)


def select_for_ever() -> None:
    """Nobody writes to this socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        select.select([ours], [], [])


def poll_for_ever() -> None:
    """The same with a selector."""
    ours, theirs = socket.socketpair()
    with ours, theirs, selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        selector.select()


@pytest.mark.parametrize(
    ("scenario", "line"),
    [(select_for_ever, "select.select([ours], [], [])"), (poll_for_ever, "selector.select()")],
)
def test_a_select_that_waits_for_ever_is_uncontrolled(scenario: Callable[[], None], line: str) -> None:
    """With the line that blocks."""
    assert line in blocked(scenario)


def test_a_loop_of_asyncio_passes_and_is_named() -> None:
    """In the summary too; what sleeps in it does so for real, and no longer."""

    def scenario() -> None:
        async def work() -> float:
            begin = (loop := asyncio.get_running_loop()).time()
            assert abs(begin - real.monotonic()) < 60
            async with asyncio.timeout(30):
                await asyncio.gather(asyncio.sleep(0.02), asyncio.sleep(0.01))
                for _ in range(100):
                    await asyncio.sleep(0)
            return loop.time() - begin

        assert 0.02 <= asyncio.run(work()) < 30

    result = sound(scenario)
    assert f"asyncio ({place(scenario, 10)})" in result.outside
    assert f"outside of control: asyncio ({place(scenario, 10)})" in result.summary()


def test_a_loop_that_waits_for_a_task_is_uncontrolled() -> None:
    """It holds the turn while it waits, so that the task never gets it."""

    def scenario() -> None:
        asyncio.run(asyncio.wait_for(asyncio.to_thread(time.sleep, 1), None))

    assert "asyncio.run" in blocked(scenario)


def test_a_real_lock_that_only_an_object_knows_is_uncontrolled_when_it_is_held() -> None:
    """LL502 with the line; while it is free, nobody notices."""

    def scenario() -> None:
        with HOLDER.lock:
            pass

    sound(scenario)
    with HOLDER.lock:
        assert "with HOLDER.lock" in blocked(scenario)
    sound(scenario)


AFTER_ABANDONED = """
import threading, time
from pytest_littleloops import Cell, explore

class Holder:
    def __init__(self):
        self.lock = threading.Lock()

    def read(self):
        with self.lock:
            Cell(0).get()

def in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

holder = Holder()
found = explore(lambda: in_threads(holder.read, holder.read), schedules=20, patience=0.1)
print(found.verdict)
print(explore(lambda: in_threads(*[lambda: time.sleep(1)] * 2), schedules=20, patience=1).verdict)
"""


def test_a_task_that_was_left_behind_and_wakes_up_does_not_concern_the_next_exploration() -> None:
    """It blocked at a real lock that another task lets go while it is unwound."""
    done = subprocess.run([sys.executable, "-c", AFTER_ABANDONED], capture_output=True, text=True)
    assert (done.stdout.split("\n"), done.stderr) == (["not certified", "proved", ""], "")


def test_a_busy_loop_in_a_thread_is_uncontrolled() -> None:
    """It is interrupted, and its thread can be used again."""

    def spin() -> None:
        while True:
            pass

    text = blocked(lambda: in_threads(spin, lambda: None))
    assert "(spin) reached no step of the engine" in text
    sound(lambda: in_threads(lambda: None, lambda: None))


def test_the_time_of_day_of_datetime_is_the_real_one() -> None:
    """A loop that waits for it ends."""

    def scenario() -> None:
        end = datetime.now() + timedelta(milliseconds=5)
        while datetime.now() < end:
            time.sleep(0)

    assert sound(scenario).outside == ()


def exit_code(pid: int) -> int:
    """How a child process ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_fork
@ignores_fork_warning
def test_a_forked_child_has_what_is_real() -> None:
    """Locks, threads that really run, a clock that runs by itself; it is named, and ends."""

    def be_a_child() -> None:
        assert isinstance(threading.Lock(), real.LockType)
        begin, heard = time.monotonic(), list[int]()

        def slow() -> None:
            time.sleep(0.01)
            heard.append(1)

        in_threads(slow, lambda: heard.append(2))
        assert heard == [2, 1]
        assert 0.01 <= time.monotonic() - begin < 60

    def scenario() -> None:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                be_a_child()
                code = 0
            finally:
                os._exit(code)
        assert exit_code(pid) == 0

    result = sound(scenario)
    assert f"fork ({place(scenario, 1)})" in result.outside


def only_thread() -> int:
    """0 in a process that knows of no thread but this one."""
    return int(threading.enumerate() != [threading.current_thread()])


def exclude_in_child(lock: threading.Lock) -> int:
    """0 if a lock of the parent's excludes the threads of this process."""
    most: list[int] = []
    inside: list[int] = []

    def enter() -> None:
        with lock:
            inside.append(1)
            time.sleep(0.005)
            most.append(len(inside))
            inside.pop()

    in_threads(enter, enter)
    return max(most) - 1


def in_child(work: Callable[[], int]) -> int:
    """What `work` said in a forked child."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = work()
        finally:
            os._exit(code)
    return exit_code(pid)


@needs_fork
@ignores_fork_warning
def test_a_forked_child_knows_one_thread() -> None:
    """The one that forked: those of the other tasks are gone, and nothing waits for their turn."""

    def work() -> None:
        for _ in range(3):
            threading.Lock().acquire()

    def scenario() -> None:
        other = threading.Thread(target=work)
        other.start()
        assert in_child(only_thread) == 0
        other.join()

    sound(scenario, 30)


@needs_fork
@ignores_fork_warning
@pytest.mark.xfail(reason="what a world made is inert in a child of it")
def test_a_lock_of_the_parents_excludes_in_a_forked_child() -> None:
    """As a real one does: it was free when the child was forked."""

    def scenario() -> None:
        lock = threading.Lock()
        assert in_child(lambda: exclude_in_child(lock)) == 0

    sound(scenario)


@needs_fork
@ignores_fork_warning
def test_a_process_is_waited_for_in_real_time() -> None:
    """The time of a timed wait for it does not jump to its end."""

    def scenario() -> None:
        process = multiprocessing.get_context("fork").Process(target=real.sleep, args=(0.02,))
        process.start()
        process.join(60)
        assert process.exitcode is not None

    result = sound(scenario)
    assert f"subprocess ({place(scenario, 2)})" in result.outside
    assert f"connection ({place(scenario, 3)})" in result.outside


@needs_fork
@ignores_fork_warning
def test_a_process_ends_as_it_should() -> None:
    """Its exit code is 0, and nobody else's."""

    def scenario() -> None:
        process = multiprocessing.get_context("fork").Process(target=int)
        process.start()
        process.join()
        assert process.exitcode == 0

    sound(scenario)


def test_a_pipe_within_the_process_is_waited_for_in_virtual_time() -> None:
    """A day, or for what another task sends; and for ever is LL302 at once."""

    def scenario() -> None:
        ours, theirs = multiprocessing.Pipe()
        begin = time.monotonic()
        assert not ours.poll(86_400)
        assert 86_400 <= time.monotonic() - begin < 87_000

        def send() -> None:
            time.sleep(1)
            theirs.send(7)

        sender = threading.Thread(target=send)
        sender.start()
        assert multiprocessing.connection.wait([ours]) == [ours]
        assert ours.recv() == 7
        sender.join()
        ours.close()
        theirs.close()

    assert sound(scenario, 30).outside == ()

    def wait_for_ever() -> None:
        ours, theirs = multiprocessing.Pipe()
        with ours, theirs:
            ours.poll(None)

    begin = time.monotonic()
    assert isinstance(explore(wait_for_ever, patience=60).failure, Deadlock)
    assert time.monotonic() - begin < 30


def test_a_pipe_of_before_is_waited_for_in_real_time() -> None:
    """Whoever writes to it may be anybody: it is named, and LL502 when nobody does."""
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def scenario() -> None:
        assert ours.poll(0.01) is False

    def wait_for_ever() -> None:
        ours.poll(None)

    with ours, theirs:
        assert sound(scenario).outside == (f"connection ({place(scenario, 1)})",)
        assert "for something outside of the exploration" in blocked(wait_for_ever)
