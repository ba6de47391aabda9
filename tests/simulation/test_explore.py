"""`explore`: what it finds, what it says that is worth, and that it finds it again."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait

import pytest

from pytest_littleloops.simulation import shrink
from pytest_littleloops.simulation.cell import Cell
from pytest_littleloops.simulation.explore import Exploration, explore
from pytest_littleloops.simulation.explorer import Explorer
from pytest_littleloops.simulation.failures import Deadlock, Nondeterministic, NoProgress
from pytest_littleloops.simulation.schedule import Schedule
from pytest_littleloops.simulation.settings import Settings
from tests.simulation.scenarios import in_threads

STRATEGIES = ("auto", "dpor", "pct", "pos", "random", "dfs")


def lose_an_update() -> None:
    """Two threads read, and then write."""
    cell = Cell(0)

    def increment() -> None:
        cell.set(cell.get() + 1)

    in_threads(increment, increment)
    assert cell.get() == 2, "an update was lost"


def keep_both_updates() -> None:
    """Two threads read and write under a lock."""
    cell, lock = Cell(0), threading.Lock()

    def increment() -> None:
        with lock:
            cell.set(cell.get() + 1)

    in_threads(increment, increment)
    assert cell.get() == 2


class SwallowingPool:
    """The seed's bug around the standard library's executor, as it is."""

    def __init__(self, *, swallows: bool) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._swallows = swallows

    def submit(self, number: int, on_complete: Callable[[object], object]) -> Future[int]:
        """Work on a number."""
        future = self._executor.submit(abs, number)
        future.add_done_callback(lambda done: self._handle_completion(done, on_complete))
        return future

    def _handle_completion(self, future: Future[int], on_complete: Callable[[object], object]) -> None:
        try:
            outcome: object = future.result()
        except BaseException as error:
            if self._swallows:
                return
            outcome = error
        on_complete(outcome)

    def shutdown(self) -> None:
        """End the pool."""
        self._executor.shutdown()


def cancel_one_of_two(swallows: bool) -> Callable[[], None]:
    """A canceller races the worker for the second submission."""

    def scenario() -> None:
        pool, heard = SwallowingPool(swallows=swallows), list[object]()
        futures = [pool.submit(number, heard.append) for number in (1, 2)]
        in_threads(futures[1].cancel)
        pool.shutdown()
        assert len(heard) == 2, "a completion was skipped"

    return scenario


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_lost_update_is_found(strategy: str) -> None:
    """By every strategy, with the scenario's own failure and a token."""
    result = explore(lose_an_update, strategy=strategy)
    assert result.verdict == "failed"
    assert isinstance(result.failure, AssertionError)
    assert "an update was lost" in str(result.failure)
    assert result.token is not None
    with pytest.raises(AssertionError, match="an update was lost"):
        result.raise_for_failure()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_sound_scenario_is_silent(strategy: str) -> None:
    """And no more is said of it than is known."""
    result = explore(keep_both_updates, strategy=strategy, schedules=200)
    assert result.failure is None
    assert result.exhaustive == (result.verdict == "proved") == (strategy in ("auto", "dpor"))
    assert strategy in ("auto", "dpor") or result.schedules == 200


def test_depth_first_proves_where_it_finishes() -> None:
    """Every interleaving of two threads that each write once: it says what it assumes."""

    def scenario() -> None:
        cell = Cell(0)
        in_threads(lambda: cell.set(1))

    result = explore(scenario, strategy="dfs", schedules=10_000)
    assert (result.verdict, result.exhaustive) == ("proved", True)
    assert result.assumptions[0].startswith("data shared without a lock or a Cell")
    result.raise_for_failure()


def test_depth_first_with_few_preemptions_visits_less_and_says_so() -> None:
    """A bound is an assumption."""
    bounded = explore(keep_both_updates, strategy="dfs", schedules=100_000, preemptions=1)
    assert bounded.verdict == "proved"
    assert "at most 1 preemption" in bounded.assumptions
    assert bounded.schedules < 5_000


