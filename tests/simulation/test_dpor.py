"""The search for a proof: it sees all that can happen, and nothing twice."""

from __future__ import annotations

import math
import queue
import random
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from pytest_littleloops import Cell, explore
from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.pool import WorkerPool
from pytest_littleloops.simulation.failures import Deadlock
from tests.simulation import yardsticks
from tests.simulation.brute_force import seen_by
from tests.simulation.hand_written import EXACT, SMALL, TIMED, Outcomes
from tests.simulation.scenarios import in_threads
from tests.simulation.small_programs import Outcome, random_program
from tests.simulation.timed_programs import TimedProgram


@pytest.mark.parametrize(
    ("program", "size", "traces"),
    [
        (yardsticks.readers, 8, 256),
        (yardsticks.last_zero, 5, 64),
        (yardsticks.last_zero, 7, 320),
        (yardsticks.file_system, 14, 2),
        (yardsticks.file_system, 16, 8),
        (yardsticks.indexer, 12, 8),
        *[(yardsticks.one_lock, size, math.factorial(size)) for size in (1, 2, 3, 4, 5)],
    ],
)
def test_each_trace_is_seen_once(program: Callable[[int], None], size: int, traces: int) -> None:
    """As many executions as there are traces, and none of them cut off."""
    found = explore(lambda: program(size), strategy="dpor", schedules=1_000)
    found.raise_for_failure()
    assert (found.verdict, found.schedules, found.traces, found.blocked) == ("proved", traces, traces, 0)


@pytest.mark.parametrize("program", [*SMALL, *EXACT])
def test_it_sees_all_that_a_brute_force_sees(program: Callable[[Outcomes], None]) -> None:
    """And nothing else."""
    outcomes, found = seen_by("dpor", program)
    assert outcomes == seen_by("brute", program)[0]
    assert found.traces + found.blocked == found.schedules


@pytest.mark.parametrize("early_timeouts", [0, 1])
@pytest.mark.parametrize("program", TIMED)
def test_it_sees_all_early_timeouts(program: Callable[[Outcomes], None], early_timeouts: int) -> None:
    """However often a wait may end before it is time."""
    assert (
        seen_by("dpor", program, early_timeouts=early_timeouts)[0]
        == seen_by("brute", program, early_timeouts=early_timeouts)[0]
    )


@pytest.mark.parametrize("block", range(4))
def test_random_programs_of_locks_and_cells(block: int) -> None:
    """A hundred: the outcomes, and as many executions as an independent count of traces."""
    for seed in range(block * 25, block * 25 + 25):
        program = random_program(seed, is_simple=True)
        outcomes = set[Outcome]()
        found = explore(partial(program.scenario, outcomes), strategy="dpor", schedules=50_000)
        found.raise_for_failure()
        assert (outcomes, found.schedules) == (program.outcomes(), program.traces()), seed
        assert found.verdict == "proved"


@pytest.mark.parametrize("block", range(4))
def test_random_programs_of_all_primitives(block: int) -> None:
    """A hundred: the outcomes."""
    for seed in range(block * 25, block * 25 + 25):
        program = random_program(seed, is_simple=False)
        outcomes = set[Outcome]()
        found = explore(partial(program.scenario, outcomes), strategy="dpor", schedules=50_000)
        found.raise_for_failure()
        assert (outcomes, found.verdict) == (program.outcomes(), "proved"), seed


@pytest.mark.parametrize(
    ("seed", "early_timeouts"),
    [*product((0, 9, 12, 13, 100, 102), (0, 1, 2)), (858, 0), (256, 1), (409, 1)],
)
def test_random_programs_of_timed_waits(seed: int, early_timeouts: int) -> None:
    """A search misses something of some, if it counts early timeouts of all threads together."""
    program = TimedProgram(seed)
    outcomes, _ = seen_by("dpor", program, early_timeouts=early_timeouts)
    assert outcomes == seen_by("brute", program, early_timeouts=early_timeouts)[0]


def test_two_locks_in_either_order_are_a_deadlock() -> None:
    """In some trace, which is found; and none if the order is one."""

    def scenario(is_one_order: bool) -> None:
        first, second = threading.Lock(), threading.Lock()

        def take(one: threading.Lock, other: threading.Lock) -> None:
            with one, other:
                pass

        in_threads(
            lambda: take(first, second),
            lambda: take(*((first, second) if is_one_order else (second, first))),
        )

    found = explore(lambda: scenario(False), strategy="dpor")
    assert isinstance(found.failure, Deadlock)
    assert explore(lambda: scenario(True), strategy="dpor").summary() == "proved, 2 schedules, all 2 traces"


