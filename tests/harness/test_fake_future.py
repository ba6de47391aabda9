"""A fake future is a real one that the test drives, that tells its readers, and never hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import (
    CancelledError,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    as_completed,
    wait,
)

import pytest

from pytest_littleloops.harness.fakes.fake_future import (
    FakeFuture,
    FakeFutures,
    Finishers,
    FutureRead,
    StillPending,
    require_exception,
)
from pytest_littleloops.harness.ledger import Ledger
from pytest_littleloops.harness.patience import DEFAULT_PATIENCE, Hang
from pytest_littleloops.reference.model import Issue, WorkerResult

Kind = type[Future[int]]
both_kinds = pytest.mark.parametrize("kind", [Future, FakeFuture], ids=lambda kind: kind.__name__)
both_reads = pytest.mark.parametrize("method", ["result", "exception"])


class AnnouncedCondition(threading.Condition):
    """Says when somebody waits, before the lock is free: whoever takes the lock then finds the waiter."""

    def __init__(self) -> None:
        super().__init__()
        self.has_waiter = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Announce, then wait."""
        self.has_waiter.set()
        return super().wait(timeout)


class Reader:
    """A thread that reads a future, and keeps what came of it."""

    def __init__(self, future: Future[int], method: str = "result", timeout: float | None = None) -> None:
        condition = AnnouncedCondition()
        future._condition = condition
        self._read: Callable[[float | None], object] = getattr(future, method)
        self._timeout = timeout
        self.returned: object = None
        self.raised: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="reader", daemon=True)
        self.thread.start()
        assert condition.has_waiter.wait(DEFAULT_PATIENCE)

    def _run(self) -> None:
        try:
            self.returned = self._read(self._timeout)
        except BaseException as error:
            self.raised = error

    def join(self) -> Reader:
        """Wait until the read has ended."""
        self.thread.join(DEFAULT_PATIENCE)
        assert not self.thread.is_alive()
        return self


@pytest.fixture
def fakes() -> FakeFutures:
    """A factory, as the fixture `fake_future` gives it."""
    return FakeFutures()


@pytest.fixture
def other_thread() -> Iterator[Callable[[], threading.Thread]]:
    """Starts threads that live until the test ends."""
    may_go = threading.Event()
    threads: list[threading.Thread] = []

    def start() -> threading.Thread:
        thread = threading.Thread(target=may_go.wait, args=(DEFAULT_PATIENCE,), name="other", daemon=True)
        thread.start()
        threads.append(thread)
        return thread

    yield start
    may_go.set()
    for thread in threads:
        thread.join(DEFAULT_PATIENCE)


def waiters_agree(future: Future[int]) -> bool:
    """True if `wait` and `as_completed` return a future that is done."""
    done = wait([future], timeout=0).done
    return future.done() and done == {future} and list(as_completed([future], timeout=0)) == [future]


# What holds for the real thing and for the fake.


@both_kinds
def test_a_result_is_given_to_readers(kind: Kind) -> None:
    """A finished future returns its result, has no exception, and is done."""
    future = kind()
    future.set_running_or_notify_cancel()
    future.set_result(3)
    assert (future.result(), future.exception()) == (3, None)
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)


@both_kinds
@pytest.mark.parametrize("error", [ValueError("no disk"), SystemExit(2), TimeoutError("its own")], ids=repr)
def test_an_exception_is_raised_to_readers(kind: Kind, error: BaseException) -> None:
    """A failed future raises what it was given, whatever that is."""
    future = kind()
    future.set_exception(error)
    assert future.exception() is error
    with pytest.raises(type(error)) as caught:
        future.result(timeout=5)
    assert caught.value is error


@both_kinds
@both_reads
def test_a_cancelled_future_raises_to_readers(kind: Kind, method: str) -> None:
    """Both ways of reading a cancelled future raise CancelledError."""
    future = kind()
    assert (future.cancel(), future.cancel()) == (True, True)
    with pytest.raises(CancelledError):
        getattr(future, method)()


