"""A backlog of any size, in no time: written as the store writes it, past the daemon."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from collector.spool.directory import DATABASE_FILE
from collector.spool.store import NewChunk, Placed, checksum, stored
from collector.spool.tables import END_DAY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Row = tuple[int | bytes | str, ...]


def pile_up(directory: Path, *, chunks: int, events: int) -> None:
    """Add requests to a spool that nobody has open, to the Samsara stream, of which its last chunk must be.

    Args:
        directory: of the spool.
        chunks: requests to add.
        events: in each.
    """
    event = {"timestamp": 1, "sourceId": "till", "eventName": "sold"}
    body = json.dumps([event] * events).encode()
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        stream, day, received, age, boot, seq, position = connection.execute(
            "SELECT stream, day, received_at, accepted_age, boot, seq, next_position"
            " FROM chunk JOIN stream_end USING (stream) ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        encoding, packed = stored(NewChunk("samsara", "", "", received, None, events, "", body))

        def rows() -> Iterator[Row]:
            for number in range(chunks):
                first = position + number * events
                crc = checksum(Placed(stream, first, events, day, received, None, "", encoding), packed)
                yield seq + 1 + number, stream, boot, day, age, received, events, first, encoding, crc, packed

        connection.executemany(
            "INSERT INTO chunk (seq, stream, boot, day, accepted_age, received_at, remote_address, events,"
            " first_position, encoding, checksum, body) VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?)",
            rows(),
        )
        added = chunks * events
        connection.execute(
            "UPDATE counts SET next_position = next_position + ?, stored_bytes = stored_bytes + ?,"
            " last_seq = last_seq + ?"
            " WHERE day = ? AND stream = ?",
            (added, chunks * len(packed), chunks, END_DAY, stream),
        )
        connection.execute(
            "UPDATE counts SET accepted = accepted + ?1, pending = pending + ?1"
            " WHERE lane > 0 AND stream = ?2",
            (added, stream),
        )
        connection.execute(
            "UPDATE counts SET events = events + ?, requests = requests + ?"
            " WHERE lane = 0 AND day <> ? AND stream = ?",
            (added, chunks, END_DAY, stream),
        )
        connection.commit()
