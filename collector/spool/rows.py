"""Inserting chunk rows: as few statements as can be.

Python gives its lock away for each step of a statement, and takes it back after: with the
event loop busy that costs more than the row. So the rows of a commit go in by statements of
many rows, each prepared once.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

ROWS_A_STATEMENT = 64
"""At most: 14 values each stay under the 999 of older SQLite's, and each number is prepared once."""

_COLUMNS = (
    "seq, stream, boot, day, accepted_age, received_at, published_at, uid, remote_address,"
    " events, first_position, encoding, checksum, body"
)
_ROW = f"({', '.join('?' * 14)})"
_INSERT = f"INSERT INTO chunk ({_COLUMNS}) VALUES "  # noqa: S608 (made of constants)
_STATEMENTS = tuple(_INSERT + ", ".join([_ROW] * rows) for rows in range(ROWS_A_STATEMENT + 1))


def insert_chunks(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert chunk rows, whose values are in the order of `_COLUMNS`."""
    for at in range(0, len(rows), ROWS_A_STATEMENT):
        some = rows[at : at + ROWS_A_STATEMENT]
        connection.execute(_STATEMENTS[len(some)], tuple(chain.from_iterable(some)))
