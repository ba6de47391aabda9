"""An actor of pykka, as a pool of one worker."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_littleloops.contract import WorkerPoolContract
from tests.known_bugs.results import completes

pykka: Any = importlib.import_module("pykka")


class Answer(pykka.ThreadingFuture):  # type: ignore[misc]
    """A future that calls back whoever asked, as one of the standard library does."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Lock()
        self._is_done = False
        self._callbacks: list[Callable[[Any], object]] = []

    def result(self) -> Any:
        """What was answered."""
        return self.get()

    def set(self, value: Any = None) -> None:
        """Keep the answer, and tell of it."""
        super().set(value)
        self._tell()

    def set_exception(self, exc_info: Any = None) -> None:
        """Keep the exception, and tell of it."""
        super().set_exception(exc_info)
        self._tell()

    def when_done(self, callback: Callable[[Any], object]) -> None:
        """Call this with it, at once if it is answered."""
        with self._changed:
            if not self._is_done:
                self._callbacks.append(callback)
                return
        callback(self)

    def _tell(self) -> None:
        with self._changed:
            self._is_done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


class ActorPool:
    """Asks an actor for each issue, and completes it with the answer."""

    def __init__(self, process: Callable[[Any], Any], max_workers: int) -> None:
        class Worker(pykka.ThreadingActor):  # type: ignore[misc]
            use_daemon_thread = True

            @staticmethod
            def _create_future() -> Answer:
                return Answer()

            def on_receive(self, message: dict[str, Any]) -> Any:
                return process(message["issue"])

        self._actor = Worker.start()

    def submit(self, issue: Any, on_complete: Callable[[Any], object]) -> None:
        """Send it a message. Raises ActorDeadError once it has stopped."""
        self._actor.ask({"issue": issue}, block=False).when_done(completes(issue, on_complete))

    def shutdown(self, wait: bool = True) -> None:
        """Send it the message to stop."""
        self._actor.stop(block=wait)


class TestActorPool(WorkerPoolContract):
    """One thread and its mailbox."""

    @pytest.fixture
    def pool_factory(self) -> Callable[..., ActorPool]:
        """A pool of one actor."""
        return ActorPool
