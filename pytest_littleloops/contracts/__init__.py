"""The contracts behind `pytest_littleloops.contract`."""