def test_a_turn_that_a_sleeper_gives_away_costs_no_preemption() -> None:
    """Who sleeps could go on only if its time ran out early: with one preemption elsewhere it is found."""

    def scenario() -> None:
        cell = Cell(0)

        may_write = threading.Event()

        def write_twice() -> None:
            may_write.wait()
            cell.set(1)
            cell.set(2)

        writer = threading.Thread(target=write_twice)
        writer.start()
        may_write.set()
        time.sleep(1)
        seen = cell.get()
        writer.join()
        assert seen != 1

    assert explore(scenario, strategy="dfs", preemptions=1).verdict == "failed"
    assert explore(scenario, strategy="dfs", preemptions=0).verdict == "proved"


def test_depth_first_notices_that_a_choice_is_another_one() -> None:
    """LL501 where a schedule has other options than the one before it: nothing is proved then."""
    calls = itertools.count()

    def scenario() -> None:
        in_threads(*[abs_of_one] * (1 + next(calls) % 2))

    result = explore(scenario, strategy="dfs")
    assert result.verdict == "not certified"
    assert str(result.failure).startswith("LL501 nondeterministic: ")


def abs_of_one() -> None:
    """Hardly anything."""
    abs(1)


def test_a_token_carries_the_seed() -> None:
    """What the scenario draws by chance is drawn again, whatever the settings say."""

    def scenario() -> None:
        assert random.random() > 0.5

    tried = (explore(scenario, schedules=1, seed=seed) for seed in range(20))
    found = next(result for result in tried if result.token is not None)
    assert explore(scenario, replay=found.token, seed=10**9).verdict == "failed"


def test_a_deadlock_is_found_with_every_stack() -> None:
    """LL302: two locks in either order."""
    first, second = threading.Lock, threading.Lock

    def scenario() -> None:
        one, two = first(), second()

        def there() -> None:
            with one, two:
                pass

        def back() -> None:
            with two, one:
                pass

        in_threads(there, back)

    result = explore(scenario)
    assert isinstance(result.failure, Deadlock)
    text = str(result.failure)
    assert text.startswith("LL302 deadlock: MainThread, ")
    assert "in there" in text
    assert "in back" in text


def test_a_run_that_only_clocks_move_makes_no_progress() -> None:
    """LL303: a poll that waits for what cannot come any more."""

    def scenario() -> None:
        done = threading.Event()
        while not done.wait(1.0):
            pass

    result = explore(scenario, schedules=3, max_steps=300)
    assert isinstance(result.failure, NoProgress)
    assert str(result.failure).startswith("LL303 no-progress: after 300 steps only clocks still move")


def test_steps_that_run_out_certify_nothing() -> None:
    """Work that could still go on was cut off: that is no failure, and no pass."""

    def scenario() -> None:
        cell = Cell(0)
        for number in range(1_000):
            cell.set(number)

    result = explore(scenario, schedules=3, max_steps=100)
    assert (result.verdict, result.blocked, result.failure) == ("not certified", 3, None)


@pytest.mark.parametrize("seed", range(20))
def test_the_seeds_bug_is_found_in_an_unmodified_executor(seed: int) -> None:
    """Within 50 schedules, whatever the seed."""
    result = explore(cancel_one_of_two(swallows=True), seed=seed, schedules=50)
    assert result.verdict == "failed"
    assert "a completion was skipped" in str(result.failure)


