"""Choices that are no matter of order: each way is taken, once in a proof, and a token has them."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from pytest_littleloops import explore
from pytest_littleloops.simulation.choices import choose
from pytest_littleloops.simulation.faults import FAULTS
from pytest_littleloops.simulation.schedule import Schedule
from tests.simulation.scenarios import in_threads


def test_outside_of_an_exploration_the_first_way_is_taken() -> None:
    """Nobody is there to choose another."""
    assert choose("nothing", "something") == 0


def test_each_combination_is_seen_once() -> None:
    """Three ways in each of two threads are nine traces, of which none is cut off."""
    seen = Counter[tuple[int, ...]]()

    def scenario() -> None:
        taken = [0, 0]

        def take(number: int) -> None:
            taken[number] = choose("nothing", "this", "that")

        in_threads(lambda: take(0), lambda: take(1))
        seen[tuple(taken)] += 1

    found = explore(scenario, strategy="dpor")
    assert found.summary() == "proved, 9 schedules, all 9 traces"
    # The warm-up is one more.
    assert seen == Counter(product(range(3), repeat=2)) + Counter([(0, 0)])


@pytest.mark.parametrize("strategy", ["auto", "pct", "pos", "random"])
def test_samplers_take_each_way(strategy: str) -> None:
    """In some schedule."""
    seen = set[int]()
    explore(lambda: seen.add(choose("nothing", "this", "that")), strategy=strategy, schedules=100)
    assert seen == {0, 1, 2}


def choose_badly() -> None:
    """Only the second of these choices is fatal, and only one way of it."""
    choose("nothing", "harmless")
    assert choose("nothing", "harmless", "fatal") != 2
    choose("nothing", "harmless")


def test_a_failing_schedule_has_no_choice_that_is_not_needed() -> None:
    """The story names the one that is, and the token leads there again."""
    found = explore(choose_badly)
    assert isinstance(found.failure, AssertionError)
    told = [step.what for step in found.steps if step.what.startswith("fault: ")]
    assert told == ["fault: fatal"]
    again = explore(choose_badly, replay=found.token)
    assert (again.verdict, isinstance(again.failure, AssertionError)) == ("failed", True)


def test_a_token_has_the_faults_that_could_strike() -> None:
    """A replay needs no setting beside it."""
    for faults in ((), FAULTS[:1], FAULTS[3:6], FAULTS):
        schedule = Schedule(choices=(0, 1), early_timeouts=2, faults=faults)
        assert Schedule.from_token(schedule.token()) == schedule
