"""`explore`: run a scenario under many schedules, and say what that is worth.

What is said is no more than what was done: *failed*, *proved* (a search has come to its end, under the
assumptions that are listed), *sampled* (so many schedules), or *not certified*.
"""

from __future__ import annotations

from collections.abc import Sequence

from pytest_littleloops.simulation.explorer import Exploration, Explorer, Scenario
from pytest_littleloops.simulation.settings import Settings

__all__ = ["Exploration", "explore"]


def explore(
    scenario: Scenario,
    *,
    schedules: int = 1000,
    strategy: str = "auto",
    seed: int = 0,
    max_steps: int = 20_000,
    preemptions: int | None = None,
    early_timeouts: int = 2,
    faults: Sequence[str] = (),
    patience: float = 10.0,
    replay: str | None = None,
) -> Exploration:
    """Run `scenario` under up to `schedules` schedules; return what that found, also a failure.

    The scenario is called anew for each schedule, in a thread called MainThread. Everything that it starts
    with `threading` is under control. What the other arguments mean, see `Settings`. One exploration runs
    at a time in a process.

    Raises ValueError for a number out of range, a strategy, fault or token that does not exist, and
    RuntimeError inside another exploration.
    """
    settings = Settings(
        schedules=schedules,
        strategy=strategy,
        seed=seed,
        max_steps=max_steps,
        preemptions=preemptions,
        early_timeouts=early_timeouts,
        faults=faults,
        patience=patience,
        replay=replay,
    )
    return Explorer(scenario, settings).run()
