"""Waystation: the local collector daemon of one device."""

__version__ = "0.1.0"
