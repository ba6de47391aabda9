"""The system under the promise: issues, their queue, the pool that works on them, the orchestrator.

Imports nothing but the standard library, and knows nothing of pytest, tests or the simulation, so that
what is proved here is what a program runs.
"""
