"""Decisions: no I/O, clock, chance or logging."""
