"""The explorer: executes a scenario again and again, confirms what it finds, says what that is worth."""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from pytest_littleloops.simulation import membership, real, threads
from pytest_littleloops.simulation.failures import (
    Blocked,
    Nondeterministic,
    StepLimit,
    TaskKilled,
    Uncontrolled,
)
from pytest_littleloops.simulation.interrupts import Interrupts
from pytest_littleloops.simulation.patching import Control, leave_interpreter
from pytest_littleloops.simulation.placement import Placement
from pytest_littleloops.simulation.replay import Plainest, Replay
from pytest_littleloops.simulation.schedule import Schedule
from pytest_littleloops.simulation.settings import Settings
from pytest_littleloops.simulation.shrink import Deviating, Shrinking, identity
from pytest_littleloops.simulation.sites import heal
from pytest_littleloops.simulation.story import Step, Story, tell
from pytest_littleloops.simulation.strategies import STRATEGIES, Strategy
from pytest_littleloops.simulation.trace import Listener, Trace
from pytest_littleloops.simulation.world import Chooser, Recorder, World

Scenario = Callable[[], object]

_USUAL_STEPS = Settings().max_steps

_one_at_a_time = real.allocate_lock()
"""Held by the exploration that is running: names are exchanged for the whole process."""


@dataclass(slots=True, kw_only=True)
class Exploration:
    """What an exploration found. `verdict` is `failed`, `proved`, `sampled` or `not certified`."""

    schedules: int = 0
    """Executions begun, the failing one too; the warm-up and replays not."""
    blocked: int = 0
    """Of these, how many were cut off: as all that could follow was seen before, or at `max_steps`."""
    cut_off: int = 0
    """Of these, how many were cut off at `max_steps`."""
    exhaustive: bool = False
    verdict: str = "sampled"
    token: str | None = None
    """Replays the failing schedule exactly."""
    failure: BaseException | None = None
    assumptions: tuple[str, ...] = field(default=())
    """What a proof takes for granted."""
    bounds: tuple[str, ...] = ()
    """What a proof left out: more preemptions, more early timeouts than so many."""
    is_replay: bool = False
    """Whether this was one schedule, that of a token."""
    traces: int = 0
    """How many Mazurkiewicz traces a search has seen: classes of schedules that differ in nothing."""
    threads: int = 0
    """How many threads one schedule started at most."""
    seen: float = 0.0
    """The share of all schedules that a search saw, estimated if it did not finish; 0 if there was none."""
    outside: tuple[str, ...] = ()
    """What was used that is not under control, and where."""
    steps: tuple[Step, ...] = ()
    """The failing schedule, step by step."""
    switches: int = 0
    """How often the running task changed in the failing schedule."""
    unshrunk: int = 0
    """How often it did before that was shrunk; 0 if it was not."""

    def raise_for_failure(self) -> None:
        """Raise the failure, if there is one."""
        __tracebackhide__ = True
        if self.failure is not None:
            raise self.failure

    def story(self) -> str:
        """The failing schedule as text, task by task with `file:line`; empty if there is none."""
        return tell(self.steps, self.switches)

    def summary(self) -> str:
        """The verdict in one line: how many schedules, and what is to be known about it."""
        if self.is_replay and self.failure is None:
            return "replayed, cut off at max_steps" if self.cut_off else "replayed, does not fail any more"
        text = f"{self.verdict}, {self.schedules:,} schedule{'s' * (self.schedules != 1)}"
        if self.blocked > self.cut_off:
            text += f", {self.blocked - self.cut_off:,} of them blocked"
        if self.cut_off:
            text += f", {self.cut_off:,} of them cut off at max_steps"
        if self.exhaustive and self.traces:
            text += f", all {self.traces:,} traces" if self.traces > 1 else ", 1 trace"
        if self.exhaustive and self.traces == 1 and self.threads > 1:
            # A race of plain data would not make it another one.
            text += ", as its threads share no lock, queue or Cell"
        if self.bounds:
            text += f", with {' and '.join(self.bounds)}"
        if 0 < self.seen < 1:
            traces = f"{self.traces:,} trace{'s' * (self.traces != 1)}, " if self.traces else ""
            text += f", {traces}an estimated {_percent(self.seen)} of all"
        if self.outside:
            text += f", outside of control: {', '.join(self.outside)}"
        return text


