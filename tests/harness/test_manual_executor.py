"""A manual executor does what a pool of one thread does, but when the test says, and breaks on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from typing import TypeVar

import pytest

from pytest_littleloops.harness.fakes import manual_executor
from pytest_littleloops.harness.fakes.fake_future import StillPending
from pytest_littleloops.harness.fakes.manual_executor import ManualExecutor
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang

T = TypeVar("T")


def raise_error(error: BaseException) -> None:
    """A body, or a part of one, that fails."""
    raise error


def leave(future: Future[T]) -> None:
    """A done-callback that would end a worker thread."""
    raise SystemExit(2)


def are_woken(*futures: Future[T]) -> bool:
    """True if `wait` and `as_completed` return all of these without waiting."""
    return wait(futures, timeout=0).done == set(futures) == set(as_completed(futures, timeout=0))


@pytest.fixture
def executor() -> ManualExecutor:
    """An executor, as the fixture `manual_executor` gives it."""
    return ManualExecutor()


class Gate:
    """A body that says when it runs, and ends when it may."""

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self.may_pass = threading.Event()

    def __call__(self) -> str:
        """Block until the test lets it pass."""
        self.is_reached.set()
        assert self.may_pass.wait(DEFAULT_PATIENCE)
        return "passed"


class Runner:
    """A thread named `runner` that runs the next body of an executor, which is a gate."""

    def __init__(self, executor: ManualExecutor) -> None:
        self.gate = Gate()
        self.future = executor.submit(self.gate)
        self.raised: BaseException | None = None
        self._executor = executor
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)
        self._thread.start()
        assert self.gate.is_reached.wait(DEFAULT_PATIENCE)

    def _run(self) -> None:
        try:
            self._executor.run_next()
        except BaseException as error:
            self.raised = error

    def end(self) -> None:
        """Let the body pass, and wait for the thread."""
        self.gate.may_pass.set()
        self._thread.join(DEFAULT_PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def runner(executor: ManualExecutor) -> Iterator[Runner]:
    """A body that another thread runs, and that ends with the test at the latest."""
    runner = Runner(executor)
    yield runner
    runner.end()


# What holds for the real thing and for the fake.


class Either:
    """An executor of either kind, with one worker that runs nothing before `run`."""

    def __init__(self, kind: str) -> None:
        self.executor: Executor = ManualExecutor() if kind == "manual" else ThreadPoolExecutor(1)
        self._gate = Gate()
        if kind == "threads":
            self.executor.submit(self._gate)
            assert self._gate.is_reached.wait(DEFAULT_PATIENCE)

    def open(self) -> None:
        """Let the worker, if there is one, go on by itself."""
        self._gate.may_pass.set()

    def run(self) -> None:
        """Have all that was submitted so far run, one after the other."""
        if isinstance(self.executor, ManualExecutor):
            self.executor.run_all()
        else:
            self.open()
            # What is behind the others in the queue of the only worker.
            self.executor.submit(int).result(DEFAULT_PATIENCE)

    def close(self) -> None:
        """End the worker, if there is one."""
        self.open()
        self.executor.shutdown(cancel_futures=True)


@pytest.fixture(params=["threads", "manual"])
def either(request: pytest.FixtureRequest) -> Iterator[Either]:
    """A `ThreadPoolExecutor` of one worker, and a `ManualExecutor`."""
    either = Either(request.param)
    yield either
    either.close()


def test_nothing_has_happened_when_submit_returns(either: Either) -> None:
    """A submission is pending until its turn."""
    future = either.executor.submit(int)
    assert not future.running()
    assert not future.done()


def test_bodies_run_in_the_order_of_submission(either: Either) -> None:
    """First in, first out; positional and keyword arguments arrive, whatever they are called."""
    heard = list[tuple[int, int]]()

    def note(self: int, *, fn: int) -> tuple[int, int]:
        heard.append((self, fn))
        return self, fn

    futures = [either.executor.submit(note, number, fn=-number) for number in (1, 2, 3)]
    either.run()
    assert heard == [(1, -1), (2, -2), (3, -3)] == [future.result() for future in futures]


def test_a_future_runs_while_its_body_does(either: Either) -> None:
    """In the body the future is running and cannot be cancelled."""
    seen = list[bool]()
    futures = list[Future[None]]()
    futures.append(either.executor.submit(lambda: seen.extend((futures[0].running(), futures[0].cancel()))))
    either.run()
    assert seen == [True, False]
    assert futures[0].result() is None


@pytest.mark.parametrize(
    "error", [ValueError("no disk"), SystemExit(2), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
def test_whatever_a_body_raises_is_its_futures(either: Either, error: BaseException) -> None:
    """No exception escapes to who runs it, and who is behind it runs too."""
    future, behind = either.executor.submit(raise_error, error), either.executor.submit(int)
    either.run()
    assert future.exception() is error
    assert behind.result() == 0


def test_what_cannot_be_called_fails_when_it_runs(either: Either) -> None:
    """The submission is accepted."""
    body: Callable[[], int] = None  # type: ignore[assignment]
    future = either.executor.submit(body)
    either.run()
    assert isinstance(future.exception(), TypeError)


def test_a_cancelled_one_is_skipped_and_its_waiters_wake(either: Either) -> None:
    """The body does not run; `wait` and `as_completed` hear of it when its turn comes."""
    heard = list[int]()
    future, behind = either.executor.submit(heard.append, 1), either.executor.submit(heard.append, 2)
    assert future.cancel()
    assert not are_woken(future)
    either.run()
    assert heard == [2]
    assert are_woken(future, behind)


def test_a_callback_that_fails_stops_nobody(either: Either) -> None:
    """An `Exception` of a done-callback is logged; the others and who is behind go on."""
    heard = list[Future[int]]()
    future, behind = either.executor.submit(int), either.executor.submit(int)
    future.add_done_callback(lambda done: raise_error(ValueError("no disk")))
    future.add_done_callback(heard.append)
    either.run()
    assert heard == [future]
    assert behind.done()


def test_a_body_submits_more(either: Either) -> None:
    """What is submitted by a body runs behind what is queued."""
    heard = list[str]()

    def grow() -> None:
        heard.append("first")
        either.executor.submit(heard.append, "third")

    either.executor.submit(grow)
    either.executor.submit(heard.append, "second")
    either.run()
    either.run()
    assert heard == ["first", "second", "third"]


def test_map_gives_results_in_order(either: Either) -> None:
    """What the base class offers works on top of it."""
    results = either.executor.map(abs, [-3, 2, -1])
    either.run()
    assert list(results) == [3, 2, 1]


def test_a_shut_down_executor_accepts_nothing(either: Either) -> None:
    """The words are the library's."""
    either.executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        either.executor.submit(int)


