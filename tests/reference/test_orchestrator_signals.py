"""`Orchestrator` and signals: SIGINT and SIGTERM stop a run, and nobody else notices that it took them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from pytest_littleloops.reference.model import Issue, WorkerResult
from pytest_littleloops.reference.orchestrator import ExitCode, Orchestrator
from pytest_littleloops.reference.pool import WorkerPool
from tests.reference.orchestrated_pools import (
    TIMEOUT,
    Completion,
    InlinePool,
    StepPool,
    orchestrate,
    queue_of,
    succeed,
)


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def signum(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """Give a signal that ends a program, with a handler of the test's own while it runs."""
    number: signal.Signals = request.param

    def handler(signum: int, frame: FrameType | None) -> None:
        pytest.fail("the signal reached the handler of before")

    previous = signal.signal(number, handler)
    yield number
    assert signal.getsignal(number) is handler
    signal.signal(number, previous)


def test_orchestrator_is_stopped_by_a_signal(
    start_pool: Callable[..., WorkerPool], signum: signal.Signals
) -> None:
    """The exit code names it, nothing is left without an end, and the handler of before is back."""

    def process(issue: Issue) -> WorkerResult:
        os.kill(os.getpid(), signum)
        assert is_interrupted.wait(TIMEOUT)
        return succeed(issue)

    is_interrupted = threading.Event()
    queue = queue_of("BUG-1", "BUG-2")
    original = queue.interrupt_queued

    def interrupt_queued() -> int:
        count = original()
        is_interrupted.set()
        return count

    queue.interrupt_queued = interrupt_queued  # type: ignore[method-assign]
    assert Orchestrator(queue, start_pool(process)).run() == 128 + signum
    assert queue.states() == {"BUG-1": "completed", "BUG-2": "interrupted"}


def test_orchestrator_is_ended_by_a_second_signal(signum: signal.Signals) -> None:
    """Ctrl-C twice does not wait for a worker that hangs; the code is that of the first request."""

    def signal_twice() -> None:
        signal.raise_signal(signum)
        orchestrator.stop()

    queue = queue_of("BUG-229")
    orchestrator = orchestrate(queue, StepPool(signal_twice))
    assert orchestrator.run() == 128 + signum
    assert queue.states() == {"BUG-229": "interrupted"}


def test_orchestrator_takes_its_handlers_back_when_it_ends_in_an_exception(signum: signal.Signals) -> None:
    """The handler of before is there again, as the fixture sees."""

    class Raising(InlinePool):
        """Wants to get out."""

        def submit(self, issue: Issue, on_complete: Completion) -> None:
            """Raise."""
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        orchestrate(queue_of("BUG-229"), Raising()).run()


def test_orchestrator_does_not_swallow_a_signal_that_comes_last(
    signum: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when all is done, just before the handler is taken back: the exit code still says it."""
    original = signal.signal

    def late_signal(number: int, handler: signal._HANDLER) -> signal._HANDLER:
        if not isinstance(getattr(handler, "__self__", None), Orchestrator) and number == signum:
            signal.raise_signal(number)
        return original(number, handler)

    queue = queue_of("BUG-229")
    orchestrator = orchestrate(queue, InlinePool())
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", late_signal)
        assert orchestrator.run() == 128 + signum
    assert queue.states() == {"BUG-229": "completed"}
    queue.requeue("BUG-229")
    assert orchestrator.run() == ExitCode.OK


def test_orchestrator_off_the_main_thread_leaves_signals_alone(signum: signal.Signals) -> None:
    """Only the main thread may install handlers; the run works without."""
    before = signal.getsignal(signum)
    seen: list[object] = []
    codes: list[int] = []

    def process(issue: Issue) -> WorkerResult:
        seen.append(signal.getsignal(signum))
        return succeed(issue)

    orchestrator = orchestrate(queue_of("BUG-229"), InlinePool(process))
    thread = threading.Thread(target=lambda: codes.append(orchestrator.run()))
    thread.start()
    thread.join(TIMEOUT)
    assert codes == [ExitCode.OK]
    assert seen == [before]


def test_orchestrator_leaves_a_handler_alone_that_it_could_not_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler that was not installed from Python is unknown to it, and stays."""
    installed: list[int] = []
    monkeypatch.setattr(signal, "getsignal", lambda signum: None)
    monkeypatch.setattr(signal, "signal", lambda signum, handler: installed.append(signum))
    assert orchestrate(queue_of("BUG-229"), InlinePool()).run() == ExitCode.OK
    assert installed == []
