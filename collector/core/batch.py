"""Batches: which events one holds.

A lane's cursor is (chunk, index in that chunk). `choose` takes a run of events from
there; `rendering.render` makes the body that is signed and sent.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from collector.core import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Form = Literal["array", "lines"]
"""`array`: one JSON array, as both dialects send it. `lines`: NDJSON, for files."""

MAX_CHUNKS = 20_000
"""Of one run: as many rows are read for it, and deleted in the transaction that settles it."""

MAX_STORED_BYTES = 6 * 1024 * 1024
"""The same for what they take in the spool: to delete them takes up to 1.2 times as much of the log."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The events of one accepted request, as the spool holds them.

    Attributes:
        seq: its place in the spool, ascending.
        first_position: the position of its first event in its stream.
        events: how many events it holds.
        day: UTC day of acceptance in days since 1970, 0 while the clock was not known good.
        received_at: when it was accepted, ms since 1970.
        published_at: what the app said of when it posted, ms since 1970.
        remote_address: the client's IP literal as the app sent it; empty for Samsara.
        stored_bytes: what its body takes in the spool.
        body: the JSON text of its events, decompressed.
        boot: the stretch between settings of the wall clock that `received_at` was read in.
    """

    seq: int
    first_position: int
    events: int
    day: int
    received_at: int
    published_at: int | None
    remote_address: str
    stored_bytes: int
    body: bytes
    boot: int = 0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was decided when a batch was sealed, beyond its range.

    Attributes:
        form: how its events are put together.
        late_before: events accepted before this (ms since 1970) say so themselves
            (Traintracks `serverTimestamp`); None for none.
        stamp_ids: whether events without an `id` are given one (Samsara).
        corrections: what the wall clock was wrong by in stretches of its chunks: (`Chunk.boot`, ms
            to be added to `received_at`). What becomes known later changes no sealed batch.
    """

    form: Form = "array"
    late_before: int | None = None
    stamp_ids: bool = False
    corrections: tuple[tuple[int, int], ...] = ()

    def received_at(self, chunk: Chunk) -> int:
        """When a chunk was accepted, as far as that was known when the batch was sealed."""
        return chunk.received_at + next((ms for boot, ms in self.corrections if boot == chunk.boot), 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of events of one chunk.

    Attributes:
        start: the index of the first.
        cut: their own bytes; None for a whole chunk that is `jsontext.is_compact`, which need not be cut.
        shed: how many they are, where their bytes were let go of.
    """

    chunk: Chunk
    start: int
    cut: list[bytes] | None
    shed: int | None = None

    @property
    def count(self) -> int:
        """How many they are."""
        if self.shed is not None:
            return self.shed
        return self.chunk.events if self.cut is None else len(self.cut)

    @property
    def events(self) -> list[bytes]:
        """Each in its own bytes; not to be asked for where these were let go of."""
        return split(self.chunk) if self.cut is None else self.cut

    @property
    def first_position(self) -> int:
        """The position of its first event."""
        return self.chunk.first_position + self.start


@dataclass(frozen=True, slots=True)
class Run:
    """A run of events of one lane, and where its cursor stands behind it.

    Attributes:
        pieces: at least one, in order.
        end_seq: with `end_index`, the cursor behind the run.
        days: events by day of acceptance.
        passed_bytes: stored bytes of the chunks that the run ends.
    """

    pieces: tuple[Piece, ...]
    end_seq: int
    end_index: int
    days: tuple[tuple[int, int], ...]
    passed_bytes: int

    @property
    def first(self) -> int:
        """The position of its first event."""
        return self.pieces[0].first_position

    @property
    def last(self) -> int:
        """The position of its last event."""
        final = self.pieces[-1]
        count = len(final.events) if final.shed is None else final.shed
        return final.first_position + count - 1

    @property
    def events(self) -> int:
        """How many it holds."""
        return sum(piece.count for piece in self.pieces)

    @property
    def remote_address(self) -> str:
        """Of its first event; of all, where the run was bounded so."""
        return self.pieces[0].chunk.remote_address

    @property
    def is_shed(self) -> bool:
        """Whether the bytes of its events were let go of."""
        return self.pieces[0].shed is not None

    def shed(self) -> Run:
        """The same without the bytes of its events."""
        return dataclasses.replace(
            self,
            pieces=tuple(
                Piece(dataclasses.replace(piece.chunk, body=b""), piece.start, None, piece.count)
                for piece in self.pieces
            ),
        )

    def followed_by(self, later: Run) -> Run:
        """This run and the one that begins where it ends, as one."""
        days = dict(self.days)
        for day, events in later.days:
            days[day] = days.get(day, 0) + events
        return Run(
            self.pieces + later.pieces,
            later.end_seq,
            later.end_index,
            tuple(sorted(days.items())),
            self.passed_bytes + later.passed_bytes,
        )


@dataclass(frozen=True, slots=True)
class SealedBatch:
    """A batch as it is persisted before its first attempt; it never changes afterwards.

    Attributes:
        id: the Idempotency-Key's string, 32 hex digits.
        lane_name: `upstream/dialect` or `upstream/dialect/product`.
        first: position of its first event; `last` that of its last, both inclusive.
        end_seq: with `end_index`, the lane's cursor behind it.
        body_sha256: of the rendered body, before any Content-Encoding.
        renderer: the version that rendered it.
        attempts: attempts made before this one.
        last_status: the status that the last attempt was answered with, 0 for none.
        same_status: how many attempts in a row were answered so.
        replaces: the id of the batch that this one stands for, where its bytes could
            not be made again.
    """

    id: str
    lane: int
    lane_name: str
    epoch: str
    device: str
    dialect: str
    product: str
    remote_address: str
    first: int
    last: int
    first_seq: int
    first_index: int
    end_seq: int
    end_index: int
    body_sha256: bytes
    renderer: int
    options: Options
    attempts: int = 0
    last_status: int = 0
    same_status: int = 0
    replaces: str | None = None

    @property
    def events(self) -> int:
        """How many it holds."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a run may grow; it holds one event at the least.

    Attributes:
        max_events: events.
        max_bytes: bytes of the events as they are stored.
        end_position: the position that the run stops before, None for none.
        one_address: whether it ends where the remote address changes.
        max_chunks: chunks that its events are of.
        max_stored_bytes: what they take in the spool, but for a single larger one.
    """

    max_events: int
    max_bytes: int
    end_position: int | None = None
    one_address: bool = True
    max_chunks: int = MAX_CHUNKS
    max_stored_bytes: int = MAX_STORED_BYTES

    def are_met(self, chunks: int, stored_bytes: int) -> bool:
        """Whether a run of so many chunks may have no other, with which they take so many bytes."""
        return chunks == self.max_chunks or (chunks > 0 and stored_bytes > self.max_stored_bytes)


def lane_name(upstream: str, dialect: str, product: str) -> str:
    """A lane's name, as it stands in headers, logs and tables."""
    return f"{upstream}/{dialect}/{product}" if product else f"{upstream}/{dialect}"


@dataclass(slots=True)
class _Room:
    """What is left of a run's bounds."""

    events: int
    bytes: int
    taken: int = 0

    def takes(self, count: int, size: int) -> bool:
        """Whether so many events of so many bytes together fit; then they are taken."""
        if count > self.events or size > self.bytes:
            return False
        self.events -= count
        self.bytes -= size
        self.taken += count
        return True

    def fitting(self, sizes: Iterable[int], at_most: int) -> int:
        """How many of the next events fit, at most `at_most`; the first of all always does."""
        count = 0
        limit = min(at_most, self.events)
        for size in sizes:
            if count == limit or (size > self.bytes and self.taken + count > 0):
                break
            self.bytes -= size
            count += 1
        self.events -= count
        self.taken += count
        return count


def split(chunk: Chunk) -> list[bytes]:
    """A chunk's events, each in its own bytes."""
    return jsontext.split_array(chunk.body)


def _fits_whole(chunk: Chunk, room: _Room) -> bool:
    """Whether a chunk can be taken as it stands; then it is."""
    size = len(chunk.body) - 1 - chunk.events  # without the brackets and commas
    return jsontext.is_compact(chunk.body, chunk.events) and room.takes(chunk.events, size)


def choose(
    chunks: Iterable[Chunk],
    *,
    index: int,
    bounds: Bounds,
    split: Callable[[Chunk], list[bytes]] = split,
) -> Run | None:
    """Take a run of events from a lane's cursor.

    Args:
        chunks: the chunks of the lane's stream from the cursor's on, ascending.
        index: the cursor's index in the first of them.
        bounds: where the run ends.
        split: cuts a chunk into its events.

    Returns:
        The run, or None where there is no event.
    """
    room = _Room(bounds.max_events, bounds.max_bytes)
    pieces: list[Piece] = []
    days: dict[int, int] = {}
    passed_bytes = 0
    end_seq, end_index = 0, index
    address: str | None = None
    for chunk in chunks:
        if bounds.one_address and address is not None and chunk.remote_address != address:
            break
        address = chunk.remote_address
        start, index = index, 0
        allowed = chunk.events - start
        if bounds.end_position is not None:
            allowed = min(allowed, bounds.end_position - chunk.first_position - start)
        if allowed <= 0 or room.events <= 0 or bounds.are_met(len(pieces), passed_bytes + chunk.stored_bytes):
            break
        count = allowed
        if start == 0 and allowed == chunk.events and _fits_whole(chunk, room):
            pieces.append(Piece(chunk, start, None))
        else:
            events = split(chunk)
            if start:
                events = events[start:]
            count = room.fitting(map(len, events), allowed)
            if count == 0:
                break
            pieces.append(Piece(chunk, start, events if count == len(events) else events[:count]))
        days[chunk.day] = days.get(chunk.day, 0) + count
        if start + count < chunk.events:
            end_seq, end_index = chunk.seq, start + count
            break
        end_seq, end_index = chunk.seq + 1, 0
        passed_bytes += chunk.stored_bytes
    if not pieces:
        return None
    return Run(tuple(pieces), end_seq, end_index, tuple(sorted(days.items())), passed_bytes)
