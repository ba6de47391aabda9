"""The `ThreadPoolExecutor` of the standard library."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from pytest_littleloops.contract import ExecutorContract


class TestThreadPoolExecutor(ExecutorContract):
    """As it is: it needs no adapter."""

    @pytest.fixture
    def executor_factory(self) -> Callable[[int], Executor]:
        """An executor of so many threads."""
        return ThreadPoolExecutor
