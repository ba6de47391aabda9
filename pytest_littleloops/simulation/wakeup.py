"""Wakeup trees: which sequences of steps a search has still to begin with, at one point of its path.

Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction" (POPL 2014), section 6.
"""

from __future__ import annotations

from pytest_littleloops.simulation.trace import CLOCK_KEY, Accesses, Trace, are_independent, bits


class Branch:
    """A step that is to be taken, and the trees of what is to follow it."""

    __slots__ = ("accesses", "branches", "task")

    def __init__(self, task: int, accesses: Accesses) -> None:
        self.task = task
        self.accesses = accesses
        self.branches: list[Branch] = []


class Sequence:
    """Steps of a finished trace to be taken from some point on: in its order, but the `last` one last.

    In the trace that came after steps that are not among these. What it depends on here is seen from what
    it does; of the others, all that they depend on and that is not before that point is among these.
    """

    def __init__(self, trace: Trace, steps: int, last: int) -> None:
        self._trace = trace
        self._steps = steps
        self._last = last
        self._of_last = accesses = trace.possible[last]
        if accesses:
            direct = (trace.touching(accesses) | trace.of_task[trace.tasks[last]]) & steps & ~(1 << last)
            self._before_last = direct | 1 << last
            for step in bits(direct):
                self._before_last |= trace.before[step]
        else:
            self._before_last = trace.before[last]

    def begins_with(self, task: int, accesses: Accesses) -> bool:
        """Whether a step of this task could come first: a weak initial of the sequence."""
        steps = self._steps
        mine = self._trace.of_task.get(task, 0) & steps
        if not mine:
            last = 1 << self._last
            if steps & last and (CLOCK_KEY in accesses or not are_independent(accesses, self._of_last)):
                # What else the last one comes to do then, such as to wake somebody in time, is not known.
                return False
            return not self._trace.touching(accesses) & steps & ~last
        first = mine & -mine
        step = first.bit_length() - 1
        before = self._before_last if step == self._last else self._trace.before[step]
        return before & self._steps == first

    def drop_first_of(self, task: int) -> None:
        """Go on behind the first step of this task, if it has one in it."""
        mine = self._trace.of_task.get(task, 0) & self._steps
        self._steps &= ~(mine & -mine)

    def insert_into(self, branches: list[Branch]) -> bool:
        """Have one of these branches lead to this sequence; False if one does already."""
        while branches:
            for branch in branches:
                if self.begins_with(branch.task, branch.accesses):
                    break
            else:
                break
            self.drop_first_of(branch.task)
            branches = branch.branches
            if not branches:
                # Whatever follows this branch covers it.
                return False
        if not self._steps:
            return False
        for step in self._ordered():
            accesses = self._of_last if step == self._last else self._trace.accesses[step]
            branch = Branch(self._trace.tasks[step], accesses)
            branches.append(branch)
            branches = branch.branches
        return True

    def _ordered(self) -> list[int]:
        steps = list(bits(self._steps))
        if self._last in steps:
            steps.remove(self._last)
            steps.append(self._last)
        return steps
