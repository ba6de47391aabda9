"""What the ledger knows: the journal, the books folded from it, and what they mean.

`journal` keeps what was observed, `books` fold it into an `account` an issue, `diagnosis` finds where an
issue was lost, `leaks` what was left behind, `rules` says what a code means, `explain` puts it into words.
Nothing here watches anything.
"""
