"""Fake futures: as real as real ones, never hanging, and knowing who read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError, as_completed, wait
from pathlib import Path

import pytest

from pytest_littleloops.harness.fake_future import FakeFuture, FakeFutures, StillPending
from pytest_littleloops.harness.patience import Hang

TIMEOUT = 10.0
HERE = Path(__file__).name


@pytest.fixture
def fakes() -> FakeFutures:
    """Give the factory behind the `fake_future` fixture."""
    return FakeFutures(patience=TIMEOUT)


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], object]], threading.Thread]]:
    """Give a function that runs a call in a thread named `reader`, joined when the test ends."""
    threads: list[threading.Thread] = []

    def start(call: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=call, name="reader", daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.fixture
def start_idler() -> Iterator[Callable[[str], None]]:
    """Give a function that starts a thread which lives until the test ends and does nothing."""
    may_end = threading.Event()
    threads: list[threading.Thread] = []

    def start(name: str) -> None:
        thread = threading.Thread(target=may_end.wait, args=(TIMEOUT,), name=name, daemon=True)
        threads.append(thread)
        thread.start()

    yield start
    may_end.set()
    for thread in threads:
        thread.join(TIMEOUT)


def announce_waits(future: Future[int]) -> threading.Event:
    """Give an event that is set once a thread waits inside `future`."""
    is_waiting = threading.Event()
    original = future._condition.wait

    def wait_loudly(timeout: float | None = None) -> bool:
        is_waiting.set()
        return original(timeout)

    future._condition.wait = wait_loudly  # type: ignore[method-assign]
    return is_waiting


# What a real future does, the fake one does. Each of these tests runs on both.


@pytest.fixture(params=[Future, FakeFuture])
def future(request: pytest.FixtureRequest) -> Future[int]:
    """Give a real future and, in a second run, a fake one."""
    made: Future[int] = request.param()
    return made


def test_contract_result_is_what_was_set(future: Future[int]) -> None:
    """A result can be read as often as one likes."""
    future.set_result(7)
    assert (future.result(), future.result(0), future.exception()) == (7, 7, None)


def test_contract_exception_is_raised_and_readable(future: Future[int]) -> None:
    """`result` raises the very exception that `exception` returns."""
    error = ValueError("no disk")
    future.set_exception(error)
    with pytest.raises(ValueError, match="no disk") as caught:
        future.result()
    assert caught.value is error
    assert future.exception() is error


@pytest.mark.parametrize("error", [TimeoutError("the job's own"), CancelledError(), SystemExit(3)])
def test_contract_exotic_exceptions_pass_through(future: Future[int], error: BaseException) -> None:
    """An exception that could be taken for one of the future's own is passed on all the same."""
    future.set_exception(error)
    with pytest.raises(type(error)) as caught:
        future.result(1)
    assert caught.value is error


def test_contract_a_timeout_of_zero_expires_at_once(future: Future[int]) -> None:
    """An unfinished future raises TimeoutError from both readers."""
    with pytest.raises(TimeoutError):
        future.result(0)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)


def test_contract_cancel_before_the_work_begins(future: Future[int]) -> None:
    """A pending future is cancelled, readers hear of it, and the work may not begin."""
    assert future.cancel()
    assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
    with pytest.raises(CancelledError):
        future.result()
    with pytest.raises(CancelledError):
        future.exception()
    assert not future.set_running_or_notify_cancel()


def test_contract_cancel_is_refused_while_running(future: Future[int]) -> None:
    """A running future can no longer be cancelled, and still be finished."""
    assert future.set_running_or_notify_cancel()
    assert not future.cancel()
    assert future.running()
    future.set_result(1)
    assert not future.cancel()


def test_contract_a_second_outcome_is_an_invalid_state(future: Future[int]) -> None:
    """Whatever ends a future for the second time raises InvalidStateError with the state in it."""
    future.set_result(1)
    with pytest.raises(InvalidStateError, match="FINISHED: <"):
        future.set_result(2)
    with pytest.raises(InvalidStateError, match="FINISHED: <"):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_contract_done_callbacks_run_once_in_order(future: Future[int]) -> None:
    """Callbacks hear of the end in the order in which they were added, late ones at once."""
    heard: list[tuple[str, Future[int]]] = []
    future.add_done_callback(lambda ended: heard.append(("first", ended)))
    future.add_done_callback(lambda ended: heard.append(("second", ended)))
    future.set_result(1)
    future.add_done_callback(lambda ended: heard.append(("late", ended)))
    assert heard == [("first", future), ("second", future), ("late", future)]


def test_contract_waiters_agree_with_done(future: Future[int]) -> None:
    """`wait` and `as_completed` know a finished future."""
    future.set_result(1)
    assert wait([future], 0).done == {future}
    assert list(as_completed([future], 0)) == [future]


