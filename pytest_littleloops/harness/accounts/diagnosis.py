"""Where an issue that has no end was lost: the most telling rule for it, and the fact that decided.

An issue is lost in one place, so it gets one code. The order of the questions is from the most to the
least certain: what raised, what was refused, what ended unheard, who died, what was discarded, and only
then whether somebody may still be at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_littleloops.harness.accounts.account import Account, Finding, Item, Submission
from pytest_littleloops.harness.accounts.books import Books
from pytest_littleloops.harness.accounts.journal import Entry, Kind
from pytest_littleloops.harness.accounts.liveness import Liveness

LOST = "never reached a terminal state"
IN_FLIGHT = "still in flight when this was checked"
WAIT_FIRST = "wait for it first: shut the pool down with wait=True, or ledger.settle(timeout)"


def lost_issues(books: Books, liveness: Liveness, is_done: Callable[[int], bool]) -> Iterator[Finding]:
    """A finding for each issue that has reached no terminal state.

    `is_done` tells of a submission whether its future has ended: whoever waited for it wakes before the
    done-callbacks run, by which the journal hears of it.
    """
    for account in list(books.accounts.values()):
        if account.state == "rejected" or books.is_terminal(account):
            continue
        owed = account.unsettled()
        if owed and not account.is_marked and all(_is_just_done(one, is_done) for one in owed):
            continue
        yield _diagnose(account, books, liveness)


def _is_just_done(submission: Submission, is_done: Callable[[int], bool]) -> bool:
    return not submission.completion and is_done(submission.number)


def _diagnose(account: Account, books: Books, liveness: Liveness) -> Finding:
    if account.raised is not None:
        note = _what_became_of_the_raise(account, account.raised)
        return _lost("LL103", account, note, at=account.raised)
    if account.rejection is not None and not account.unsettled():
        return _diagnose_rejected(account, account.rejection, books)
    owed = account.unsettled()
    if owed:
        return _diagnose_owed(account, owed[0], books, liveness)
    if account.running:
        if any(thread.is_alive() for thread in account.running):
            return _in_flight(account, "its process function is running")
        return _lost("LL106", account, "the thread that worked on it is gone")
    if held := books.held(account):
        return _diagnose_held(account, held, books, liveness)
    if any(not one.returned for one in account.submissions or () if one.called):
        return _in_flight(account, "its completion has not returned")
    if account.submissions:
        return _lost("LL101", account, "the work on it ended, and nobody marked it")
    if account.state == "queued":
        return _lost("LL101", account, "it is still queued, and nobody took it")
    return _lost("LL101", account, "it was taken out of the queue and never marked")


def _diagnose_held(account: Account, held: list[Item], books: Books, liveness: Liveness) -> Finding:
    for item in held:
        if item.taken is None and item.source in books.shutdowns:
            return _lost("LL105", account, "its queue was shut down, and nobody took it")
        if item.taken is None:
            return _lost("LL101", account, "it is still queued, and nobody took it")
    takers = [item.taken.thread for item in held if item.taken is not None]
    busy = next((thread for thread in takers if thread in liveness.busy), None)
    if busy is not None:
        return _in_flight(account, f"{busy.name} took it and is still at work")
    return _lost("LL101", account, "it was taken out of the queue and never marked")


def _diagnose_owed(account: Account, submission: Submission, books: Books, liveness: Liveness) -> Finding:
    completion = submission.completion
    if submission.end is not None:
        never = f"{completion} was never called"
        if submission.handled is not None:
            is_caught = submission.handled.kind is Kind.HANDLER_RETURNED
            there = "and it was caught there" if is_caught else "and nobody caught it"
            return _lost("LL102", account, f"{there}; {never}", at=submission.handled)
        if submission.ended_in_shutdown:
            return _lost("LL105", account, f"the shutdown ended its future; {never}")
        if not liveness.is_quiet:
            return _in_flight(account, f"its future has ended, {completion} has not been called yet")
        return _lost("LL102", account, f"its future has ended; {never}")
    if account.running:
        if any(thread.is_alive() for thread in account.running):
            return _in_flight(account, "its process function is running")
        return _lost("LL106", account, "the thread that worked on it is gone")
    if account.exited is not None and not account.exited.thread.is_alive():
        died = f"{account.exited.thread.name} died of {account.exited.detail}"
        return _lost("LL106", account, died, at=account.exited)
    dead = {entry.thread.name: entry for entry in books.exits if not entry.thread.is_alive()}
    is_dropped = not completion and submission.source in books.shutdowns and not dead
    if account.worked and is_dropped and liveness.is_quiet:
        return _lost("LL105", account, "the pool was shut down, and nobody has heard how its work ended")
    if (account.worked or account.exited) and liveness.is_quiet:
        account.worked = account.worked or account.exited
        assert account.worked is not None
        how = "returned" if account.worked.kind is Kind.WORKED else "raised"
        unheard = f"{completion} was never called" if completion else "nobody has heard of it"
        never = f"the work on it {how}; {unheard}"
        return _lost("LL102", account, never, at=account.worked)
    if dead and liveness.is_quiet:
        what = next(iter(dead.values())).detail
        return _lost("LL106", account, f"{', '.join(dead)} died of {what}, and nobody took over")
    if not liveness.is_quiet:
        return _in_flight(account, f"{liveness.busy[0].name} is still at work")
    if submission.source in books.shutdowns:
        return _lost("LL105", account, "the pool was shut down, and nobody is at work on it")
    if submission.has_future and not completion and not liveness.is_deserted:
        # A worker that was woken just now rests still; an executor that is not shut down runs its queue.
        return _in_flight(account, "it waits for a worker")
    if liveness.is_deserted and submission.has_future and books.exits:
        return _lost("LL106", account, "no worker thread is left that could run it")
    gone = _gone_with_its_work(books) if liveness.is_deserted else None
    if gone is not None:
        ended = f"{gone.thread.name} ended when the work on {gone.issue_id} raised {gone.detail}"
        return _lost("LL106", account, f"{ended}, and no worker is left", at=gone)
    return _lost("LL101", account, "nobody is at work, and nothing more was heard of it")


def _gone_with_its_work(books: Books) -> Entry | None:
    """The end of some work that raised, if its thread has ended with it and nobody heard of that issue."""
    for account in books.accounts.values():
        worked = account.worked
        if worked is not None and worked.kind is Kind.WORK_RAISED and account.unsettled():
            return None if worked.thread.is_alive() else worked
    return None


def _what_became_of_the_raise(account: Account, raised: Entry) -> str:
    submission = next((one for one in account.submissions or () if one.raised is raised), None)
    if submission is None or submission.call is None or submission.call.place is None:
        return "what its completion raised never came to a mark"
    place = submission.call.place
    where = f"where the completion was called, in {place.function}, {place}"
    if submission.handled is None:
        return f"and no mark came of it {where}"
    is_caught = submission.handled.kind is Kind.HANDLER_RETURNED
    return f"and it was caught {where}" if is_caught else f"and nobody caught it {where}"


def _diagnose_rejected(account: Account, rejection: Entry, books: Books) -> Finding:
    submission = books.submissions[rejection.submission]
    if submission.handled is not None:
        # The work was over before submit returned, and what its done-callback raised left through submit.
        never = f"it left through submit; {submission.completion or 'the completion'} was never called"
        return _lost("LL102", account, never, at=submission.handled)
    is_ghost = ("LL104", account.issue_id, 0) in books.findings
    note = "nobody put its state right" + (", and it was run all the same" if is_ghost else "")
    return _lost("LL104", account, note, at=rejection)


def _lost(code: str, account: Account, note: str, *, at: Entry | None = None) -> Finding:
    return Finding(code=code, issue_id=account.issue_id, claim=LOST, note=note, at=at)


def _in_flight(account: Account, note: str) -> Finding:
    return Finding(code="LL301", issue_id=account.issue_id, claim=IN_FLIGHT, note=note, remedy=WAIT_FIRST)
