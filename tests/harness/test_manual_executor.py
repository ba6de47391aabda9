"""The manual executor: it does what a thread pool does, only when the test says."""

from __future__ import annotations

import logging
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
from dataclasses import dataclass

import pytest

from pytest_littleloops.harness import manual_executor
from pytest_littleloops.harness.fake_future import StillPending
from pytest_littleloops.harness.manual_executor import ManualExecutor
from pytest_littleloops.harness.patience import Hang

TIMEOUT = 10.0


def body(value: int = 7) -> int:
    """Return what it is given."""
    return value


def raise_error(error: BaseException) -> int:
    """Raise what it is given."""
    raise error


# What a pool of one thread does, the manual executor does. Each of these tests runs on both.


@dataclass(frozen=True)
class Driven:
    """An executor, and what has to be called until all it was given has run."""

    executor: Executor
    run_all: Callable[[], object]


@pytest.fixture(params=["ThreadPoolExecutor", "ManualExecutor"])
def driven(request: pytest.FixtureRequest) -> Iterator[Driven]:
    """Give a pool of one real thread and, in a second run, a manual executor.

    The thread is kept busy until `run_all`, so that also there nothing has run before.
    """
    if request.param == "ManualExecutor":
        manual = ManualExecutor()
        yield Driven(manual, manual.run_all)
        return
    gate = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(gate.wait, TIMEOUT)

        def run_all() -> None:
            gate.set()
            # One thread runs in order, so all before this one has run then. None can follow a shutdown.
            try:
                threads.submit(body).result(TIMEOUT)
            except RuntimeError:
                threads.shutdown()

        yield Driven(threads, run_all)
        gate.set()


def test_contract_submit_runs_nothing_before_its_turn(driven: Driven) -> None:
    """A submitted body waits; its future is pending."""
    ran: list[int] = []
    future = driven.executor.submit(ran.append, 1)
    assert (ran, future.done(), future.running()) == ([], False, False)
    driven.run_all()
    assert ran == [1]


def test_contract_results_and_arguments_arrive(driven: Driven) -> None:
    """Positional and keyword arguments reach the body, its value reaches the future."""
    futures = [driven.executor.submit(body), driven.executor.submit(body, value=8)]
    driven.run_all()
    assert [future.result(0) for future in futures] == [7, 8]


def test_contract_bodies_run_in_the_order_of_submission(driven: Driven) -> None:
    """First in, first out."""
    ran: list[int] = []
    for number in range(5):
        driven.executor.submit(ran.append, number)
    driven.run_all()
    assert ran == list(range(5))


@pytest.mark.parametrize(
    "error", [ValueError("no disk"), SystemExit(3), KeyboardInterrupt(), CancelledError(), StopIteration()]
)
def test_contract_what_a_body_raises_goes_to_its_future(driven: Driven, error: BaseException) -> None:
    """Any exception ends the future and nothing else; the next body runs."""
    failed, later = driven.executor.submit(raise_error, error), driven.executor.submit(body)
    driven.run_all()
    assert failed.exception(0) is error
    assert later.result(0) == 7


def test_contract_a_body_sees_its_future_running(driven: Driven) -> None:
    """While a body runs its future says so, and cannot be cancelled."""
    seen: list[tuple[bool, bool]] = []
    future: Future[None] = driven.executor.submit(lambda: seen.append((future.running(), future.cancel())))
    driven.run_all()
    assert seen == [(True, False)]


def test_contract_a_cancelled_body_does_not_run(driven: Driven) -> None:
    """Its turn comes, its waiters wake, its body is passed over."""
    ran: list[int] = []
    future = driven.executor.submit(ran.append, 1)
    assert future.cancel()
    assert not wait([future], 0).done
    driven.run_all()
    assert ran == []
    assert wait([future], 0).done == {future}


def test_contract_done_callbacks_run_where_the_body_ran(driven: Driven) -> None:
    """A callback is called once, by whoever ran the body."""
    threads: list[threading.Thread] = []
    future = driven.executor.submit(lambda: threads.append(threading.current_thread()))
    future.add_done_callback(lambda ended: threads.append(threading.current_thread()))
    driven.run_all()
    assert len(threads) == 2
    assert threads[0] is threads[1]


