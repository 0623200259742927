"""Appending: accepted requests become chunk rows, and are counted, in one transaction.

`Store` keeps in memory what each append needs of the tables (the next `seq`, the open extent, each
stream's next position and lanes), so that a commit costs one insert a chunk and a few updates a
stream, whatever the backlog. It belongs to whoever commits; after a commit that failed
`forget` makes it read the tables anew.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from collector.core import gzip, limits
from collector.core.days import utc_day
from collector.core.timekeeping import Moment, Trust
from collector.errors import SpoolFull
from collector.spool import boots, extents
from collector.spool.appending import Rows
from collector.spool.growth import Appended, GrowingStream, Growth, load, turn_all
from collector.spool.upstreams import next_seq, resume

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence

    from collector.spool.admission import Gate

COMPRESS_OVER_BYTES = 1024
"""Smaller bodies gain less than they cost."""

try:
    from isal.isal_zlib import compress as _compress

    COMPRESS_LEVEL = 2
    """100 events of 13 KB: 20 us and 2.4 KB, where zlib's level 1 takes 107 us for the same."""
except ImportError:
    _compress = zlib.compress

    COMPRESS_LEVEL = 1
    """The fastest: on two cores it raised the rate, since the disk had less to sync."""


class NewChunk(NamedTuple):
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

    def age_ms(self) -> int:
        """The age clock: ms that go on by the machine's ticks alone, across restarts."""

    def moment(self) -> Moment:
        """This moment by all clocks."""


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


_Placed = tuple[int, int, int, int, int, int | None, str, str]
"""`Placed` without its names, where one is made for each chunk."""


def checksum(placed: _Placed, body: bytes) -> int:
    """The CRC-32 that a chunk row carries, over its body as stored and what places it, as `Placed` says."""
    return zlib.crc32(body, zlib.crc32(("%s %s %s %s %s %s %s %s" % placed).encode()))  # noqa: UP031 (the fastest)


def stored(chunk: NewChunk) -> tuple[str, bytes]:
    """The encoding and bytes that a chunk's body is kept in."""
    if chunk.encoding or len(chunk.body) <= COMPRESS_OVER_BYTES:
        return chunk.encoding, chunk.body
    packed = _compress(chunk.body, COMPRESS_LEVEL)
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
            return gzip.gunzip(body, max_bytes=limits.MAX_DECODED_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"unknown encoding {encoding!r}")


_NOBODY: frozenset[str] = frozenset()


