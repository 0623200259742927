"""What SQLite's errors say of the disk."""

from __future__ import annotations

import sqlite3


def cause(error: sqlite3.Error) -> str:
    """An error's text, with SQLite's own name for it."""
    name = getattr(error, "sqlite_errorname", "")
    return f"{error} ({name})" if name else str(error)


def found_no_room(error: Exception) -> bool:
    """Whether SQLite itself says that the disk is full."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def may_want_room(error: Exception) -> bool:
    """Whether a full disk could be behind it all the same.

    SQLite has one code for every failed sync, for a log's index that cannot grow and for what a
    user's disk quota refuses.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, OSError)
    return code & 0xFF in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
