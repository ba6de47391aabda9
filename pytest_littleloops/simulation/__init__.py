"""The engine's room: schedules, not issues.

What will live here runs unmodified threaded code under every schedule. It knows tasks and objects and
imports nothing of the other wings.
"""