def test_a_shutdown_leaves_what_is_queued(either: Either) -> None:
    """What was accepted is still to run after a shutdown that did not wait; one that waits runs it."""
    future = either.executor.submit(int)
    either.executor.shutdown(wait=False)
    assert not future.done()
    either.open()
    either.executor.shutdown()
    assert future.result() == 0


def test_a_shutdown_cancels_what_is_queued(either: Either) -> None:
    """With cancellation what is queued is cancelled at once, and its readers hear of it."""
    future = either.executor.submit(int)
    either.executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        future.result()


@pytest.mark.parametrize("kind", [lambda: ThreadPoolExecutor(1), ManualExecutor], ids=["threads", "manual"])
def test_leaving_the_block_runs_everything(kind: Callable[[], Executor]) -> None:
    """As a context manager it is shut down at the end, which waits."""
    with kind() as executor:
        futures = [executor.submit(abs, -number) for number in (1, 2, 3)]
    assert [future.result() for future in futures] == [1, 2, 3]
    with pytest.raises(RuntimeError):
        executor.submit(int)


# When the test says.


def test_pending_is_what_is_queued(executor: ManualExecutor) -> None:
    """The next one first, until it runs; a cancelled one keeps its place."""
    first, second = executor.submit(int), executor.submit(str)
    second.cancel()
    assert list(executor.pending) == [first, second]
    assert executor.run_next() is first
    assert list(executor.pending) == [second]


