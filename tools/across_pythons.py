"""Make a token on each CPython that is here, and replay it on every other.

The standard library synchronises differently from version to version. There a replay must be LL501; where
two agree, it fails as it did. What it may never do is pass.
"""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pytest_littleloops import Cell, explore

def scenario():
    cell = Cell(0)
    def add(_):
        cell.set(cell.get() + 1)
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(add, range(2)))
    assert cell.get() == 2

result = explore(scenario, replay=sys.argv[1] if len(sys.argv) > 1 else None)
print(result.verdict, result.token, str(result.failure).partition(" ")[0] or "-", sep="|")
"""


def ask(python: str, *arguments: str) -> list[str]:
    """The verdict, the token and the first word of the failure."""
    command = [python, "-c", _SCRIPT, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split("|")


def main(pythons: list[str]) -> int:
    """Print a line for each pair; 1 if a replay said neither."""
    is_well = True
    for maker in pythons:
        verdict, token, _ = ask(maker)
        assert verdict == "failed"
        for replayer in pythons:
            verdict, _, word = ask(replayer, token)
            is_right = verdict == "failed" or (word == "LL501" and replayer != maker)
            is_well = is_well and is_right
            print(f"{maker} -> {replayer}: {verdict} {word}{'' if is_right else '  <-- wrong'}")
    return int(not is_well)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