@pytest.fixture
def unshrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is not made smaller, which takes longer than to find it."""
    monkeypatch.setattr(shrink, "_EXECUTIONS", 0)


@pytest.mark.usefixtures("unshrunk")
def test_the_seeds_bug_is_found_soon() -> None:
    """Within 10 schedules on average over 20 seeds."""
    found = [explore(cancel_one_of_two(swallows=True), seed=seed).schedules for seed in range(20)]
    assert sum(found) / len(found) <= 10


def test_the_fixed_pool_is_clean() -> None:
    """No false alarm in all its traces."""
    result = explore(cancel_one_of_two(swallows=False), schedules=1_000)
    assert result.failure is None
    assert result.verdict == "proved"


def test_a_token_replays_the_schedule() -> None:
    """The same failure, and no other schedule is run."""
    found = explore(lose_an_update)
    assert found.token is not None
    again = explore(lose_an_update, replay=found.token)
    assert (again.verdict, again.schedules, again.token) == ("failed", 1, found.token)
    assert type(again.failure) is type(found.failure)


def test_a_token_of_other_code_is_nondeterministic() -> None:
    """LL501: never a pass."""
    found = explore(cancel_one_of_two(swallows=True))
    assert found.token is not None
    result = explore(lambda: None, replay=found.token)
    assert result.verdict == "not certified"
    assert isinstance(result.failure, Nondeterministic)


def test_a_token_of_another_standard_library_is_nondeterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it synchronises differently a replay is LL501, not a pass: here an event that locks twice."""

    def scenario() -> None:
        event = threading.Event()
        in_threads(event.set, event.set)
        lose_an_update()

    found = explore(scenario)
    plain_set = threading.Event.set

    def set_as_elsewhere(event: threading.Event) -> None:
        with event._cond:  # type: ignore[attr-defined]
            pass
        plain_set(event)

    monkeypatch.setattr(threading.Event, "set", set_as_elsewhere)
    again = explore(scenario, replay=found.token)
    assert again.verdict == "not certified"
    assert str(again.failure).startswith("LL501 nondeterministic: behind ")


def test_a_token_of_mended_code_passes_as_sampled() -> None:
    """One schedule was run, and it was clean."""
    found = explore(cancel_one_of_two(swallows=True))
    mended = explore(cancel_one_of_two(swallows=False), replay=found.token)
    assert mended.verdict == "sampled"
    assert mended.failure is None


@pytest.mark.parametrize("token", ["", "LL1-", "LL1-aaaa", "LL2-aaaaaaaa", "LL1-zzzzzzzzzz", "hello"])
def test_a_damaged_token_is_an_error(token: str) -> None:
    """It says what a token looks like, or that this one is not whole."""
    with pytest.raises(ValueError, match=r"is no token of a schedule|is damaged"):
        explore(lose_an_update, replay=token)


@pytest.mark.parametrize("choices", [(), (0,), (1,), (0, 0, 3, 0), (200,) * 40, tuple(range(300))])
def test_a_token_holds_every_choice(choices: tuple[int, ...]) -> None:
    """There and back."""
    schedule = Schedule(choices=choices, early_timeouts=2)
    assert Schedule.from_token(schedule.token()) == schedule


def test_an_unknown_strategy_is_an_error_that_lists_the_known_ones() -> None:
    """Before anything is run."""
    with pytest.raises(
        ValueError, match="no strategy 'bfs'; the strategies are auto, dpor, pct, pos, random, dfs"
    ):
        explore(lose_an_update, strategy="bfs")
    with pytest.raises(ValueError, match="schedules must be at least 1, not 0"):
        explore(lose_an_update, schedules=0)


@pytest.mark.usefixtures("unshrunk")
def test_the_same_seed_gives_the_same_schedules() -> None:
    """In this process; another seed gives others."""

    def number(seed: int) -> tuple[int, str | None]:
        result = explore(cancel_one_of_two(swallows=True), seed=seed)
        return result.schedules, result.token

    assert number(3) == number(3)
    assert len({number(seed) for seed in range(8)}) > 1


SCRIPT = """
from tests.simulation.test_explore import wait_in_a_pool
from pytest_littleloops.simulation.explore import explore
import sys
result = explore(wait_in_a_pool, replay=sys.argv[1] if len(sys.argv) > 1 else None)
print(result.schedules, result.token, type(result.failure).__name__)
"""


def wait_in_a_pool() -> None:
    """`wait`, `as_completed` and a shutdown of two workers; fails in some orders."""
    order: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        futures = {executor.submit(order.append, number) for number in range(2)}
        wait(futures)
        list(as_completed(futures))
    assert order == [0, 1], "the second one was first"


def test_a_seed_and_a_token_mean_the_same_in_another_process() -> None:
    """Whatever the hash seed: sets of futures and threads iterate in the order of creation."""

    def run(hash_seed: str, *args: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, *args],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout

    first, second = run("1"), run("2")
    assert first == second
    _, token, failure = first.split()
    assert failure == "AssertionError"
    assert run("3", token).split() == ["1", token, "AssertionError"]


