"""The world of one schedule: tasks, whose turn it is, and a clock that nobody waits for.

Tasks are threads of which exactly one runs at a time. Before each operation that another task could notice,
the running task announces the operation and the object (`point`); the next task is chosen right there, in
the running one, so that nothing is paid unless the task changes. Only then a baton is handed on.

Where the time goes, measured on an unmodified executor with two jobs and two workers: 60 points of 2 to 4
microseconds, 12 hand-overs of 7 (30 before all tasks were put on one processor, see `placement`), and some
100 for the world, its names and its root task.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Protocol

from pytest_littleloops.simulation import carriers, real, reports
from pytest_littleloops.simulation.failures import (
    TaskKilled,
    Uncontrolled,
)
from pytest_littleloops.simulation.frames import user_place
from pytest_littleloops.simulation.tasks import CLOCK, READ_CLOCK, Task, Wanted
from pytest_littleloops.simulation.trace import CLOCK_KEY, END_KEY, READ, WRITE, Trace

_READS = 1000
"""So many reads of the clock in a row, and nothing else, are a wait."""

_KILLS = 200
"""How often a task may be told that its world has ended before it is left where it is."""


class Chooser(Protocol):
    """Decides which of several possible steps comes next."""

    def choose(self, world: World, options: list[Task]) -> int:
        """The index of the option that comes next; there are at least two."""
        ...


class Recorder(Protocol):
    """Takes down what happens, where a schedule is to be told."""

    def made(self, name: tuple[int, int], frame: FrameType | None) -> None:
        """An object of this name was made."""
        ...

    def place_of(self, thing: object) -> str:
        """Where it was made, in the user's code; empty if that is not known."""
        ...

    def step(self, task: Task, frame: FrameType) -> None:
        """A task does now what it has announced; `frame` is that of the announcement."""
        ...

    def choice(self, chosen: Task, count: int) -> None:
        """One of `count` options was chosen."""
        ...


