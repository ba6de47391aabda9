"""Programs whose number of Mazurkiewicz traces is known, from the literature or by counting.

Readers, last-zero, file-system and indexer as Abdulla, Aronis, Jonsson, Sagonas (POPL 2014) describe them;
the latter two are by Flanagan and Godefroid (POPL 2005).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pytest_littleloops import Cell
from tests.simulation.scenarios import in_threads


def readers(count: int) -> None:
    """One writes a variable, the others read it: each of them before or after that."""
    variable = Cell(0)
    in_threads(lambda: variable.set(1), *[variable.get] * count)


def last_zero(count: int) -> None:
    """One looks for the last zero of a row, from its end, while others each write to a place of it."""
    row = [Cell(0) for _ in range(count + 1)]

    def look() -> None:
        place = count
        while row[place].get() != 0:
            place -= 1

    def write(place: int) -> Callable[[], None]:
        return lambda: row[place].set(row[place - 1].get() + 1)

    in_threads(look, *[write(place) for place in range(1, count + 1)])


def file_system(count: int) -> None:
    """Threads look for free blocks, each for its inode, of which there are 32, and 26 blocks."""
    inode_locks, block_locks = ([threading.Lock() for _ in range(size)] for size in (32, 26))
    inodes, are_busy = [Cell(0) for _ in inode_locks], [Cell(False) for _ in block_locks]

    def allocate(number: int) -> None:
        inode = number % len(inodes)
        with inode_locks[inode]:
            if inodes[inode].get() == 0:
                block = inode * 2 % len(are_busy)
                while not take(inode, block):
                    block = (block + 1) % len(are_busy)

    def take(inode: int, block: int) -> bool:
        with block_locks[block]:
            if are_busy[block].get():
                return False
            are_busy[block].set(True)
            inodes[inode].set(block + 1)
            return True

    in_threads(*[lambda number=number: allocate(number) for number in range(count)])


def indexer(count: int) -> None:
    """Threads each put four messages into a hash table of 128 places."""
    table = [Cell(0) for _ in range(128)]

    def put(thread: int) -> None:
        for message in range(1, 5):
            word = message * 11 + thread
            place = word * 7 % len(table)
            while not table[place].compare_exchange(0, word):
                place = (place + 1) % len(table)

    in_threads(*[lambda thread=thread: put(thread) for thread in range(count)])


def one_lock(count: int) -> None:
    """Each takes it once: in any order."""
    lock = threading.Lock()

    def enter() -> None:
        with lock:
            pass

    in_threads(*[enter] * count)