def test_a_lost_wakeup_is_found() -> None:
    """One looks without the lock whether to wait, and waits for a word that was said in between."""

    def scenario(is_sound: bool) -> None:
        changed, is_ready = threading.Condition(), Cell(False)

        def wait() -> None:
            if is_sound:
                with changed:
                    while not is_ready.get():
                        changed.wait()
            elif not is_ready.get():
                with changed:
                    changed.wait()

        def say() -> None:
            is_ready.set(True)
            with changed:
                changed.notify()

        in_threads(wait, say)

    assert isinstance(explore(lambda: scenario(False), strategy="dpor").failure, Deadlock)
    assert explore(lambda: scenario(True), strategy="dpor").verdict == "proved"


def note(called: list[int], number: int, done: Future[int]) -> None:
    """The callback of a future."""
    assert done.done()
    called.append(number)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unmodified_executor_with_a_canceller_is_proved(workers: int) -> None:
    """Two jobs, of which one is cancelled: its callbacks are called once, whoever comes first."""
    outcomes: set[object] = set()

    def scenario() -> None:
        called: list[int] = []
        seen: list[bool] = []
        with ThreadPoolExecutor(workers) as executor:
            futures = [executor.submit(abs, -number) for number in range(2)]
            for number, future in enumerate(futures):
                future.add_done_callback(partial(note, called, number))
            canceller = threading.Thread(target=lambda: seen.append(futures[0].cancel()))
            canceller.start()
        canceller.join()
        assert sorted(called) == [0, 1]
        assert seen == [futures[0].cancelled()]
        outcomes.add((*seen, tuple(called)))

    found = explore(scenario, strategy="dpor", schedules=5_000)
    found.raise_for_failure()
    assert (found.verdict, found.blocked) == ("proved", 0)
    possible = {(cancelled, order) for cancelled in (True, False) for order in ((0, 1), (1, 0))}
    # One worker comes to the second job when it has told of the first.
    assert outcomes == possible - ({(False, (1, 0))} if workers == 1 else set())


def test_a_swallowed_cancellation_is_found() -> None:
    """The completion of a cancelled job is never told; that is so in few of the traces."""

    def scenario() -> None:
        told: list[object] = []

        def tell(future: Future[int]) -> None:
            told.append(future.result())

        with ThreadPoolExecutor(1) as executor:
            futures = [executor.submit(abs, -number) for number in range(2)]
            for future in futures:
                future.add_done_callback(tell)
            canceller = threading.Thread(target=futures[1].cancel)
            canceller.start()
        canceller.join()
        assert len(told) == 2

    assert explore(scenario, strategy="dpor").verdict == "failed"


def deliver_two_issues(workers: int, *, cancels: bool, cancel_pending: bool) -> None:
    """The reference pool: each of two issues is told of once, whoever comes first."""
    results: list[str] = []
    pool = WorkerPool(lambda issue: WorkerResult(issue.issue_id, True, "main", Path()), max_workers=workers)
    pool.start()
    futures = [
        pool.submit(Issue(name), lambda result: results.append(result.issue_id)) for name in ("one", "two")
    ]
    canceller = threading.Thread(target=lambda: pool.cancel("one"))
    if cancels:
        canceller.start()
    pool.shutdown(wait=True, cancel_pending=cancel_pending)
    if cancels:
        canceller.join()
    assert sorted(results) == ["one", "two"]
    assert all(future.done() for future in futures)
    assert pool.active_count == 0


@pytest.mark.parametrize(("cancels", "cancel_pending"), [(False, False), (True, False), (False, True)])
def test_the_reference_pool_of_one_worker_is_proved(cancels: bool, cancel_pending: bool) -> None:
    """Both of them at once, and two workers, take more schedules: see the slow tests."""
    found = explore(
        lambda: deliver_two_issues(1, cancels=cancels, cancel_pending=cancel_pending),
        strategy="dpor",
        schedules=5_000,
    )
    found.raise_for_failure()
    assert (found.verdict, found.blocked) == ("proved", 0)


def test_what_was_not_finished_is_estimated() -> None:
    """The share that was seen, in the line of the verdict; near the truth after many schedules."""
    found = explore(lambda: yardsticks.readers(8), strategy="dpor", schedules=100)
    assert (found.verdict, found.traces, found.exhaustive) == ("sampled", 100, False)
    assert found.seen == pytest.approx(100 / 256, abs=0.2)
    assert found.summary() == f"sampled, 100 schedules, 100 traces, an estimated {found.seen:.0%} of all"


def test_what_was_cut_off_is_not_proved() -> None:
    """A schedule that is too long may lead anywhere."""

    def scenario() -> None:
        cell = Cell(0)

        def spin() -> None:
            while not cell.get():
                pass

        in_threads(spin, lambda: cell.set(1))

    found = explore(scenario, strategy="dpor", max_steps=200, schedules=50)
    assert (found.verdict, found.exhaustive, found.seen) == ("not certified", False, 0)
    assert found.cut_off


