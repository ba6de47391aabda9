"""A wait in vain becomes a failure with the stack of every thread."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from pytest_littleloops.harness.accounts.liveness import Baseline
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang, all_stacks, hang, wait_for


def stand_at_the_gate(is_there: threading.Event, may_go: threading.Event) -> None:
    """Block, in a function that is easy to find in a stack."""
    is_there.set()
    may_go.wait(DEFAULT_PATIENCE)


@pytest.fixture(params=[False, True], ids=["thread", "daemon"])
def waiting(request: pytest.FixtureRequest) -> Iterator[threading.Thread]:
    """A thread that stands at the gate."""
    is_there, may_go = threading.Event(), threading.Event()
    arguments = (is_there, may_go)
    thread = threading.Thread(
        target=stand_at_the_gate, args=arguments, name="gatekeeper", daemon=request.param
    )
    thread.start()
    assert is_there.wait(DEFAULT_PATIENCE)
    yield thread
    may_go.set()
    thread.join(DEFAULT_PATIENCE)


def test_a_set_event_costs_no_wait() -> None:
    """With no patience at all an event that is set is enough."""
    event = threading.Event()
    event.set()
    wait_for(event, "the gate to open", 0)


def test_an_event_that_is_set_meanwhile_ends_the_wait() -> None:
    """The wait ends when the event comes, long before the patience does."""
    event = threading.Event()
    opener = threading.Thread(target=event.set)
    opener.start()
    wait_for(event, "the gate to open", DEFAULT_PATIENCE)
    opener.join(DEFAULT_PATIENCE)


def test_an_event_that_never_comes_is_a_hang() -> None:
    """The first line says what was waited for and how long; the lines of the harness are not in it."""
    with pytest.raises(Hang) as caught:
        wait_for(threading.Event(), "the gate to open", 0.001)
    text = str(caught.value)
    assert text.startswith("hang: waited 0.001 s for the gate to open, in vain\n")
    assert 'patience.py", line' not in text.replace("test_patience.py", "")


def test_a_hang_says_what_to_do() -> None:
    """The last lines are the next step."""
    assert str(hang("the gate to open", 10.0)).endswith(
        "\n  next step: find the thread that should have done it, and what it waits for instead;\n"
        "  if it is only slow, allow more seconds (patience=, or --littleloops-patience under pytest)"
    )


def test_a_hang_is_an_assertion_with_its_facts() -> None:
    """It fails a test rather than being an error, and code can ask for what is in the text."""
    failure = hang("the gate to open", 2.5)
    assert isinstance(failure, AssertionError)
    assert (failure.what, failure.waited) == ("the gate to open", 2.5)


def test_a_hang_is_pickled_with_the_stacks_of_its_moment() -> None:
    """A process pool may carry it home: the text is that of the process where it was made."""
    failure = hang("the gate to open", 2.5)
    ticket = pickle.dumps(failure)
    loaded = pickle.loads(ticket)
    assert isinstance(loaded, Hang)
    assert str(loaded) == str(failure)
    assert "test_a_hang_is_pickled" in str(loaded)


def test_every_thread_is_there_with_its_stack(waiting: threading.Thread) -> None:
    """A thread's section has its name, its kind, and the function in which it blocks."""
    kind = "daemon thread" if waiting.daemon else "thread"
    section = all_stacks().partition(f"  {kind} gatekeeper:\n")[2].partition(" thread ")[0]
    assert "in stand_at_the_gate\n" in section
    assert "may_go.wait(DEFAULT_PATIENCE)" in section


def test_the_calling_thread_comes_first_and_is_there_once(waiting: threading.Thread) -> None:
    """Who asked stands on top, with the line that asked at the end of the stack."""
    stacks = all_stacks()
    name = threading.current_thread().name
    assert stacks.startswith(f"  thread {name}, which asked:\n")
    assert stacks.count(f"thread {name}") == 1
    first = stacks.partition("  daemon thread " if waiting.daemon else "  thread gatekeeper")[0]
    assert "in test_the_calling_thread_comes_first_and_is_there_once\n" in first


def test_a_thread_that_has_no_stack_yet_says_so(
    waiting: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that begins after the frames were taken is named nevertheless."""
    monkeypatch.setattr(sys, "_current_frames", dict[int, FrameType])
    assert " gatekeeper:\n    (not begun yet)" in all_stacks()


def test_a_thread_unknown_to_threading_is_there_by_number(
    waiting: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that threading does not list still shows where it is."""
    mine = threading.current_thread()
    monkeypatch.setattr(threading, "enumerate", lambda: [mine])
    section = all_stacks().partition(f"  foreign thread {waiting.ident}:\n")[2]
    assert "in stand_at_the_gate" in section


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_collected_while_frames_are_taken(
    monkeypatch: pytest.MonkeyPatch, collects: bool
) -> None:
    """Up to CPython 3.11 that may stand still for ever; the collector is afterwards as it was."""
    seen: list[bool] = []

    def take() -> dict[int, object]:
        seen.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", take)
    was_enabled = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        all_stacks()
        Baseline().liveness({threading.main_thread()})
        assert gc.isenabled() is collects
    finally:
        (gc.enable if was_enabled else gc.disable)()
    assert seen
    assert not any(seen)
