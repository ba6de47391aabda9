"""`explore`: run a scenario under many schedules, and say what that is worth.

What is said is no more than what was done: *failed*, *proved* (depth first, to the end, under the
assumptions that are listed), *sampled* (so many schedules), or *not certified*.
"""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_littleloops.simulation import primitives
from pytest_littleloops.simulation.failures import Nondeterministic, StepLimit, TaskKilled, Uncontrolled
from pytest_littleloops.simulation.patching import Control, Sites, leave_interpreter
from pytest_littleloops.simulation.schedule import Schedule
from pytest_littleloops.simulation.strategies import Strategy, strategy_named
from pytest_littleloops.simulation.world import Chooser, Task, World

Scenario = Callable[[], object]


@dataclass(slots=True, kw_only=True)
class Exploration:
    """What an exploration found. `verdict` is `failed`, `proved`, `sampled` or `not certified`."""

    schedules: int = 0
    """Executions begun, the failing one too; the warm-up and replays not."""
    blocked: int = 0
    """Of these, how many were cut off."""
    exhaustive: bool = False
    verdict: str = "sampled"
    token: str | None = None
    """Replays the failing schedule exactly."""
    failure: BaseException | None = None
    assumptions: tuple[str, ...] = field(default=())

    def raise_for_failure(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure


def explore(
    scenario: Scenario,
    *,
    schedules: int = 1000,
    strategy: str = "auto",
    seed: int = 0,
    max_steps: int = 20_000,
    preemptions: int | None = None,
    early_timeouts: int = 2,
    patience: float = 10.0,
    replay: str | None = None,
) -> Exploration:
    """Run `scenario` under up to `schedules` schedules; return what that found, also a failure.

    The scenario is called anew for each schedule, in a thread called MainThread. Everything it starts with
    `threading` is under control. `patience` is how many seconds of real time may pass without a point.

    Raises ValueError for a strategy or token that does not exist.
    """
    if schedules < 1:
        raise ValueError(f"schedules must be at least 1, not {schedules}")
    explorer = _Explorer(scenario, max_steps, early_timeouts, patience, seed)
    if replay is not None:
        return explorer.replay(Schedule.from_token(replay))
    return explorer.explore(strategy_named(strategy, seed, preemptions), schedules, preemptions)


class _Explorer:
    def __init__(
        self, scenario: Scenario, max_steps: int, early_timeouts: int, patience: float, seed: int
    ) -> None:
        self._scenario = scenario
        self._max_steps = max_steps
        self._early_timeouts = early_timeouts
        self._patience = patience
        self._seed = seed
        self._sites = Sites(scenario)

    def explore(self, strategy: Strategy, schedules: int, preemptions: int | None) -> Exploration:
        found = Exploration()
        # Imports and caches: the first execution may take another path than all others.
        self.execute(_Plainest())
        self._sites = Sites(self._scenario)
        while found.schedules < schedules:
            chooser = strategy.chooser(found.schedules)
            if chooser is None:
                found.exhaustive = True
                break
            world = self.execute(chooser)
            found.schedules += 1
            strategy.learn(world)
            # Off within a schedule, where a finalizer would act at a moment that no replay meets again.
            gc.collect(2 if found.schedules % 100 == 0 else 0)
            if isinstance(world.failure, StepLimit):
                found.blocked += 1
            elif world.failure is not None:
                return self._failed(found, world)
        if found.blocked:
            found.verdict = "not certified"
        elif found.exhaustive:
            found.verdict = "proved"
            found.assumptions = self._assumptions(preemptions)
        return found

    def _assumptions(self, preemptions: int | None) -> tuple[str, ...]:
        shared = "data shared without a lock or a Cell is not seen between two points"
        timeouts = f"at most {self._early_timeouts} timed waits end early"
        bound = () if preemptions is None else (f"at most {preemptions} preemptions",)
        earlier = "no lock from before the scenario is held by an instance alone"
        return (shared, earlier, timeouts, *bound)

    def replay(self, schedule: Schedule) -> Exploration:
        found = Exploration(schedules=1)
        self.execute(_Plainest())
        self._early_timeouts = schedule.early_timeouts
        replay = _Replay(schedule.choices)
        world = self.execute(replay)
        if world.failure is None and not replay.is_used_up:
            world.failure = replay.divergence("had ended")
        if world.failure is None:
            return found
        return self._report(found, world)

    def _failed(self, found: Exploration, world: World) -> Exploration:
        if isinstance(world.failure, Uncontrolled):
            return self._report(found, world)
        choices = tuple(world.choices)
        for _ in range(2):
            again = self.execute(_Replay(choices))
            if type(again.failure) is not type(world.failure) or tuple(again.choices) != choices:
                found.verdict = "not certified"
                found.failure = Nondeterministic(
                    f"LL501 nondeterministic: a replay took another path: {again.failure!r} instead of "
                    f"{world.failure!r}\n  next: look for what differs between two runs: hash order, "
                    "addresses, random numbers, the clock of the wall"
                )
                return found
            world = again
        return self._report(found, world)

    def _report(self, found: Exploration, world: World) -> Exploration:
        found.failure = world.failure
        is_certain = not isinstance(world.failure, Uncontrolled | Nondeterministic | StepLimit)
        found.verdict = "failed" if is_certain else "not certified"
        found.token = Schedule(choices=tuple(world.choices), early_timeouts=self._early_timeouts).token()
        return found

    def execute(self, chooser: Chooser) -> World:
        """One schedule, from new objects to the end of its last task."""
        world = World(
            chooser,
            max_steps=self._max_steps,
            early_timeouts=self._early_timeouts,
            patience=self._patience,
        )
        was_collecting = gc.isenabled()
        gc.disable()
        state = random.getstate()
        random.seed(self._seed)
        try:
            with Control(world, self._sites):
                root = threading.Thread(target=self._body(world), name="MainThread")
                threading._limbo[root] = root  # type: ignore[attr-defined]
                world.execute("MainThread", primitives.bootstrap(root))
        except Uncontrolled as error:
            world.fail(error)
        finally:
            random.setstate(state)
            if was_collecting:
                gc.enable()
        return world

    def _body(self, world: World) -> Scenario:
        def body() -> None:
            try:
                self._scenario()
            except TaskKilled:
                raise
            except BaseException as error:
                world.fail(error)
            else:
                # Not for one that was left behind, and comes to its end when the world is long over.
                if not world.is_ending:
                    leave_interpreter()

        return body


class _Plainest:
    def choose(self, world: World, options: list[Task]) -> int:
        return next((index for index, task in enumerate(options) if task is world.current), 0)


class _Replay:
    def __init__(self, choices: tuple[int, ...]) -> None:
        self._choices = choices
        self._position = 0

    @property
    def is_used_up(self) -> bool:
        """Whether every choice was met again."""
        return self._position == len(self._choices)

    def divergence(self, what: str) -> Nondeterministic:
        """What to say when the replay left the path."""
        return Nondeterministic(
            f"LL501 nondeterministic: at choice {self._position + 1} of {len(self._choices)} the replay "
            f"{what}, where the schedule went on\n"
            "  next: replay it on the code, the Python and the packages that it was found on"
        )

    def choose(self, world: World, options: list[Task]) -> int:
        if self.is_used_up or self._choices[self._position] >= len(options):
            world.fail(self.divergence(f"had {len(options)} options"))
            return 0
        choice = self._choices[self._position]
        self._position += 1
        return choice
