"""The hooks that plugins may implement. Specifications only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_littleloops.harness.watching.lifecycle import Lifecycle


@pytest.hookspec(firstresult=True)
def pytest_littleloops_lifecycle(obj: object) -> Lifecycle | None:
    """Tell what the methods of `obj` mean to the ledger, or None if it is not yours to know.

    Called by `ledger.watch(obj)` when no mapping was given; the first answer counts, yours before
    those of the adapters that come with the package. May be implemented in a `conftest.py`:

        def pytest_littleloops_lifecycle(obj):
            if isinstance(obj, MyQueue):
                return Lifecycle(submitted=("offer",), started=("poll",), completed=("done",))
    """
