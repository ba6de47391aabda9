"""The story of a failing schedule: steps by task, at lines of the user's code."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from pytest_littleloops import Cell, Exploration, explore
from pytest_littleloops.simulation.story import Step, tell


def lost_update() -> None:
    """Two tasks that read before either writes."""
    cell = Cell(0)

    def add() -> None:
        cell.set(cell.get() + 1)  # the line

    adder = threading.Thread(target=add, name="adder")
    adder.start()
    add()
    adder.join()
    assert cell.get() == 2


def failed(result: Exploration) -> Exploration:
    """It, if it failed."""
    assert result.verdict == "failed", result
    return result


def test_a_story_has_tasks_operations_and_lines() -> None:
    """Who read and wrote what, where; in the order in which it happened."""
    result = failed(explore(lost_update, schedules=100))
    line = lost_update.__code__.co_firstlineno + 5
    steps = [(step.task, step.what) for step in result.steps if step.place == f"test_story.py:{line}"]
    made = f"from test_story.py:{line - 3}"
    assert sorted(steps[:2]) == [("MainThread", f"read Cell(0) {made}"), ("adder", f"read Cell(0) {made}")]
    # The second to write overwrites a 1, as it happened.
    assert [what for _, what in steps[2:]] == [f"write Cell(0) {made}", f"write Cell(1) {made}"]
    assert {task for task, _ in steps[2:]} == {"MainThread", "adder"}


def test_a_story_names_the_call_of_the_user_not_what_goes_on_inside() -> None:
    """The standard library's own lines are left out, what was called in it is named."""

    def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            assert executor.submit(abs, -1).result() == 2

    text = failed(explore(scenario, schedules=1)).story()
    assert "ThreadPoolExecutor.submit" in text
    assert "test_story.py" in text
    assert "thread.py" not in text
    assert "acquire" not in text


def test_a_story_is_that_of_the_last_replay() -> None:
    """As many steps as the schedule had, and its switches."""
    result = failed(explore(lost_update, schedules=100))
    assert result.story().startswith(
        f"  the schedule, {len(result.steps)} steps with {result.switches} switches of task:\n"
    )
    again = explore(lost_update, replay=result.token)
    assert (again.steps, again.switches) == (result.steps, result.switches)
    assert again.story() == result.story()


def test_calls_in_a_row_are_one_line_and_the_task_is_named_where_it_changes() -> None:
    """The number is that of the first of them."""
    steps = [Step("a", "get", "x.py:1")] * 3 + [Step("a", "put", "x.py:2"), Step("b", "get", "x.py:1")]
    assert tell(steps, 1).splitlines() == [
        "  the schedule, 5 steps with 1 switch of task:",
        "    1  a  get  x.py:1",
        "    4     put  x.py:2",
        "    5  b  get  x.py:1",
    ]


def test_a_long_story_shows_its_end() -> None:
    """How much is missing is said."""
    steps = [Step("a", f"call {number}", "x.py:1") for number in range(100)]
    lines = tell(steps, 0).splitlines()
    assert lines[1] == "    (40 lines before these)"
    assert lines[-1].split() == ["100", "call", "99", "x.py:1"]


def test_what_comes_again_and_again_is_told_once() -> None:
    """A block of lines that follows itself, by one task or several; twice is no habit yet."""
    poll = [Step("a", "Event.is_set", "x.py:1"), Step("a", "sleep", "x.py:2"), Step("a", "sleep", "x.py:2")]
    relay = [Step("a", "put", "x.py:3"), Step("b", "get", "x.py:4")]
    steps = [Step("b", "get", "x.py:4"), *poll * 37, *relay * 2, *relay[:1], *(poll[:2] + relay) * 3]
    assert tell(steps, 9).splitlines()[1:] == [
        "      1  b  get           x.py:4",
        "      2  a  Event.is_set  x.py:1",
        "      3     sleep         x.py:2",
        "         (these 2 lines 37 times)",
        "    113  a  put           x.py:3",
        "    114  b  get           x.py:4",
        "    115  a  put           x.py:3",
        "    116  b  get           x.py:4",
        "    117  a  put           x.py:3",
        "    118     Event.is_set  x.py:1",
        "    119     sleep         x.py:2",
        "    120     put           x.py:3",
        "    121  b  get           x.py:4",
        "         (these 4 lines 3 times)",
    ]


