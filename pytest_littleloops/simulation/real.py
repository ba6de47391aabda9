"""The real primitives, kept under names that no world exchanges.

The engine itself runs on these: it hands one baton from thread to thread, and watches that it moves.
"""

from __future__ import annotations

import _thread
import queue
import select
import threading
import time
from typing import Any

allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
start_new_thread = _thread.start_new_thread
monotonic = time.monotonic
sleep = time.sleep
epoch = time.time
poll = getattr(select, "poll", None)
LockType = type(_thread.allocate_lock())
RLockType = _thread.RLock

SimpleQueue: Any = queue.SimpleQueue
# Which of these there are depends on the version of Python.
set_sentinel: Any = getattr(_thread, "_set_sentinel", None)
start_joinable_thread: Any = getattr(threading, "_start_joinable_thread", None)
ThreadHandle: Any = getattr(threading, "_ThreadHandle", None)
is_alive = threading.Thread.is_alive
stop: Any = getattr(threading.Thread, "_stop", None)
