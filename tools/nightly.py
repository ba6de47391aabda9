"""The second tier: what takes long or needs packages that the first tier does without.

Each job gets a virtual environment of its own under `.venv-nightly/`. Says what it ran and how it ended;
exits with 0 only if all of it went well.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-nightly"
OLDEST = ("pytest==8.2.0", "pluggy==1.5.0", "pytest-xdist==3.5.0", "coverage==7.4.0")
COMPANIONS = ("pytest-randomly", "pytest-timeout", "pytest-rerunfailures")
REPEATS = 20


def python_with(name: str, *requirements: str, interpreter: str = sys.executable) -> str:
    """The interpreter of an environment that has this package and `requirements`."""
    folder = ENVIRONMENTS / name
    if not folder.exists():
        run(interpreter, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", ".", *requirements)
    return python


def run(*command: str) -> None:
    """Run a command in the project's folder. Raises CalledProcessError if it fails."""
    print("+", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def with_oldest_dependencies() -> None:
    """The suite on the oldest versions that `pyproject.toml` allows."""
    run(python_with("oldest", *OLDEST), "-m", "pytest", "-q", "-p", "no:cacheprovider")


def beside_other_plugins() -> None:
    """The suite in random order, under a timeout, with reruns installed, on two workers."""
    python = python_with("companions", *COMPANIONS)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=120", "-n", "2")


def many_times() -> None:
    """The tests on real threads, again and again: none of them may depend on luck."""
    python = python_with("repeats")
    for _ in range(REPEATS):
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/reference", "tests/harness")


def many_schedules() -> None:
    """What takes thousands of schedules, the whole zoo, and bugs of other packages."""
    for version in ("5.0.5", "5.0.6", ""):
        requirement = f"pebble=={version}" if version else "pebble"
        python = python_with(f"schedules{version}", requirement)
        tests = ("tests/simulation",) if version else ("tests/slow",)
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


def across_pythons() -> None:
    """Tokens of one CPython replayed on the others."""
    pythons = []
    for minor in (11, 12, 13):
        found = subprocess.run([ROOT / ".ci" / "find-python", f"3.{minor}"], capture_output=True, text=True)
        if found.returncode:
            print(f"CPython 3.{minor} is not on this machine: not tested")
            continue
        pythons.append(python_with(f"across3.{minor}", interpreter=found.stdout.strip()))
    run(sys.executable, "tools/across_pythons.py", *pythons)


def scoreboard() -> None:
    """Real executors and pools under their contracts; `docs/scoreboard.md` is written anew."""
    run(python_with("scoreboard", "pebble", "loky"), "tools/scoreboard.py")


def benchmarks() -> None:
    """Every claim about speed and memory, in the end against another tool."""
    run(python_with("repeats"), "benchmarks/run.py")
    run(python_with("against", "frontrun==0.7.0"), "benchmarks/against_frontrun.py")


JOBS: tuple[Callable[[], None], ...] = (
    with_oldest_dependencies,
    beside_other_plugins,
    many_times,
    many_schedules,
    across_pythons,
    scoreboard,
    benchmarks,
)


def main() -> int:
    """Run every job, whatever became of the others, and print a table."""
    rows = []
    for job in JOBS:
        print(f"== {job.__name__}: {job.__doc__}", flush=True)
        begin = time.monotonic()
        try:
            job()
            ended = "ok"
        except subprocess.CalledProcessError as error:
            ended = f"FAILED with exit code {error.returncode}"
        rows.append(f"{job.__name__:<26} {time.monotonic() - begin:6.0f} s  {ended}")
    print("", "nightly:", *rows, sep="\n")
    return int(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
