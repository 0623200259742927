"""Reading: lanes, their batches and chunks, by sequence, in short transactions."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from collector.core.batch import Chunk, Options, SealedBatch, lane_name
from collector.errors import SpoolDamaged
from collector.spool.extents import END, IN_ORDER, chunks_of
from collector.spool.settle import CONDEMNED, Condemned
from collector.spool.store import Placed, checksum, unpack
from collector.spool.upstreams import WITH_NEXT_ABSENCE

if TYPE_CHECKING:
    from collections.abc import Generator


T = TypeVar("T")


class DamagedChunk(Exception):
    """A chunk that is not what was written.

    Attributes:
        chunk: its row, with the body as it is stored.
    """

    def __init__(self, chunk: Chunk, reason: str) -> None:
        super().__init__(f"chunk {chunk.seq}: {reason}")
        self.chunk = chunk
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane's row, with its upstream's and stream's.

    Attributes:
        suspect_end: position before which the next event's kin were refused together, or None.
        condemned: events that an answer named, ascending, all at or behind the cursor.
        end_seq: the first chunk that is not its own, where it has an absence before it.
        wait: how long its last failure had it wait, ms.
        settled: what the sender needs to know of the last delivery, or None.
    """

    id: int
    name: str
    upstream: str
    dialect: str
    product: str
    stream: int
    cursor_seq: int
    cursor_index: int
    cursor_position: int
    end_seq: int | None
    suspect_end: int | None
    condemned: tuple[Condemned, ...]
    state: str
    reason: str
    since: int
    failures: int
    next_attempt_at: int
    wait: int
    learned_limit: int | None
    judged: int
    rejected: int
    settled: str | None

    @property
    def is_plain(self) -> bool:
        """Whether all that stands behind its cursor is its own, and nothing of it is under suspicion."""
        return self.suspect_end is None and not self.condemned and self.end_seq is None


_LANE = (
    "SELECT lane.id, upstream.name, stream.dialect, stream.product,"  # noqa: S608 (made of constants)
    " lane.stream, cursor_seq, cursor_index, cursor_position, from_seq, suspect_end, condemned, state,"
    " reason, since, failures, next_attempt_at, wait, learned_limit, judged, rejected, settled"
    " FROM lane JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
    + WITH_NEXT_ABSENCE
)
_options = msgspec.json.Decoder(Options)


def lanes(connection: sqlite3.Connection) -> list[Lane]:
    """Every lane, oldest first."""
    return [_lane(row) for row in connection.execute(f"{_LANE} ORDER BY lane.id").fetchall()]


def lane(connection: sqlite3.Connection, lane_id: int) -> Lane:
    """One lane, by its id."""
    return _lane(connection.execute(f"{_LANE} WHERE lane.id = ?", (lane_id,)).fetchone())


def _lane(row: tuple) -> Lane:  # type: ignore[type-arg]
    name = lane_name(row[1], row[2], row[3])
    values = [row[0], name, *row[1:10], _decoded(CONDEMNED, row[10]), *row[11:]]
    return Lane(*values)


def _decoded(decoder: msgspec.json.Decoder[T], text: str) -> T:
    try:
        return decoder.decode(text)
    except msgspec.DecodeError as error:
        raise SpoolDamaged(f"a row holds what was never written to it: {error}") from error


def outstanding(connection: sqlite3.Connection, lane: Lane) -> SealedBatch | None:
    """The lane's sealed batch, where it has one."""
    row = connection.execute(
        "SELECT batch.id, epoch.name, batch.device, first, last, first_seq, first_index, end_seq, end_index,"
        " remote_address, body_sha256, renderer, options, attempts, last_status, same_status, replaces"
        " FROM batch JOIN epoch ON epoch.number = batch.epoch WHERE lane = ?",
        (lane.id,),
    ).fetchone()
    if row is None:
        return None
    return SealedBatch(
        id=row[0],
        lane=lane.id,
        lane_name=lane.name,
        epoch=row[1],
        device=row[2],
        dialect=lane.dialect,
        product=lane.product,
        first=row[3],
        last=row[4],
        first_seq=row[5],
        first_index=row[6],
        end_seq=row[7],
        end_index=row[8],
        remote_address=row[9],
        body_sha256=row[10],
        renderer=row[11],
        options=_decoded(_options, row[12]),
        attempts=row[13],
        last_status=row[14],
        same_status=row[15],
        replaces=row[16],
    )


_CHUNKS = (
    "SELECT seq, first_position, events, day, received_at, published_at, remote_address, encoding,"  # noqa: S608
    f" checksum, boot, body, chunk.stream FROM {chunks_of('?1', first='?2', end='?3')} {IN_ORDER}"
)


def chunks(
    connection: sqlite3.Connection, stream: int, *, from_seq: int, end_seq: int | None = None
) -> Generator[Chunk]:
    """The chunks of a stream from `from_seq` on, up to `end_seq` or to one that is damaged.

    Raises:
        DamagedChunk: the first of them is not what was written.
        SpoolDamaged: a row is garbled as a whole, or is of another stream.
    """
    last = END if end_seq is None else end_seq
    cursor = connection.execute(_CHUNKS, (stream, from_seq, last))
    # A row at a time: bodies may be megabytes. Closing the generator ends the read transaction.
    try:
        first = True
        for row in cursor:
            try:
                chunk = _chunk(stream, row)
            except DamagedChunk:
                if first:
                    raise
                return
            yield chunk
            first = False
    finally:
        cursor.close()


def _chunk(stream: int, row: tuple) -> Chunk:  # type: ignore[type-arg]
    seq, first_position, events, day, received_at, published_at, address, encoding, crc, boot, body, of = row
    numbers = (first_position, events, day, received_at, crc, boot)
    if not isinstance(body, bytes) or not all(isinstance(number, int) for number in numbers):
        # Then where the chunk stands is not known either, so the lane could not go on behind it.
        raise SpoolDamaged(f"chunk {seq} holds what was never written to it")
    place = (seq, first_position, events, day, received_at, published_at, address, len(body))
    placed = Placed(stream, first_position, events, day, received_at, published_at, address, encoding)
    if checksum(placed, body) != crc:
        if of != stream:
            # It may be as it was written, and its place not what is said of it.
            raise SpoolDamaged(f"chunk {seq} is of stream {of}, and in an extent of stream {stream}")
        raise DamagedChunk(Chunk(*place, body, boot), "its checksum does not fit")
    try:
        return Chunk(*place, unpack(encoding, body), boot)
    except ValueError as error:
        raise DamagedChunk(Chunk(*place, body, boot), str(error)) from error


def epoch(connection: sqlite3.Connection) -> tuple[str, str]:
    """The current epoch's name, and the device's id."""
    row = connection.execute("SELECT name, device FROM epoch ORDER BY number DESC LIMIT 1").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the spool has no epoch")
    return row[0], row[1]