class World:
    """One execution of a scenario under one chooser."""

    def __init__(
        self,
        chooser: Chooser,
        *,
        max_steps: int = 20_000,
        early_timeouts: int = 2,
        faults: tuple[str, ...] = (),
        patience: float = 10.0,
        began: int = 0,
        is_fine: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.chooser = chooser
        self.max_steps = max_steps
        self.patience = patience
        self.early_timeouts = early_timeouts
        self.faults = faults
        """What may go wrong in it."""
        self.tasks: list[Task] = []
        self.live: list[Task] = []
        self.current: Task | None = None
        self.clock = 1_000.0
        self.began = began
        """What the clock of the day adds to `clock`, in seconds."""
        self.steps = 0
        self.switches = 0
        self.threads = 0
        """How many threads it has started, once it is over."""
        self.early = 0
        """How many timed waits have ended although something else could have gone on."""
        self.choices: list[int] = []
        self.last_wake = 0
        """The step at which somebody was last woken from a wait, by another task."""
        self.jumps: deque[int] = deque(maxlen=reports.MANY_JUMPS)
        """The last steps at which nothing could go on but the clock."""
        self.failure: BaseException | None = None
        self.let_through: BaseException | None = None
        """What the root raised that is no failure, and ends the exploration."""
        self.abandoned: list[str] = []
        self.is_ending = False
        self._is_unwinding = False
        self.is_over = False
        self.is_forked = False
        """Whether this is what a forked child has of it."""
        self.is_watched = True
        """False while somebody is at a debugger's prompt, where no time counts."""
        self.is_fine = is_fine
        """Whether tasks stop behind a release too: then data that no lock guards is seen there."""
        self.trace = trace
        """What comes before what; kept where data that no lock guards is not looked for."""
        self.is_bounded = False
        """Whether a timed wait could have ended early, had that not happened often enough."""
        self.recorder: Recorder | None = None
        self.outside: set[str] = set()
        """What was used that is not under control, and where."""
        self.leftovers: set[str] = set()
        """What was used that belongs to an earlier world, and where."""
        self.pipes: list[object] = []
        """Ends of pipes that nobody outside can write to."""
        self.maker = real.get_ident()
        self._named = 0
        self._has_ended = False
        self.is_waited_for = False
        """Whether the explorer's thread does nothing but wait, so that a signal may raise there."""
        self._ended = real.allocate_lock()
        self._ended.acquire()
        self._acknowledged = real.allocate_lock()
        self._acknowledged.acquire()

    # -- for the explorer's thread

    def execute(self, name: str, run: Callable[[], None], raise_pending: Callable[[], None]) -> None:
        """Run the root task, and all that it starts, to the end; then unwind what is left.

        `raise_pending` is called once a signal may raise, for those that came just before that.
        """
        root = self.spawn(name, run, is_daemon=False)
        self.current = root
        is_stuck = False
        try:
            # In here, as what a signal raises may be raised right behind this call.
            root.carrier.baton.release()
            self.is_waited_for = True
            raise_pending()
            is_stuck = not self._watch()
            self.is_waited_for = False
            if self.trace is not None and self.failure is None:
                self.trace.end(self)
        except BaseException as error:
            self.is_waited_for = False
            # Ctrl-C, or a timeout that a signal brings: the running task hears of it at its next point.
            self.fail(error)
            is_stuck = not self._has_ended and not self._ended.acquire(timeout=min(self.patience, 1.0))
            raise
        finally:
            self.is_ending = self._is_unwinding = True
            self._unwind(self.current if is_stuck else None)
            self.is_over = True
            self.current = None
            self.threads = len(self.tasks) - 1
            # Objects of this world live on as long as somebody holds them; its tasks have no more to say.
            self.tasks.clear()
            self.live.clear()

    def _watch(self) -> bool:
        steps = -1
        while not self._ended.acquire(timeout=self.patience):
            if steps != self.steps or not self.is_watched:
                steps = self.steps if self.is_watched else -1
                continue
            self.failure = reports.stuck(self)
            return False
        return True

    def _unwind(self, stuck: Task | None) -> None:
        # The stuck task first: it is the one that runs.
        for task in sorted(self.live, key=lambda task: task is not stuck):
            if task.carrier.ident in carriers.left_behind:
                continue
            self.current = task
            if task is stuck and not carriers.is_computing(task.carrier.ident):
                # An exception for a thread that never takes it keeps the interpreter looking for one,
                # which a traced loop of another thread does not survive (seen with 3.11 under coverage).
                self._abandon(task)
                continue
            if task is stuck:
                carriers.interrupt(task.carrier.ident, TaskKilled)
            else:
                task.carrier.baton.release()
            if not self._acknowledged.acquire(timeout=1.0):
                # It blocks where nothing reaches it: its thread is a daemon, and is left behind.
                self._abandon(task)
                self._acknowledged = real.allocate_lock()
                self._acknowledged.acquire()

    def _abandon(self, task: Task) -> None:
        ident = task.carrier.ident
        carriers.left_behind.add(ident)
        thread = threading._active.get(ident)  # type: ignore[attr-defined]
        if thread is not None:
            # It stays among the threads of the process, and is not to be taken for one of the test's.
            thread.name = f"left behind by an exploration: {task.name}"
        self.abandoned.append(task.name)

    # -- for the tasks

    def spawn(self, name: str, run: Callable[[], None], *, is_daemon: bool) -> Task:
        """A new task, which may be chosen from now on."""
        task = Task(self.current, name, run, is_daemon, self.early_timeouts)
        task.carrier.job = lambda: self._carry(task)
        self.tasks.append(task)
        self.live.append(task)
        if self.trace is not None:
            self.trace.starts(task)
        return task

    def point(
        self, operation: str, thing: object, wants: Wanted | None = None, deadline: float | None = None
    ) -> bool:
        """Announce an operation on an object, and return when this task may do it.

        With `wants` it may do it once that is not held; with `deadline` also when the clock gets there,
        and then this returns False.
        """
        task = self.current
        if task is None or task.carrier.ident != real.get_ident():
            self._note_stranger(operation)
            return True
        if self.is_ending:
            self._kill(task)
        if operation != READ_CLOCK:
            task.reads = 0
        self.steps += 1
        if self.steps > self.max_steps:
            raise self.end_with(reports.out_of_steps(self))
        task.operation = operation
        task.thing = thing
        task.wants = wants
        task.deadline = deadline
        task.is_timed_out = task.is_jump = False
        trace = self.trace
        if trace is not None and deadline is not None:
            trace.touch(CLOCK_KEY, READ)
        chosen = self._next()
        if chosen is not task:
            if chosen is None:
                raise self.end_with(self._deadlock())
            # Not who merely found a lock taken: its holder is another one.
            waits = wants is not None and wants.held and getattr(wants, "holder", task) is task
            self._hand_over(task, chosen)
            if waits and not task.is_timed_out:
                self.last_wake = self.steps
        if trace is not None:
            trace.begin(self, task)
        if self.recorder is not None and not task.is_unseen:
            # Not when it was announced: the story has the order in which things happened.
            self.recorder.step(task, sys._getframe(1))
        task.wants = task.deadline = None
        return not task.is_timed_out

    def deadline(self, seconds: float) -> float | None:
        """When a wait that begins now ends; None if that is at once: then it is no wait, but a try."""
        deadline = self.clock + seconds
        return deadline if deadline > self.clock else None

    def read_clock(self) -> float:
        """The virtual time: each read takes a microsecond.

        Where a trace is kept each step that comes before this one takes it, so that two reads commute.
        A task that has long done nothing but read it sees it run, faster and faster, if nobody else can go
        on: it waits for that. While others can, they are waited for, and not overtaken.
        """
        task = self.current
        assert task is not None
        self.point(READ_CLOCK, CLOCK)
        task.reads += 1
        if task.reads > _READS and not any(
            self._is_able(other) for other in self.live if other is not task
        ):
            self.clock += 1e-6 * 2 ** min(task.reads - _READS, 40)
            if self.trace is not None:
                self.trace.touch(CLOCK_KEY, WRITE)
        if self.trace is not None:
            return self.clock + 1e-6 * self.trace.moment(task)
        self.clock += 1e-6
        return self.clock

    def _is_able(self, task: Task) -> bool:
        return not self.is_early(task) and (task.wants is None or not task.wants.held)

    def new_name(self) -> tuple[int, int]:
        """A name for an object, the same in every execution: who created it, as the how-many-eth."""
        task = self.current
        if task is None:
            self._named += 1
            return -1, self._named
        task.created += 1
        if self.recorder is not None:
            self.recorder.made((task.number, task.created), sys._getframe(1))
        return task.number, task.created

    def fail(self, failure: BaseException) -> None:
        """End the world with this failure; the first one counts."""
        if self.failure is None and not self._is_unwinding:
            self.failure = failure
        self.is_ending = True

    def note_leftover(self) -> None:
        """Keep that something was used which an earlier schedule made."""
        place = user_place(sys._getframe(2))
        self.leftovers.add(f"what an earlier schedule made ({place})")

    def note_outside(self, what: str) -> None:
        """Keep that something was used which is not under control: the verdict says so."""
        self.outside.add(what)

    # -- inside

    def _next(self) -> Task | None:
        clock = self.clock
        options = []
        timed = None
        for task in self.live:
            wants = task.wants
            if wants is None:
                if task.deadline is None or task.deadline <= clock:
                    options.append(task)
                    continue
            elif not wants.held:
                options.append(task)
                continue
            if task.deadline is not None:
                if task.deadline <= clock:
                    options.append(task)
                elif timed is None:
                    timed = [task]
                else:
                    timed.append(task)
        if not options:
            if timed is None:
                return self._wait_outside()
            self.jumps.append(self.steps)
            earliest = min(task.deadline for task in timed if task.deadline is not None)
            options = [task for task in timed if task.deadline == earliest]
            timed = [task for task in timed if task.deadline != earliest]
        if timed:
            early = [task for task in timed if task.may_be_early]
            if len(early) < len(timed):
                self.is_bounded = self.is_bounded or not all(
                    task.is_patient or task.may_be_early for task in timed
                )
            if early:
                chosen = self._choose(options + early)
                if chosen in early:
                    self.early += 1
                self._reach_deadline(chosen)
                return chosen
        chosen = options[0] if len(options) == 1 else self._choose(options)
        self._reach_deadline(chosen)
        return chosen

    def _choose(self, options: list[Task]) -> Task:
        index = self.chooser.choose(self, options)
        self.choices.append(index)
        chosen = options[index]
        if self.recorder is not None:
            self.recorder.choice(chosen, len(options))
        return chosen

    def _wait_outside(self) -> Task | None:
        """The task that something outside of the world wakes; None if none waits for such a thing."""
        waiting = [task for task in self.live if getattr(task.wants, "is_outside", False)]
        end = real.monotonic() + self.patience
        while waiting:
            for task in waiting:
                if task.wants is None or not task.wants.held:
                    return task
            if real.monotonic() > end:
                self.fail(reports.waits_outside(self, waiting[0]))
                return waiting[0]
            real.sleep(0.001)
        return None

    def is_early(self, task: Task) -> bool:
        """Whether the next step of this task would be that its time runs out, before the clock is there."""
        if task.deadline is None or task.deadline <= self.clock:
            return False
        return task.wants is None or task.wants.held

    def _reach_deadline(self, task: Task) -> None:
        if task.deadline is None:
            return
        if task.wants is None or task.wants.held:
            if task.deadline > self.clock:
                self.clock = task.deadline
                task.is_jump = True
            task.is_timed_out = True
            task.is_forced = not task.may_be_early
            if task.early_left > 0:
                # Also where nothing else could go on: that is seen otherwise from one order to another of
                # the same trace, and what a bound leaves out must not be.
                task.early_left -= 1

    def _hand_over(self, task: Task, chosen: Task) -> None:
        self.switches += 1
        self.current = chosen
        baton = task.carrier.baton
        chosen.carrier.baton.release()
        baton.acquire()
        if self.is_ending:
            self._kill(task)

    def _carry(self, task: Task) -> None:
        try:
            if not self.is_ending:
                if self.trace is not None:
                    self.trace.begin(self, task)
                task.run()
        except (TaskKilled, SystemExit):
            pass
        except BaseException as error:
            self.fail(error)
        if task in self.live:
            self.live.remove(task)
        # As at the end of a program, nobody waits for daemons.
        has_more = any(not other.is_daemon for other in self.live)
        if self.trace is not None and not has_more:
            self.trace.touch(END_KEY, WRITE)
        chosen = None
        if has_more and not self.is_ending:
            with suppress(TaskKilled):
                chosen = self._next()
        if has_more and chosen is None and not self.is_ending:
            self.fail(self._deadlock())
        is_unwinding = self._is_unwinding
        if task.carrier.ident in carriers.left_behind:
            # It was given up long ago: nobody waits for a word of it.
            return
        # From here on the carrier may be given to another task, and its number to a thread beside.
        carriers.give_back(task.carrier)
        self.current = None
        if is_unwinding:
            self._acknowledged.release()
        elif self.is_ending or chosen is None:
            self._has_ended = True
            self._ended.release()
        else:
            self.switches += 1
            self.current = chosen
            chosen.carrier.baton.release()

    def _deadlock(self) -> BaseException:
        # Unless a stranger is about to come by, such as a worker from before: then it is another failure.
        real.sleep(0.002)
        return reports.deadlock(self)

    def end_with(self, failure: BaseException) -> TaskKilled:
        """End the world from inside the running task; returns what to raise, so that it unwinds."""
        self.fail(failure)
        return TaskKilled()

    def _kill(self, task: Task) -> None:
        task.kills += 1
        if task.kills > _KILLS:
            # It catches whatever it is told, in a loop: it may as well do that asleep.
            self._abandon(task)
            (self._acknowledged if self._is_unwinding else self._ended).release()
            lock = real.allocate_lock()
            lock.acquire()
            lock.acquire()
        raise TaskKilled

    def _note_stranger(self, operation: str) -> None:
        # Not told to the stranger: it may be the worker of an executor that others go on using.
        failure = Uncontrolled(
            f"LL502 uncontrolled: a thread that the engine did not start came to '{operation}' "
            "on an object of the exploration\n  next: start it with threading, inside the scenario"
        )
        self.fail(failure)
