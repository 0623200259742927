"""How a stream grows: its lanes, who of them is admitted, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

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
        rows.set_stream(stream.id, next_position=stream.next_position, stored_bytes=stream.stored_bytes)
        for day, events in self.events.items():
            rows.count_intake(stream.id, day, self.requests[day], events)
            for lane in stream.lanes.values():
                rows.count_accepted(lane.id, day, events)

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
    "UPDATE ledger SET pending = pending - ?3, evicted = evicted + ?3 WHERE lane = ?1 AND day = ?2"
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