def test_run_next_runs_one_here(executor: ManualExecutor) -> None:
    """The body runs in the calling thread, and the next one does not."""
    first, second = executor.submit(threading.current_thread), executor.submit(int)
    assert executor.run_next() is first
    assert first.result() is threading.current_thread()
    assert not second.done()


def test_run_next_gives_the_last_skipped_one_if_there_is_no_other(executor: ManualExecutor) -> None:
    """A turn that only woke waiters is no error."""
    first, second = executor.submit(int), executor.submit(int)
    first.cancel()
    second.cancel()
    assert executor.run_next() is second
    assert are_woken(first, second)
    assert executor.ran == 0


def test_what_the_test_has_ended_is_skipped(executor: ManualExecutor) -> None:
    """A queued future that was driven by hand keeps its outcome."""
    heard = list[int]()
    first, second = executor.submit(heard.append, 1), executor.submit(heard.append, 2)
    first.finish(None)
    second.force_cancel()
    assert executor.run_all() == 0
    assert heard == []


@pytest.mark.parametrize("caller", ["run_next", "fail_next", "cancel_next"])
def test_nothing_queued_is_a_lookup_error(executor: ManualExecutor, caller: str) -> None:
    """It says what was asked, what there was, and what to do."""
    executor.submit(int)
    executor.run_next()
    arguments = (ValueError("no disk"),) if caller == "fail_next" else ()
    with pytest.raises(LookupError) as caught:
        getattr(executor, caller)(*arguments)
    assert str(caught.value) == (
        f"{caller}() found nothing queued\n"
        "  submitted so far: 1, bodies run: 1\n"
        "  next step: submit first; the attribute `pending` shows what is queued"
    )


def test_run_all_counts_bodies(executor: ManualExecutor) -> None:
    """It includes what is submitted meanwhile, and not what was cancelled."""
    executor.submit(lambda: executor.submit(executor.submit, int))
    executor.submit(int).cancel()
    assert executor.run_all() == 3
    assert executor.run_all() == 0
    assert executor.ran == 3


