"""What a specimen is, and the list of them; no specimen lives here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

Kind = Literal["pool", "executor", "queue", "orchestrator"]
Build = TypeVar("Build", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Specimen:
    """One subject: how to make it, and the rule code that it must be flagged with (None if sound)."""

    name: str
    kind: Kind
    code: str | None
    factory: Callable[..., object]
    defect: str
    codes: tuple[str, ...] = ()
    bug: str = ""
    needs_interleaving: bool = False


SPECIMENS: list[Specimen] = []


def flawed(
    code: str,
    defect: str,
    *,
    bug: str,
    kind: Kind = "pool",
    also: tuple[str, ...] = (),
    race: bool = False,
) -> Callable[[Build], Build]:
    """Register a class with one defect; `also` holds further codes that the specification leaves open."""

    def register(build: Build) -> Build:
        name = getattr(build, "__name__", repr(build))
        SPECIMENS.append(Specimen(name, kind, code, build, defect, (code, *also), bug, race))
        return build

    return register


def sound(build: str, *, kind: Kind = "pool") -> Callable[[Build], Build]:
    """Register a class that keeps every promise; `build` says in a few words how it is built."""

    def register(factory: Build) -> Build:
        name = getattr(factory, "__name__", repr(factory))
        SPECIMENS.append(Specimen(name, kind, None, factory, "", (), build))
        return factory

    return register
