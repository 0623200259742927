"""Appending: accepted requests become chunk rows, and are counted, in one transaction.

`Store` keeps in memory what each append needs of the tables (the next `seq`, each stream's
next position and lanes), so that a commit costs one insert a chunk and a few updates a
stream, whatever the backlog. It belongs to the writer's thread; after a commit that failed
`forget` makes it read the tables anew.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from collector.core import limits
from collector.core.batch import lane_name
from collector.core.days import utc_day
from collector.core.timekeeping import Moment, Trust
from collector.errors import SpoolFull
from collector.spool import boots
from collector.spool.growth import Appended, GrowingLane, GrowingStream, Growth, count, turn
from collector.spool.upstreams import next_seq, resume

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from collector.spool.admission import Gate

COMPRESS_OVER_BYTES = 1024
"""Smaller bodies gain less than they cost."""

COMPRESS_LEVEL = 1
"""zlib's fastest: on two cores it raised the rate, since the disk had less to sync."""


@dataclass(frozen=True, slots=True)
class NewChunk:
    """One accepted request.

    Attributes:
        dialect: `samsara` or `traintracks`.
        product: the Traintracks product key; empty for Samsara.
        remote_address: the client's IP literal as the app sent it; empty for Samsara.
        received_at: ms since 1970.
        published_at: ms since 1970, where the app said so.
        events: at least one.
        encoding: `gzip` where the body came compressed and is kept so, else empty.
        body: the request's body.
        uid: the sender's, where the kernel named it.
    """

    dialect: str
    product: str
    remote_address: str
    received_at: int
    published_at: int | None
    events: int
    encoding: Literal["", "gzip"]
    body: bytes
    uid: int | None = None


class Times(Protocol):
    """The clocks that the spool reads."""

    def wall_ms(self) -> int:
        """Wall time, ms since 1970."""

    def wall_good(self) -> bool:
        """Whether the wall clock is believed."""

    def age_ms(self) -> int:
        """The age clock: ms that go on by the machine's ticks alone, across restarts."""

    def moment(self) -> Moment:
        """This moment by all clocks."""


_INSERT_CHUNK = (
    "INSERT INTO chunk (seq, stream, boot, day, accepted_age, received_at, published_at, uid, remote_address,"
    " events, first_position, encoding, checksum, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Placed(NamedTuple):
    """What a chunk's row says beside its body, as far as forwarding depends on it."""

    stream: int
    first_position: int
    events: int
    day: int
    received_at: int
    published_at: int | None
    remote_address: str
    encoding: str


def checksum(placed: Placed, body: bytes) -> int:
    """The CRC-32 that a chunk row carries, over its body as stored and what places it."""
    return zlib.crc32(body, zlib.crc32("{} {} {} {} {} {} {} {}".format(*placed).encode()))


def stored(chunk: NewChunk) -> tuple[str, bytes]:
    """The encoding and bytes that a chunk's body is kept in."""
    if chunk.encoding or len(chunk.body) <= COMPRESS_OVER_BYTES:
        return chunk.encoding, chunk.body
    packed = zlib.compress(chunk.body, COMPRESS_LEVEL)
    return ("zlib", packed) if len(packed) < len(chunk.body) else ("", chunk.body)


def unpack(encoding: str, body: bytes) -> bytes:
    """A stored body's JSON text.

    Raises:
        ValueError: the encoding is unknown, or the bytes are not in it.
    """
    if encoding == "":
        return body
    try:
        if encoding == "zlib":
            return zlib.decompress(body)
        if encoding == "gzip":
            return _gunzip(body)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"unknown encoding {encoding!r}")


def _gunzip(body: bytes) -> bytes:
    """Every member of a gzip stream; its size was bounded when it was accepted."""
    parts = []
    while body:
        member = zlib.decompressobj(31)
        parts.append(member.decompress(body, limits.MAX_DECODED_BYTES))
        if not member.eof:
            raise ValueError("gzip stream cut short")
        body = member.unused_data
    return b"".join(parts)


def _row(
    chunk: NewChunk,
    encoding: str,
    body: bytes,
    stream: int,
    place: tuple[int, int, int],
    start: tuple[int, int],
) -> tuple[object, ...]:
    """A chunk's row; `place` is its `seq`, first position and day, `start` the stretch and the age clock."""
    seq, first, day = place
    boot, age = start
    placed = Placed(
        stream,
        first,
        chunk.events,
        day,
        chunk.received_at,
        chunk.published_at,
        chunk.remote_address,
        encoding,
    )
    return (
        seq,
        stream,
        boot,
        day,
        age,
        chunk.received_at,
        chunk.published_at,
        chunk.uid,
        chunk.remote_address,
        chunk.events,
        first,
        encoding,
        checksum(placed, body),
        body,
    )


