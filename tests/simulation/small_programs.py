"""Small random programs, and all that they can do: by stepping through every interleaving of plain data.

Nothing of the engine is used to find out what may happen, so that it can be held against this.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_littleloops import Cell

Operation = tuple[str, str, int]
"""What to do, to which object, with which number."""

Outcome = tuple[tuple[object, ...], ...]
"""What each thread has seen, and at last what the cells hold."""


@dataclass(frozen=True)
class Program:
    """Threads, each a list of operations; two cells, four locks, an event, a semaphore and a queue."""

    threads: tuple[tuple[Operation, ...], ...]

    def scenario(self, outcomes: set[Outcome]) -> None:
        """Run it once, on whatever `threading` means at the moment."""
        objects: dict[str, Any] = {
            "x": Cell(0),
            "y": Cell(0),
            "a": threading.Lock(),
            "b": threading.Lock(),
            "c": threading.Lock(),
            "r": threading.RLock(),
            "e": threading.Event(),
            "s": threading.Semaphore(1),
            "q": queue.SimpleQueue(),
        }
        seen: list[list[object]] = [[] for _ in self.threads]

        def run(number: int) -> None:
            for what, name, value in self.threads[number]:
                result = _do(objects[name], what, value)
                if result is not None:
                    seen[number].append(result)

        running = [threading.Thread(target=run, args=(number,)) for number in range(len(self.threads))]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        cells = objects["x"].get(), objects["y"].get()
        outcomes.add((*(tuple(one) for one in seen), cells))

    def outcomes(self) -> set[Outcome]:
        """All outcomes."""
        return {_outcome(state) for state in _ends(self, _begin(self), set())}

    def traces(self) -> int:
        """How many Mazurkiewicz traces it has, by listing every interleaving of it."""
        return len({_trace(log) for log in _logs(self, _begin(self), [])})


def _do(thing: Any, what: str, value: int) -> object:
    """One operation on the real objects; what the thread has seen, if anything."""
    if what == "get":
        return thing.get()
    if what == "set":
        return thing.set(value)
    if what == "exchange":
        return bool(thing.compare_exchange(value - 1, value))
    if what == "acquire":
        thing.acquire()
    elif what == "try":
        # Let go at once: what follows does not depend on it.
        got = thing.acquire(blocking=False)
        if got:
            thing.release()
        return got
    elif what == "grab":
        return thing.acquire(blocking=False)
    elif what == "let go":
        try:
            thing.release()
        except RuntimeError:
            return "was free"
        return "let go"
    elif what == "release":
        thing.release()
    elif what == "is set":
        return thing.is_set()
    elif what == "fire":
        thing.set()
    elif what == "wait":
        thing.wait()
    elif what == "put":
        thing.put(value)
    elif what == "take":
        try:
            return thing.get_nowait()
        except queue.Empty:
            return "nothing"
    return None


@dataclass(frozen=True)
class _State:
    """All that an interleaving has come to: next operations, what was seen, what the objects are."""

    positions: tuple[int, ...]
    seen: tuple[tuple[object, ...], ...]
    cells: tuple[tuple[str, int], ...]
    held: frozenset[str]
    trying: frozenset[int]
    """The threads that have tried a lock with success and not let it go yet."""
    is_set: bool
    items: tuple[int, ...]


def _begin(program: Program) -> _State:
    count = len(program.threads)
    return _State((0,) * count, ((),) * count, (("x", 0), ("y", 0)), frozenset(), frozenset(), False, ())


def _steps(program: Program, state: _State) -> Iterator[tuple[int, str, str, _State]]:
    """What may come next: the thread, the object, whether it is read or changed, and the state after it."""
    for number, operations in enumerate(program.threads):
        if state.positions[number] == len(operations):
            continue
        what, name, value = operations[state.positions[number]]
        step = _step(state, number, what, name, value)
        if step is not None:
            kind, after = step
            yield number, name, kind, after


def _step(state: _State, number: int, what: str, name: str, value: int) -> tuple[str, _State] | None:
    def after(result: object = None, *, stays: bool = False, **changes: Any) -> _State:
        positions, seen = list(state.positions), list(state.seen)
        if not stays:
            positions[number] += 1
        if result is not None:
            seen[number] = (*seen[number], result)
        fields = {**state.__dict__, "positions": tuple(positions), "seen": tuple(seen), **changes}
        return _State(**fields)

    cells = dict(state.cells)
    if what == "get":
        return "read", after(cells[name])
    if what == "set":
        return "change", after(cells=tuple({**cells, name: value}.items()))
    if what == "exchange":
        if cells[name] != value - 1:
            return "read", after(False)
        return "change", after(True, cells=tuple({**cells, name: value}.items()))
    if what == "acquire":
        return None if name in state.held else ("change", after(held=state.held | {name}))
    if what == "release":
        return "change", after(held=state.held - {name})
    if what == "try":
        if number in state.trying:
            return "change", after(held=state.held - {name}, trying=state.trying - {number})
        if name in state.held:
            return "read", after(False)
        changes = {"held": state.held | {name}, "trying": state.trying | {number}}
        return "change", after(True, stays=True, **changes)
    if what == "grab":
        if name in state.held:
            return "read", after(False)
        return "change", after(True, held=state.held | {name})
    if what == "let go":
        if name not in state.held:
            return "read", after("was free")
        return "change", after("let go", held=state.held - {name})
    if what == "is set":
        return "read", after(state.is_set)
    if what == "fire":
        return "change", after(is_set=True)
    if what == "wait":
        return ("read", after()) if state.is_set else None
    if what == "put":
        return "change", after(items=(*state.items, value))
    if what == "take":
        if not state.items:
            return "read", after("nothing")
        return "change", after(state.items[0], items=state.items[1:])
    raise AssertionError(what)


def _outcome(state: _State) -> Outcome:
    return (*state.seen, tuple(value for _, value in state.cells))


def _ends(program: Program, state: _State, known: set[_State]) -> Iterator[_State]:
    if state in known:
        return
    known.add(state)
    steps = list(_steps(program, state))
    if not steps:
        yield state
    for *_, after in steps:
        yield from _ends(program, after, known)


Log = list[tuple[int, str, str]]


def _logs(program: Program, state: _State, log: Log) -> Iterator[Log]:
    steps = list(_steps(program, state))
    if not steps:
        yield log
    for number, name, kind, after in steps:
        yield from _logs(program, after, [*log, (number, name, kind)])


def _trace(log: Log) -> frozenset[tuple[tuple[int, int], tuple[int, int]]]:
    """The order of every two steps that conflict."""
    counts: dict[int, int] = {}
    names: list[tuple[int, int]] = []
    for number, _, _ in log:
        counts[number] = counts.get(number, 0) + 1
        names.append((number, counts[number]))
    return frozenset(
        (names[i], names[j])
        for j in range(len(log))
        for i in range(j)
        if log[i][1] == log[j][1] and log[i][0] != log[j][0] and "change" in (log[i][2], log[j][2])
    )


def random_program(seed: int, *, is_simple: bool) -> Program:
    """A program without deadlocks: locks are taken in one order. A simple one has only locks and cells."""
    draw = random.Random(seed)
    count = draw.choice((2, 2, 3))
    longest = 3 if count == 3 else 4
    return Program(tuple(_random_thread(draw, draw.randint(1, longest), is_simple) for _ in range(count)))


def _random_thread(draw: random.Random, length: int, is_simple: bool) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    while len(operations) < length:
        kind = draw.randrange(3 if is_simple else 9)
        cell = draw.choice("xy")
        if kind == 0:
            operations.append(("set", cell, draw.randint(1, 2)))
        elif kind == 1:
            operations.append(draw.choice([("get", cell, 0), ("exchange", cell, draw.randint(1, 2))]))
        elif kind == 2:
            inside: Operation = draw.choice([("get", cell, 0), ("set", cell, 3)])
            lock = draw.choice("ab" if is_simple else "abrs")
            operations += [("acquire", lock, 0), inside, ("release", lock, 0)]
        elif kind == 3:
            operations.append(("try", draw.choice("ab"), 0))
        elif kind == 4:
            operations.append(draw.choice([("is set", "e", 0), ("fire", "e", 0)]))
        elif kind == 5:
            operations.append(("put", "q", draw.randint(1, 2)))
        elif kind == 6:
            operations.append(("take", "q", 0))
        else:
            # Also by one who does not hold it.
            operations.append((draw.choice(["grab", "let go"]), "c", 0))
    return tuple(operations)
