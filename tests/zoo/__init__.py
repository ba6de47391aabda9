"""A zoo of small pools, executors, queues and orchestrators: most with one seeded defect, some sound."""

from __future__ import annotations

from . import (
    executors,
    orchestrators,
    pools_cancel,
    pools_completion,
    pools_jobs,
    pools_load,
    pools_processes,
    pools_shutdown,
    pools_uncontrolled,
    queues,
    sound,
    sound_carriers,
    sound_pools,
)
from .registry import SPECIMENS, Specimen

__all__ = [
    "SPECIMENS",
    "Specimen",
    "executors",
    "orchestrators",
    "pools_cancel",
    "pools_completion",
    "pools_jobs",
    "pools_load",
    "pools_processes",
    "pools_shutdown",
    "pools_uncontrolled",
    "queues",
    "sound",
    "sound_carriers",
    "sound_pools",
]
