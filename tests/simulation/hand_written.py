"""Small programs, each about one primitive: what they add to their argument is what came of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from pytest_littleloops import Cell

Outcomes = set[object]


def together(*functions: Callable[[], object]) -> None:
    """The last one in the calling thread, each other in one of its own, until all have ended."""
    *others, own = functions
    threads = [threading.Thread(target=function) for function in others]
    for thread in threads:
        thread.start()
    own()
    for thread in threads:
        thread.join()


def said(seen: dict[str, object]) -> tuple[tuple[str, object], ...]:
    """What each thread has noted under its own name."""
    return tuple(sorted(seen.items()))


def lock(outcomes: Outcomes) -> None:
    """Three threads note the order in which they had it."""
    guard, order = threading.Lock(), list[int]()

    def enter(number: int) -> None:
        with guard:
            order.append(number)

    together(*[lambda number=number: enter(number) for number in range(3)])
    outcomes.add(tuple(order))


def nested_rlock(outcomes: Outcomes) -> None:
    """One thread takes it twice."""
    guard, order = threading.RLock(), list[str]()

    def twice() -> None:
        with guard:
            order.append("outer")
            with guard:
                order.append("inner")

    def once() -> None:
        with guard:
            order.append("once")

    together(twice, once)
    outcomes.add(tuple(order))


def try_lock(outcomes: Outcomes) -> None:
    """A try fails while another thread has it, and succeeds before and after."""
    guard, cell = threading.Lock(), Cell(0)
    seen: dict[str, object] = {}

    def hold() -> None:
        with guard:
            cell.set(1)

    def attempt() -> None:
        got = guard.acquire(blocking=False)
        seen["tried"] = got, cell.get()
        if got:
            guard.release()

    together(hold, attempt, lambda: seen.update(locked=guard.locked()))
    outcomes.add(said(seen))


def condition(outcomes: Outcomes) -> None:
    """A consumer waits for what a producer brings; a third one brings it, too."""
    changed, items, seen = threading.Condition(), list[int](), list[object]()

    def consume() -> None:
        with changed:
            waited = not items
            while not items:
                changed.wait()
            seen.append((waited, tuple(items)))

    def produce(item: int) -> None:
        with changed:
            items.append(item)
            changed.notify()

    together(consume, lambda: produce(1), lambda: produce(2))
    outcomes.add(tuple(seen))


def condition_with_a_timeout(outcomes: Outcomes) -> None:
    """The time runs out, or the word comes in time."""
    changed, seen = threading.Condition(), list[object]()
    is_there = Cell(False)

    def consume() -> None:
        with changed:
            seen.append((changed.wait(1), is_there.get()))

    def produce() -> None:
        with changed:
            is_there.set(True)
            changed.notify()

    together(consume, produce)
    outcomes.add(tuple(seen))


def event(outcomes: Outcomes) -> None:
    """One looks, one waits, one sets."""
    happened, cell = threading.Event(), Cell(0)
    seen: dict[str, object] = {}

    def fire() -> None:
        cell.set(1)
        happened.set()

    def see() -> None:
        happened.wait()
        seen["cell"] = cell.get()

    together(fire, see, lambda: seen.update(happened=happened.is_set()))
    outcomes.add(said(seen))


def event_with_a_timeout(outcomes: Outcomes) -> None:
    """Two wait for half a second and for one."""
    happened, seen = threading.Event(), dict[float, bool]()

    def see(seconds: float) -> None:
        seen[seconds] = happened.wait(seconds)

    together(lambda: see(0.5), lambda: see(1.0), happened.set)
    outcomes.add(tuple(sorted(seen.items())))


def semaphore(outcomes: Outcomes) -> None:
    """Two threads and room for one: who comes when."""
    room, order = threading.Semaphore(1), list[int]()

    def enter(number: int) -> None:
        for _ in range(2):
            with room:
                order.append(number)

    together(lambda: enter(0), lambda: enter(1))
    outcomes.add(tuple(order))


def semaphore_with_a_timeout(outcomes: Outcomes) -> None:
    """One gives up after a time, or does not."""
    room = threading.Semaphore(0)
    seen: dict[str, object] = {}
    together(
        lambda: seen.update(timed=room.acquire(timeout=1)),
        room.release,
        lambda: seen.update(tried=room.acquire(blocking=False)),
    )
    outcomes.add(said(seen))


def lock_with_a_timeout(outcomes: Outcomes) -> None:
    """As of a semaphore, where the holder sleeps."""
    guard, cell, seen = threading.Lock(), Cell(0), list[object]()

    def hold() -> None:
        with guard:
            time.sleep(1)
            cell.set(1)

    def attempt() -> None:
        got = guard.acquire(timeout=1)
        seen.append((got, cell.get()))
        if got:
            guard.release()

    together(hold, attempt)
    outcomes.add(tuple(seen))


def cancel_a_future(outcomes: Outcomes) -> None:
    """`cancel` against `set_running_or_notify_cancel`, and a callback."""
    future: Future[int] = Future()
    seen: dict[str, object] = {}

    def work() -> None:
        if future.set_running_or_notify_cancel():
            future.set_result(1)

    future.add_done_callback(lambda done: seen.update(called=done.cancelled()))
    together(work, lambda: seen.update(cancel=future.cancel()), lambda: seen.update(done=future.done()))
    outcomes.add(said(seen))


def equal_deadlines(outcomes: Outcomes) -> None:
    """Two sleepers wake at the same time, in either order."""
    order: list[int] = []
    guard = threading.Lock()

    def sleep(number: int, seconds: float) -> None:
        time.sleep(seconds)
        with guard:
            order.append(number)

    together(lambda: sleep(0, 1), lambda: sleep(1, 1))
    outcomes.add(tuple(order))


def two_locks_in_one_order(outcomes: Outcomes) -> None:
    """No deadlock."""
    first, second, order = threading.Lock(), threading.Lock(), list[int]()

    def enter(number: int) -> None:
        with first, second:
            order.append(number)

    def enter_second() -> None:
        with second:
            order.append(2)

    together(lambda: enter(0), lambda: enter(1), enter_second)
    outcomes.add(tuple(order))


def simple_queue(outcomes: Outcomes) -> None:
    """One puts, one gets with a timeout, one looks."""
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    seen: dict[str, object] = {}

    def get() -> None:
        try:
            seen["got"] = items.get(timeout=1)
        except queue.Empty:
            seen["got"] = "nothing"

    together(lambda: items.put(1), get, lambda: seen.update(empty=items.empty()))
    outcomes.add(said(seen))


def two_puts_and_a_look(outcomes: Outcomes) -> None:
    """What finds something takes it from one end; what comes before both has looked at the other end."""
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    got: list[object] = []

    def take() -> None:
        try:
            got.append(items.get_nowait())
        except queue.Empty:
            got.append("nothing")

    together(lambda: items.put(1), lambda: items.put(1), take, lambda: None)
    outcomes.add(tuple(got))


def joined_queue(outcomes: Outcomes) -> None:
    """`join` returns when all is done."""
    items: queue.Queue[int] = queue.Queue(1)
    done = Cell(0)
    seen: dict[str, object] = {}

    def work() -> None:
        for _ in range(2):
            item = items.get()
            done.set(item)
            items.task_done()

    def fill() -> None:
        items.put(1)
        seen["between"] = done.get()
        items.put(2)
        items.join()
        seen["joined"] = done.get()

    together(work, fill)
    outcomes.add(said(seen))


def alive(outcomes: Outcomes) -> None:
    """A thread is alive until it has ended, which is later than the last thing it does."""
    cell, seen = Cell(0), list[object]()
    worker = threading.Thread(target=lambda: cell.set(1))

    def look() -> None:
        seen.append((cell.get(), worker.is_alive()))

    worker.start()
    together(look)
    worker.join(1)
    seen.append(worker.is_alive())
    outcomes.add(tuple(seen))


def daemon(outcomes: Outcomes) -> None:
    """Nobody waits for it: it may have done any part of its work at the end."""
    cell = Cell(0)

    def work() -> None:
        for number in range(1, 4):
            cell.set(number)
            outcomes.add(number)

    threading.Thread(target=work, daemon=True).start()
    outcomes.add(("seen", cell.get()))


def timer(outcomes: Outcomes) -> None:
    """It is cancelled in time, or not."""
    rang, seen = Cell(False), Cell(False)
    clock = threading.Timer(1, lambda: rang.set(True))
    clock.start()

    def cancel() -> None:
        clock.cancel()
        seen.set(rang.get())

    together(cancel)
    clock.join()
    outcomes.add((rang.get(), seen.get()))


def barrier(outcomes: Outcomes) -> None:
    """Two meet, or one has no patience."""
    both = threading.Barrier(2)
    seen: dict[str, object] = {}

    def meet(name: str, seconds: float | None) -> None:
        try:
            both.wait(seconds)
            seen[name] = "met"
        except threading.BrokenBarrierError:
            seen[name] = "broken"

    together(lambda: meet("hasty", 1), lambda: meet("patient", None))
    outcomes.add(said(seen))


def clocks(outcomes: Outcomes) -> None:
    """What the clock says to one who sleeps, and to one who does not."""
    seen: dict[str, float] = {}

    def sleep() -> None:
        begin = time.monotonic()
        time.sleep(1)
        seen["slept"] = round(time.monotonic() - begin, 3)

    def look() -> None:
        begin = time.monotonic()
        seen["looked"] = round(time.monotonic() - begin, 3)

    together(sleep, look)
    outcomes.add(tuple(sorted(seen.items())))


def readings(outcomes: Outcomes) -> None:
    """The clock goes on as steps are taken that come before it is read, and by no others."""
    cell, seen = Cell(0), dict[str, object]()

    def read(name: str) -> None:
        seen[name] = cell.get(), round(time.monotonic() * 1e6)
        cell.set(1)
        seen[name + " again"] = round(time.monotonic() * 1e6)

    together(lambda: read("one"), lambda: read("other"))
    outcomes.add(said(seen))


def executor_of_one(outcomes: Outcomes) -> None:
    """A canceller, and one who waits with a timeout."""
    seen: list[object] = []
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(int)
        done, _ = wait([future], timeout=1)
        seen.append((len(done), future.cancel()))
    seen.append(future.cancelled())
    outcomes.add(tuple(seen))


def asked_after_another(outcomes: Outcomes) -> None:
    """Whether a thread is alive, also asked of one whose end another has seen already."""
    seen: list[object] = []
    short = threading.Thread(target=lambda: None)

    def ask() -> None:
        short.join(0)
        seen.append(short.is_alive())

    short.start()
    asking = threading.Thread(target=ask)
    asking.start()
    short.join()
    asking.join()
    outcomes.add(tuple(seen))


def _let_go(lock: threading.Lock) -> str:
    try:
        lock.release()
    except RuntimeError:
        return "was free"
    return "let go"


def released_by_another(outcomes: Outcomes) -> None:
    """If it is taken by then."""
    lock, seen = threading.Lock(), dict[str, object]()

    def hold() -> None:
        lock.acquire()
        seen["holder"] = _let_go(lock)

    def let_go() -> None:
        seen["other"] = _let_go(lock)

    together(hold, let_go)
    outcomes.add(said(seen))


def released_twice(outcomes: Outcomes) -> None:
    """One of the two is told that it is free, if nobody takes it in between."""
    lock, seen = threading.Lock(), dict[str, object]()
    lock.acquire()

    def let_go(name: str) -> None:
        seen[name] = _let_go(lock)

    together(lock.acquire, lambda: let_go("one"), lambda: let_go("other"))
    outcomes.add(said(seen))


def drained_queue(outcomes: Outcomes) -> None:
    """Who takes the first item: the worker, or the one who empties the queue for it."""
    items, count = queue.SimpleQueue[int](), 0
    worker = threading.Thread(target=items.get)
    worker.start()
    items.put(1)
    while True:
        try:
            items.get_nowait()
        except queue.Empty:
            break
        count += 1
    items.put(2)
    worker.join()
    outcomes.add(count)


def executor_that_drops_what_waits(outcomes: Outcomes) -> None:
    """The job was cancelled, or had begun."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(int)
    executor.shutdown(cancel_futures=True)
    outcomes.add(future.cancelled())


