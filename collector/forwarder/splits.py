"""Large requests, cut apart once for all the batches that they become.

A request of 20,000 events may leave in two hundred batches, where the upstream takes a hundred at a
time. Read, decompressed and cut apart for each of them, it would take a hundred times as long. So
the events of the chunk that a lane stands in are kept, if that is large, within a bound for all
lanes of an upstream. Used by the spool's reading side alone, one call at a time.
"""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core.limits import KIB, MIB
from collector.spool import read

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Generator

    from collector.core.batch import Chunk, Run
    from collector.spool.read import Lane

WORTH_BYTES = 64 * KIB
"""A smaller body is cut apart in half a millisecond."""

MAX_BYTES = 32 * MIB
"""What is kept for all lanes of an upstream; the largest body that a request may have."""


@dataclass(frozen=True, slots=True)
class _Kept:
    chunk: Chunk
    events: list[bytes]
    size: int


class Splits:
    """Those of the lanes of one upstream, one chunk a lane."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}
        self._last: _Kept | None = None

    def chunks(self, connection: sqlite3.Connection, lane: Lane, *, from_seq: int) -> Generator[Chunk]:
        """As `read.chunks`, for a lane; the first may be one that was kept, without its body.

        Raises:
            DamagedChunk: the first of them is not what was written.
        """
        kept = self._kept.get(lane.id)
        found = kept is not None and kept.chunk.seq == from_seq and _is_there(connection, lane, kept.chunk)
        if kept is not None and found:
            yield kept.chunk
            from_seq += 1
        with closing(read.chunks(connection, lane.stream, from_seq=from_seq, end_seq=lane.end_seq)) as chunks:
            try:
                yield from chunks
            except read.DamagedChunk:
                if not found:
                    raise

    def split(self, lane: int, chunk: Chunk) -> list[bytes]:
        """The events of one of those chunks."""
        kept = self._kept.get(lane)
        if kept is None or kept.chunk is not chunk:
            kept = self._last
        if kept is None or kept.chunk.seq != chunk.seq:
            events = chunk.split()
            kept = _Kept(dataclasses.replace(chunk, body=b""), events, len(chunk.body))
        self._last = kept
        return kept.events

    def keep(self, lane: int, run: Run) -> None:
        """Keep the chunk that a lane's run ends within, and no other for it."""
        last, self._last = self._last, None
        self._kept.pop(lane, None)
        if last is None or run.end_index == 0 or last.chunk.seq != run.end_seq or last.size < WORTH_BYTES:
            return
        if sum(kept.size for kept in self._kept.values()) + last.size <= MAX_BYTES:
            self._kept[lane] = last


def _is_there(connection: sqlite3.Connection, lane: Lane, chunk: Chunk) -> bool:
    row = connection.execute(
        "SELECT 1 FROM chunk WHERE seq = ? AND stream = ? AND first_position = ?",
        (chunk.seq, lane.stream, chunk.first_position),
    ).fetchone()
    return row is not None
