"""How a failure is shown: its message begins with the code, where pytest puts the exception's own name."""

from __future__ import annotations

import pytest
from _pytest._code.code import ExceptionChainRepr, ExceptionRepr, ReprEntryNative, ReprFileLocation


def led_by_code(
    item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], longrepr: object
) -> ExceptionRepr:
    """The representation of a failure that has a code, led by it."""
    # pytest's short summary prints the first line of `reprcrash`, cut to the terminal's width.
    message = "\n".join([str(excinfo.value), *getattr(excinfo.value, "__notes__", ())])
    is_asserted_in_the_test = any(
        not entry.ishidden(excinfo) and str(entry.path) == str(item.path) for entry in excinfo.traceback
    )
    if not is_asserted_in_the_test or not isinstance(longrepr, ExceptionChainRepr):
        # All frames are the plugin's and pytest's own: only the message says anything.
        text = excinfo.getrepr(style="value").reprtraceback
        text.reprentries = [ReprEntryNative([message + "\n"])]
        crash = ReprFileLocation(str(item.path), (item.location[1] or 0) + 1, message)
        return ExceptionChainRepr([(text, crash, None)])
    # Changed in place, since xdist sends the chain that holds the same objects.
    if longrepr.reprcrash is not None:
        longrepr.reprcrash.message = message
    name = excinfo.exconly().partition(": ")[0]
    for entry in longrepr.reprtraceback.reprentries:
        lines: list[str] = getattr(entry, "lines", [])
        lines[:] = [line.replace(f"E       {name}: ", "E       ", 1) for line in lines]
    return longrepr