def test_another_path_on_the_same_choices_is_nondeterministic() -> None:
    """The search relies on meeting the same operations as in the schedule before."""
    count = 0

    def scenario() -> None:
        nonlocal count
        count += 1
        cells = [Cell(0) for _ in range(2)]
        cells[count % 2].get()
        in_threads(lambda: cells[0].set(1), lambda: cells[0].set(2))

    found = explore(scenario, strategy="dpor")
    assert (found.verdict, str(found.failure)[:20]) == ("not certified", "LL501 nondeterminist")


@pytest.mark.parametrize("strategy", ["auto", "dpor"])
def test_random_numbers_and_times_are_those_of_the_schedule_before(strategy: str) -> None:
    """What a scenario draws, and which time it is, leads it nowhere else."""

    def scenario() -> None:
        cell = Cell(0.0)
        in_threads(
            lambda: cell.set(random.random()),
            lambda: cell.set(time.time()),
            lambda: [cell.get() for _ in range(random.randint(1, 3))],
        )

    found = explore(scenario, strategy=strategy, schedules=200)
    found.raise_for_failure()
    assert found.verdict == "proved"


def test_what_only_the_first_run_used_outside_is_not_proved() -> None:
    """The search did not meet it, and knows nothing of what it left there."""
    seen: list[int] = []

    def scenario() -> None:
        if not seen:
            seen.append(1)
            select.select([], [], [], 0)

    found = explore(scenario, strategy="dpor")
    assert (found.verdict, found.exhaustive) == ("sampled", False)


@pytest.mark.parametrize(("name", "values"), [("n_waiting", {0, 1}), ("broken", {False, True})])
def test_looks_that_take_no_lock_are_steps(name: str, values: set[object]) -> None:
    """The standard library looks at a barrier so."""
    outcomes = set[object]()

    def scenario() -> None:
        barrier = threading.Barrier(2)
        change = barrier.wait if name == "n_waiting" else barrier.abort
        thread = threading.Thread(target=change)
        thread.start()
        outcomes.add(getattr(barrier, name))
        if name == "n_waiting":
            barrier.wait()

    assert explore(scenario, strategy="dpor").verdict == "proved"
    assert outcomes == values


@pytest.mark.parametrize(
    ("asks", "outcomes"), [("is_alive", {False, True}), ("join", {"joined", "too early"})]
)
def test_a_thread_may_be_asked_before_it_is_started(asks: str, outcomes: set[object]) -> None:
    """By another one than that which starts it."""
    seen = set[object]()

    def scenario() -> None:
        cell, late = Cell(0), threading.Thread(target=lambda: None)

        def start() -> None:
            cell.get()
            late.start()

        starting = threading.Thread(target=start)
        starting.start()
        cell.get()
        if asks == "is_alive":
            seen.add(late.is_alive())
        else:
            try:
                late.join()
            except RuntimeError:
                seen.add("too early")
            else:
                seen.add("joined")
        starting.join()
        late.join()

    found = explore(scenario, strategy="dpor")
    assert (found.verdict, seen) == ("proved", outcomes)


def test_a_thread_is_started_once() -> None:
    """By whoever is first; the other one is told what real threads tell it."""
    told = set[str]()

    def scenario() -> None:
        thread = threading.Thread(target=lambda: None)

        def start() -> None:
            try:
                thread.start()
            except RuntimeError as error:
                told.add(str(error))

        in_threads(start, start)
        thread.join()

    for strategy, verdict in (("dpor", "proved"), ("random", "sampled")):
        found = explore(scenario, strategy=strategy, schedules=200)
        assert (found.verdict, found.failure) == (verdict, None)
    assert told == {"threads can only be started once"}


def test_a_condition_on_a_lock_that_another_task_holds() -> None:
    """The standard library asks only whether anybody holds it."""

    def scenario() -> None:
        lock = threading.Lock()
        changed = threading.Condition(lock)
        with lock:
            in_threads(changed.notify)

    assert explore(scenario, strategy="dpor").verdict == "proved"
    with pytest.raises(RuntimeError, match="un-acquired"):
        explore(lambda: threading.Condition(threading.Lock()).notify(), strategy="dpor").raise_for_failure()


def test_two_that_wait_for_the_same_futures() -> None:
    """The standard library takes their locks in one order, which is the same in all orders of a trace."""
    outcomes = set[tuple[int, ...]]()

    def scenario() -> None:
        futures, seen = [Future[int](), Future[int]()], [0, 0]

        def see(number: int, of: list[Future[int]]) -> None:
            seen[number] = len(wait(of, return_when="FIRST_COMPLETED").done)

        def end() -> None:
            for future in futures:
                future.set_result(1)

        in_threads(lambda: see(0, futures), lambda: see(1, futures[::-1]), end)
        outcomes.add(tuple(seen))

    assert explore(scenario, strategy="dpor").verdict == "proved"
    assert outcomes == set(product((1, 2), repeat=2))


