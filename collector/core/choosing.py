"""Which events a batch holds: a run of them from a lane's cursor, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core import jsontext
from collector.core.batch import Chunk, Piece, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_CHUNKS = 20_000
"""Of one run: as many rows are read for it, and deleted in the transaction that settles it."""

MAX_STORED_BYTES = 6 * 1024 * 1024
"""The same for what they take in the spool: to delete them takes up to 1.2 times as much of the log."""


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


def _fits_whole(chunk: Chunk, room: _Room) -> bool:
    """Whether a chunk can be taken as it stands; then it is."""
    size = len(chunk.body) - 1 - chunk.events  # without the brackets and commas
    return jsontext.is_compact(chunk.body, chunk.events) and room.takes(chunk.events, size)


def choose(
    chunks: Iterable[Chunk],
    *,
    index: int,
    bounds: Bounds,
    split: Callable[[Chunk], list[bytes]] = Chunk.split,
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
