"""Timelines for people: what a failure message, a JSON file or a page shows of a journal.

Reads the harness, writes text. Knows nothing of pytest.
"""
