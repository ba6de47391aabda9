"""Puts real executors and pools under their contracts, and writes `docs/scoreboard.md`.

Exits with 1 if the reference pool breaks a promise, or if what is known to be broken comes out kept.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scoreboard.md"
SUBJECTS = ROOT / "tools" / "scoreboard_subjects.py"
SCHEDULES = 200
TIMEOUT = 1_200.0
"""Seconds for one subject."""

COLUMNS = {
    "TestReferenceOnThreads": "reference, threads",
    "TestReferenceOnProcesses": "reference, processes",
    "TestThreadPoolExecutor": "`ThreadPoolExecutor`",
    "TestProcessPoolExecutor": "`ProcessPoolExecutor`",
    "TestMultiprocessingThreadPool": "`multiprocessing` `ThreadPool`",
    "TestPebbleThreadPool": "pebble `ThreadPool`",
    "TestPebbleProcessPool": "pebble `ProcessPool`",
    "TestLoky": "loky",
}

_STOPS_NO_OTHER = "test_a_completion_that_raises_stops_no_other"
_WOKEN = "test_whoever_waits_is_woken_by_a_shutdown_that_cancels"
KNOWN_BROKEN = {
    ("TestThreadPoolExecutor", _WOKEN): "CPython issues 87893, 92001, 109934",
    ("TestThreadPoolExecutor", _STOPS_NO_OTHER): "`SystemExit` re-raised by a done-callback",
    ("TestMultiprocessingThreadPool", _STOPS_NO_OTHER): "CPython issue 83371",
}
"""On all versions of CPython so far."""


@dataclass
class Cell:
    """What became of one promise of one subject."""

    kept: int = 0
    reasons: list[str] = field(default_factory=list)
    """Why it was skipped."""
    broken: list[tuple[str, str, str]] = field(default_factory=list)
    """Way, case, and what was told of it."""

    @property
    def codes(self) -> list[str]:
        """The codes that it was flagged with, or the error's name where there is none."""
        return sorted({_code(told) for _, _, told in self.broken})

    def __str__(self) -> str:
        if self.broken:
            return f"**broken** {', '.join(self.codes)}"
        return "kept" if self.kept else "-"


Board = dict[str, dict[str, Cell]]
"""By promise and subject."""


def _code(told: str) -> str:
    return re.split(r"[\s:(]", told.strip(), maxsplit=1)[0] or "error"


def run(subject: str, file: Path) -> None:
    """Put one subject under its contract; a line a promise is added to `file`."""
    plugins = "-p littleloops -p tools.scoreboard_record -p no:cacheprovider"
    options = f"-q --tb=short --import-mode=importlib -c {os.devnull} {plugins} -k {subject}"
    chosen = f"--littleloops-patience=5 --littleloops-schedules={SCHEDULES}"
    words = [*options.split(), *chosen.split(), "--rootdir", str(ROOT), str(SUBJECTS)]
    command = [sys.executable, "-m", "pytest", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCOREBOARD": str(file), "COLUMNS": "500"}
    print(f"{subject} ...", flush=True)
    try:
        subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"{subject} did not come to its end in {TIMEOUT:g} s: what it has told so far counts")


def read(lines: Iterable[str]) -> Board:
    """What all of them told."""
    board: Board = {}
    for line in lines:
        one = json.loads(line)
        cell = board.setdefault(one["promise"], {}).setdefault(one["subject"], Cell())
        if one["outcome"] == "passed":
            cell.kept += 1
        elif one["outcome"] == "skipped":
            cell.reasons.append(one["told"].removeprefix("Skipped: "))
        else:
            cell.broken.append((one["way"], one["case"], one["told"]))
    return board


def page(board: Board) -> str:
    """The page, in Markdown."""
    subjects = [one for one in COLUMNS if any(one in row for row in board.values())]
    versions = f"{platform.python_implementation()} {platform.python_version()}"
    for package in ("pebble", "loky"):
        versions += f", {package} {importlib.metadata.version(package)}"
    contracts = "[contracts](guide.md#a-contract-for-your-own-pool)"
    lines = [
        "# Scoreboard",
        "",
        f"Real executors and pools under their {contracts}: {versions}.",
        "",
        f"Written by `tools/scoreboard.py`. What runs on threads was tried for real and under {SCHEDULES}",
        "schedules a promise; what runs on processes, for real. *Kept* means that no way to break it was",
        "found; `-`, that it is not offered.",
        "",
        f"| promise | {' | '.join(COLUMNS[one] for one in subjects)} |",
        "|---" * (len(subjects) + 1) + "|",
    ]
    for promise, row in board.items():
        row_cells = " | ".join(str(row.get(one, Cell())) for one in subjects)
        lines.append(f"| {_sentence(promise)} | {row_cells} |")
    lines += ["", "## What breaks them", ""]
    lines += [
        "The replay commands are for the file `tools/scoreboard_subjects.py`, on the versions named above.",
        "",
    ]
    for subject in subjects:
        broken = {
            promise: row[subject] for promise, row in board.items() if row.get(subject, Cell()).broken
        }
        if not broken:
            continue
        lines += [f"### {COLUMNS[subject]}", ""]
        for promise, cell in broken.items():
            known = KNOWN_BROKEN.get((subject, promise), "")
            lines += [f"* **{_sentence(promise)}**{f' (known: {known})' if known else ''}"]
            lines += _ways(cell)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _ways(cell: Cell) -> list[str]:
    """A line for each case and code, with the schedule that shows it if there is one."""
    lines, seen = [], set()
    # What was explored first, since it has a token.
    for way, case, told in sorted(cell.broken, key=lambda one: one[0]):
        key = case, _code(told)
        if key in seen:
            continue
        seen.add(key)
        where = f"{case}, " if case else ""
        lines.append(f"  * {where}{way}: {told.strip().splitlines()[0]}")
        replay = re.search(r"--littleloops-replay=(LL1-[\w-]+)", told)
        if replay:
            lines.append(f"    `--littleloops-replay={replay[1]}`")
    return lines


def _sentence(promise: str) -> str:
    return promise.removeprefix("test_").replace("_", " ")


def surprises(board: Board) -> list[str]:
    """Where the outcome is not as it has to be."""
    found = [
        f"{COLUMNS[subject]} keeps what it is known to break: {_sentence(promise)}"
        for subject, promise in KNOWN_BROKEN
        if not board.get(promise, {}).get(subject, Cell()).broken
    ]
    for promise, row in board.items():
        found += [
            f"{COLUMNS[subject]} breaks: {_sentence(promise)}"
            for subject, cell in row.items()
            if subject.startswith("TestReference") and cell.broken
        ]
    return found


def main() -> int:
    """Run all subjects, write the page, and say what is not as it has to be."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines"
        file.touch()
        for subject in COLUMNS:
            run(subject, file)
        board = read(file.read_text().splitlines())
    PAGE.write_text(page(board))
    print(f"{PAGE.relative_to(ROOT)} is written")
    found = surprises(board)
    print(*found, sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
