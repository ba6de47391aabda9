"""What the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_littleloops.harness.ledger import Ledger


@pytest.fixture
def books() -> Iterator[Ledger]:
    """A ledger that nobody checks but the test."""
    ledger = Ledger()
    yield ledger
    ledger.close()
