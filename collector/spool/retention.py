"""Retention: age and quota, the only things that end an event's life unsent.

Both end events from the head of a lane, and sealed batches whole: where a batch is touched
it ends with all of its events, and they are also counted `outcome_unknown`, since an
attempt may have reached the upstream. A lane whose batch is in flight is spared.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from collector.core.batch import lane_name
from collector.errors import SpoolDamaged
from collector.spool.extents import END, IN_ORDER, chunks_of
from collector.spool.passage import Passage, advance
from collector.spool.upstreams import WITH_NEXT_ABSENCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

STEP_CHUNKS = 1000
"""Chunks that one step ends, over all lanes: ingest is never held up for long, and no more than the
pages that hold these (8 MiB) is written to the log."""


SPARED_RATIO = 2
"""While a lane is spared, no lane is evicted in its place that holds less than this part of it."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a lane holds.

    Attributes:
        stream: dialect and product.
        away: whether its upstream does not take the stream any more.
        bytes: what the chunks that it still needs take; those it shares with other lanes count in full.
    """

    lane: int
    name: str
    upstream: str
    stream: tuple[str, str]
    away: bool
    bytes: int


def backlogs(connection: sqlite3.Connection) -> list[Backlog]:
    """What each lane holds, those with most first; takes a moment, however much it is."""
    rows = connection.execute(
        "SELECT lane.id, upstream.name, dialect, product,"
        " EXISTS (SELECT 1 FROM absence WHERE absence.lane = lane.id AND to_seq IS NULL AND NOT full),"
        " stored_bytes - passed_bytes -"
        " (SELECT coalesce(sum(coalesce(to_bytes, stored_bytes) - from_bytes), 0)"
        "  FROM absence WHERE absence.lane = lane.id) AS bytes"
        " FROM lane JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " JOIN stream_end ON stream_end.stream = lane.stream"
        " ORDER BY bytes DESC, lane.id"
    )
    return [
        Backlog(lane, lane_name(upstream, dialect, product), upstream, (dialect, product), bool(away), held)
        for lane, upstream, dialect, product, away, held in rows.fetchall()
    ]


def expire(
    connection: sqlite3.Connection, *, accepted_before: int, in_flight: Collection[int]
) -> dict[str, int]:
    """End events accepted before an instant of the age clock (ms), at most `STEP_CHUNKS` chunks of them.

    Returns:
        How many events ended, by lane name.
    """
    ended: dict[str, int] = {}
    left = STEP_CHUNKS
    for backlog in backlogs(connection):
        if backlog.lane not in in_flight and backlog.bytes and left > 0:
            head = _head(connection, backlog.lane, accepted_before=accepted_before, chunks=left)
            if head is not None:
                ended[backlog.name] = _end(connection, backlog.lane, head, "expired")
                left -= head.chunks
    return ended


def evict(
    connection: sqlite3.Connection,
    *,
    wanted_bytes: int,
    in_flight: Collection[int],
    upstream: str | None = None,
) -> dict[str, int]:
    """End the oldest chunks of one lane: of one whose upstream has left, else of the one with most bytes.

    Args:
        connection: the writing one.
        wanted_bytes: how much, as far as that one lane goes; at most `STEP_CHUNKS` chunks.
        in_flight: lanes to spare.
        upstream: whose lanes alone are asked, None for all.

    Returns:
        How many events ended, by lane name; empty where nothing can be ended.
    """
    asked = [
        backlog for backlog in backlogs(connection) if backlog.bytes and upstream in {None, backlog.upstream}
    ]
    # A lane that is spared for a moment is no reason to end what others hold who have far less.
    least = max((backlog.bytes for backlog in asked if backlog.lane in in_flight), default=0) / SPARED_RATIO
    for backlog in sorted(asked, key=lambda backlog: not backlog.away):
        if backlog.lane in in_flight or (backlog.bytes < least and not backlog.away):
            continue
        head = _head(connection, backlog.lane, wanted_bytes=wanted_bytes, chunks=STEP_CHUNKS)
        if head is not None:
            return {backlog.name: _end(connection, backlog.lane, head, "evicted")}
    return {}


@dataclass(frozen=True, slots=True)
class _Head:
    passage: Passage
    batch: str | None
    chunks: int


def _head(
    connection: sqlite3.Connection,
    lane: int,
    *,
    chunks: int,
    accepted_before: int | None = None,
    wanted_bytes: int | None = None,
) -> _Head | None:
    """What retention ends of a lane: its oldest `chunks`, and what is left of a batch that they begin."""
    stream, cursor_seq, cursor_index, position, end_seq, bytes_before = connection.execute(
        "SELECT stream, cursor_seq, cursor_index, cursor_position,"  # noqa: S608 (made of constants)
        f" from_seq, from_bytes - passed_bytes FROM lane{WITH_NEXT_ABSENCE} WHERE id = ?",
        (lane,),
    ).fetchone()
    batch = connection.execute("SELECT id, end_seq, end_index FROM batch WHERE lane = ?", (lane,)).fetchone()
    batch_id, *batch_end = batch or (None, 0, 0)
    chosen = connection.execute(
        "SELECT seq, day, events, first_position, length(body), accepted_age, chunk.stream"  # noqa: S608
        f" FROM {chunks_of('?1', first='?2', end='?3')} {IN_ORDER}",
        (stream, cursor_seq, END if end_seq is None else end_seq),
    )
    days: dict[int, int] = {}
    ended = passed_bytes = 0
    end = (cursor_seq, cursor_index, 0)
    with closing(chosen) as rows:
        for seq, day, events, first_position, size, accepted_age, of in rows:
            if of != stream or not all(isinstance(number, int) for number in (events, first_position, day)):
                raise SpoolDamaged(f"chunk {seq} holds what was never written to it")
            start = cursor_index if seq == cursor_seq else 0
            if first_position + start != position:
                raise SpoolDamaged(f"events are missing from position {position} on")
            position = first_position + events
            enough = (
                ended >= chunks
                or (accepted_before is not None and accepted_age >= accepted_before)
                or (wanted_bytes is not None and passed_bytes >= wanted_bytes)
            )
            if enough:
                if ended == 0 or [seq, 0] >= batch_end:
                    break
                if seq == batch_end[0]:
                    # The rest of this chunk is not the batch's, and lives on.
                    days[day] = days.get(day, 0) + batch_end[1] - start
                    end = (seq, batch_end[1], first_position + batch_end[1])
                    break
            ended += 1
            days[day] = days.get(day, 0) + events - start
            passed_bytes += size
            end = (seq + 1, 0, first_position + events)
        else:
            if end_seq is not None and passed_bytes != bytes_before:
                raise SpoolDamaged(f"chunks of lane {lane} are missing before chunk {end_seq}")
    if ended == 0:
        return None
    return _Head(Passage(cursor_seq, *end, tuple(days.items()), passed_bytes), batch_id, ended)


def _end(connection: sqlite3.Connection, lane: int, head: _Head, fate: Literal["expired", "evicted"]) -> int:
    """End a lane's head; returns how many events that were."""
    if head.batch is not None:
        _end_batch(connection, lane, head.batch)
    advance(connection, lane, head.passage, fate)
    return sum(events for _, events in head.passage.days)


def _end_batch(connection: sqlite3.Connection, lane: int, batch: str) -> None:
    """End a sealed batch; each of its events' outcome at the upstream is unknown."""
    rows = connection.execute(
        "SELECT day, min(first_position + events, batch.last + 1) - max(first_position, batch.first)"  # noqa: S608
        " FROM batch JOIN lane ON lane.id = batch.lane CROSS JOIN"
        f" {chunks_of('lane.stream', first='batch.first_seq', end='batch.end_seq + 1')}"
        " WHERE batch.lane = ? AND batch.id = ? AND first_position <= batch.last",
        (lane, batch),
    ).fetchall()
    connection.executemany(
        "UPDATE counts SET outcome_unknown = outcome_unknown + ?2 WHERE lane = ?3 AND day = ?1",
        [(day, events, lane) for day, events in rows],
    )
    connection.execute("DELETE FROM batch WHERE lane = ? AND id = ?", (lane, batch))