def test_contract_an_exception_of_a_done_callback_is_logged(
    driven: Driven, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs neither the future nor the bodies behind it anything."""
    future, later = driven.executor.submit(body), driven.executor.submit(body)
    future.add_done_callback(lambda ended: raise_error(ValueError("no disk")))
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        driven.run_all()
    assert [future.result(0), later.result(0)] == [7, 7]
    assert "exception calling callback" in caplog.text


def test_contract_work_submitted_by_a_body_runs_too(driven: Driven) -> None:
    """A body may submit to its own executor."""
    ran: list[str] = []

    def parent() -> None:
        ran.append("parent")
        driven.executor.submit(ran.append, "child")

    driven.executor.submit(parent)
    driven.run_all()
    driven.run_all()
    assert ran == ["parent", "child"]


def test_contract_shutdown_runs_what_is_queued(driven: Driven) -> None:
    """Without cancellation a shutdown drops nothing, and nothing more is accepted."""
    future = driven.executor.submit(body)
    driven.executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        driven.executor.submit(body)
    driven.run_all()
    assert future.result(0) == 7


def test_contract_shutdown_may_be_repeated(driven: Driven) -> None:
    """A second shutdown changes nothing."""
    driven.executor.shutdown(wait=False)
    driven.executor.shutdown(wait=False, cancel_futures=True)
    driven.run_all()


def test_contract_shutdown_cancels_what_is_queued(driven: Driven) -> None:
    """With `cancel_futures` the queued futures are cancelled and their bodies never run."""
    ran: list[int] = []
    future = driven.executor.submit(ran.append, 1)
    driven.executor.shutdown(wait=False, cancel_futures=True)
    assert future.cancelled()
    driven.run_all()
    assert ran == []


def test_contract_map_gives_results_in_order(driven: Driven) -> None:
    """`map` is built on `submit`, so it works on both."""
    results = driven.executor.map(body, [1, 2, 3], timeout=TIMEOUT)
    driven.run_all()
    assert list(results) == [1, 2, 3]


# What the manual executor adds.


@pytest.fixture
def executor() -> ManualExecutor:
    """Give the executor behind the `manual_executor` fixture."""
    return ManualExecutor(patience=TIMEOUT)


def test_run_next_runs_one_body_in_the_calling_thread(executor: ManualExecutor) -> None:
    """One call, one body, here; the future it ran is returned."""
    future = executor.submit(threading.current_thread)
    later = executor.submit(body)
    assert executor.run_next() is future
    assert future.result() is threading.current_thread()
    assert not later.done()


def test_pending_shows_the_queue_in_order(executor: ManualExecutor) -> None:
    """What has not had its turn is pending, also what was cancelled meanwhile."""
    futures = [executor.submit(body) for _ in range(3)]
    futures[1].cancel()
    assert list(executor.pending) == futures
    executor.run_next()
    assert list(executor.pending) == futures[1:]


def test_ran_counts_bodies(executor: ManualExecutor) -> None:
    """Bodies that began are counted; futures that ended without theirs are not."""
    for _ in range(4):
        executor.submit(body)
    executor.run_next()
    executor.fail_next(ValueError())
    executor.cancel_next()
    assert executor.ran == 1
    assert executor.run_all() == 1
    assert executor.ran == 2


def test_run_next_passes_over_what_was_cancelled(executor: ManualExecutor) -> None:
    """The next live body runs; the waiters of those before it are woken."""
    cancelled, live = executor.submit(body), executor.submit(body)
    cancelled.cancel()
    assert executor.run_next() is live
    assert live.result() == 7
    assert wait([cancelled], 0).done == {cancelled}


def test_run_next_gives_the_cancelled_one_if_there_is_no_other(executor: ManualExecutor) -> None:
    """A queue of cancelled work only is no error: its last future is returned, its waiters woken."""
    first, last = executor.submit(body), executor.submit(body)
    first.cancel()
    last.cancel()
    assert executor.run_next() is last
    assert wait([first, last], 0).done == {first, last}
    assert executor.pending == ()


@pytest.mark.parametrize("method", ["run_next", "fail_next", "cancel_next"])
def test_nothing_pending_is_a_lookup_error(executor: ManualExecutor, method: str) -> None:
    """The message says what was asked, what has happened so far, and what to do."""
    ends: dict[str, Callable[[], object]] = {
        "run_next": executor.run_next,
        "fail_next": lambda: executor.fail_next(ValueError()),
        "cancel_next": executor.cancel_next,
    }
    executor.submit(body)
    executor.run_next()
    with pytest.raises(LookupError) as caught:
        ends[method]()
    assert str(caught.value) == (
        f"{method}() has nothing to end: nothing is queued in this executor\n"
        "  bodies run so far: 1\n"
        "  next step: submit first; executor.pending shows what is queued"
    )


def test_run_all_counts_what_it_ran(executor: ManualExecutor) -> None:
    """Also what bodies submitted meanwhile is run and counted; cancelled work is not."""
    executor.submit(lambda: executor.submit(body))
    executor.submit(body).cancel()
    assert executor.run_all() == 2
    assert executor.run_all() == 0


def test_run_all_gives_up_on_bodies_without_end(
    executor: ManualExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies that submit each other for ever are a failure, not a hang."""
    monkeypatch.setattr(manual_executor, "_MOST_BODIES", 3)

    def again() -> None:
        executor.submit(again)

    again()
    with pytest.raises(AssertionError) as caught:
        executor.run_all()
    assert str(caught.value) == (
        "run_all() ran 3 bodies and there are more: they seem to submit each other\n"
        "  still queued: 1\n"
        "  next step: call run_next() as often as the test needs"
    )


def test_run_all_may_run_as_many_as_there_are(
    executor: ManualExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is on what is left after it, not on a queue of just that length."""
    monkeypatch.setattr(manual_executor, "_MOST_BODIES", 3)
    for _ in range(3):
        executor.submit(body)
    assert executor.run_all() == 3


def test_fail_next_fails_without_running(executor: ManualExecutor) -> None:
    """The future fails as if the worker had died over it."""
    ran: list[int] = []
    future = executor.submit(ran.append, 1)
    error = OSError("no memory")
    assert executor.fail_next(error) is future
    assert (future.exception(), ran) == (error, [])


def test_fail_next_takes_exceptions_only(executor: ManualExecutor) -> None:
    """A mistaken argument costs no future its turn."""
    future = executor.submit(body)
    with pytest.raises(TypeError, match=r"^fail_next\(\) takes an exception"):
        executor.fail_next("no memory")  # type: ignore[arg-type]
    assert executor.pending == (future,)


def test_cancel_next_wakes_the_waiters(executor: ManualExecutor) -> None:
    """`done`, `wait` and `as_completed` agree about it, and callbacks hear of it once."""
    future = executor.submit(body)
    heard: list[bool] = []
    future.add_done_callback(lambda ended: heard.append(ended.cancelled()))
    assert executor.cancel_next() is future
    assert heard == [True]
    assert wait([future], 0).done == {future}
    assert list(as_completed([future], 0)) == [future]
    assert executor.ran == 0


def test_reading_what_nobody_can_run_names_the_next_step(executor: ManualExecutor) -> None:
    """The only thread is told to run it first, instead of waiting for itself."""
    future = executor.submit(body)
    with pytest.raises(StillPending) as caught:
        future.result()
    assert str(caught.value).startswith("future body#1 is pending and no other thread is alive")
    assert str(caught.value).endswith(
        "  next step: let the executor end it first: run_next(), run_all(), fail_next() or cancel_next()"
    )


def test_a_done_callback_that_exits_leaves_run_next(executor: ManualExecutor) -> None:
    """What would end a worker thread is shown to the test; the executor stays usable."""
    future, later = executor.submit(body), executor.submit(body)
    future.add_done_callback(lambda ended: raise_error(SystemExit(3)))
    with pytest.raises(SystemExit):
        executor.run_next()
    assert future.result() == 7
    executor.shutdown()
    assert later.result() == 7


def test_a_future_that_was_ended_by_force_is_an_invalid_state(executor: ManualExecutor) -> None:
    """As on a worker thread, the body's own outcome comes too late, and the test sees it."""
    future: Future[None] = executor.submit(lambda: future.set_exception(ValueError()))
    with pytest.raises(InvalidStateError):
        executor.run_next()


def test_break_pool_fails_all_that_is_queued(executor: ManualExecutor) -> None:
    """Every future fails with an exception of its own, no body runs, cancelled ones stay so."""
    futures = [executor.submit(body) for _ in range(3)]
    futures[1].cancel()
    executor.break_pool()
    first, last = futures[0].exception(), futures[2].exception()
    assert isinstance(first, BrokenExecutor)
    assert str(first) == "the executor is broken: one of its workers died"
    assert isinstance(last, BrokenExecutor)
    assert first is not last
    assert wait(futures, 0).done == set(futures)
    assert (executor.pending, executor.ran) == ((), 0)


def test_break_pool_refuses_later_submissions(executor: ManualExecutor) -> None:
    """A broken executor stays broken, whatever else it was told."""
    executor.break_pool()
    executor.accept_submissions()
    executor.shutdown()
    with pytest.raises(BrokenExecutor, match=r"^the executor is broken: one of its workers died$"):
        executor.submit(body)


def test_break_pool_takes_the_error_to_break_with(executor: ManualExecutor) -> None:
    """A given exception is what futures and submissions get."""
    error = BrokenExecutor("out of memory")
    future = executor.submit(body)
    executor.break_pool(error)
    assert future.exception() is error
    with pytest.raises(BrokenExecutor, match="out of memory"):
        executor.submit(body)
    with pytest.raises(TypeError, match=r"^break_pool\(\) takes an exception"):
        executor.break_pool("again")  # type: ignore[arg-type]


def test_break_pool_from_inside_a_body_fails_it_too(executor: ManualExecutor) -> None:
    """What the running body then returns reaches nobody."""
    future = executor.submit(executor.break_pool)
    later = executor.submit(body)
    executor.run_next()
    assert isinstance(future.exception(), BrokenExecutor)
    assert isinstance(later.exception(), BrokenExecutor)


def test_break_pool_from_a_callback_leaves_the_ended_alone(executor: ManualExecutor) -> None:
    """A future that has its outcome keeps it, though its callbacks still run."""
    future, later = executor.submit(body), executor.submit(body)
    future.add_done_callback(lambda ended: executor.break_pool())
    executor.run_next()
    assert future.result() == 7
    assert isinstance(later.exception(), BrokenExecutor)


def test_break_pool_fails_all_although_a_callback_exits(executor: ManualExecutor) -> None:
    """The first exit of a callback is raised when every future has failed."""
    futures = [executor.submit(body) for _ in range(3)]
    for future, code in zip(futures, (None, 3, 4), strict=True):
        if code is not None:
            future.add_done_callback(lambda ended, code=code: raise_error(SystemExit(code)))  # type: ignore[misc]
    with pytest.raises(SystemExit) as caught:
        executor.break_pool()
    assert caught.value.code == 3
    assert wait(futures, 0).done == set(futures)


def test_reject_submissions_raises_and_queues_nothing(executor: ManualExecutor) -> None:
    """By default it says what the interpreter says when there are too many threads."""
    executor.reject_submissions()
    with pytest.raises(RuntimeError, match=r"^can't start new thread$"):
        executor.submit(body)
    assert executor.pending == ()


def test_reject_submissions_raises_what_it_was_given(executor: ManualExecutor) -> None:
    """Any exception will do, a BaseException too; what is none is refused."""
    executor.reject_submissions(KeyboardInterrupt("ctrl-c"))
    with pytest.raises(KeyboardInterrupt, match="ctrl-c"):
        executor.submit(body)
    with pytest.raises(TypeError, match=r"^reject_submissions\(\) takes an exception"):
        executor.reject_submissions(ValueError)  # type: ignore[arg-type]


def test_reject_submissions_after_queueing_leaves_a_ghost(executor: ManualExecutor) -> None:
    """The caller is refused, and the body runs later all the same."""
    ran: list[int] = []
    executor.reject_submissions(after_queueing=True)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        executor.submit(ran.append, 1)
    assert len(executor.pending) == 1
    executor.run_next()
    assert ran == [1]


def test_accept_submissions_ends_the_rejection(executor: ManualExecutor) -> None:
    """The executor is as before."""
    executor.reject_submissions(after_queueing=True)
    executor.accept_submissions()
    executor.submit(body)
    assert len(executor.pending) == 1


def test_shutdown_runs_what_is_pending_here(executor: ManualExecutor) -> None:
    """It waits, so it has to run it: nobody else could."""
    future = executor.submit(threading.current_thread)
    executor.shutdown()
    assert future.result() is threading.current_thread()


def test_shutdown_without_waiting_leaves_the_work_to_the_test(executor: ManualExecutor) -> None:
    """What is pending stays pending and may still be run."""
    future = executor.submit(body)
    executor.shutdown(wait=False)
    assert executor.pending == (future,)
    assert executor.run_next() is future


def test_shutdown_that_cancels_wakes_the_waiters(executor: ManualExecutor) -> None:
    """Unlike the standard library's (cpython #109934), so that a pool's own loss is seen, not this one.

    Also one that was cancelled before is put right.
    """
    futures = [executor.submit(body) for _ in range(2)]
    futures[0].cancel()
    executor.shutdown(cancel_futures=True)
    assert wait(futures, 0).done == set(futures)
    assert executor.ran == 0


def test_leaving_the_with_block_shuts_down() -> None:
    """It is a context manager as every executor, and runs what was submitted inside."""
    with ManualExecutor() as executor:
        future = executor.submit(body)
    assert future.result() == 7
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(body)


def test_shutdown_from_inside_a_body_does_not_wait_for_itself(executor: ManualExecutor) -> None:
    """What is queued behind it is run by it."""
    future, later = executor.submit(executor.shutdown), executor.submit(body)
    assert executor.run_all() == 1
    assert (future.result(), later.result()) == (None, 7)


@pytest.fixture
def running_elsewhere() -> Iterator[Callable[[ManualExecutor], threading.Event]]:
    """Give a function that has another thread run a body which lasts until the event it gives is set."""
    threads: list[threading.Thread] = []
    gates: list[threading.Event] = []

    def run(executor: ManualExecutor) -> threading.Event:
        has_begun, gate = threading.Event(), threading.Event()

        def last() -> None:
            has_begun.set()
            assert gate.wait(TIMEOUT)

        executor.submit(last)
        thread = threading.Thread(target=executor.run_next, name="runner", daemon=True)
        threads.append(thread)
        gates.append(gate)
        thread.start()
        assert has_begun.wait(TIMEOUT)
        return gate

    yield run
    for gate, thread in zip(gates, threads, strict=True):
        gate.set()
        thread.join(TIMEOUT)


def test_shutdown_waits_for_what_another_thread_runs(
    executor: ManualExecutor, running_elsewhere: Callable[[ManualExecutor], threading.Event]
) -> None:
    """It returns when that body and its callbacks have ended, not before."""
    gate = running_elsewhere(executor)
    heard: list[str] = []
    executor.submit(gate.set).add_done_callback(lambda ended: heard.append("here"))
    executor._running[0].future.add_done_callback(lambda ended: heard.append("there"))
    executor.shutdown()
    assert sorted(heard) == ["here", "there"]


def test_shutdown_waits_no_longer_than_patience(
    running_elsewhere: Callable[[ManualExecutor], threading.Event],
) -> None:
    """A body that does not end is a failure that says whose it is and who runs it."""
    executor = ManualExecutor(patience=0)
    running_elsewhere(executor)
    with pytest.raises(Hang, match=r"^hang: waited 0 s for last#1 to end, which runner runs, in vain"):
        executor.shutdown()
    executor.shutdown(wait=False)


def test_break_pool_reaches_what_another_thread_runs(
    executor: ManualExecutor, running_elsewhere: Callable[[ManualExecutor], threading.Event]
) -> None:
    """The running future fails at once; its body ends later and tells nobody."""
    gate = running_elsewhere(executor)
    future = executor._running[0].future
    executor.break_pool()
    assert isinstance(future.exception(0), BrokenExecutor)
    gate.set()
    executor.shutdown()
    assert isinstance(future.exception(0), BrokenExecutor)


def test_threads_that_run_at_once_share_the_work(executor: ManualExecutor) -> None:
    """Each body runs in one of the threads, once."""
    ran: list[int] = []
    for number in range(50):
        executor.submit(ran.append, number)
    threads = [threading.Thread(target=executor.run_all, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(ran) == list(range(50))
    assert executor.ran == 50