@pytest.mark.parametrize(
    ("look", "text"),
    [
        (lambda: threading.active_count(), "the list of all threads"),
        (lambda: queue.Queue[int]().mutex.locked(), "a look at a lock of the standard library's"),
    ],
)
def test_looks_that_do_not_see_every_order_are_not_proved(look: Callable[[], object], text: str) -> None:
    """The line says so."""

    def scenario() -> None:
        look()

    found = explore(scenario, strategy="dpor")
    assert found.verdict == "sampled"
    assert f"{text} (test_dpor.py:" in found.summary()


def test_tries_that_fail_commute() -> None:
    """Each finds the lock taken, whoever is first."""

    def scenario() -> None:
        lock = threading.Lock()
        with lock:
            in_threads(*[lambda: lock.acquire(blocking=False)] * 3)

    found = explore(scenario, strategy="dpor")
    assert (found.traces, found.blocked) == (1, 0)


def test_the_order_in_which_times_run_out_is_no_choice() -> None:
    """Where no wait may end early, the clock says who is first. It is sound there, not optimal."""

    def scenario() -> None:
        in_threads(*[partial(time.sleep, seconds) for seconds in (1, 2, 3)])

    found = explore(scenario, strategy="dpor", early_timeouts=0)
    assert (found.traces, found.blocked) == (1, 4)


def test_what_is_used_outside_is_sampled_to_the_end() -> None:
    """The search has come to its end, and that is not the end of what may happen."""

    def scenario() -> None:
        select.select([], [], [], 0)

    found = explore(scenario, schedules=300)
    assert (found.verdict, found.schedules, found.seen) == ("sampled", 300, 0)


def test_a_bound_that_the_search_does_not_have_is_not_told() -> None:
    """Preemptions are counted by dfs alone."""
    found = explore(lambda: yardsticks.one_lock(2), strategy="dpor", preemptions=0)
    assert found.summary() == "proved, 2 schedules, all 2 traces"


def test_threads_are_told_apart_by_who_started_them() -> None:
    """Not by the order of the starts, which is another one in other orders of one trace."""
    outcomes = set[tuple[bool, int]]()

    def scenario() -> None:
        value, alive = Cell(0), list[bool]()
        grandchildren: list[threading.Thread] = []

        def start(function: Callable[[], object]) -> threading.Thread:
            thread = threading.Thread(target=function)
            thread.start()
            grandchildren.append(thread)
            return thread

        def increment() -> None:
            value.set(value.get() + 1)
            start(lambda: None)

        def look() -> None:
            child = start(lambda: None)
            child.join(1)
            alive.append(child.is_alive())
            start(lambda: value.set(3))

        in_threads(increment, look)
        for thread in grandchildren:
            thread.join()
        outcomes.add((alive[0], value.get()))

    found = explore(scenario, strategy="dpor", early_timeouts=1)
    assert found.summary() == "proved, 9 schedules, all 9 traces"
    assert outcomes == set(product((False, True), (1, 3, 4)))


def test_a_daemon_may_be_dropped_after_any_of_its_steps() -> None:
    """Also where nobody else looks at what it does."""
    done: list[int] = []

    def scenario() -> None:
        done.append(0)
        cell, other = Cell(0), Cell(0)

        def work() -> None:
            for number in (1, 2, 3):
                cell.set(number)
                done[-1] = number

        threading.Thread(target=work, daemon=True).start()
        in_threads(lambda: other.set(1))

    assert explore(scenario, strategy="dpor").verdict == "proved"
    assert set(done) == {0, 1, 2, 3}


def test_threads_that_share_nothing_that_is_seen() -> None:
    """One trace may mean that there is nothing to reorder, or that it is not seen: the line says so."""

    def scenario(count: int) -> None:
        total = 0

        def increment() -> None:
            nonlocal total
            total += 1

        in_threads(*[increment] * count)

    said = "proved, 1 schedule, 1 trace"
    assert explore(lambda: scenario(1), strategy="dpor").summary() == said
    found = explore(lambda: scenario(2), strategy="dpor")
    assert found.summary() == f"{said}, as its threads share no lock, queue or Cell"
    assert found.threads == 2


def test_half_of_the_schedules_of_auto_are_the_searchs() -> None:
    """What has no more traces than that is proved, and more samples follow."""
    found = explore(lambda: yardsticks.readers(6), schedules=1_000)
    assert (found.summary(), found.verdict) == ("proved, 328 schedules, all 64 traces", "proved")
    assert explore(lambda: yardsticks.readers(6), schedules=129).verdict == "proved"
    assert explore(lambda: yardsticks.readers(6), schedules=126).verdict == "sampled"
