"""Chunks as the spool hands them out, whose events say their position."""

from __future__ import annotations

from collector.core.batch import Chunk
from collector.core.choosing import Bounds

UNBOUNDED = Bounds(max_events=1_000_000, max_bytes=1 << 40)


def event(n: int, *, pad: int = 0) -> bytes:
    return b'{"timestamp": 1, "sourceId": "s", "eventName": "e", "n": %d, "pad": "%b"}' % (n, b"x" * pad)


def chunk(seq: int, first: int, events: int, *, day: int = 20_000, address: str = "", pad: int = 0) -> Chunk:
    """A chunk whose events say their position."""
    body = b"[ " + b" , ".join(event(first + n, pad=pad) for n in range(events)) + b"\n]"
    return Chunk(seq, first, events, day, 1_800_000_000_000, None, address, len(body), body)


def in_row(*sizes: int, **options: object) -> list[Chunk]:
    """Chunks of a stream; others' are between them, so `seq` goes up by two."""
    chunks, first = [], 0
    for number, size in enumerate(sizes):
        chunks.append(chunk(2 * number + 1, first, size, **options))
        first += size
    return chunks
