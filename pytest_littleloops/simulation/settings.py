"""How an exploration is to be made: the numbers behind `explore` and the marker, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_littleloops.simulation.faults import FAULTS
from pytest_littleloops.simulation.schedule import Schedule
from pytest_littleloops.simulation.strategies import STRATEGIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Raises ValueError for a number that is out of range, a strategy or a token that does not exist."""

    schedules: int = 1000
    """At most so many executions."""
    strategy: str = "auto"
    seed: int = 0
    max_steps: int = 20_000
    """A schedule is cut off after so many operations."""
    preemptions: int | None = None
    """With `dfs`: at most so many times a task loses its turn that could have gone on."""
    early_timeouts: int = 2
    """Of each thread, so many timeouts at most come although something else could have gone on."""
    replay: str | None = None
    """The token of the one schedule to run."""
    faults: Sequence[str] = ()
    """What may go wrong, of `FAULTS`."""
    patience: float = 10.0
    """So many seconds of real time may pass in a task that reaches no point."""

    def __post_init__(self) -> None:
        for name, least in (("schedules", 1), ("max_steps", 1), ("preemptions", 0), ("early_timeouts", 0)):
            number = getattr(self, name)
            if number is None and name == "preemptions":
                continue
            if not isinstance(number, int) or isinstance(number, bool):
                raise ValueError(f"{name} must be a whole number, not {number!r}")
            if number < least:
                raise ValueError(f"{name} must be at least {least}, not {number}")
        if not isinstance(self.seed, int):
            raise ValueError(f"seed must be a whole number, not {self.seed!r}")
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"there is no strategy {self.strategy!r}; the strategies are {', '.join(STRATEGIES)}"
            )
        if isinstance(self.faults, str):
            raise ValueError(f"faults must be several names, such as ({self.faults!r},)")
        for fault in self.faults:
            if fault not in FAULTS:
                raise ValueError(f"there is no fault {fault!r}; the faults are {', '.join(FAULTS)}")
        if not self.patience > 0:
            raise ValueError(f"patience must be more than 0 seconds, not {self.patience}")
        if self.replay is not None:
            Schedule.from_token(self.replay)
