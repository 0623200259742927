"""Passing: a lane leaves a run of events behind, whatever became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from collector.errors import SpoolDamaged
from collector.spool.extents import chunks_of, drop_empty
from collector.spool.upstreams import resume

if TYPE_CHECKING:
    import sqlite3

    from collector.core.batch import Run

Fate = Literal["delivered", "dead", "expired", "evicted", "damaged"]
"""How a pending event ends; the ledger's column of that name."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A run of events that a lane leaves behind, and its cursor after it.

    Attributes:
        first_seq: the first chunk of the run.
        end_seq: with `end_index` and `end_position`, the cursor after.
        days: events by day of acceptance.
        passed_bytes: stored bytes of the chunks that it ends.
    """

    first_seq: int
    end_seq: int
    end_index: int
    end_position: int
    days: tuple[tuple[int, int], ...]
    passed_bytes: int

    @staticmethod
    def of(run: Run) -> Passage:
        """The passage over a run."""
        return Passage(
            first_seq=run.pieces[0].chunk.seq,
            end_seq=run.end_seq,
            end_index=run.end_index,
            end_position=run.last + 1,
            days=run.days,
            passed_bytes=run.passed_bytes,
        )


def advance(connection: sqlite3.Connection, lane: int, passage: Passage, fate: Fate) -> None:
    """Move a lane's cursor over a run, count it, and delete the chunks that nobody needs now.

    Raises:
        SpoolDamaged: the ledger does not have so many waiting, so one of the two is not what was written.
    """
    for day, events in passage.days:
        counted = connection.execute(
            f"UPDATE counts SET pending = pending - ?2, {fate} = {fate} + ?2"  # noqa: S608 (a Literal)
            " WHERE lane = ?3 AND day = ?1 AND pending >= ?2",
            (day, events, lane),
        )
        if counted.rowcount != 1:
            raise SpoolDamaged(f"lane {lane}: {events} events of day {day} end, and its ledger has fewer")
    (stream,) = connection.execute(
        "UPDATE lane SET cursor_seq = ?, cursor_index = ?, cursor_position = ?,"
        " passed_bytes = passed_bytes + ?,"
        " suspect_end = CASE WHEN suspect_end > ? THEN suspect_end END WHERE id = ? RETURNING stream",
        (
            passage.end_seq,
            passage.end_index,
            passage.end_position,
            passage.passed_bytes,
            passage.end_position,
            lane,
        ),
    ).fetchone()
    connection.execute(
        "UPDATE lane SET condemned = (SELECT json_group_array(json(value)) FROM json_each(lane.condemned)"
        " WHERE json_extract(value, '$.position') >= ?) WHERE id = ? AND condemned <> '[]'",
        (passage.end_position, lane),
    )
    release(connection, stream, passage.first_seq, passage.end_seq)
    resume(connection, lane)


def release(connection: sqlite3.Connection, stream: int, first_seq: int, end_seq: int) -> None:
    """Delete the chunks of a stream from `first_seq` up to `end_seq` that no lane needs."""
    deleted = connection.execute(_RELEASE, (stream, first_seq, end_seq))
    if deleted.rowcount:
        drop_empty(connection, stream, first_seq, end_seq)


_RELEASE = (
    "DELETE FROM chunk WHERE seq IN"  # noqa: S608 (made of constants)
    f" (SELECT chunk.seq FROM {chunks_of('?1', first='?2', end='?3')})"
    # Whatever a damaged extent says: what is deleted is the stream's own.
    " AND stream = ?1 AND NOT EXISTS ("
    " SELECT 1 FROM lane WHERE lane.stream = ?1 AND cursor_seq <= chunk.seq AND NOT EXISTS ("
    "  SELECT 1 FROM absence WHERE absence.lane = lane.id AND from_seq <= chunk.seq"
    "  AND (to_seq IS NULL OR chunk.seq < to_seq)))"
)
