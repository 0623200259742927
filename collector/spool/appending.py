"""Appending: the chunk rows of a commit, and all that is counted of them, in few statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
_STREAM = "UPDATE stream SET next_position = ?, stored_bytes = ? WHERE id = ?"
_INTAKE = (
    "INSERT INTO intake (stream, day, requests, events) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (stream, day) DO UPDATE"
    " SET requests = requests + excluded.requests, events = events + excluded.events"
)
_LEDGER = (
    "INSERT INTO ledger (lane, day, accepted, pending) VALUES (?1, ?2, ?3, ?3)"
    " ON CONFLICT (lane, day) DO UPDATE"
    " SET accepted = accepted + excluded.accepted, pending = pending + excluded.pending"
)


class Rows:
    """What is to be appended, in order."""

    __slots__ = ("_chunks", "_counts")

    def __init__(self) -> None:
        self._chunks: list[object] = []
        self._counts: list[tuple[str, tuple[int, ...]]] = []

    def add_chunk(self, row: tuple[object, ...]) -> None:
        """Add a chunk's row: its values from `seq` to `body`."""
        self._chunks += row

    def set_stream(self, stream: int, *, next_position: int, stored_bytes: int) -> None:
        """Set a stream's end."""
        self._counts.append((_STREAM, (next_position, stored_bytes, stream)))

    def count_intake(self, stream: int, day: int, requests: int, events: int) -> None:
        """Count what was received."""
        self._counts.append((_INTAKE, (stream, day, requests, events)))

    def count_accepted(self, lane: int, day: int, events: int) -> None:
        """Count what a lane has got."""
        self._counts.append((_LEDGER, (lane, day, events)))

    def append(self, connection: sqlite3.Connection) -> None:
        """Append them, inside the caller's transaction."""
        values, at = self._chunks, 0
        for rows in _SIZES:
            width = rows * _WIDTH
            while len(values) - at >= width:
                connection.execute(_INSERTS[rows], values[at : at + width])
                at += width
        for statement, row in self._counts:
            connection.execute(statement, row)
