"""Appending: the chunk rows of a commit, and all that is counted of them, in few statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.spool import extents
from collector.spool.tables import END_DAY

if TYPE_CHECKING:
    import sqlite3

_COLUMNS = (
    "seq, stream, boot, day, accepted_age, received_at, published_at, uid, remote_address,"
    " events, first_position, encoding, checksum, body"
)
_WIDTH = _COLUMNS.count(",") + 1
_ROW = f"({', '.join('?' * _WIDTH)})"

_SIZES = (64, 32, 16, 8, 4, 2, 1)
"""Numbers of rows that there is a statement for. A statement a row takes half as long again; one for
each number of rows would be prepared, and kept, a hundred times."""

_INSERTS = {
    rows: f"INSERT INTO chunk ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)}"  # noqa: S608 (made of constants)
    for rows in _SIZES
}

_COUNTED = "day, lane, stream, accepted, pending, requests, events, next_position, stored_bytes, last_seq"
_COUNT = f"({', '.join('?' * (_COUNTED.count(',') + 1))})"
_MOST_COUNTS = 16
_UPSERTS = {
    rows: f"INSERT INTO counts ({_COUNTED}) VALUES {', '.join([_COUNT] * rows)}"  # noqa: S608 (made of constants)
    " ON CONFLICT (day, lane, stream) DO UPDATE SET"
    " accepted = accepted + excluded.accepted, pending = pending + excluded.pending,"
    " requests = requests + excluded.requests, events = events + excluded.events,"
    " next_position = max(next_position, excluded.next_position),"
    " stored_bytes = max(stored_bytes, excluded.stored_bytes), last_seq = max(last_seq, excluded.last_seq)"
    for rows in range(1, _MOST_COUNTS + 1)
}
"""By the number of rows: a commit has one for each stream, for what it received, and for each lane."""


class Rows:
    """What is to be appended, in order."""

    __slots__ = ("_before", "_begun", "_chunks", "_counts")

    def __init__(self) -> None:
        self._before = extents.NONE
        self._begun: list[extents.Open] = []
        self._chunks: list[object] = []
        self._counts: list[tuple[int, ...]] = []

    def begin_extent(self, extent: extents.Open, *, before: extents.Open) -> None:
        """Begin an extent with the next chunk; `before` has grown until now."""
        if not self._begun:
            self._before = before
        self._begun.append(extent)

    def add_chunk(self, row: tuple[object, ...]) -> None:
        """Add a chunk's row: its values from `seq` to `body`."""
        self._chunks += row

    def set_end(self, stream: int, *, next_position: int, stored_bytes: int, last_seq: int) -> None:
        """Set where a stream goes on."""
        self._counts.append((END_DAY, 0, stream, 0, 0, 0, 0, next_position, stored_bytes, last_seq))

    def count_intake(self, stream: int, day: int, requests: int, events: int) -> None:
        """Count what was received."""
        self._counts.append((day, 0, stream, 0, 0, requests, events, 0, 0, 0))

    def count_accepted(self, lane: int, stream: int, day: int, events: int) -> None:
        """Count what a lane has got."""
        self._counts.append((day, lane, stream, events, events, 0, 0, 0, 0, 0))

    def append(self, connection: sqlite3.Connection) -> None:
        """Append them, inside the caller's transaction."""
        values, at = self._chunks, 0
        for rows in _SIZES:
            width = rows * _WIDTH
            while len(values) - at >= width:
                connection.execute(_INSERTS[rows], values[at : at + width])
                at += width
        if self._begun:
            extents.begin(connection, self._before, self._begun)
        for first in range(0, len(self._counts), _MOST_COUNTS):
            counts = self._counts[first : first + _MOST_COUNTS]
            connection.execute(_UPSERTS[len(counts)], [value for row in counts for value in row])
