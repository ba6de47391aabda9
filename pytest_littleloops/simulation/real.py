"""The real primitives, kept under names that no world exchanges.

The engine itself runs on these: it hands one baton from thread to thread, and watches that it moves.
"""

from __future__ import annotations

import _thread
import time

allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
start_new_thread = _thread.start_new_thread
monotonic = time.monotonic
sleep = time.sleep
LockType = type(_thread.allocate_lock())
RLockType = _thread.RLock
