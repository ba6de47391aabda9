"""What a run of a contract was flagged with, read off what pytest printed."""

from __future__ import annotations

import re

OPTIONS = ("-p", "littleloops", "-p", "no:cacheprovider", "-q", "--tb=short", "--littleloops-patience=2")
"""What pytest is to be run with, so that this can be read."""

COLUMNS = "500"
"""The width of the terminal that it needs: a line that is cut off loses the code."""

_HEADING = re.compile(r"_+ (?:ERROR at \w+ of )?Test\w+\.(.*) _+$")
_CODE = re.compile(r"(?:E +)?(?:[\w.]+: )?(LL\d{3}) [a-z-]+\b")
_SUMMED_UP = re.compile(r"(?:FAILED|ERROR) \S+?::Test\w+::(.*?\]) - (\S+)")


def flagged_in(output: str) -> dict[str, list[str]]:
    """The codes, each with the promises that were broken; what is no code stands for itself.

    Raises ValueError, with the output, if no promise was run to its end.
    """
    if not re.search(r"\d+ (passed|failed)", output):
        raise ValueError(output)
    found: dict[str, list[str]] = {}
    broken = "?"
    for line in output.splitlines():
        if heading := _HEADING.match(line):
            broken = heading[1]
        elif code := _CODE.match(line):
            found.setdefault(code[1], []).append(broken)
        elif (summed_up := _SUMMED_UP.match(line)) and not summed_up[2].startswith("LL"):
            found.setdefault(summed_up[2].rstrip(":"), []).append(summed_up[1])
    return found
