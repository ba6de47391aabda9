"""Bugs of other packages that users met, each put through the contract of what it is.

A module here is a case: an adapter that makes a package look like what the contract judges, and one
subclass of the contract. Nothing in it is about the bug, so that the promises have to find it. They are
run where the package is installed, by `tests/slow/test_known_bugs.py`.
"""
