"""Upstreams against the configuration: who is new, who has left, who is back.

An upstream is its name. A new one starts at the tail, or at the oldest event that is
still there. One that left keeps the events it had, and gets no more. One that is back takes
up what it had left, then what is accepted from now on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Wanted:
    """An upstream of the configuration.

    Attributes:
        from_oldest: whether it starts at the oldest event when it is new.
        takes: whether it takes a dialect and product.
    """

    name: str
    kind: str
    from_oldest: bool
    takes: Callable[[str, str], bool]


def reconcile(connection: sqlite3.Connection, wanted: Sequence[Wanted], *, now: int) -> None:
    """Make the spool's upstreams those of the configuration, inside the caller's transaction."""
    known: dict[str, int | None] = dict(
        connection.execute("SELECT name, orphaned_at FROM upstream").fetchall()
    )
    for upstream in wanted:
        if upstream.name not in known:
            connection.execute(
                "INSERT INTO upstream (name, kind, added_at) VALUES (?, ?, ?)",
                (upstream.name, upstream.kind, now),
            )
            if upstream.from_oldest:
                _start_at_oldest(connection, upstream, now=now)
        elif known[upstream.name] is not None:
            _take_back(connection, upstream.name)
    names = {upstream.name for upstream in wanted}
    for name, orphaned_at in known.items():
        if name not in names and orphaned_at is None:
            _orphan(connection, name, now=now)


def _orphan(connection: sqlite3.Connection, name: str, *, now: int) -> None:
    connection.execute("UPDATE upstream SET orphaned_at = ? WHERE name = ?", (now, name))
    connection.execute(
        "UPDATE lane SET end_seq = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunk'), 0) + 1,"
        " end_bytes = (SELECT stored_bytes FROM stream WHERE stream.id = lane.stream)"
        " WHERE upstream = (SELECT id FROM upstream WHERE name = ?) AND end_seq IS NULL",
        (name,),
    )


def _take_back(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("UPDATE upstream SET orphaned_at = NULL WHERE name = ?", (name,))
    connection.execute(
        "UPDATE lane SET resume_seq = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunk'), 0) + 1,"
        " (resume_position, resume_bytes) ="
        " (SELECT next_position, stored_bytes FROM stream WHERE stream.id = lane.stream)"
        " WHERE upstream = (SELECT id FROM upstream WHERE name = ?) AND end_seq IS NOT NULL",
        (name,),
    )


def resume(connection: sqlite3.Connection, lane: int) -> None:
    """Move a lane that reached its end on to where its upstream came back."""
    connection.execute(
        "UPDATE lane SET cursor_seq = resume_seq, cursor_index = 0, cursor_position = resume_position,"
        " passed_bytes = resume_bytes, end_seq = NULL, end_bytes = NULL, resume_seq = NULL,"
        " resume_position = NULL, resume_bytes = NULL, suspect_end = NULL WHERE id = ? AND resume_seq IS NOT NULL",
        (lane,),
    )


def _start_at_oldest(connection: sqlite3.Connection, upstream: Wanted, *, now: int) -> None:
    streams = connection.execute("SELECT id, dialect, product FROM stream").fetchall()
    for stream, dialect, product in streams:
        if not upstream.takes(dialect, product):
            continue
        days = connection.execute(
            "SELECT day, sum(events), min(seq), min(first_position), sum(length(body)) FROM chunk"
            " WHERE stream = ? GROUP BY day",
            (stream,),
        ).fetchall()
        if not days:
            continue
        (lane,) = connection.execute(
            "INSERT INTO lane (upstream, stream, cursor_seq, cursor_position, passed_bytes, since)"
            " SELECT upstream.id, stream.id, ?, ?, stored_bytes - ?, ? FROM upstream, stream"
            " WHERE upstream.name = ? AND stream.id = ? RETURNING id",
            (
                min(day[2] for day in days),
                min(day[3] for day in days),
                sum(day[4] for day in days),
                now,
                upstream.name,
                stream,
            ),
        ).fetchone()
        connection.executemany(
            "INSERT INTO ledger (lane, day, accepted, pending) VALUES (?1, ?2, ?3, ?3)",
            [(lane, day[0], day[1]) for day in days],
        )
