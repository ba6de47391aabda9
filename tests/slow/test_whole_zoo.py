"""The whole zoo: each flawed specimen is flagged with its code, and each sound one with none."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_littleloops import contract
from tests.zoo import SPECIMENS
from tests.zoo.registry import Specimen
from tests.zoo.score import flagged, is_right

SCHEDULES = 50
"""A promise."""

WITHOUT_SPECIMEN: frozenset[str] = frozenset()
"""Promises that no specimen of the zoo breaks."""


def test_the_score_is_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed; and every promise of a contract has a specimen that breaks it, so none is idle."""

    def judge(specimen: Specimen) -> dict[str, list[str]]:
        return flagged(specimen, tmp_path, schedules=SCHEDULES)

    # Each runs in a process of its own.
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        judged = list(zip(SPECIMENS, executor.map(judge, SPECIMENS), strict=True))
    wrong = [(one, found) for one, found in judged if not is_right(one, found)]
    with capsys.disabled():
        for kind, specimens in (
            ("flawed ones flagged with their code", [one for one in SPECIMENS if one.code is not None]),
            ("sound ones not flagged", [one for one in SPECIMENS if one.code is None]),
        ):
            missed = sum(one in specimens for one, _ in wrong)
            print(f"\nzoo: {len(specimens) - missed} of {len(specimens)} {kind}", end="")
    assert not wrong, "\n".join(f"{one.name}, {one.codes}: {found}" for one, found in wrong)
    broken = {
        name.partition("[")[0] for _, found in judged for promises in found.values() for name in promises
    }
    promises = {
        name for one in contract.__all__ for name in dir(getattr(contract, one)) if name.startswith("test_")
    }
    assert promises - broken == WITHOUT_SPECIMEN
