"""The whole zoo: each flawed specimen is flagged with its code, and each sound one with none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.zoo import SPECIMENS
from tests.zoo.registry import Specimen
from tests.zoo.score import flagged, is_right

MISSED = {
    "SlotLeakPool": "flagged LL301: a worker waits for a slot for ever, and counts as one that is at work",
    "CountedThoughRefusedPool": "no issue is lost, only a count is wrong: no contract compares it",
    "HelperProcessPool": "LL403: nothing looks for processes that are left behind yet",
    "LeftWorktreePool": "LL404: nothing looks for worktrees that are left behind yet",
}
"""Those that are judged wrongly, and why."""

NOT_JUDGED = {
    "PipeWakeupPool": "it blocks in the system: no end after two minutes",
    "ProcessPool": "on processes, for which no contract is made: no end after 90 seconds",
}


def one(specimen: Specimen) -> object:
    """The parameter of a specimen."""
    marks: list[pytest.MarkDecorator] = []
    if specimen.name in MISSED:
        marks.append(pytest.mark.xfail(reason=MISSED[specimen.name], strict=True))
    if specimen.name in NOT_JUDGED:
        marks.append(pytest.mark.skip(reason=NOT_JUDGED[specimen.name]))
    return pytest.param(specimen, id=specimen.name, marks=marks)


@pytest.mark.parametrize("specimen", [one(specimen) for specimen in SPECIMENS])
def test_it_is_judged_rightly(specimen: Specimen, tmp_path: Path) -> None:
    """Under fifty schedules a promise."""
    found = flagged(specimen, tmp_path, schedules=50)
    assert is_right(specimen, found), (specimen.defect, specimen.codes, found)