def daemons_that_wait(outcomes: Outcomes) -> None:
    """One of two gets the lock before the end, or none."""
    lock, first = threading.Lock(), Cell(0)
    lock.acquire()

    def take(number: int) -> None:
        lock.acquire()
        first.set(number)

    for number in (1, 2):
        threading.Thread(target=take, args=(number,), daemon=True).start()
    lock.release()
    time.sleep(1)
    outcomes.add(first.get())


def look_at_a_barrier(outcomes: Outcomes) -> None:
    """How many wait there."""
    two, seen = threading.Barrier(2), list[object]()

    def look_and_meet() -> None:
        seen.append(two.n_waiting)
        two.wait()

    together(two.wait, look_and_meet)
    outcomes.add(tuple(seen))


def look_at_a_broken_barrier(outcomes: Outcomes) -> None:
    """Whether it is that by then."""
    barrier, seen = threading.Barrier(2), list[object]()
    together(barrier.abort, lambda: seen.append(barrier.broken))
    outcomes.add(tuple(seen))


def waits_of_no_time(outcomes: Outcomes) -> None:
    """They wait for nobody, and see what is there."""
    lock, items, seen = threading.Lock(), queue.SimpleQueue[int](), list[object]()

    def work() -> None:
        with lock:
            items.put(1)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(0)
    seen.append(lock.acquire(timeout=0))
    if seen[0]:
        lock.release()
    try:
        seen.append(items.get(timeout=0))
    except queue.Empty:
        seen.append("empty")
    time.sleep(0)
    worker.join()
    outcomes.add(tuple(seen))


SMALL = [
    lock, nested_rlock, try_lock, condition, condition_with_a_timeout, event, event_with_a_timeout,
    semaphore, semaphore_with_a_timeout, lock_with_a_timeout, cancel_a_future, equal_deadlines,
    two_locks_in_one_order, simple_queue, two_puts_and_a_look,
    joined_queue, alive, daemon, timer, barrier, clocks, executor_of_one,
    asked_after_another, released_by_another, released_twice, drained_queue, executor_that_drops_what_waits,
    daemons_that_wait, look_at_a_barrier, look_at_a_broken_barrier, waits_of_no_time,
]  # fmt: skip

TIMED = [
    condition_with_a_timeout, event_with_a_timeout, semaphore_with_a_timeout, lock_with_a_timeout,
    equal_deadlines, simple_queue, alive, timer, barrier, clocks, executor_of_one,
    daemons_that_wait,
]  # fmt: skip
"""Those in which a wait may end early."""

EXACT = [readings]
"""Those that come to other times where there are more steps, as behind each release."""
