"""The zoo: one flawed specimen of each kind is flagged with its code, and sound ones are not at all.

All of them go through their contracts in the second tier.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo import SPECIMENS
from tests.zoo.registry import Specimen
from tests.zoo.score import flagged, is_right

BY_NAME = {specimen.name: specimen for specimen in SPECIMENS}
FEW = (
    *("SoundQueue", "SoundExecutor", "InlinePool", "ReleasedTooEarlyPool", "DoneCallbackKillsExecutor"),
    *("UnguardedMarksQueue", "HandOffQueue"),
)
"""Those that take a second or two each."""


@pytest.mark.parametrize("name", FEW)
def test_a_few_are_judged_rightly(name: str, tmp_path: Path) -> None:
    """With the code that each has to be flagged with."""
    specimen = BY_NAME[name]
    found = flagged(specimen, tmp_path, schedules=20)
    assert is_right(specimen, found), (specimen.defect, specimen.codes, found)


def test_the_zoo_has_every_kind() -> None:
    """At least forty flawed ones and ten sound ones, and each rule that a pool can break."""
    flawed: list[Specimen] = [one for one in SPECIMENS if one.code is not None]
    assert len(flawed) >= 40
    assert len(SPECIMENS) - len(flawed) >= 10
    assert {one.kind for one in flawed} == {"pool", "executor", "queue", "orchestrator"}
    numbers = (*range(101, 107), *range(201, 204), *range(301, 305), 401, 402)
    assert {f"LL{number}" for number in numbers} <= {one.code for one in flawed}
