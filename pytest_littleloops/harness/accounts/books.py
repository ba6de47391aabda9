"""The books of a ledger: the journal folded into one account an issue and one an accepted submission.

The fold is incremental, so asking often costs only what is new. What is wrong at the very moment it
happens (twice completed, contradictory, unknown, too late, early idle) becomes a `Finding` here; which
issues are lost is not known before somebody asks, and is decided in `diagnosis`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from pytest_littleloops.harness.accounts.account import TERMINAL_STATES, Account, Finding, Item, Submission
from pytest_littleloops.harness.accounts.journal import COUNTED, Entry, Journal, Kind


@dataclass(slots=True)
class Books:
    """All accounts. Not thread-safe: the ledger advances them under its lock."""

    journal: Journal
    joined_late: bool = False
    """True if a queue or pool was watched that may know issues which the ledger does not."""
    accounts: dict[str, Account] = field(default_factory=dict)
    submissions: dict[int, Submission] = field(default_factory=dict)
    findings: dict[tuple[str, str, int], Finding] = field(default_factory=dict)
    exits: list[Entry] = field(default_factory=list)
    """Each `BaseException` that left a process function or a done-callback, and whatever left a callback in
    the one thread that hears of every end: threads die of these."""
    shutdowns: dict[int, Entry] = field(default_factory=dict)
    """The last shutdown of each watched object, by its number."""
    counting: set[int] = field(default_factory=set)
    """The queues that are told how many items are done, and have been: what is taken is owed a mark."""
    _open_shutdowns: set[int] = field(default_factory=set)
    _position: int = 0
    _contradictions: dict[tuple[str, threading.Thread], tuple[tuple[str, str, int], str]] = field(
        default_factory=dict
    )
    """Marks that contradict a state, by issue and thread, as long as that may turn out otherwise: the
    finding, and the state that they marked."""

    def advance(self) -> None:
        """Fold in what was appended to the journal since the last time."""
        entries = self.journal.entries
        end = len(entries)
        for position in range(self._position, end):
            entry = entries[position]
            _FOLD[entry[0]](self, entry)
        self._position = end

    def is_terminal(self, account: Account) -> bool:
        """Whether this issue has reached its end."""
        if account.state in TERMINAL_STATES:
            return True
        if account.is_marked:
            # Its queue says which state it is in. An interrupted issue may be left for the next run
            # without a mark: it has ended all the same.
            return account.interrupted and not account.unsettled()
        if self.held(account):
            return False
        if account.submissions:
            return account.raised is None and not account.unsettled()
        if account.items is not None and account.raised is None:
            # All done; or a queue that nobody marks on has handed it over, and it is at nobody's hands.
            return not account.items or not (account.running or account.exited)
        return bool(account.called) and account.raised is None

    def held(self, account: Account) -> list[Item]:
        """The items of an issue that are in a queue, or were taken out of one and are owed a mark."""
        items = (account.items or {}).values()
        return [item for item in items if item.taken is None or item.source in self.counting]

    def state_of(self, account: Account) -> str:
        """What is said of an issue: what it was marked, or where nobody marks, how its work ended."""
        if account.state not in TERMINAL_STATES and self.is_terminal(account) and account.outcome:
            return account.outcome
        return account.state

    def find(self, code: str, issue_id: str, claim: str, *, number: int = 0, note: str = "") -> None:
        """Keep a finding; a second one of the same code on the same submission adds nothing."""
        key = code, issue_id, number
        self.findings.setdefault(key, Finding(code=code, issue_id=issue_id, claim=claim, note=note))

    def _queued(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is None:
            account = self.accounts[entry.issue_id] = Account(entry.issue_id, "queued")
        elif account.state in TERMINAL_STATES and entry.detail != COUNTED:
            account.previous, account.state, account.reopened = account.state, "queued", entry
        if entry.detail == COUNTED:
            self._take_item(account, entry, Item(entry.source))
        self._take_in(account, entry)

    def _take_item(self, account: Account, entry: Entry, item: Item) -> None:
        # Such a queue knows no issues, only items: the same one may come again, and again be done.
        if account.items is None:
            account.items = {}
        account.items[entry.submission] = item
        self._show_items(account)

    def _show_items(self, account: Account) -> None:
        if account.state not in TERMINAL_STATES:
            is_queued = any(item.taken is None for item in (account.items or {}).values())
            account.state = "queued" if is_queued else "in_progress"

    def _take_in(self, account: Account, entry: Entry) -> None:
        account.is_queued_here = True
        # Told by hand (no source), it is marked by hand as well.
        account.is_marked |= entry.detail == "marks"

    def _not_queued(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is None:
            return
        if account.items and account.items.pop(entry.submission, None) is not None:
            self._show_items(account)
            if account.items or account.handed_out or account.submissions or account.is_marked:
                return
            account.state = "queued"
        if account.reopened is not None and account.previous is not None:
            account.state, account.reopened = account.previous, None
        elif entry.detail != "refused" and account.state == "queued" and not account.submissions:
            # `False` means mostly that the queue knows the issue already; an exception, that it does not.
            del self.accounts[entry.issue_id]

    def _started(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is None:
            account = self.accounts[entry.issue_id] = Account(entry.issue_id, "in_progress")
        if entry.detail == COUNTED:
            self._take_item(account, entry, Item(entry.source, entry))
            self._take_in(account, entry)
            account.handed_out = entry
            account.outcome = ""
            return
        if account.state in TERMINAL_STATES:
            self._left_terminal(account, "was handed out again")
        elif account.reopened is not None:
            account.state = account.previous or account.state
            self._left_terminal(account, "was queued again")
        account.reopened = None
        account.state = "in_progress"
        self._take_in(account, entry)
        account.handed_out = entry
        account.interrupted = False

    def _left_terminal(self, account: Account, what: str) -> None:
        claim = f"{what} after it was {account.state}, without a requeue"
        self.find("LL202", account.issue_id, claim)

    def _requeued(self, entry: Entry) -> None:
        account = self._known(entry, "requeued")
        if account is None:
            return
        account.previous = account.state
        account.state = "queued"
        account.reopened = account.raised = account.rejection = None
        account.called = 0
        account.interrupted = False

    def _item_done(self, entry: Entry) -> None:
        account = self.accounts[entry.issue_id]
        account.leave_work(entry.thread)
        if account.items is not None:
            account.items.pop(entry.submission, None)
        account.outcome = account.outcome or "completed"
        self._show_items(account)

    def _marked(self, entry: Entry) -> None:
        if entry.detail == COUNTED:
            self._item_done(entry)
            return
        account = self._known(entry, f"marked {entry.kind}")
        if account is None:
            return
        account.is_marked = True
        account.leave_work(entry.thread)
        if account.state == entry.kind.value:
            return
        if account.state in TERMINAL_STATES:
            key = "LL202", entry.issue_id, 0
            claim = f"was marked {entry.kind} after it was {account.state}"
            if key not in self.findings:
                self._contradictions[entry.issue_id, entry.thread] = key, entry.kind.value
            self.find(*key[:2], claim)
            return
        account.previous = account.state
        account.state = entry.kind.value

    def _mark_refused(self, entry: Entry) -> None:
        contradiction = self._contradictions.pop((entry.issue_id, entry.thread), None)
        if contradiction is not None:
            # The queue knew better: the caller was told, and no state was contradicted.
            self.findings.pop(contradiction[0], None)
            return
        account = self.accounts.get(entry.issue_id)
        if account is not None and account.items is not None and entry.submission:
            account.items[entry.submission] = Item(entry.source, account.handed_out)
            return
        refused = entry.detail.partition(":")[0]
        if account is None or account.previous is None or account.state != refused:
            return
        other = next((one for one in self._contradictions if one[0] == entry.issue_id), None)
        if other is None:
            account.state, account.previous = account.previous, None
        else:
            # Of two marks at once the one that was noted second came first.
            key, account.state = self._contradictions.pop(other)
            self.findings.pop(key, None)

    def _submitted(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is None:
            account = self.accounts[entry.issue_id] = Account(entry.issue_id, "in_progress")
        # What dispatches an issue is no process function, whatever it is called.
        account.leave_work(entry.thread)
        submission = Submission(entry.submission, entry.issue_id, entry.detail, entry.source)
        self.submissions[entry.submission] = submission
        if account.submissions is None:
            account.submissions = []
        account.submissions.append(submission)

    def _accepted(self, entry: Entry) -> None:
        submission = self.submissions.get(entry.submission)
        if submission is not None:
            submission.accepted = True
            submission.has_future = bool(entry.detail)
            if entry.detail == "outer future" and submission.end is not None:
                # What has ended was the executor's own: the one that was returned decides.
                submission.end = None
            self.accounts[submission.issue_id].rejection = None

    def _rejected(self, entry: Entry) -> None:
        submission = self.submissions.get(entry.submission)
        if submission is None or submission.called:
            # What raised was the completion, inside submit: the work was taken, and is done.
            return
        submission.rejected = True
        account = self.accounts[submission.issue_id]
        account.rejection = entry
        is_the_only_one = account.submissions == [submission]
        if is_the_only_one and not account.is_queued_here and account.state == "in_progress":
            # Nobody took it in: the caller knows, and nothing is owed. What runs later is a ghost.
            account.state = "rejected"

    def _future_ended(self, entry: Entry) -> None:
        submission = self.submissions.get(entry.submission)
        if submission is not None and submission.end is None:
            submission.end = entry
            if not submission.completion:
                self.accounts[submission.issue_id].outcome = _END_WORDS.get(entry.kind, "completed")
            is_cancelled = entry.kind is Kind.FUTURE_CANCELLED
            submission.ended_in_shutdown = is_cancelled and submission.source in self._open_shutdowns

    def _handled(self, entry: Entry) -> None:
        submission = self.submissions.get(entry.submission)
        if submission is not None:
            submission.handled = entry
        if entry.kind is Kind.HANDLER_EXITED:
            self.exits.append(entry)

    def _completion(self, entry: Entry) -> None:
        account = self._known(entry, "completed")
        if account is None:
            return
        submission = self.submissions.get(entry.submission)
        if submission is not None and submission.issue_id != entry.issue_id:
            # Somebody else's completion spoke of this issue; its own is still owed.
            submission = None
        elif submission is None and account.submissions:
            unsettled = account.unsettled()
            submission = unsettled[0] if unsettled else account.submissions[-1]
        if account.state in TERMINAL_STATES and entry.detail == "completed" != account.state:
            self.find("LL304", entry.issue_id, f"succeeded after it was {account.state}")
        if submission is None:
            account.called += 1
            calls = account.called
        else:
            submission.called += 1
            submission.call = entry
            calls = submission.called
            if submission.rejected:
                claim = "was completed although its submission was refused"
                self.find("LL104", entry.issue_id, claim)
        if calls > 1:
            number = 0 if submission is None else submission.number
            claim = f"got {calls} completions for one submission"
            key = "LL201", entry.issue_id, number
            self.findings[key] = Finding(code="LL201", issue_id=entry.issue_id, claim=claim)
        account.interrupted = entry.detail == "interrupted"
        account.outcome = entry.detail or "completed"
        account.leave_work(entry.thread)

    def _completion_returned(self, entry: Entry) -> None:
        submission = self.submissions.get(entry.submission)
        if submission is not None:
            submission.returned = True

    def _completion_raised(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is not None:
            account.raised = entry
            account.interrupted = False
        submission = self.submissions.get(entry.submission)
        if submission is not None:
            submission.raised = entry
            if not submission.completion:
                # Not owed, so it was called where a pool hears of every end.
                self.exits.append(entry)

    def _running(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is None:
            return
        if account.state == "rejected" or self._is_ghost(account):
            self.find("LL104", entry.issue_id, "was run although its submission was refused")
        elif self._is_over(account):
            self.find("LL304", entry.issue_id, f"was started on after it was {self._word(account)}")
        if account.running is None:
            account.running = []
        account.running.append(entry.thread)

    def _work_ended(self, entry: Entry) -> None:
        account = self.accounts.get(entry.issue_id)
        if account is None:
            return
        # Work that reported its issue itself, from inside, has left already: that is no late success.
        was_at_it = account.leave_work(entry.thread)
        if entry.kind is Kind.WORK_EXITED:
            account.exited = entry
            self.exits.append(entry)
        else:
            account.worked = entry
        # Work that handed its success over returns after its issue has ended, and is not late.
        is_other_end = self._is_over(account) and self.state_of(account) != "completed"
        if entry.kind is Kind.WORKED and was_at_it and is_other_end:
            claim = f"was still worked on after it was {self._word(account)}"
            self.find("LL304", entry.issue_id, claim)

    def _is_ghost(self, account: Account) -> bool:
        submissions = account.submissions
        return bool(submissions) and all(one.rejected for one in submissions or ())

    def _is_over(self, account: Account) -> bool:
        if self._is_ghost(account):
            return False
        # That a queue handed it over, or that it was done there, is no report of its end.
        is_told = account.items is None or account.is_marked or account.submissions or account.called
        is_reported = is_told and self.is_terminal(account) and not account.unsettled()
        return account.state in TERMINAL_STATES or bool(is_reported)

    def _word(self, account: Account) -> str:
        return account.state if account.state in TERMINAL_STATES else "reported"

    def _shut_down(self, entry: Entry) -> None:
        self.shutdowns[entry.source] = entry
        self._open_shutdowns.add(entry.source)

    def _shutdown_returned(self, entry: Entry) -> None:
        self._open_shutdowns.discard(entry.source)

    def _counting(self, entry: Entry) -> None:
        self.counting.add(entry.source)

    def _idle(self, entry: Entry) -> None:
        account, submission = self.accounts.get(entry.issue_id), self.submissions.get(entry.submission)
        was_called = submission is not None and submission.called
        if was_called and account is not None and account.state in TERMINAL_STATES:
            # The completion has yet to return, but it has marked its issue: nothing of it is owed.
            return
        claim = f"was owed a completion while {entry.detail}"
        self.find("LL301", entry.issue_id, claim, number=entry.submission)

    def _known(self, entry: Entry, what: str) -> Account | None:
        account = self.accounts.get(entry.issue_id)
        if account is None and not self.joined_late:
            self.find("LL203", entry.issue_id, f"was {what}, but nobody submitted it")
        return account

    def _nothing(self, entry: Entry) -> None:
        pass


_END_WORDS = {Kind.FUTURE_FAILED: "failed", Kind.FUTURE_CANCELLED: "cancelled"}

_FOLD = {
    Kind.QUEUED: Books._queued,
    Kind.NOT_QUEUED: Books._not_queued,
    Kind.STARTED: Books._started,
    Kind.SUBMITTED: Books._submitted,
    Kind.ACCEPTED: Books._accepted,
    Kind.REJECTED: Books._rejected,
    Kind.RUNNING: Books._running,
    Kind.WORKED: Books._work_ended,
    Kind.WORK_RAISED: Books._work_ended,
    Kind.WORK_EXITED: Books._work_ended,
    Kind.FUTURE_RESOLVED: Books._future_ended,
    Kind.FUTURE_FAILED: Books._future_ended,
    Kind.FUTURE_CANCELLED: Books._future_ended,
    Kind.READ_RAISED: Books._nothing,
    Kind.HANDLER_RETURNED: Books._handled,
    Kind.HANDLER_RAISED: Books._handled,
    Kind.HANDLER_EXITED: Books._handled,
    Kind.COMPLETION: Books._completion,
    Kind.COMPLETION_RETURNED: Books._completion_returned,
    Kind.COMPLETION_RAISED: Books._completion_raised,
    Kind.COMPLETED: Books._marked,
    Kind.FAILED: Books._marked,
    Kind.CANCELLED: Books._marked,
    Kind.INTERRUPTED: Books._marked,
    Kind.REQUEUED: Books._requeued,
    Kind.MARK_REFUSED: Books._mark_refused,
    Kind.CANCEL_ASKED: Books._nothing,
    Kind.SHUTDOWN: Books._shut_down,
    Kind.SHUTDOWN_RETURNED: Books._shutdown_returned,
    Kind.IDLE: Books._idle,
    Kind.COUNTING: Books._counting,
    Kind.FAULT: Books._nothing,
}