@both_kinds
def test_a_running_future_is_not_cancelled(kind: Kind) -> None:
    """Once the work has begun, and after it has ended, `cancel` is refused."""
    future = kind()
    future.set_running_or_notify_cancel()
    assert not future.cancel()
    future.set_result(1)
    assert not future.cancel()
    assert future.result() == 1


@both_kinds
@both_reads
def test_no_time_is_a_timeout(kind: Kind, method: str) -> None:
    """With a timeout of 0 an unfinished future raises TimeoutError."""
    with pytest.raises(TimeoutError):
        getattr(kind(), method)(timeout=0)


@both_kinds
def test_callbacks_run_once_in_order_also_late_ones(kind: Kind) -> None:
    """Each done-callback gets the future, at the end or at once if that has passed."""
    future, heard = kind(), list[tuple[str, Future[int]]]()
    future.add_done_callback(lambda done: heard.append(("first", done)))
    future.add_done_callback(lambda done: heard.append(("second", done)))
    future.set_result(1)
    future.add_done_callback(lambda done: heard.append(("late", done)))
    assert heard == [("first", future), ("second", future), ("late", future)]


@both_kinds
def test_a_callback_that_fails_is_logged(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """An `Exception` of a done-callback stops nobody."""
    future, heard = kind(), list[Future[int]]()

    def fail(done: Future[int]) -> None:
        raise ValueError("no disk")

    future.add_done_callback(fail)
    future.add_done_callback(heard.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.set_result(1)
    assert heard == [future]
    assert "exception calling callback" in caplog.text


@both_kinds
def test_a_callback_that_exits_reaches_who_ended_the_future(kind: Kind) -> None:
    """A `BaseException` of a done-callback leaves the call that gave the result."""
    future = kind()

    def leave(done: Future[int]) -> None:
        raise SystemExit(2)

    future.add_done_callback(leave)
    with pytest.raises(SystemExit):
        future.set_result(1)
    assert future.result() == 1


@both_kinds
@both_reads
def test_a_waiting_reader_gets_what_comes(kind: Kind, method: str) -> None:
    """A reader in another thread sleeps until the future ends."""
    future = kind()
    reader = Reader(future, method)
    future.set_result(3)
    assert reader.join().raised is None
    assert reader.returned == (3 if method == "result" else None)


@both_kinds
@both_reads
def test_a_waiting_reader_hears_of_a_cancellation(kind: Kind, method: str) -> None:
    """`cancel` wakes who waits in `result` or `exception`."""
    future = kind()
    reader = Reader(future, method, timeout=DEFAULT_PATIENCE)
    future.cancel()
    assert isinstance(reader.join().raised, CancelledError)


@both_kinds
def test_a_waiting_reader_gets_a_timeout_that_is_the_outcome(kind: Kind) -> None:
    """Work that fails with a TimeoutError is not taken for a wait that was too short."""
    future, error = kind(), TimeoutError("of the work")
    reader = Reader(future)
    future.set_exception(error)
    assert reader.join().raised is error


@both_kinds
def test_time_runs_out_for_a_waiting_reader(kind: Kind) -> None:
    """A reader with a timeout gets its TimeoutError when nothing comes."""
    assert isinstance(Reader(kind(), timeout=0.001).join().raised, TimeoutError)


@both_kinds
@pytest.mark.parametrize("how", ["set_result", "set_exception", "set_running_or_notify_cancel"])
def test_waiters_agree_about_every_end(kind: Kind, how: str) -> None:
    """`done`, `wait` and `as_completed` say the same of a result, an error and a notified cancellation."""
    future = kind()
    assert not waiters_agree(future)
    if how == "set_running_or_notify_cancel":
        future.cancel()
        future.set_running_or_notify_cancel()
    else:
        getattr(future, how)(KeyError("BUG-1"))
    assert waiters_agree(future)


def late_outcome(future: Future[int]) -> str:
    """What is said about a second outcome, without the kind of future and its address."""
    fail = future.fail if isinstance(future, FakeFuture) else future.set_exception
    with pytest.raises(InvalidStateError) as caught:
        fail(KeyError("BUG-1"))
    return str(caught.value).replace("FakeFuture", "Future").partition(" at ")[0]


@pytest.mark.parametrize("end", ["finish", "force_cancel"])
def test_a_second_outcome_is_refused_in_the_words_of_the_real_one(end: str) -> None:
    """`finish` and `fail` on an ended future raise the InvalidStateError that the library raises."""
    real, fake = Future[int](), FakeFuture[int]()
    if end == "force_cancel":
        real.cancel()
        real.set_running_or_notify_cancel()
        fake.force_cancel()
    else:
        real.set_result(1)
        fake.finish(1)
    said = late_outcome(real)
    assert late_outcome(fake) == said
    with pytest.raises(InvalidStateError, match=r"^[A-Z_]+: <FakeFuture at ") as caught:
        fake.finish(2)
    assert str(caught.value).replace("FakeFuture", "Future").startswith(said)


# Driving it.


@pytest.mark.parametrize("state", ["pending", "running"])
def test_finish_ends_it_from_both_states(fakes: FakeFutures, state: str) -> None:
    """The test may finish what never ran."""
    future: FakeFuture[int] = getattr(fakes, state)()
    future.finish(3)
    assert future.result() == 3
    assert waiters_agree(future)


@pytest.mark.parametrize("state", ["pending", "running"])
def test_fail_ends_it_from_both_states(fakes: FakeFutures, state: str) -> None:
    """The test may fail what never ran."""
    future: FakeFuture[int] = getattr(fakes, state)()
    error = SystemExit(2)
    future.fail(error)
    assert future.exception() is error
    assert waiters_agree(future)


@pytest.mark.parametrize("error", ["no disk", ValueError, None], ids=repr)
def test_fail_takes_exceptions_only(error: object, fakes: FakeFutures) -> None:
    """A text, a class or nothing at all is a mistake of the test, told with an example."""
    with pytest.raises(TypeError) as caught:
        FakeFuture[int]().fail(error)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"fail() takes an exception, for example ValueError('no disk'), not {error!r}"
    )
    with pytest.raises(TypeError, match=r"^failed\(\) takes an exception, "):
        fakes.failed(error)  # type: ignore[arg-type]
    assert fakes.all == ()


def test_an_exception_is_accepted() -> None:
    """Whatever can be raised passes."""
    require_exception(KeyboardInterrupt(), "fail()")


@pytest.mark.parametrize("state", ["pending", "running"])
def test_force_cancel_cancels_from_both_states(fakes: FakeFutures, state: str) -> None:
    """Also running work is cancelled; the callbacks run once and the waiters agree."""
    future: FakeFuture[int] = getattr(fakes, state)()
    heard = list[Future[int]]()
    future.add_done_callback(heard.append)
    future.force_cancel()
    assert future.cancelled()
    assert waiters_agree(future)
    assert heard == [future]


def test_force_cancel_wakes_readers(fakes: FakeFutures) -> None:
    """Who waits in `result` of running work hears of its cancellation."""
    future: FakeFuture[int] = fakes.running()
    reader = Reader(future)
    future.force_cancel()
    assert isinstance(reader.join().raised, CancelledError)


def test_force_cancel_wakes_who_waits_for_the_future(fakes: FakeFutures) -> None:
    """Who sleeps in `wait` while it runs hears of its cancellation."""
    future: FakeFuture[int] = fakes.running()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(wait, [future], DEFAULT_PATIENCE)
        future.force_cancel()
        assert waiter.result(DEFAULT_PATIENCE).done == {future}


def test_force_cancel_after_cancel_wakes_who_was_left_asleep(fakes: FakeFutures) -> None:
    """`cancel` alone does not wake `wait` and `as_completed`; calling it again changes nothing."""
    future: FakeFuture[int] = fakes.pending()
    heard = list[Future[int]]()
    future.add_done_callback(heard.append)
    future.cancel()
    assert not waiters_agree(future)
    future.force_cancel()
    future.force_cancel()
    assert waiters_agree(future)
    assert heard == [future]


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_force_cancel_comes_too_late(end: str) -> None:
    """A result or an exception stays, and the error is the library's."""
    future = FakeFuture[KeyError]()
    getattr(future, end)(KeyError("BUG-1"))
    with pytest.raises(InvalidStateError, match=r"^FINISHED: <FakeFuture at 0x[0-9a-f]+ state=finished "):
        future.force_cancel()
    assert not future.cancelled()


def test_force_cancel_calls_back_without_the_lock(fakes: FakeFutures) -> None:
    """A done-callback may wait for another thread that asks the future."""
    future: FakeFuture[int] = fakes.running()
    with ThreadPoolExecutor(1) as pool:
        asked = list[bool]()
        future.add_done_callback(
            lambda done: asked.append(pool.submit(done.cancelled).result(DEFAULT_PATIENCE))
        )
        future.force_cancel()
    assert asked == [True]


def test_begin_says_whether_to_run(fakes: FakeFutures) -> None:
    """What has ended must not run, and who waits for a cancelled one is woken."""
    pending, cancelled, finished = FakeFuture[int](), FakeFuture[int](), FakeFuture[int]()
    cancelled.cancel()
    finished.finish(1)
    assert [one.begin() for one in (pending, cancelled, finished)] == [True, False, False]
    assert pending.running()
    assert waiters_agree(cancelled)


# Reading it.


@both_reads
def test_an_only_thread_does_not_hang(fakes: FakeFutures, method: str) -> None:
    """Without a timeout, and with nobody to finish it, reading raises at once and says what to do."""
    future: FakeFuture[int] = fakes.pending("BUG-229")
    with pytest.raises(StillPending) as caught:
        getattr(future, method)()
    claim, called, *uninvolved, step = str(caught.value).splitlines()
    assert claim == "future BUG-229 is pending and no other thread is alive that could finish it"
    assert called.startswith(
        f"  {method}() was called by {threading.current_thread().name} at test_fake_future.py:"
    )
    assert called.endswith(" in test_an_only_thread_does_not_hang")
    assert all(line.startswith("  alive, but older than it: ") for line in uninvolved)
    assert step == (
        "  next step: call finish()/fail()/force_cancel() first, or read it from another thread"
    )


def test_a_running_one_is_said_to_run(fakes: FakeFutures) -> None:
    """The claim has the state."""
    future: FakeFuture[int] = fakes.running()
    with pytest.raises(StillPending, match=r"^future fake-1 is running and no other thread is alive"):
        future.result()


def test_the_next_step_is_for_whoever_made_it() -> None:
    """An executor has other advice than a test that drives the future; a name is not needed."""
    future = FakeFuture[int](next_step="run_next() first")
    with pytest.raises(StillPending, match=r"^a future without a name is pending") as caught:
        future.result()
    assert str(caught.value).endswith("\n  next step: run_next() first")


def test_still_pending_is_a_failed_assertion() -> None:
    """Code under test that catches a timeout or a cancellation does not swallow it."""
    assert issubclass(StillPending, AssertionError)
    assert not issubclass(StillPending, (TimeoutError, CancelledError))


@both_reads
def test_an_only_thread_does_not_wait_for_a_timeout(fakes: FakeFutures, method: str) -> None:
    """An hour could bring nothing: TimeoutError now."""
    future: FakeFuture[int] = fakes.pending()
    with pytest.raises(TimeoutError):
        getattr(future, method)(timeout=3600)


def test_older_threads_are_not_expected_to_finish_it(
    other_thread: Callable[[], threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread from before the factory belongs to somebody else, and is named as that."""
    older = other_thread()
    mine = threading.current_thread()
    monkeypatch.setattr(threading, "enumerate", lambda: [mine, older])
    future: FakeFuture[int] = FakeFutures().pending()
    with pytest.raises(StillPending, match="\n  alive, but older than it: other\n"):
        future.result()
    with pytest.raises(StillPending, match="\n  alive, but older than it: other\n"):
        FakeFuture[int]().result()


def test_nobody_else_is_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without other threads there is no line about them."""
    mine = threading.current_thread()
    monkeypatch.setattr(threading, "enumerate", lambda: [mine])
    with pytest.raises(StillPending) as caught:
        FakeFuture[int]().result()
    assert "older" not in str(caught.value)


def test_a_thread_younger_than_the_factory_may_finish_a_future(
    other_thread: Callable[[], threading.Thread],
) -> None:
    """A pool started between the factory and the future counts, for as long as patience lasts."""
    fakes = FakeFutures(patience=0.001)
    other_thread()
    future: FakeFuture[int] = fakes.pending()
    with pytest.raises(Hang, match=r"^hang: waited 0.001 s for result\(\) of future fake-1, in vain\n"):
        future.result()


def test_a_thread_younger_than_a_future_may_finish_it(other_thread: Callable[[], threading.Thread]) -> None:
    """A future made without a factory counts from its own beginning."""
    future = FakeFuture[int]("BUG-1", patience=0.001)
    other_thread()
    with pytest.raises(Hang, match=r"^hang: waited 0.001 s for exception\(\) of future BUG-1, in vain\n"):
        future.exception()


def test_the_maker_may_finish_it_though_it_is_no_main_thread() -> None:
    """Where a test runs in a thread of its own, readers elsewhere wait for that one."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(FakeFuture[int], patience=0.001).result(DEFAULT_PATIENCE)
        with pytest.raises(Hang):
            future.result()


def test_a_patient_timeout_ends_in_a_hang(other_thread: Callable[[], threading.Thread]) -> None:
    """A timeout beyond the patience is a hang of the test, not a timeout of the code."""
    future = FakeFuture[int](patience=0.001)
    other_thread()
    with pytest.raises(Hang, match=r"^hang: waited 0.001 s for result\(\) of a future without a name"):
        future.result(timeout=3600)


def test_an_impatient_timeout_ends_as_always(other_thread: Callable[[], threading.Thread]) -> None:
    """A timeout within the patience is the code's own."""
    future = FakeFuture[int]()
    other_thread()
    with pytest.raises(TimeoutError):
        future.result(timeout=0.001)


def test_who_finished_it_and_ended_meanwhile_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that finishes the future just after it was counted is no reason for StillPending."""
    future = FakeFuture[int]()

    def finish_meanwhile(finishers: Finishers) -> bool:
        future.finish(3)
        return False

    monkeypatch.setattr(Finishers, "is_anybody_alive", finish_meanwhile)
    assert future.result() == 3


# Who read it.


def test_reads_tell_who_read_where_and_what_came(fakes: FakeFutures) -> None:
    """Each call is recorded with its thread, its line, its method and what it raised."""
    error = ValueError("no disk")
    future: FakeFuture[int] = fakes.failed(error)
    future.exception()
    with pytest.raises(ValueError, match="no disk"):
        future.result()
    first, second = future.reads
    me = threading.current_thread().name
    assert (first.reader, first.method, first.raised) == (me, "exception", None)
    assert (second.reader, second.method, second.raised) == (me, "result", error)
    assert first.where.startswith("test_fake_future.py:")
    assert first.where.endswith(" in test_reads_tell_who_read_where_and_what_came")
    assert first.where != second.where


def test_a_read_that_raised_for_itself_is_recorded(fakes: FakeFutures) -> None:
    """Also a timeout and a StillPending have been reads."""
    future: FakeFuture[int] = fakes.pending()
    with pytest.raises(TimeoutError):
        future.result(0)
    with pytest.raises(StillPending):
        future.result()
    assert [type(read.raised) for read in future.reads] == [TimeoutError, StillPending]


def test_a_read_through_the_library_is_that_of_its_caller(fakes: FakeFutures) -> None:
    """Frames of `concurrent.futures` are passed over."""
    future: FakeFuture[int] = fakes.resolved(3)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(future.result).result(DEFAULT_PATIENCE)
    (read,) = future.reads
    assert read.where.startswith("threading.py:")


def test_a_read_in_another_thread_has_its_name(fakes: FakeFutures) -> None:
    """The reader is a thread."""
    future: FakeFuture[int] = fakes.pending()
    reader = Reader(future)
    future.finish(3)
    reader.join()
    assert [read.reader for read in future.reads] == ["reader"]


def test_a_read_is_a_value() -> None:
    """What happened does not change."""
    read = FutureRead(reader="MainThread", where="pool.py:3 in run", method="result", raised=None)
    with pytest.raises(AttributeError):
        read.reader = "another"  # type: ignore[misc]


def test_asking_the_state_is_no_read(fakes: FakeFutures) -> None:
    """Neither `done` and its kin nor the base class's own methods are recorded."""
    future: FakeFuture[int] = fakes.resolved(3)
    assert future.done()
    assert Future.result(future) == 3
    assert Future.exception(future) is None
    assert future.reads == ()


def test_a_watched_future_still_records(fakes: FakeFutures) -> None:
    """The ledger reads without being recorded, and what reads through it is still the caller."""
    future: FakeFuture[WorkerResult] = fakes.pending()

    class Pool:
        def submit(self, issue: Issue, on_complete: Callable[[WorkerResult], None]) -> Future[WorkerResult]:
            return future

    ledger = Ledger()
    ledger.watch(Pool()).submit(Issue("BUG-1"), lambda result: None)
    assert type(future) is not FakeFuture
    future.fail(ValueError("no disk"))
    with pytest.raises(ValueError, match="no disk"):
        future.result()
    ledger.close()
    functions = [read.where.partition(" in ")[2] for read in future.reads]
    assert functions == ["test_a_watched_future_still_records"]


def test_reads_from_many_threads_are_all_there(fakes: FakeFutures) -> None:
    """Recording is safe from any thread."""
    future: FakeFuture[int] = fakes.resolved(3)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(40):
            pool.submit(future.result)
    assert len(future.reads) == 40


# The factory.


@pytest.mark.parametrize(
    ("name", "arguments", "claims"),
    [
        ("pending", (), (False, False, False)),
        ("running", (), (False, True, False)),
        ("resolved", (3,), (True, False, False)),
        ("failed", (KeyError("BUG-1"),), (True, False, False)),
        ("cancelled", (), (True, False, True)),
    ],
)
def test_each_maker_gives_its_state(
    fakes: FakeFutures, name: str, arguments: tuple[object, ...], claims: tuple[bool, ...]
) -> None:
    """`done`, `running` and `cancelled` say what the maker is called, and waiters agree."""
    future: FakeFuture[int] = getattr(fakes, name)(*arguments)
    assert (future.done(), future.running(), future.cancelled()) == claims
    assert waiters_agree(future) is claims[0]
    assert future.reads == ()


def test_the_factory_remembers_what_it_made(fakes: FakeFutures) -> None:
    """`all` has every future in order, numbered where no name was given."""
    first: FakeFuture[int] = fakes.pending()
    second: FakeFuture[int] = fakes.resolved(3, "BUG-229")
    third: FakeFuture[int] = fakes.cancelled()
    assert list(fakes.all) == [first, second, third]
    assert [future.name for future in fakes.all] == ["fake-1", "BUG-229", "fake-3"]