class Store:
    """The appending side of the spool.

    Args:
        boot: a name of this start of the machine.
        takers: names of the upstreams that take a dialect and product; the attribute may be replaced,
            and `forget` must follow.
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
        self.takers = takers
        self._times = times
        self._streams: dict[tuple[str, str], GrowingStream] = {}
        self._next_seq: int | None = None
        self._open = extents.NONE

    def forget(self) -> None:
        """Drop what was remembered of the tables."""
        self._streams.clear()
        self._next_seq = None
        self._clock.forget()

    def note_clocks(self, connection: sqlite3.Connection) -> Moment:
        """Keep, inside the caller's transaction, whether the wall clock was set or came to be trusted."""
        return self._clock.note(connection, self._times.moment())

    def append(
        self,
        connection: sqlite3.Connection,
        chunks: Sequence[NewChunk],
        gate: Gate | None = None,
        moment: Moment | None = None,
    ) -> Appended:
        """Insert chunks in order and count them, inside the caller's transaction.

        Args:
            connection: the writing one.
            chunks: accepted requests.
            gate: who is admitted; None for all.
            moment: as `note_clocks` gave it within the transaction; None to note it here.
        """
        moment = moment or self.note_clocks(connection)
        result = Appended()
        if self._next_seq is None:
            following = next_seq(connection)
            self._open = extents.growing(connection, following)
            self._next_seq = following
        rows = Rows()
        grown: dict[tuple[str, str], Growth] = {}
        reopened: list[int] = []
        for place, chunk in enumerate(chunks):
            key = chunk[:2]
            encoding, body = stored(chunk)
            try:
                over = gate.admit(key, self.takers(*key), len(body)) if gate is not None else _NOBODY
            except SpoolFull as error:
                result.refused[place] = error
                continue
            stream = self._streams.get(key) or self._load(connection, key, self._next_seq)
            reopened += turn_all(connection, stream, over, self._next_seq)
            stretch = self._clock.stamped_in(chunk.received_at, moment)
            day = utc_day(chunk.received_at, clock_good=stretch.trust is not Trust.UNKNOWN)
            self._add(rows, stream, chunk, (encoding, body), (stretch.id, day, moment.age))
            growth = grown.setdefault(key, Growth())
            growth.add(day, chunk.events)
            for upstream in over:
                growth.evict(stream.lanes[upstream], day, chunk.events)
        for key, growth in grown.items():
            growth.count(rows, self._streams[key])
            result.evicted |= growth.lost
        rows.append(connection)
        for growth in grown.values():
            growth.end_evicted(connection)
        for lane_id in reopened:
            resume(connection, lane_id)
        result.grown = set(grown)
        return result

    def rows_of(self, chunks: Sequence[NewChunk]) -> tuple[Rows, Collection[tuple[str, str]]] | None:
        """The rows of chunks that need nothing but to be appended, and the streams they are of.

        Returns:
            None where it takes more than that: something is to be read, noted or turned first. Where the
            transaction fails, `forget` must be called.
        """
        moment = self._times.moment()
        stretch = self._clock.steady(moment)
        if stretch is None or self._next_seq is None:
            return None
        taken: dict[tuple[str, str], list[NewChunk]] = {}
        for chunk in chunks:
            key = chunk[:2]
            if key not in taken:
                stream = self._streams.get(key)
                if stream is None or stream.turned:
                    return None
                taken[key] = []
            taken[key].append(chunk)
        rows = Rows()
        clock_good = stretch.trust is not Trust.UNKNOWN
        # Only a stream has an order. So each begins an extent at most, and the one that grew last none.
        for key in sorted(taken, key=lambda key: self._streams[key].id != self._open.stream):
            stream, growth = self._streams[key], Growth()
            for chunk in taken[key]:
                day = utc_day(chunk.received_at, clock_good=clock_good)
                self._add(rows, stream, chunk, stored(chunk), (stretch.id, day, moment.age))
                growth.add(day, chunk.events)
            growth.count(rows, stream)
        return rows, taken

    def _add(
        self,
        rows: Rows,
        stream: GrowingStream,
        chunk: NewChunk,
        kept: tuple[str, bytes],
        stamps: tuple[int, int, int],
    ) -> None:
        """Add a chunk's row, and give it its place.

        Args:
            rows: to which it is added.
            stream: its own.
            chunk: the request.
            kept: the encoding and bytes that its body is stored in.
            stamps: the stretch of time it was stamped in, its day, and the age of the spool.
        """
        _, _, address, received_at, published_at, events, _, _, uid = chunk
        encoding, body = kept
        seq, first = self._next_seq or 1, stream.next_position
        self._next_seq = seq + 1
        if stream.id != self._open.stream:
            begun = extents.Open(stream.id, seq)
            rows.begin_extent(begun, before=self._open)
            self._open = begun
        stream.last_seq = seq
        stream.next_position = first + events
        stream.stored_bytes += len(body)
        placed = (stream.id, first, events, stamps[1], received_at, published_at, address, encoding)
        crc = checksum(placed, body)
        rows.add_chunk(
            (
                seq,
                stream.id,
                *stamps,
                received_at,
                published_at,
                uid,
                address,
                events,
                first,
                encoding,
                crc,
                body,
            )
        )

    def _load(self, connection: sqlite3.Connection, key: tuple[str, str], seq: int) -> GrowingStream:
        stream = load(connection, key, self.takers(*key), seq=seq, now=self._times.wall_ms())
        self._streams[key] = stream
        return stream
