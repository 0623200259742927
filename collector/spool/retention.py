"""Retention: age and quota, the only things that end an event's life unsent.

Both end events from the head of a lane, whole chunks at a time and whole batches: where
the lane's sealed batch is touched, it ends with all of its events, and they are also
counted `outcome_unknown`, since an attempt may have reached the upstream. A batch whose
attempt is in flight is spared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from collector.spool.settle import Passage, advance

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

STEP_CHUNKS = 1000
"""Chunks that one transaction ends at most, so that ingest is never held up for long."""


def expire(
    connection: sqlite3.Connection, *, accepted_before: int, in_flight: Collection[int]
) -> dict[str, int]:
    """End events accepted before an instant of the age clock (ms), at most `STEP_CHUNKS` chunks a lane.

    Returns:
        How many events ended, by lane name.
    """
    ended: dict[str, int] = {}
    for lane, name in _lanes(connection):
        if lane not in in_flight:
            count = _end_head(
                connection, lane, "expired", accepted_before=accepted_before, at_most=STEP_CHUNKS
            )
            if count:
                ended[name] = count
    return ended


def evict(connection: sqlite3.Connection, *, in_flight: Collection[int]) -> dict[str, int]:
    """End the oldest chunks of one lane: an orphan's if there is one, else of the lane with most bytes.

    Returns:
        How many events ended, by lane name; empty where nothing can be ended.
    """
    rows = connection.execute(
        "SELECT lane.id, upstream.name || '/' || dialect || CASE product WHEN '' THEN '' ELSE '/' || product END,"
        " orphaned_at IS NOT NULL AS orphan, coalesce(end_bytes, stored_bytes) - passed_bytes AS bytes"
        " FROM lane JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " ORDER BY orphan DESC, bytes DESC"
    ).fetchall()
    for lane, name, _, _ in rows:
        if lane in in_flight:
            continue
        count = _end_head(connection, lane, "evicted", accepted_before=None, at_most=64)
        if count:
            return {name: count}
    return {}


def _lanes(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    return connection.execute(
        "SELECT lane.id, upstream.name || '/' || dialect || CASE product WHEN '' THEN '' ELSE '/' || product END"
        " FROM lane JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
    ).fetchall()


def _end_head(
    connection: sqlite3.Connection,
    lane: int,
    fate: Literal["expired", "evicted"],
    *,
    accepted_before: int | None,
    at_most: int,
) -> int:
    """End the oldest chunks of a lane, and what is left of a batch that they begin."""
    stream, cursor_seq, cursor_index, end_seq = connection.execute(
        "SELECT stream, cursor_seq, cursor_index, end_seq FROM lane WHERE id = ?", (lane,)
    ).fetchone()
    batch = connection.execute("SELECT id, end_seq, end_index FROM batch WHERE lane = ?", (lane,)).fetchone()
    if batch is not None:
        (of_batch,) = connection.execute(
            "SELECT count(*) FROM chunk WHERE stream = ? AND seq BETWEEN ? AND ?",
            (stream, cursor_seq, batch[1]),
        ).fetchone()
        at_most = max(at_most, of_batch)
    rows = connection.execute(
        "SELECT seq, day, events, first_position, length(body), accepted_age FROM chunk"
        " WHERE stream = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
        (stream, cursor_seq, (1 << 62) if end_seq is None else end_seq, at_most),
    ).fetchall()
    days: dict[int, int] = {}
    passed_bytes = 0
    position = None
    last_seq, last_index = cursor_seq, cursor_index
    for seq, day, events, first_position, size, accepted_age in rows:
        inside_batch = batch is not None and (seq, 0) < (batch[1], batch[2])
        if accepted_before is not None and accepted_age >= accepted_before and not (inside_batch and days):
            break
        skipped = cursor_index if seq == cursor_seq else 0
        days[day] = days.get(day, 0) + events - skipped
        passed_bytes += size
        position = first_position + events
        last_seq, last_index = seq + 1, 0
    if position is None:
        return 0
    if batch is not None:
        _end_batch(connection, lane, batch[0])
    advance(
        connection,
        lane,
        Passage(cursor_seq, last_seq, last_index, position, tuple(days.items()), passed_bytes),
        fate,
    )
    return sum(days.values())


def _end_batch(connection: sqlite3.Connection, lane: int, batch: str) -> None:
    """End a sealed batch; each of its events' outcome at the upstream is unknown."""
    rows = connection.execute(
        "SELECT chunk.day, min(chunk.first_position + chunk.events, batch.last + 1)"
        " - max(chunk.first_position, batch.first)"
        " FROM batch JOIN lane ON lane.id = batch.lane JOIN chunk ON chunk.stream = lane.stream"
        " AND chunk.seq >= batch.first_seq AND chunk.seq <= batch.end_seq"
        " WHERE batch.id = ? AND chunk.first_position <= batch.last",
        (batch,),
    ).fetchall()
    for day, events in rows:
        connection.execute(
            "UPDATE ledger SET outcome_unknown = outcome_unknown + ? WHERE lane = ? AND day = ?",
            (events, lane, day),
        )
    connection.execute("DELETE FROM batch WHERE id = ?", (batch,))