NONE: frozenset[str] = frozenset()


class Store:
    """The appending side of the spool.

    Args:
        boot: a name of this start of the machine.
        takers: names of the upstreams that take a dialect and product.
        times: the clocks that chunks are stamped by.
    """

    def __init__(
        self,
        *,
        boot: str,
        takers: Callable[[str, str], Sequence[str]],
        times: Times,
    ) -> None:
        self._clock = boots.Follower(boot)
        self._takers = takers
        self._times = times
        self._streams: dict[tuple[str, str], GrowingStream] = {}
        self._next_seq: int | None = None

    def forget(self) -> None:
        """Drop what was remembered of the tables."""
        self._streams.clear()
        self._next_seq = None
        self._clock.forget()

    def note_clocks(self, connection: sqlite3.Connection) -> Moment:
        """Keep, inside the caller's transaction, whether the wall clock was set or came to be trusted."""
        return self._clock.note(connection, self._times.moment())

    def append(
        self, connection: sqlite3.Connection, chunks: Sequence[NewChunk], gate: Gate | None = None
    ) -> Appended:
        """Insert chunks in order and count them, inside the caller's transaction.

        Args:
            connection: the writing one.
            chunks: accepted requests.
            gate: who is admitted; None for all.
        """
        result = Appended()
        seq = self._next_seq if self._next_seq is not None else next_seq(connection)
        rows = []
        grown: dict[tuple[str, str], Growth] = {}
        reopened: list[int] = []
        moment = self.note_clocks(connection)
        for place, chunk in enumerate(chunks):
            key = (chunk.dialect, chunk.product)
            encoding, body = stored(chunk)
            try:
                over = gate.admit(key, self._takers(*key), len(body)) if gate is not None else NONE
            except SpoolFull as error:
                result.refused[place] = error
                continue
            stream = self._streams.get(key)
            if stream is None:
                stream = self._load_stream(connection, key, seq)
            for upstream, lane in stream.lanes.items():
                if lane.shut != (upstream in over):
                    reopened += turn(connection, lane, stream, seq)
            first = stream.next_position
            stretch = self._clock.stamped_in(chunk.received_at, moment)
            day = utc_day(chunk.received_at, clock_good=stretch.trust is not Trust.UNKNOWN)
            rows.append(_row(chunk, encoding, body, stream.id, (seq, first, day), (stretch.id, moment.age)))
            seq += 1
            stream.next_position = first + chunk.events
            stream.stored_bytes += len(body)
            growth = grown.get(key)
            if growth is None:
                growth = grown[key] = Growth()
            growth.requests[day] = growth.requests.get(day, 0) + 1
            growth.events[day] = growth.events.get(day, 0) + chunk.events
            for upstream in over:
                growth.evict(stream.lanes[upstream], day, chunk.events)
        connection.executemany(_INSERT_CHUNK, rows)
        for key, growth in grown.items():
            count(connection, self._streams[key], growth)
            result.evicted |= growth.lost
        for lane_id in reopened:
            resume(connection, lane_id)
        self._next_seq = seq
        result.grown = set(grown)
        return result

    def _load_stream(self, connection: sqlite3.Connection, key: tuple[str, str], seq: int) -> GrowingStream:
        """Read a stream's row, or make it, and make the lanes that take it from here on."""
        dialect, product = key
        connection.execute("INSERT OR IGNORE INTO stream (dialect, product) VALUES (?, ?)", key)
        row = connection.execute(
            "SELECT id, next_position, stored_bytes FROM stream WHERE dialect = ? AND product = ?", key
        ).fetchone()
        stream = GrowingStream(id=row[0], next_position=row[1], stored_bytes=row[2], lanes={})
        for name in self._takers(dialect, product):
            connection.execute(
                "INSERT OR IGNORE INTO lane"
                " (upstream, stream, cursor_seq, cursor_position, passed_bytes, since)"
                " SELECT id, ?, ?, ?, ?, ? FROM upstream WHERE name = ?",
                (stream.id, seq, stream.next_position, stream.stored_bytes, self._times.wall_ms(), name),
            )
            lane, shut = connection.execute(
                "SELECT lane.id, EXISTS (SELECT 1 FROM absence"
                " WHERE absence.lane = lane.id AND to_seq IS NULL AND full)"
                " FROM lane JOIN upstream ON upstream.id = lane.upstream"
                " WHERE lane.stream = ? AND upstream.name = ?",
                (stream.id, name),
            ).fetchone()
            stream.lanes[name] = GrowingLane(lane, lane_name(name, dialect, product), bool(shut))
        self._streams[key] = stream
        return stream
