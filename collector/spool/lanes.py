"""A lane's own row: what is neither settled with a batch nor read with the backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged
from collector.spool.extents import END, IN_ORDER, chunks_of
from collector.spool.store import Placed, checksum

if TYPE_CHECKING:
    import sqlite3


def opened(connection: sqlite3.Connection, lane: int, *, settled: str) -> None:
    """Keep the marker that the sender gave when the lane was opened."""
    connection.execute("UPDATE lane SET settled = ? WHERE id = ?", (settled, lane))


def halted(connection: sqlite3.Connection, lane: int, *, reason: str, next_attempt_at: int, now: int) -> None:
    """Show a lane as blocked that could not even attempt a batch; times in ms since 1970."""
    connection.execute(
        "UPDATE lane SET since = CASE state WHEN 'blocked' THEN since ELSE ? END, state = 'blocked',"
        " reason = ?, next_attempt_at = ? WHERE id = ?",
        (now, reason, next_attempt_at, lane),
    )


def position_after(
    connection: sqlite3.Connection, stream: int, seq: int, *, end_seq: int | None = None
) -> int:
    """The position of the first event behind a chunk, as far as can be told without asking the chunk.

    Args:
        connection: any.
        stream: the chunk's.
        seq: the chunk's.
        end_seq: the first chunk that is not the lane's own, None for none; where there is no chunk
            before it to be asked, the chunk itself is.
    """
    (position,) = connection.execute(
        "SELECT coalesce("  # noqa: S608 (made of constants)
        f" (SELECT first_position FROM {chunks_of('?1', first='?2 + 1', end=f'coalesce(?3, {END})')}"
        f"  {IN_ORDER} LIMIT 1),"
        " (SELECT next_position FROM stream_end WHERE stream = ?1 AND ?3 IS NULL),"
        " (SELECT first_position + events FROM chunk WHERE seq = ?2))",
        (stream, seq, end_seq),
    ).fetchone()
    return int(position)


def waiting_day(connection: sqlite3.Connection, lane: int, seq: int, *, events: int) -> int:
    """The day that a damaged chunk's events wait under in a lane's ledger.

    One flipped bit makes another day of it, which the ledger may not even have. Then the
    checksum fits with the right one.

    Raises:
        SpoolDamaged: so many events wait under none.
    """
    *said, crc, body = connection.execute(
        "SELECT stream, first_position, events, day, received_at, published_at, remote_address, encoding,"
        " checksum, body FROM chunk WHERE seq = ?",
        (seq,),
    ).fetchone()
    placed = Placed(*said)
    rows = connection.execute(
        "SELECT day FROM ledger WHERE lane = ? AND pending >= ? ORDER BY day <> ?, pending DESC",
        (lane, events, placed.day),
    )
    days = [int(day) for (day,) in rows]
    if not days:
        raise SpoolDamaged(f"lane {lane}: no day of its ledger has the {events} events of chunk {seq}")
    return next((day for day in days if checksum(placed._replace(day=day), body) == crc), days[0])


def answered(connection: sqlite3.Connection, lane: int, *, now: int) -> bool:
    """The upstream answered a batch for what it is: a lane that was waiting for it waits no more.

    Returns:
        Whether it was waiting. One that is new stays so, until its upstream takes an event.
    """
    found = connection.execute(
        "UPDATE lane SET state = 'healthy', reason = '', since = ?, failures = 0, next_attempt_at = 0"
        " WHERE id = ? AND state IN ('retrying', 'blocked')",
        (now, lane),
    )
    return found.rowcount > 0