def test_what_is_told_once_leaves_room_for_what_came_before() -> None:
    """A story is long by its lines, not by its steps."""
    steps = [Step("a", "first", "x.py:1"), *[Step("a", "get", "x.py:2"), Step("a", "put", "x.py:3")] * 100]
    assert tell(steps, 0).splitlines()[1].split() == ["1", "a", "first", "x.py:1"]


def test_a_part_is_told_where_its_first_line_is() -> None:
    """Behind steps that are left out; with the task's name, and not as a call that merely goes on."""
    steps = [
        Step("a", "get", "x.py:1"),
        Step("a", "", "", part="the end"),
        *[Step("a", "get", "x.py:1")] * 2,
    ]
    assert tell(steps, 0).splitlines()[1:] == [
        "    1  a  get  x.py:1",
        "       (the end)",
        "    3  a  get  x.py:1",
    ]
    assert tell([*steps[:1], steps[1]], 0).splitlines()[1:] == ["    1  a  get  x.py:1"]


def test_where_the_user_has_no_line_the_library_speaks() -> None:
    """A schedule that goes on in threads of the standard library alone."""
    steps = [Step("worker", "", ""), Step("worker", "SimpleQueue.get", "")]
    assert tell(steps, 0).splitlines()[1:] == ["    2  worker  SimpleQueue.get"]
    assert tell([], 0) == ""


def test_a_story_has_the_order_in_which_things_happened() -> None:
    """Not that in which they were announced: who waits for a lock comes after who held it."""

    def scenario(main_is_first: bool) -> None:
        lock, order = threading.Lock(), list[str]()

        def take(name: str) -> None:
            with lock:
                order.append(name)

        other = threading.Thread(target=take, args=("other",), name="other")
        other.start()
        take("MainThread")
        other.join()
        assert order[0] != ("MainThread" if main_is_first else "other")

    for main_is_first in (True, False):
        result = failed(explore(lambda main=main_is_first: scenario(main)))  # type: ignore[misc]
        takers = [step.task for step in result.steps if step.what.startswith("acquire the lock from")]
        assert takers == (["MainThread", "other"] if main_is_first else ["other", "MainThread"])


def test_a_wait_that_ends_by_its_timeout_says_so() -> None:
    """Whether the time came, or ran out early."""

    def scenario() -> None:
        event = threading.Event()
        threading.Thread(target=event.set, name="setter").start()
        assert event.wait(60)

    whats = [step.what for step in failed(explore(scenario)).steps]
    assert [what for what in whats if "time ran out" in what] == ["Event.wait, whose time ran out"]


def test_releases_are_left_out() -> None:
    """That a lock was acquired says enough."""

    def scenario() -> None:
        lock = threading.Lock()
        for _ in range(2):
            with lock:
                Cell(0).get()
        raise AssertionError

    whats = [step.what for step in failed(explore(scenario, schedules=1)).steps]
    assert [what.partition(" from")[0] for what in whats if "lock" in what] == ["acquire the lock"]


def test_where_a_turn_was_lost_behind_a_release_is_told() -> None:
    """The task goes on there when another one has had its turn; elsewhere releases are left out."""

    def scenario() -> None:
        lock, seen = threading.Lock(), {"count": 0}

        def add() -> None:
            with lock:
                before = seen["count"]
            seen["count"] = before + 1

        adder = threading.Thread(target=add, name="adder")
        adder.start()
        add()
        adder.join()
        assert seen["count"] == 2

    found = failed(explore(scenario, strategy="random"))
    line = scenario.__code__.co_firstlineno + 4
    (told,) = [step for step in found.story().splitlines() if "goes on" in step]
    what = f"goes on behind the release of the lock from test_story.py:{line - 3}"
    assert told.split()[1:] == ["MainThread", *what.split(), f"test_story.py:{line}"]
