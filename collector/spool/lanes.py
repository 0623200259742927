"""A lane's own row: what is neither settled with a batch nor read with the backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def position_after(connection: sqlite3.Connection, stream: int, seq: int) -> int:
    """The position of the first event behind a chunk, without asking the chunk itself."""
    (position,) = connection.execute(
        "SELECT coalesce("
        "(SELECT first_position FROM chunk WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT 1),"
        " (SELECT next_position FROM stream WHERE id = ?1))",
        (stream, seq),
    ).fetchone()
    return int(position)
