"""Upstreams against the configuration: who is new, who has left, who is back.

An upstream is its name. A new one starts at the tail, or at the oldest event that is
still there. One that left keeps the events it had, and gets no more. One that is back takes
up what it had left, then what is accepted from now on. The same holds for a single lane whose
upstream stays but takes its dialect or product no longer, or takes it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged
from collector.spool.extents import IN_ORDER, chunks_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

WITH_NEXT_ABSENCE = (
    " LEFT JOIN absence ON absence.lane = lane.id"
    "  AND from_seq = (SELECT min(from_seq) FROM absence WHERE absence.lane = lane.id)"
)
"""Joined to `lane`: where it comes next to chunks that are not its own; nulls where it does not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An upstream of the configuration.

    Attributes:
        from_oldest: whether it starts at the oldest event when it is new.
        takes: whether it takes a dialect and product.
        max_bytes: what its lanes may hold together; None for no bound but the spool's.
    """

    name: str
    kind: str
    from_oldest: bool
    takes: Callable[[str, str], bool]
    max_bytes: int | None = None


def reconcile(connection: sqlite3.Connection, wanted: Sequence[Wanted], *, now: int) -> None:
    """Make the spool's upstreams those of the configuration, inside the caller's transaction."""
    known = {name for (name,) in connection.execute("SELECT name FROM upstream").fetchall()}
    for upstream in wanted:
        if upstream.name in known:
            _change_kind(connection, upstream)
            connection.execute("UPDATE upstream SET orphaned_at = NULL WHERE name = ?", (upstream.name,))
            continue
        connection.execute(
            "INSERT INTO upstream (name, kind, added_at) VALUES (?, ?, ?)",
            (upstream.name, upstream.kind, now),
        )
        if upstream.from_oldest:
            _start_at_oldest(connection, upstream, now=now)
    by_name = {upstream.name: upstream for upstream in wanted}
    connection.executemany(
        "UPDATE upstream SET orphaned_at = coalesce(orphaned_at, ?) WHERE name = ?",
        [(now, name) for name in known - by_name.keys()],
    )
    shut = connection.execute("SELECT lane FROM absence WHERE to_seq IS NULL AND full").fetchall()
    for (lane,) in shut:
        # Admission decides anew.
        _come_back(connection, lane)
    lanes = connection.execute(
        "SELECT lane.id, upstream.name, dialect, product,"
        " EXISTS (SELECT 1 FROM absence WHERE absence.lane = lane.id AND to_seq IS NULL)"
        " FROM lane JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
    ).fetchall()
    for lane, name, dialect, product, away in lanes:
        taken = name in by_name and by_name[name].takes(dialect, product)
        if taken and away:
            _come_back(connection, lane)
        elif not taken and not away:
            _leave(connection, lane)


def _change_kind(connection: sqlite3.Connection, upstream: Wanted) -> None:
    """Where an upstream is of another kind than before, forget what was sealed and learned for that.

    A batch that was rendered as lines of a file is no request body, nor the other way round.
    """
    changed = connection.execute(
        "UPDATE upstream SET kind = ?1 WHERE name = ?2 AND kind <> ?1 RETURNING id",
        (upstream.kind, upstream.name),
    ).fetchone()
    if changed is None:
        return
    connection.execute("DELETE FROM batch WHERE lane IN (SELECT id FROM lane WHERE upstream = ?)", changed)
    connection.execute(
        "UPDATE lane SET state = 'new', reason = '', failures = 0, next_attempt_at = 0, suspect_end = NULL,"
        " condemned = '[]', learned_limit = NULL, judged = 0, rejected = 0, settled = NULL"
        " WHERE upstream = ?",
        changed,
    )


def _leave(connection: sqlite3.Connection, lane: int) -> None:
    connection.execute(
        "INSERT INTO absence (lane, from_seq, from_bytes)"
        " SELECT lane.id, ?, stored_bytes FROM lane JOIN stream_end USING (stream) WHERE lane.id = ?",
        (next_seq(connection), lane),
    )


def _come_back(connection: sqlite3.Connection, lane: int) -> None:
    # Where nothing was accepted meanwhile, it was never away.
    connection.execute(
        "DELETE FROM absence WHERE lane = ? AND to_seq IS NULL AND from_bytes ="
        " (SELECT stored_bytes FROM lane JOIN stream_end USING (stream)"
        "  WHERE lane.id = absence.lane)",
        (lane,),
    )
    connection.execute(
        "UPDATE absence SET (to_seq, to_position, to_bytes) ="
        " (SELECT ?, next_position, stored_bytes FROM lane JOIN stream_end USING (stream)"
        "  WHERE lane.id = absence.lane)"
        " WHERE lane = ? AND to_seq IS NULL",
        (next_seq(connection), lane),
    )
    resume(connection, lane)


def next_seq(connection: sqlite3.Connection) -> int:
    """The number of the next chunk: behind all that there ever were, whatever is deleted."""
    (seq,) = connection.execute("SELECT coalesce(max(last_seq), 0) + 1 FROM stream_end").fetchone()
    return int(seq)


def resume(connection: sqlite3.Connection, lane: int) -> bool:
    """Move a lane that has come up to an absence that is over to where it goes on.

    Returns:
        Whether it was moved.

    Raises:
        SpoolDamaged: it has not passed all of its chunks before the absence, so there are some that it did
            not come upon.
    """
    moved = False
    while True:
        absence = connection.execute(
            "SELECT from_seq, to_seq, to_position, to_bytes - from_bytes,"  # noqa: S608 (made of constants)
            " from_bytes - passed_bytes"
            " FROM absence JOIN lane ON lane.id = absence.lane"
            " WHERE lane = ?1 AND to_seq IS NOT NULL"
            " AND from_seq = (SELECT min(from_seq) FROM absence WHERE lane = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM"
            f" {chunks_of('lane.stream', first='lane.cursor_seq', end='absence.from_seq')})",
            (lane,),
        ).fetchone()
        if absence is None:
            return moved
        from_seq, to_seq, to_position, skipped_bytes, hidden_bytes = absence
        if hidden_bytes:
            raise SpoolDamaged(f"chunks of lane {lane} are missing before chunk {from_seq}")
        connection.execute(
            "UPDATE lane SET cursor_seq = ?, cursor_index = 0, cursor_position = ?,"
            " passed_bytes = passed_bytes + ?, suspect_end = NULL WHERE id = ?",
            (to_seq, to_position, skipped_bytes, lane),
        )
        connection.execute("DELETE FROM absence WHERE lane = ? AND from_seq = ?", (lane, from_seq))
        moved = True


def _start_at_oldest(connection: sqlite3.Connection, upstream: Wanted, *, now: int) -> None:
    """Give a new upstream lanes in all that is there; goes through these streams whole."""
    streams = connection.execute("SELECT id, dialect, product FROM stream").fetchall()
    for stream, dialect, product in streams:
        if not upstream.takes(dialect, product):
            continue
        oldest = connection.execute(
            f"SELECT seq, first_position FROM {chunks_of('?1')} WHERE only_lane IS NULL {IN_ORDER} LIMIT 1",  # noqa: S608
            (stream,),
        ).fetchone()
        if oldest is None:
            continue
        (lane,) = connection.execute(
            "INSERT INTO lane (upstream, stream, cursor_seq, cursor_position, passed_bytes, since)"  # noqa: S608
            " SELECT upstream.id, stream_end.stream, ?, ?,"
            f"  stored_bytes - (SELECT sum(length(body)) FROM {chunks_of('stream_end.stream')}"
            "   WHERE only_lane IS NULL), ?"
            " FROM upstream, stream_end WHERE upstream.name = ? AND stream_end.stream = ? RETURNING id",
            (*oldest, now, upstream.name, stream),
        ).fetchone()
        connection.execute(
            "INSERT INTO counts (day, lane, stream, accepted, pending)"  # noqa: S608 (made of constants)
            f" SELECT day, ?2, ?1, sum(events), sum(events) FROM {chunks_of('?1')}"
            "  WHERE only_lane IS NULL GROUP BY day",
            (stream, lane),
        )
        _leap_over_gaps(connection, lane, stream)


def _leap_over_gaps(connection: sqlite3.Connection, lane: int, stream: int) -> None:
    """Make absences of what is not for a new lane, up to the tail.

    That is what others have sent already, behind what one that left still keeps, and what is for
    one lane alone.
    """
    connection.execute(
        "INSERT INTO absence (lane, from_seq, to_seq, to_position, from_bytes, to_bytes)"  # noqa: S608
        " SELECT ?1, seq + 1, coalesce(next_seq, ?3), coalesce(next_first, next_position),"
        # Such a lane has passed from the beginning what these take.
        "  passed_bytes + size, passed_bytes + size FROM ("
        "  SELECT seq, first_position + events AS end_position, sum(length(body)) OVER by_seq AS size,"
        "   lead(seq) OVER by_seq AS next_seq, lead(first_position) OVER by_seq AS next_first"
        f"  FROM {chunks_of('?2')} WHERE only_lane IS NULL WINDOW by_seq AS (ORDER BY seq)"
        " ) CROSS JOIN stream_end CROSS JOIN lane WHERE stream_end.stream = ?2 AND lane.id = ?1"
        " AND end_position <> coalesce(next_first, next_position)",
        (lane, stream, next_seq(connection)),
    )
