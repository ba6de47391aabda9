"""The numbers behind an exploration: each wrong one is an error that says what is right."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_littleloops import explore
from pytest_littleloops.simulation.settings import Settings


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"schedules": 0}, "schedules must be at least 1, not 0"),
        ({"schedules": 1.5}, "schedules must be a whole number, not 1.5"),
        ({"schedules": True}, "schedules must be a whole number, not True"),
        ({"max_steps": 0}, "max_steps must be at least 1, not 0"),
        ({"preemptions": -1}, "preemptions must be at least 0, not -1"),
        ({"early_timeouts": -1}, "early_timeouts must be at least 0, not -1"),
        ({"early_timeouts": None}, "early_timeouts must be a whole number, not None"),
        ({"seed": "x"}, "seed must be a whole number, not 'x'"),
        ({"strategy": "best"}, "the strategies are auto, dpor, pct, pos, random, dfs"),
        ({"patience": 0}, "patience must be more than 0 seconds, not 0"),
        ({"replay": "LL1-zzzz"}, "'LL1-zzzz' is damaged"),
    ],
)
def test_a_wrong_number_is_an_error(wrong: dict[str, Any], text: str) -> None:
    """ValueError, from the settings and from `explore`, before anything has run."""
    with pytest.raises(ValueError, match=text):
        Settings(**wrong)
    with pytest.raises(ValueError, match=text):
        explore(lambda: pytest.fail("it ran"), **wrong)


def test_the_least_numbers_are_right() -> None:
    """One schedule, no preemption, no early timeout."""
    result = explore(lambda: None, schedules=1, preemptions=0, early_timeouts=0, max_steps=50)
    assert result.summary() == "sampled, 1 schedule"
