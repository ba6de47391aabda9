"""The names of the faults. What each of them does to an issue is none of the engine's business."""

from __future__ import annotations

FAULTS = (
    "worker-raises",
    "worker-raises-base",
    "worker-returns-junk",
    "worker-slow",
    "worker-hangs",
    "worker-dies",
    "cancel",
    "shutdown",
    "submit-rejected",
    "completion-raises",
    "timeout",
    "executor-breaks",
)
"""What may go wrong, if a scenario asks whether it does. A token has their numbers: add at the end."""