class Surroundings(Protocol):
    """What is to happen around each execution, on the explorer's own thread."""

    def before(self, number: int, is_replay: bool) -> None:
        """Execution `number` comes next; 0 is the warm-up."""
        ...

    def after(self, failure: BaseException | None) -> None:
        """The world has ended, so; names still mean its primitives, which are inert."""
        ...


class Undisturbed:
    """Nothing happens around an execution."""

    def before(self, number: int, is_replay: bool) -> None:
        """Nothing."""

    def after(self, failure: BaseException | None) -> None:
        """Nothing."""


class Explorer:
    """Explores one scenario, once. Not thread-safe: one exploration at a time in a process.

    What is raised inside the scenario and is one of `let_through` ends the exploration and is raised again.
    """

    def __init__(
        self,
        scenario: Scenario,
        settings: Settings,
        *,
        surroundings: Surroundings | None = None,
        let_through: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._scenario = scenario
        self._settings = settings
        self._surroundings = surroundings or Undisturbed()
        self._let_through = let_through
        self._now = settings
        """What is so in the next execution: of a token some of it is its own."""
        self._is_fine = True
        self._placement = Placement()
        self._interrupts = Interrupts()
        self._began = int(real.epoch())
        self._control = Control(scenario, self._placement)
        self._modules = set(sys.modules)
        self._outside: set[str] = set()
        self._children = set(getattr(sys.modules.get("multiprocessing.process"), "_children", ()))
        self._is_bounded = False
        self.found = Exploration()
        """What was found so far, also when an exception ends the exploration."""
        self.steps = self.switches = 0
        """Of all schedules together: how many operations, and how often the running task changed."""

    def run(self, known: str | None = None) -> Exploration:
        """Explore or replay, as the settings say; `known` is the token of a schedule to try first.

        Raises RuntimeError inside another exploration, and what ends it from outside: KeyboardInterrupt.
        """
        if membership.own_world() is not None or not _one_at_a_time.acquire(blocking=False):
            raise RuntimeError(
                "an exploration is running already; one cannot run inside another, or beside it"
            )
        try:
            with self._interrupts:
                self._run(known)
        finally:
            self._placement.restore()
            _one_at_a_time.release()
        return self.found

    def _run(self, known: str | None) -> None:
        # What is there already is not looked at again by each collection between two schedules.
        is_freezing = gc.get_freeze_count() == 0
        is_collecting = gc.isenabled()
        state = random.getstate()
        found = self.found
        found.verdict = "not certified"
        try:
            if is_freezing:
                gc.freeze()
            if self._settings.replay is not None:
                found.is_replay = True
                self._replay(Schedule.from_token(self._settings.replay))
            elif not self._warm_up() or (known is not None and self._fails_again(known)):
                pass
            else:
                settings = self._settings
                self._explore(STRATEGIES[settings.strategy](settings))
        finally:
            try:
                self._control.restore()
            except BaseException:
                # Ctrl-C may come between any two names.
                self._control.restore()
                raise
            found.outside = tuple(sorted(self._outside))
            random.setstate(state)
            if is_freezing:
                gc.unfreeze()
            if is_collecting:
                gc.enable()

    def _warm_up(self) -> bool:
        """Imports and caches: the first execution may take another path than all others."""
        modules = len(sys.modules)
        world = self._execute(Plainest(), 0)
        if isinstance(world.failure, Uncontrolled) and len(sys.modules) > modules:
            # What was imported inside it was not under control yet.
            world = self._execute(Plainest(), 0)
        if isinstance(world.failure, Uncontrolled):
            # Not a second time: it takes as long as the patience lasts.
            self.found.schedules = 1
            self._report(world)
            return False
        self._control.restore()
        self._control = Control(self._scenario, self._placement)
        return True

    def _explore(self, strategy: Strategy) -> None:
        found = self.found
        while found.schedules < self._settings.schedules:
            chooser = strategy.chooser(found.schedules)
            if chooser is None:
                break
            self._is_fine = strategy.is_fine
            found.schedules += 1
            world = self._execute(chooser, found.schedules)
            self.steps += world.steps
            self.switches += world.switches
            strategy.learn(world)
            if isinstance(world.failure, StepLimit | Blocked):
                found.blocked += 1
                found.cut_off += isinstance(world.failure, StepLimit)
            elif world.failure is not None:
                self._failed(world)
                return
        found.seen, found.traces = strategy.seen, strategy.traces
        if found.cut_off:
            return
        # What is outside of control conflicts with what nobody knows.
        found.exhaustive = found.seen == 1 and not self._outside
        found.verdict = "proved" if found.exhaustive else "sampled"
        if found.exhaustive:
            found.bounds = tuple(self._bounds())
            found.assumptions = self._assumptions()

    def _assumptions(self) -> tuple[str, ...]:
        shared = "data shared without a lock or a Cell is not seen between two steps"
        earlier = "no lock from before the scenario is held by an instance alone"
        same = "nothing but the order differs from one schedule to the next"
        return (shared, earlier, same, *self.found.bounds)

    def _bounds(self) -> Iterator[str]:
        preemptions = self._settings.preemptions
        if preemptions is not None and self._settings.strategy == "dfs":
            yield f"at most {preemptions} preemption{'s' * (preemptions != 1)}"
        if self._is_bounded:
            count = self._now.early_timeouts
            yield (
                f"at most {count} early timeout{'s' * (count != 1)} a thread"
                if count
                else "no early timeouts"
            )

    def _fails_again(self, token: str) -> bool:
        """Whether a schedule that failed at another time fails still; or leads elsewhere."""
        try:
            schedule = Schedule.from_token(token)
        except ValueError:
            return False
        settings = self._settings
        if set(schedule.faults) - set(settings.faults) or schedule.early_timeouts > settings.early_timeouts:
            # By what is not asked for any more.
            return False
        self._replay(schedule)
        if self.found.verdict == "failed":
            return True
        self._now = self._settings
        self.found.schedules = self.found.blocked = self.found.cut_off = 0
        self.found.failure = self.found.token = None
        self.found.steps = ()
        self.found.verdict = "not certified"
        return False

    def _replay(self, schedule: Schedule) -> None:
        self._now = replace(
            self._settings,
            early_timeouts=schedule.early_timeouts,
            seed=schedule.seed,
            max_steps=schedule.max_steps or self._settings.max_steps,
            faults=schedule.faults,
        )
        self._is_fine = schedule.is_fine
        self.found.schedules = 1
        world, story = self._told(schedule.choices)
        if isinstance(world.failure, Nondeterministic) and self.found.is_replay:
            # Imports and caches may have led it astray.
            world, story = self._told(schedule.choices)
        is_same = schedule.fingerprint in (0, story.fingerprint)
        if isinstance(world.failure, StepLimit):
            self.found.blocked = self.found.cut_off = 1
        elif world.failure is None and is_same:
            self.found.verdict = "sampled"
        elif isinstance(world.failure, Nondeterministic | Uncontrolled) or is_same:
            self._report(world, story)
        else:
            world.failure = Replay(schedule.choices).divergence("took the choices at other operations")
            self._report(world, story)

    def _failed(self, world: World) -> None:
        """Confirm by a replay, shrink, and confirm again; what the last one raised is what is reported."""
        if isinstance(world.failure, Uncontrolled | Nondeterministic):
            self._report(world)
            return
        if self._confirmed(world, tuple(world.choices)) is None:
            return
        small = Shrinking(self._shrunk, tuple(world.choices), is_fine=self._is_fine)
        small.shrink()
        self._is_fine = small.is_fine
        confirmed = self._confirmed(world, small.choices)
        if confirmed is not None:
            self.found.unshrunk = small.switches
            self._report(*confirmed)

    def _shrunk(self, chooser: Deviating, is_fine: bool) -> World:
        self._is_fine = is_fine
        return self._execute(chooser, self.found.schedules, chooser)

    def _confirmed(self, world: World, choices: tuple[int, ...]) -> tuple[World, Story] | None:
        """A replay that fails as the world did; None if it does not, which is reported."""
        again, story = self._told(choices)
        if isinstance(again.failure, Uncontrolled):
            self._report(again, story)
            return None
        if identity(again.failure) != identity(world.failure):
            instead = "it passed" if again.failure is None else repr(again.failure)
            if isinstance(again.failure, Nondeterministic):
                instead = again.failure.facts
            self.found.failure = Nondeterministic(
                f"a replay took another path: {instead}, where it was {world.failure!r}"
            )
            return None
        return again, story

    def _told(self, choices: tuple[int, ...]) -> tuple[World, Story]:
        replay, story = Replay(choices), Story()
        world = self._execute(replay, self.found.schedules, story)
        if world.failure is None and not replay.is_used_up:
            world.failure = replay.divergence("had ended, where the schedule went on")
        return world, story

    def _report(self, world: World, story: Story | None = None) -> None:
        found = self.found
        found.failure = world.failure
        is_certain = not isinstance(world.failure, Uncontrolled | Nondeterministic)
        found.verdict = "failed" if is_certain else "not certified"
        found.switches = world.switches
        if story is not None:
            found.steps = tuple(story.steps)
        if not isinstance(world.failure, Nondeterministic):
            found.token = Schedule(
                choices=tuple(world.choices),
                early_timeouts=self._now.early_timeouts,
                seed=self._now.seed,
                is_fine=self._is_fine,
                max_steps=0 if self._now.max_steps == _USUAL_STEPS else self._now.max_steps,
                faults=tuple(self._now.faults),
                fingerprint=0 if story is None or not is_certain else story.fingerprint,
            ).token()

    def _execute(self, chooser: Chooser, number: int, recorder: Recorder | None = None) -> World:
        """One schedule, from new objects to the end of its last task."""
        settings = self._settings
        self._interrupts.raise_pending()
        self._surroundings.before(number, recorder is not None)
        self._placement.renew()
        world = World(
            chooser,
            max_steps=self._now.max_steps,
            early_timeouts=self._now.early_timeouts,
            faults=tuple(self._now.faults),
            patience=settings.patience,
            began=self._began,
            is_fine=self._is_fine,
            trace=None if self._is_fine else chooser.trace if isinstance(chooser, Listener) else Trace(),
        )
        world.recorder = recorder
        # Off within a schedule, where a finalizer would act at a moment that no replay meets again.
        gc.disable()
        random.seed(self._now.seed)
        try:
            with self._control.over(world):
                root = threading.Thread(target=self._body(world), name="MainThread")
                threading._limbo[root] = root  # type: ignore[attr-defined]
                try:
                    world.execute("MainThread", threads.bootstrap(root), self._interrupts.raise_pending)
                finally:
                    self._surroundings.after(world.failure)
        except Uncontrolled as error:
            world.fail(error)
        self._end_children()
        self._outside |= world.outside
        self._is_bounded = self._is_bounded or world.is_bounded
        self.found.threads = max(self.found.threads, world.threads)
        gc.collect(2 if number % 100 == 0 else 0)
        if len(sys.modules) != len(self._modules):
            heal(self._modules)
            self._modules = set(sys.modules)
        if world.let_through is not None and world.let_through is world.failure:
            raise world.let_through
        if world.leftovers and world.failure is not None and not isinstance(world.failure, Uncontrolled):
            world.failure = Uncontrolled(
                "LL502 uncontrolled: what an earlier schedule made was used in this one, which failed: "
                f"{world.failure!r}\n  where: {', '.join(sorted(world.leftovers))}\n"
                "  next: make it anew in each schedule, or before the exploration"
            )
        self._outside |= world.leftovers
        return world

    def _end_children(self) -> None:
        """End the processes that a schedule left behind: nobody else would, and the exit waits for them."""
        processes = sys.modules.get("multiprocessing.process")
        left = set(getattr(processes, "_children", ())) - self._children
        for child in left:
            child.kill()
        for child in left:
            child.join(1.0)

    def _body(self, world: World) -> Scenario:
        def body() -> None:
            try:
                self._scenario()
            except TaskKilled:
                raise
            except self._let_through as error:
                world.let_through = error
                world.fail(error)
            except BaseException as error:
                world.fail(error)
            else:
                # Not for one that was left behind, and comes to its end when the world is long over.
                if not world.is_ending:
                    leave_interpreter()

        return body


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{100 * share:.1g}%"
