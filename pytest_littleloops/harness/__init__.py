"""What a test holds: the ledger that knows when an issue is lost, its rules, fakes and recorders.

Usable without pytest. Imports the reference system and the simulation, never the plugin.
"""