def test_contract_a_waiting_reader_is_woken(
    future: Future[int], in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """A thread that waits without a timeout gets the result when another thread sets it."""
    is_waiting = announce_waits(future)
    heard: list[int] = []
    reader = in_thread(lambda: heard.append(future.result()))
    assert is_waiting.wait(TIMEOUT)
    future.set_result(7)
    reader.join(TIMEOUT)
    assert heard == [7]


# How the test drives a fake one.


@pytest.mark.parametrize("state", ["pending", "running"])
def test_finish_and_fail_work_before_and_while_it_runs(fakes: FakeFutures, state: str) -> None:
    """A future may be ended from pending as well as from running."""
    make: Callable[[], FakeFuture[int]] = getattr(fakes, state)
    finished, failed = make(), make()
    finished.finish(7)
    failed.fail(ValueError("no disk"))
    assert finished.result() == 7
    with pytest.raises(ValueError, match="no disk"):
        failed.result()


def test_fail_takes_exceptions_only(fakes: FakeFutures) -> None:
    """An exception class, given by mistake, is refused with an example, and nothing has changed."""
    future: FakeFuture[int] = fakes.pending()
    with pytest.raises(TypeError) as caught:
        future.fail(ValueError)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "fail() takes an exception, for example ValueError('no disk'), not <class 'ValueError'>"
    )
    assert not future.done()


@pytest.mark.parametrize("state", ["pending", "running"])
def test_force_cancel_ends_what_runs(fakes: FakeFutures, state: str) -> None:
    """Also a running future is cancelled; callbacks hear of it once, `wait` and `as_completed` agree."""
    make: Callable[[], FakeFuture[int]] = getattr(fakes, state)
    future = make()
    heard: list[bool] = []
    future.add_done_callback(lambda ended: heard.append(ended.cancelled()))
    future.force_cancel()
    assert heard == [True]
    assert future.done()
    assert wait([future], 0).done == {future}
    assert list(as_completed([future], 0)) == [future]
    with pytest.raises(CancelledError):
        future.result()


