"""How a stream grows: its lanes, who of them is admitted, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.core.batch import lane_name
from collector.spool.tables import END_DAY

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from collector.errors import SpoolFull
    from collector.spool.appending import Rows


@dataclass(slots=True)
class GrowingLane:
    """A lane that takes a stream.

    Attributes:
        shut: whether it is not admitted: what is accepted for others is none of its own.
    """

    id: int
    name: str
    shut: bool


@dataclass(slots=True)
class GrowingStream:
    """A stream; its lanes are those that take it now, by upstream."""

    id: int
    next_position: int
    stored_bytes: int
    last_seq: int
    lanes: dict[str, GrowingLane]

    @property
    def turned(self) -> bool:
        """Whether a lane is not admitted."""
        return any(lane.shut for lane in self.lanes.values())


@dataclass(slots=True)
class Growth:
    """What one transaction adds to one stream.

    Attributes:
        requests: by day.
        events: by day.
        evicted: events by lane and day, of lanes that were not admitted.
        lost: the same, by the lane's name.
    """

    requests: dict[int, int] = field(default_factory=dict)
    events: dict[int, int] = field(default_factory=dict)
    evicted: dict[tuple[int, int], int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def add(self, day: int, events: int) -> None:
        """A chunk is appended."""
        self.requests[day] = self.requests.get(day, 0) + 1
        self.events[day] = self.events.get(day, 0) + events

    def count(self, rows: Rows, stream: GrowingStream) -> None:
        """Count it, for the stream and for each of its lanes."""
        rows.set_end(
            stream.id,
            next_position=stream.next_position,
            stored_bytes=stream.stored_bytes,
            last_seq=stream.last_seq,
        )
        for day, events in self.events.items():
            rows.count_intake(stream.id, day, self.requests[day], events)
            for lane in stream.lanes.values():
                rows.count_accepted(lane.id, stream.id, day, events)

    def end_evicted(self, connection: sqlite3.Connection) -> None:
        """Count what is not kept for lanes, once it is counted as theirs."""
        for (lane_id, day), events in self.evicted.items():
            connection.execute(_COUNT_EVICTED, (lane_id, day, events))

    def evict(self, lane: GrowingLane, day: int, events: int) -> None:
        """A chunk is not kept for a lane."""
        self.evicted[lane.id, day] = self.evicted.get((lane.id, day), 0) + events
        self.lost[lane.name] = self.lost.get(lane.name, 0) + events


@dataclass(slots=True)
class Appended:
    """What appending came to.

    Attributes:
        grown: the streams (dialect, product) that have more events.
        refused: why, by the chunk's place among those that were given.
        evicted: events that are not kept for a lane that was not admitted, by its name.
    """

    grown: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[int, SpoolFull] = field(default_factory=dict)
    evicted: dict[str, int] = field(default_factory=dict)


_COUNT_EVICTED = (
    "UPDATE counts SET pending = pending - ?3, evicted = evicted + ?3 WHERE lane = ?1 AND day = ?2"
)


def turn(connection: sqlite3.Connection, lane: GrowingLane, stream: GrowingStream, seq: int) -> list[int]:
    """Shut a lane out from a chunk on, or let it in again.

    Returns:
        The lane, where it is let in: it may have come up to what it was shut out of.
    """
    lane.shut = not lane.shut
    if lane.shut:
        connection.execute(
            "INSERT INTO absence (lane, from_seq, from_bytes, full) VALUES (?, ?, ?, 1)",
            (lane.id, seq, stream.stored_bytes),
        )
        return []
    connection.execute(
        "UPDATE absence SET to_seq = ?, to_position = ?, to_bytes = ? WHERE lane = ? AND to_seq IS NULL",
        (seq, stream.next_position, stream.stored_bytes, lane.id),
    )
    return [lane.id]


def turn_all(
    connection: sqlite3.Connection, stream: GrowingStream, over: Collection[str], seq: int
) -> list[int]:
    """Shut out the lanes of upstreams that are over their bounds, let the others in; returns the latter."""
    reopened: list[int] = []
    for upstream, lane in stream.lanes.items():
        if lane.shut != (upstream in over):
            reopened += turn(connection, lane, stream, seq)
    return reopened


def load(
    connection: sqlite3.Connection, key: tuple[str, str], takers: Sequence[str], *, seq: int, now: int
) -> GrowingStream:
    """Read a stream's row, or make it, and make the lanes that take it from chunk `seq` on.

    Args:
        connection: the writing one, in a transaction.
        key: dialect and product.
        takers: the upstreams that take it, by name.
        seq: of its next chunk.
        now: ms since 1970.
    """
    dialect, product = key
    connection.execute("INSERT OR IGNORE INTO stream (dialect, product) VALUES (?, ?)", key)
    (number,) = connection.execute("SELECT id FROM stream WHERE dialect = ? AND product = ?", key).fetchone()
    connection.execute("INSERT OR IGNORE INTO counts (day, lane, stream) VALUES (?, 0, ?)", (END_DAY, number))
    position, size, last_seq = connection.execute(
        "SELECT next_position, stored_bytes, last_seq FROM stream_end WHERE stream = ?", (number,)
    ).fetchone()
    stream = GrowingStream(number, position, size, last_seq, lanes={})
    for name in takers:
        connection.execute(
            "INSERT OR IGNORE INTO lane"
            " (upstream, stream, cursor_seq, cursor_position, passed_bytes, since)"
            " SELECT id, ?, ?, ?, ?, ? FROM upstream WHERE name = ?",
            (stream.id, seq, stream.next_position, stream.stored_bytes, now, name),
        )
        lane, shut = connection.execute(
            "SELECT lane.id, EXISTS (SELECT 1 FROM absence"
            " WHERE absence.lane = lane.id AND to_seq IS NULL AND full)"
            " FROM lane JOIN upstream ON upstream.id = lane.upstream"
            " WHERE lane.stream = ? AND upstream.name = ?",
            (stream.id, name),
        ).fetchone()
        stream.lanes[name] = GrowingLane(lane, lane_name(name, dialect, product), bool(shut))
    return stream
