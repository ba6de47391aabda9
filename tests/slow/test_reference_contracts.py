"""The reference under every contract, ten thousand schedules a promise unless it is proved sooner."""

from __future__ import annotations

import pytest

from tests.contracts import test_reference as quick

SCHEDULES = 10_000


class TestWorkerPool(quick.TestWorkerPool):
    """On threads."""

    schedules = SCHEDULES


class TestIssueQueue(quick.TestIssueQueue):
    """The queue."""

    schedules = SCHEDULES


class TestOrchestrator(quick.TestOrchestrator):
    """With a reference queue and pool."""

    schedules = SCHEDULES


def test_so_many_are_asked_for(request: pytest.FixtureRequest) -> None:
    """Of every explored promise, so that none is sampled less."""
    marks = [
        mark
        for item in request.session.items
        if item.path == request.path
        for mark in item.iter_markers("explore")
    ]
    assert len(marks) > 50
    assert {mark.kwargs["schedules"] for mark in marks} == {SCHEDULES}