def test_nobody_sleeps_for_real() -> None:
    """An hour of virtual time, and a poll that sees it pass."""

    def scenario() -> None:
        begin = time.monotonic()
        deadline = begin + 3600
        while time.monotonic() < deadline:
            time.sleep(60)
        assert 3600 <= time.monotonic() - begin < 3700
        assert time.time() > 0
        assert time.monotonic_ns() > 0

    begin = time.monotonic()
    assert explore(scenario, schedules=5).verdict == "proved"
    assert time.monotonic() - begin < 60


def test_a_loop_that_only_reads_the_clock_ends() -> None:
    """It sees time run faster and faster."""

    def scenario() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pass

    assert explore(scenario, schedules=5).failure is None


def test_a_timed_wait_may_expire_although_the_work_would_finish() -> None:
    """A slow worker is a choice; with no early timeout it is never that slow."""

    def scenario() -> None:
        done = threading.Event()
        worker = threading.Thread(target=done.set)
        worker.start()
        in_time = done.wait(1.0)
        worker.join()
        assert in_time, "too late"

    assert "too late" in str(explore(scenario).failure)
    assert explore(scenario, early_timeouts=0).failure is None


def test_an_exception_that_ends_a_thread_fails_the_schedule() -> None:
    """SystemExit does not, as the standard library ignores it."""

    def fail() -> None:
        raise KeyError("in a thread")

    result = explore(lambda: in_threads(fail), schedules=5)
    assert isinstance(result.failure, KeyError)
    assert explore(lambda: in_threads(sys.exit), schedules=5).failure is None


def test_random_numbers_are_the_same_in_every_schedule() -> None:
    """And the generator outside is where it was."""
    numbers: set[float] = set()
    random.seed(5)
    expected = random.Random(5).random()
    explore(lambda: numbers.add(random.random()), schedules=5)
    assert len(numbers) == 1
    assert random.random() == expected


def test_a_daemon_may_stay_idle_at_the_end() -> None:
    """And one that never ends is not waited for."""

    def heart() -> None:
        while True:
            time.sleep(1)

    def scenario() -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        threading.Thread(target=heart, daemon=True).start()

    assert explore(scenario, schedules=20).failure is None


def test_an_executor_that_nobody_shut_down_ends_as_at_the_interpreters_exit() -> None:
    """Its workers are told to go, and what it has is done before."""
    kept: list[ThreadPoolExecutor] = []
    done: list[int] = []

    def scenario() -> None:
        kept.append(ThreadPoolExecutor(2))
        kept[-1].submit(done.append, 1)

    result = explore(scenario, schedules=20)
    assert result.failure is None
    # One more: the warm-up.
    assert len(done) == 21


def test_an_exploration_is_what_it_says() -> None:
    """Empty, it claims nothing but that nothing was found."""
    nothing = Exploration()
    assert (nothing.verdict, nothing.schedules, nothing.exhaustive) == ("sampled", 0, False)


def test_a_thread_that_is_started_too_early_is_found() -> None:
    """It looks for what its starter sets behind `start`."""

    class Service:
        def __init__(self, is_sound: bool) -> None:
            self.thread = threading.Thread(target=self.run)
            if is_sound:
                self.name = "service"
            self.thread.start()
            self.name = "service"

        def run(self) -> None:
            assert self.name

    assert isinstance(explore(lambda: Service(False)).failure, AttributeError)
    assert explore(lambda: Service(True)).verdict == "proved"


def test_locks_without_end_end() -> None:
    """A lock that was just made is taken without a step, but not always."""

    def scenario() -> None:
        while True:
            threading.Lock().acquire()

    found = explore(scenario, schedules=2, max_steps=20)
    assert (found.verdict, found.cut_off) == ("not certified", 2)


def test_a_token_that_was_cut_off_is_forgotten() -> None:
    """What is explored after it is counted anew."""

    def scenario(rounds: int, fails: bool) -> None:
        lock = threading.Lock()
        for _ in range(rounds):
            with lock:
                pass
        assert not fails

    token = explore(lambda: scenario(10, True), max_steps=60).token
    found = Explorer(lambda: scenario(30, False), Settings()).run(token)
    assert (found.verdict, found.cut_off, found.blocked) == ("proved", 0, 0)
