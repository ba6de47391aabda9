"""How an exploration fails by itself: the codes that belong to the engine.

The text of each begins with its code. What a scenario raises itself stays what it is.
"""

from __future__ import annotations


class SimulationFailure(AssertionError):
    """What the engine found; `code` is one of LL302, LL303, LL501, LL502."""

    code = "LL302"


class Deadlock(SimulationFailure):
    """Tasks wait on each other, and no clock will wake them."""

    code = "LL302"


class NoProgress(SimulationFailure):
    """The run still turns at the end of its steps, but only clocks move."""

    code = "LL303"


class Nondeterministic(SimulationFailure):
    """A replay took another path; `facts` says how that was noticed."""

    code = "LL501"

    def __init__(self, facts: str) -> None:
        super().__init__(
            f"LL501 nondeterministic: {facts}\n"
            "  next: if code, Python or packages changed since a token was made, its schedule is gone:\n"
            "  explore again; if not, look for what differs between two runs: hash order, addresses, the\n"
            "  time of day, random numbers of a generator of its own, what an earlier schedule left behind"
        )
        self.facts = facts

    def __reduce__(self) -> tuple[type[Nondeterministic], tuple[str]]:
        return type(self), (self.facts,)


class Uncontrolled(SimulationFailure):
    """Something blocked or ran outside the engine's control: nothing is certified."""

    code = "LL502"


class StepLimit(Exception):
    """A schedule was cut off: its steps were used up while issues could still change state."""


class Blocked(Exception):
    """A schedule was cut off: all that could follow what it had done so far was seen in others."""


class TaskKilled(BaseException):
    """Raised inside a task whose world has ended, so that it unwinds. Not for catching."""