def test_force_cancel_wakes_who_waits_in_wait(
    fakes: FakeFutures, in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """Somebody who was in `wait` before the cancellation is woken by it."""
    future: FakeFuture[int] = fakes.running()
    is_installed = threading.Event()

    class Announcing(list[object]):
        def append(self, waiter: object) -> None:
            super().append(waiter)
            is_installed.set()

    future._waiters = Announcing()  # type: ignore[assignment]
    done: set[Future[int]] = set()
    waiter = in_thread(lambda: done.update(wait([future], TIMEOUT).done))
    assert is_installed.wait(TIMEOUT)
    future.force_cancel()
    waiter.join(TIMEOUT)
    assert done == {future}


def test_force_cancel_wakes_who_reads(
    fakes: FakeFutures, in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """Somebody who waits in `result` gets CancelledError."""
    future: FakeFuture[int] = fakes.running()
    is_waiting = announce_waits(future)
    heard: list[type[BaseException]] = []

    def read() -> None:
        try:
            future.result()
        except CancelledError as error:
            heard.append(type(error))

    reader = in_thread(read)
    assert is_waiting.wait(TIMEOUT)
    future.force_cancel()
    reader.join(TIMEOUT)
    assert heard == [CancelledError]


def test_force_cancel_after_cancel_tells_the_waiters_only(fakes: FakeFutures) -> None:
    """A future that `cancel` left without waking `wait` is put right; callbacks do not run again."""
    future: FakeFuture[int] = fakes.pending()
    heard: list[Future[int]] = []
    future.add_done_callback(heard.append)
    future.cancel()
    assert not wait([future], 0).done
    future.force_cancel()
    future.force_cancel()
    assert wait([future], 0).done == {future}
    assert heard == [future]


@pytest.mark.parametrize("drive", ["finish", "fail", "force_cancel"])
def test_driving_an_ended_future_raises_what_the_real_one_does(fakes: FakeFutures, drive: str) -> None:
    """A second outcome of any kind is refused in the words of the standard library."""
    future: FakeFuture[int] = fakes.resolved(1)
    drives: dict[str, Callable[[], None]] = {
        "finish": lambda: future.finish(2),
        "fail": lambda: future.fail(ValueError()),
        "force_cancel": future.force_cancel,
    }
    with pytest.raises(InvalidStateError) as caught:
        drives[drive]()
    assert str(caught.value) == f"FINISHED: {future!r}"
    assert future.result() == 1


def test_finishing_a_cancelled_future_is_an_invalid_state(fakes: FakeFutures) -> None:
    """The work's result comes too late for a cancelled future, as for a real one."""
    future: FakeFuture[int] = fakes.cancelled()
    with pytest.raises(InvalidStateError, match="CANCELLED_AND_NOTIFIED"):
        future.finish(1)


# Reading an unfinished one.


def test_reading_from_the_only_thread_raises_still_pending(fakes: FakeFutures) -> None:
    """Instead of hanging, the reader is told what to do first; no time passes."""
    future: FakeFuture[int] = fakes.pending("the worker's future")
    with pytest.raises(StillPending) as caught:
        future.result()
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "future the worker's future is pending and no other thread is alive that could finish it"
    )
    name = threading.current_thread().name
    assert lines[1].startswith(f"  read by {name} at {HERE}:")
    assert lines[1].endswith(" in test_reading_from_the_only_thread_raises_still_pending")
    assert lines[2].startswith("  threads from before it was made, which do not count: ")
    assert lines[3:] == [
        "  next step: call finish(), fail() or force_cancel() first, or read it from another thread"
    ]


def test_still_pending_says_running_of_a_running_one(fakes: FakeFutures) -> None:
    """Also `exception` refuses, and the message knows the state."""
    future: FakeFuture[int] = fakes.running()
    with pytest.raises(StillPending, match=r"^future future-1 is running and no other thread"):
        future.exception()


def test_still_pending_is_no_outcome_of_a_future() -> None:
    """Code that handles timeouts and cancellations does not take it for one of these."""
    assert not issubclass(StillPending, TimeoutError | CancelledError)
    assert issubclass(StillPending, AssertionError)


def test_a_timeout_that_can_bring_nothing_expires_at_once(fakes: FakeFutures) -> None:
    """With a timeout the only thread gets its TimeoutError now instead of in an hour."""
    future: FakeFuture[int] = fakes.pending()
    with pytest.raises(TimeoutError):
        future.result(3600)
    with pytest.raises(TimeoutError):
        future.exception(3600)


def test_threads_from_before_do_not_count(start_idler: Callable[[str], None]) -> None:
    """A thread that lived before the future was made is not expected to finish it, and named."""
    start_idler("bystander")
    future: FakeFuture[int] = FakeFutures(patience=TIMEOUT).pending()
    with pytest.raises(StillPending, match=r"which do not count: .*bystander"):
        future.result()


def test_a_lone_future_knows_the_threads_from_before_it_was_made(
    start_idler: Callable[[str], None],
) -> None:
    """A future made without the factory takes its own moment as the beginning."""
    start_idler("bystander")
    with pytest.raises(StillPending, match=r"^future fake future is pending"):
        FakeFuture[int]().result()


def test_who_made_it_may_finish_it(
    fakes: FakeFutures, in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """A thread that reads waits for the test's own thread, though that lived before the future."""
    future: FakeFuture[int] = fakes.pending()
    is_waiting = announce_waits(future)
    heard: list[int] = []
    reader = in_thread(lambda: heard.append(future.result()))
    assert is_waiting.wait(TIMEOUT)
    future.finish(7)
    reader.join(TIMEOUT)
    assert heard == [7]


def test_a_wait_for_a_living_thread_is_bounded(start_idler: Callable[[str], None]) -> None:
    """If another thread might finish it and does not, the reader gets Hang after `patience`."""
    futures = FakeFutures(patience=0)
    future: FakeFuture[int] = futures.pending()
    start_idler("idler")
    with pytest.raises(Hang, match=r"^hang: waited 0 s for the result of future-1, in vain"):
        future.result()
    with pytest.raises(Hang, match=r"^hang: waited 0 s for the exception of future-1, in vain"):
        future.exception(3600)


def test_a_short_timeout_is_waited_for(fakes: FakeFutures, start_idler: Callable[[str], None]) -> None:
    """While somebody could finish it, a timeout below `patience` expires as on a real future."""
    future: FakeFuture[int] = fakes.pending()
    start_idler("idler")
    with pytest.raises(TimeoutError):
        future.result(0.001)


def test_a_result_that_comes_as_patience_ends_counts(start_idler: Callable[[str], None]) -> None:
    """A future that ends in the very moment in which the wait expires is read, not called a hang."""
    future: FakeFuture[int] = FakeFutures(patience=0).pending()
    start_idler("idler")

    asked: list[bool] = []
    is_done = future.done

    def done() -> bool:
        if asked:
            future.set_result(7)
        asked.append(True)
        return is_done()

    future.done = done  # type: ignore[method-assign]
    assert future.result() == 7
    assert len(asked) == 2


def test_a_timeout_error_of_the_work_is_no_hang(
    fakes: FakeFutures, in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """A waiting reader gets the TimeoutError that the future failed with."""
    error = TimeoutError("the work's own")
    future: FakeFuture[int] = fakes.pending()
    is_waiting = announce_waits(future)
    heard: list[BaseException] = []

    def read() -> None:
        try:
            future.result()
        except TimeoutError as caught:
            heard.append(caught)

    reader = in_thread(read)
    assert is_waiting.wait(TIMEOUT)
    future.fail(error)
    reader.join(TIMEOUT)
    assert heard == [error]


# Who read it.


def test_reads_tell_who_read_where_and_what_came_of_it(fakes: FakeFutures) -> None:
    """Each reading is recorded in order, with its thread, its line and its function."""
    error = ValueError("no disk")
    future: FakeFuture[int] = fakes.failed(error)
    assert future.exception() is error
    with pytest.raises(ValueError, match="no disk"):
        future.result()
    assert [(read.method, read.raised) for read in future.reads] == [("exception", None), ("result", error)]
    for read in future.reads:
        assert read.reader == threading.current_thread().name
        assert read.where.startswith(f"{HERE}:")
        assert read.where.endswith(" in test_reads_tell_who_read_where_and_what_came_of_it")


def test_reads_tell_the_thread(
    fakes: FakeFutures, in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """A reading in another thread is told from one in the test's."""
    future: FakeFuture[int] = fakes.resolved(7)
    in_thread(lambda: future.result()).join(TIMEOUT)
    assert [read.reader for read in future.reads] == ["reader"]


def test_reads_include_refusals(fakes: FakeFutures) -> None:
    """A reading that would have hung is recorded with the StillPending that it got."""
    future: FakeFuture[int] = fakes.pending()
    with pytest.raises(StillPending) as caught:
        future.result()
    assert [read.raised for read in future.reads] == [caught.value]


def test_where_passes_over_the_standard_library(fakes: FakeFutures) -> None:
    """What `concurrent.futures` reads on somebody's behalf is told as that somebody's reading."""
    future: FakeFuture[int] = fakes.resolved(7)

    def handle_completion(ended: Future[int]) -> None:
        ended.result()

    future.add_done_callback(handle_completion)
    assert [read.where.partition(" in ")[2] for read in future.reads] == ["handle_completion"]


def test_asking_for_the_state_is_no_reading(fakes: FakeFutures) -> None:
    """Only `result` and `exception` are recorded; `wait` and `done` leave no trace."""
    future: FakeFuture[int] = fakes.resolved(7)
    wait([future], 0)
    assert future.done()
    assert future.reads == ()


def test_reads_of_many_threads_are_all_there(
    fakes: FakeFutures, in_thread: Callable[[Callable[[], object]], threading.Thread]
) -> None:
    """No reading is lost when threads read at once."""
    future: FakeFuture[int] = fakes.resolved(7)
    barrier = threading.Barrier(4)

    def read() -> None:
        barrier.wait(TIMEOUT)
        for _ in range(25):
            future.result()

    for thread in [in_thread(read) for _ in range(4)]:
        thread.join(TIMEOUT)
    assert len(future.reads) == 100


# The factory.


def test_factory_makes_each_state(fakes: FakeFutures) -> None:
    """Every maker gives a future in the state of its name."""
    made: list[FakeFuture[int]] = [
        fakes.pending(),
        fakes.running(),
        fakes.resolved(7),
        fakes.failed(ValueError()),
        fakes.cancelled(),
    ]
    states = [(one.running(), one.done(), one.cancelled()) for one in made]
    assert states == [
        (False, False, False),
        (True, False, False),
        (False, True, False),
        (False, True, False),
        (False, True, True),
    ]


def test_factory_makes_states_that_waiters_know(fakes: FakeFutures) -> None:
    """`wait` and `as_completed` return at once for all that are done, the cancelled one too."""
    done: list[FakeFuture[int]] = [fakes.resolved(7), fakes.failed(ValueError()), fakes.cancelled()]
    assert wait(done, 0).done == set(done)
    assert set(as_completed(done, 0)) == set(done)


def test_factory_remembers_all_it_made(fakes: FakeFutures) -> None:
    """`all` has every future in order; they are numbered unless they got a name."""
    first: FakeFuture[int] = fakes.pending()
    named: FakeFuture[str] = fakes.resolved("x", "BUG-229")
    second: FakeFuture[int] = fakes.cancelled()
    assert list(fakes.all) == [first, named, second]
    assert [one.name for one in fakes.all] == ["future-1", "BUG-229", "future-2"]


def test_factory_fails_with_exceptions_only(fakes: FakeFutures) -> None:
    """A mistaken exception makes no future at all."""
    with pytest.raises(TypeError, match=r"^failed\(\) takes an exception, .*, not 'no disk'$"):
        fakes.failed("no disk")  # type: ignore[arg-type]
    assert fakes.all == ()
