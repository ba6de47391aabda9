"""The whole zoo: each flawed specimen is flagged with its code, and each sound one with none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo import SPECIMENS
from tests.zoo.registry import Specimen
from tests.zoo.score import flagged, is_right

SCHEDULES = 50
"""A promise."""


@pytest.mark.parametrize("specimen", SPECIMENS, ids=lambda one: one.name)
def test_it_is_judged_rightly(specimen: Specimen, tmp_path: Path) -> None:
    """Flagged with its code if it is flawed, and with none if it is sound."""
    found = flagged(specimen, tmp_path, schedules=SCHEDULES)
    assert is_right(specimen, found), (specimen.defect, specimen.codes, found)
