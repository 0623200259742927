"""Batches, and what they are made of.

A lane's cursor is (chunk, index in that chunk). `choosing.choose` takes a run of events from
there; `rendering.render` makes the body that is signed and sent.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import msgspec

from collector.core import jsontext

Form = Literal["array", "lines"]
"""`array`: one JSON array, as both dialects send it. `lines`: NDJSON, for files."""


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

    def split(self) -> list[bytes]:
        """Its events, each in its own bytes."""
        return jsontext.split_array(self.body)


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
        return self.chunk.split() if self.cut is None else self.cut

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


def lane_name(upstream: str, dialect: str, product: str) -> str:
    """A lane's name, as it stands in headers, logs and tables."""
    return f"{upstream}/{dialect}/{product}" if product else f"{upstream}/{dialect}"