def test_run_all_does_not_run_for_ever(executor: ManualExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies that submit each other end in a failure; what is queued stays."""
    monkeypatch.setattr(manual_executor, "_ENDLESS", 3)

    def again() -> None:
        executor.submit(again)

    executor.submit(again)
    with pytest.raises(AssertionError) as caught:
        executor.run_all()
    assert str(caught.value) == (
        "run_all() has run 3 bodies without end: they seem to submit each other\n"
        "  queued now: 1, the next is again#4\n"
        "  next step: call run_next() as often as the test needs"
    )
    assert len(executor.pending) == 1


def test_run_all_may_come_to_its_end_at_the_bound(
    executor: ManualExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many bodies as the bound, and none behind them, are no endless run."""
    monkeypatch.setattr(manual_executor, "_ENDLESS", 3)
    for _ in range(3):
        executor.submit(int)
    assert executor.run_all() == 3


def test_a_body_may_run_the_next_one(executor: ManualExecutor) -> None:
    """The executor may be used from a body."""
    executor.submit(executor.run_next)
    inner = executor.submit(int)
    assert executor.run_next().result() is inner
    assert inner.done()


def test_a_callback_may_run_the_next_one(executor: ManualExecutor) -> None:
    """The executor may be used from a done-callback."""
    executor.submit(int).add_done_callback(lambda done: executor.run_next())
    inner = executor.submit(int)
    executor.run_next()
    assert inner.done()


def test_fail_next_fails_without_running(executor: ManualExecutor) -> None:
    """The future has the error, the waiters are woken, and the body never ran."""
    heard, error = list[int](), SystemExit(2)
    skipped, future = executor.submit(heard.append, 1), executor.submit(heard.append, 2)
    skipped.cancel()
    assert executor.fail_next(error) is future
    assert future.exception() is error
    assert are_woken(skipped, future)
    assert heard == []
    assert executor.ran == 0


def test_cancel_next_cancels_without_running(executor: ManualExecutor) -> None:
    """The future is cancelled, its waiters are woken, its callbacks run once, and the body never ran."""
    heard = list[object]()
    future = executor.submit(heard.append, 1)
    future.add_done_callback(heard.append)
    assert executor.cancel_next() is future
    assert future.cancelled()
    assert are_woken(future)
    assert heard == [future]


@pytest.mark.parametrize("caller", ["fail_next", "break_pool", "reject_submissions"])
def test_errors_are_exceptions(executor: ManualExecutor, caller: str) -> None:
    """Anything else is a mistake of the test, and changes nothing."""
    future = executor.submit(int)
    with pytest.raises(TypeError) as caught:
        getattr(executor, caller)("no disk")
    assert str(caught.value) == (
        f"{caller}() takes an exception, for example ValueError('no disk'), not 'no disk'"
    )
    assert list(executor.pending) == [future]
    executor.submit(int)


def test_reading_a_queued_one_says_what_to_do(executor: ManualExecutor) -> None:
    """A future whose turn the reader himself would have to bring raises instead of hanging."""
    future = executor.submit(len, "abc")
    with pytest.raises(StillPending, match=r"^future len#1 is pending and no other thread") as caught:
        future.result()
    assert str(caught.value).endswith(
        "\n  next step: have the executor end it: run_next(), run_all(), fail_next() or cancel_next()"
    )


def test_map_says_what_to_do(executor: ManualExecutor) -> None:
    """Iterating over what nobody has run raises instead of hanging, and names the line that iterated."""
    with pytest.raises(StillPending, match=r"in test_map_says_what_to_do\n"):
        next(iter(executor.map(abs, [-1])))


def test_what_has_no_name_is_called_by_its_kind(executor: ManualExecutor) -> None:
    """Messages call work by its function, or by the type of what was submitted."""
    assert executor.submit(Gate()).name == "Gate#1"


# A BaseException of a done-callback.


@pytest.mark.parametrize("caller", ["run_next", "run_all", "cancel_next", "fail_next", "shutdown"])
def test_what_would_end_a_worker_reaches_the_test(executor: ManualExecutor, caller: str) -> None:
    """It comes out of the method that ended the future; who is behind is still queued."""
    future, behind = executor.submit(int), executor.submit(int)
    future.add_done_callback(leave)
    arguments = (ValueError("no disk"),) if caller == "fail_next" else ()
    with pytest.raises(SystemExit):
        getattr(executor, caller)(*arguments)
    assert future.done()
    assert list(executor.pending) == [behind]
    assert executor.run_all() == 1


def test_what_a_callback_raises_is_not_the_bodys_fault(executor: ManualExecutor) -> None:
    """An exit is not told as having happened while the body's error was handled."""
    executor.submit(raise_error, ValueError("no disk")).add_done_callback(leave)
    with pytest.raises(SystemExit) as caught:
        executor.run_next()
    assert caught.value.__context__ is None


def test_a_break_fails_all_before_it_raises(executor: ManualExecutor) -> None:
    """The first of two exits is raised, after everything has failed."""
    futures = [executor.submit(int) for _ in range(3)]
    first = KeyboardInterrupt()
    futures[0].add_done_callback(lambda done: raise_error(first))
    futures[1].add_done_callback(leave)
    with pytest.raises(KeyboardInterrupt) as caught:
        executor.break_pool()
    assert caught.value is first
    assert are_woken(*futures)


def test_a_cancelling_shutdown_cancels_all_before_it_raises(executor: ManualExecutor) -> None:
    """An exit of one callback keeps no other future from its end."""
    futures = [executor.submit(int) for _ in range(2)]
    futures[0].add_done_callback(leave)
    with pytest.raises(SystemExit):
        executor.shutdown(cancel_futures=True)
    assert are_woken(*futures)


def test_an_outcome_that_comes_too_late_reaches_the_test(executor: ManualExecutor) -> None:
    """A running future that somebody ended raises, where it would end a worker thread."""
    executor.submit(lambda: future.force_cancel())
    (future,) = executor.pending
    with pytest.raises(InvalidStateError):
        executor.run_next()
    assert future.cancelled()


# Broken.


def test_a_break_fails_what_is_queued(executor: ManualExecutor) -> None:
    """Everything pending has a BrokenExecutor of its own and is no longer pending."""
    futures = [executor.submit(int), executor.submit(int)]
    executor.break_pool()
    errors = [future.exception() for future in futures]
    assert [str(error) for error in errors] == ["a worker died, the pool is not usable"] * 2
    assert all(isinstance(error, BrokenExecutor) for error in errors)
    assert errors[0] is not errors[1]
    assert list(executor.pending) == []
    assert are_woken(*futures)


def test_a_broken_executor_accepts_nothing(executor: ManualExecutor) -> None:
    """Every submission raises BrokenExecutor, also after a shutdown, and whatever is accepted."""
    executor.break_pool()
    executor.shutdown()
    executor.accept_submissions()
    with pytest.raises(BrokenExecutor, match=r"^a worker died, the pool is not usable$"):
        executor.submit(int)


def test_a_break_may_have_a_reason_of_its_own(executor: ManualExecutor) -> None:
    """The error of the test is the futures' and the submissions'."""
    error, future = BrokenExecutor("killed by the system"), executor.submit(int)
    executor.break_pool(error)
    assert future.exception() is error
    with pytest.raises(BrokenExecutor) as caught:
        executor.submit(int)
    assert caught.value is error


def test_a_break_leaves_a_cancelled_one_cancelled(executor: ManualExecutor) -> None:
    """What was cancelled before stays so, and its waiters are woken."""
    future = executor.submit(int)
    future.cancel()
    executor.break_pool()
    assert future.cancelled()
    assert are_woken(future)


def test_a_break_takes_what_runs_along(executor: ManualExecutor, runner: Runner) -> None:
    """The future of a running body fails; what the body brings later is lost, and disturbs nobody."""
    executor.break_pool()
    assert isinstance(runner.future.exception(0), BrokenExecutor)
    runner.end()
    assert runner.raised is None
    assert isinstance(runner.future.exception(), BrokenExecutor)


def test_a_body_may_break_its_executor(executor: ManualExecutor) -> None:
    """As a process that kills itself: its own future and those behind it fail."""
    own, behind = executor.submit(executor.break_pool), executor.submit(int)
    assert executor.run_all() == 1
    assert isinstance(own.exception(), BrokenExecutor)
    assert isinstance(behind.exception(), BrokenExecutor)


def test_a_break_does_not_touch_what_has_ended(executor: ManualExecutor) -> None:
    """A break out of a done-callback leaves the outcome that was called back for."""
    future = executor.submit(int)
    future.add_done_callback(lambda done: executor.break_pool())
    executor.run_next()
    assert future.result() == 0


def test_a_break_does_not_touch_what_the_test_has_ended(executor: ManualExecutor, runner: Runner) -> None:
    """A running future that was driven to its end by hand stays as it is."""
    runner.future.finish("by hand")
    executor.break_pool()
    assert runner.future.result() == "by hand"
    runner.end()
    assert isinstance(runner.raised, InvalidStateError)


# Rejecting.


def test_a_rejection_leaves_nothing_behind(executor: ManualExecutor) -> None:
    """The error is what the interpreter says when it is out of threads; nothing is queued."""
    executor.reject_submissions()
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        executor.submit(int)
    assert list(executor.pending) == []


def test_a_rejection_may_have_a_reason_of_its_own(executor: ManualExecutor) -> None:
    """The error of the test is raised, each time."""
    error = MemoryError()
    executor.reject_submissions(error)
    for _ in range(2):
        with pytest.raises(MemoryError) as caught:
            executor.submit(int)
        assert caught.value is error


def test_a_ghost_runs_although_it_was_rejected(executor: ManualExecutor) -> None:
    """With `after_queueing` the caller hears of a failure, and the body runs nevertheless."""
    heard = list[int]()
    executor.reject_submissions(after_queueing=True)
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        executor.submit(heard.append, 1)
    (ghost,) = executor.pending
    assert executor.run_next() is ghost
    assert heard == [1]


def test_the_librarys_executor_makes_the_same_ghost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `ThreadPoolExecutor` whose thread cannot start raises, and runs the body with a later one."""
    heard = list[int]()
    refusal = RuntimeError("can't start new thread")
    with ThreadPoolExecutor(1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda thread: raise_error(refusal))
            with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
                pool.submit(heard.append, 1)
        pool.submit(heard.append, 2)
    assert heard == [1, 2]


def test_a_rejection_ends(executor: ManualExecutor) -> None:
    """After `accept_submissions` all is as before; the latest word of `reject_submissions` counts."""
    executor.reject_submissions(after_queueing=True)
    executor.reject_submissions(ValueError("no disk"))
    with pytest.raises(ValueError, match="no disk"):
        executor.submit(int)
    executor.accept_submissions()
    future = executor.submit(int)
    assert list(executor.pending) == [future]


# Shut down.


def test_a_cancelling_shutdown_wakes_the_waiters(executor: ManualExecutor) -> None:
    """`done`, `wait` and `as_completed` agree, also about what was cancelled before, and nothing runs."""
    futures = [executor.submit(int), executor.submit(int), executor.submit(int)]
    futures[0].cancel()
    futures[1].finish(3)
    executor.shutdown(wait=False, cancel_futures=True)
    assert are_woken(*futures)
    assert [future.cancelled() for future in futures] == [True, False, True]
    assert executor.ran == 0


def test_a_waiting_shutdown_runs_what_is_queued_here(executor: ManualExecutor) -> None:
    """Nobody else would: the bodies run in the caller's thread."""
    future = executor.submit(threading.current_thread)
    executor.shutdown()
    assert future.result() is threading.current_thread()


def test_what_runs_during_a_shutdown_cannot_submit(executor: ManualExecutor) -> None:
    """A body that wants more gets the library's RuntimeError."""
    future = executor.submit(lambda: executor.submit(int))
    executor.shutdown()
    assert isinstance(future.exception(), RuntimeError)


def test_a_body_may_shut_its_executor_down(executor: ManualExecutor) -> None:
    """It cannot wait for itself, so it waits for the others only."""
    future = executor.submit(executor.shutdown)
    behind = executor.submit(int)
    executor.run_next()
    assert future.exception() is None
    assert behind.done()


def test_a_shutdown_waits_for_other_threads(executor: ManualExecutor, runner: Runner) -> None:
    """What another thread runs has ended, done-callbacks included, when shutdown returns."""
    heard = list[Future[str]]()
    runner.future.add_done_callback(heard.append)
    executor.submit(runner.gate.may_pass.set)
    executor.shutdown()
    assert heard == [runner.future]


def test_a_shutdown_without_waiting_leaves_other_threads(executor: ManualExecutor, runner: Runner) -> None:
    """Without `wait` it returns while another thread is still at work."""
    executor.shutdown(wait=False)
    assert runner.future.running()


def test_a_shutdown_does_not_wait_for_ever() -> None:
    """A body that does not end in another thread is a hang, with its name and its thread's."""
    executor = ManualExecutor(patience=0.001)
    runner = Runner(executor)
    with pytest.raises(Hang, match=r"^hang: waited 0.001 s for Gate#1 to end in thread runner, in vain\n"):
        executor.shutdown()
    runner.end()


# Threads.


def test_a_future_may_be_awaited_in_another_thread(executor: ManualExecutor, runner: Runner) -> None:
    """Where somebody else runs the body, the reader waits for the result."""
    runner.gate.may_pass.set()
    assert runner.future.result(DEFAULT_PATIENCE) == "passed"


def test_each_body_runs_once_whoever_runs_it(executor: ManualExecutor) -> None:
    """Threads that run everything at once share the bodies among them."""
    heard = list[int]()
    for number in range(60):
        executor.submit(heard.append, number)
    with ThreadPoolExecutor(3) as pool:
        counts = [pool.submit(executor.run_all) for _ in range(3)]
    assert sum(count.result() for count in counts) == 60
    assert sorted(heard) == list(range(60))


def test_no_submission_is_lost_between_threads(executor: ManualExecutor) -> None:
    """Threads that submit at once all have their work queued."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(60):
            pool.submit(executor.submit, int)
    assert len({future.name for future in executor.pending}) == 60
