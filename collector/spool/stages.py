"""Telling how far opening a damaged spool is, which may take minutes where the spool is large."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[str, int, int], None]
"""Is told, often, what is being done, how much of it is done, and how much there is; 0 where nobody knows.

The numbers are bytes. It is called on the thread that opens the spool, and must not raise."""

LOOKING = "looking for damage"
COPYING = "copying the damaged files"
READING = "reading what can be read"


def untold(_what: str, _done: int, _of: int) -> None:
    """Tell nobody."""
