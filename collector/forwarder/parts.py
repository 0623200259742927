"""A large batch, part by part: what a lane reads and renders at once, on the reader's thread.

A batch that uses a long link well has hundreds of thousands of events. Read at once they would hold
up all other reading for a second, and as text take more memory than all the rest of the daemon. So each
part is read in a transaction of its own, and nothing is kept of it but where its chunks stand. Between two
of them the lane may be moved; then its chunks are gone, and what was drawn is not sealed. A batch's bytes
do not depend on how it was parted: they are those of `rendering.render` over all of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from collector.core import choosing, rendering
from collector.core.limits import MIB
from collector.errors import SpoolDamaged
from collector.forwarder.tasks import Drawn, InconsistentError, Ready, Replaced
from collector.spool import boots, read

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from collector.core.batch import Chunk, Options, Run, SealedBatch
    from collector.core.choosing import Bounds
    from collector.forwarder.packing import Packed
    from collector.forwarder.splits import Splits
    from collector.forwarder.tasks import Request
    from collector.spool.read import Lane

WORTH_BYTES = 2 * MIB
"""A batch that may have no more is read, rendered and packed at once."""

PART_BYTES = MIB // 4
PART_EVENTS = 20_000
"""Some 20 ms of reading and rendering in chunks of a hundred, 100 ms where each is one of its own."""

WHOLE_BYTES = 8 * MIB
WHOLE_EVENTS = 20_000
"""Of a batch that is sent as it was rendered: all of it is held."""

NOT_ALL_THERE = "its events are not all there"
OTHER_BYTES = "it renders to other bytes than before"

_ENDS = (read.DamagedChunk, InconsistentError, SpoolDamaged)


def bounds(whole: Bounds) -> Bounds:
    """Those of the next part of a batch; the batch's own where that is one part."""
    if whole.max_bytes <= WORTH_BYTES:
        return whole
    return _part_of(whole)


def _part_of(left: Bounds) -> Bounds:
    return dataclasses.replace(
        left, max_events=min(left.max_events, PART_EVENTS), max_bytes=min(left.max_bytes, PART_BYTES)
    )


def context_of(batch: SealedBatch) -> rendering.Context:
    """What a batch is rendered with."""
    return rendering.Context(batch.renderer, batch.options, batch.epoch, batch.dialect, batch.product)


def is_whole(run: Run, sealed: SealedBatch) -> bool:
    """Whether a run is what a batch was sealed with."""
    return (run.first, run.last, run.events) == (sealed.first, sealed.last, sealed.events)


def begin(
    lane: Lane,
    batch: SealedBatch,
    run: Run,
    body: bytes,
    whole: Bounds,
    *,
    fresh: bool,
    replaced: Replaced | None = None,
) -> Drawn:
    """The first part of a batch: a run, and what it was rendered to."""
    part = body[:-1]
    return Drawn(
        lane=lane,
        batch=batch,
        run=run.shed(),
        part=part,
        size=len(part),
        digest=hashlib.sha256(part),
        bounds=whole,
        fresh=fresh,
        replaced=replaced,
    )


def go_on(connection: sqlite3.Connection, *, drawn: Drawn, request: Request) -> Drawn:
    """Read and render the next part; it is empty where the batch ends."""
    found = _next(connection, drawn, request)
    if found is None:
        return dataclasses.replace(drawn, part=b"")
    run, batch, body = found
    request.splits.keep(drawn.lane.id, run)
    part = b"," + body[1:-1]
    drawn.digest.update(part)
    return dataclasses.replace(
        drawn, batch=batch, run=drawn.run.followed_by(run.shed()), part=part, size=drawn.size + len(part)
    )


def finish(drawn: Drawn, body: Packed) -> Ready | Replaced:
    """The batch, once its last part was drawn."""
    drawn.digest.update(b"]")
    sha256, batch, run = drawn.digest.digest(), drawn.batch, drawn.run
    if drawn.fresh:
        batch = dataclasses.replace(
            batch, last=run.last, end_seq=run.end_seq, end_index=run.end_index, body_sha256=sha256
        )
    elif not is_whole(run, batch):
        return Replaced(batch, NOT_ALL_THERE)
    elif sha256 != batch.body_sha256:
        return Replaced(batch, OTHER_BYTES)
    return Ready(drawn.lane, batch, run, body, fresh=drawn.fresh, replaced=drawn.replaced)


def _next(
    connection: sqlite3.Connection, drawn: Drawn, request: Request
) -> tuple[Run, SealedBatch, bytes] | None:
    """The run behind what was drawn, the batch with what is decided for it, and what it renders to."""
    whole, before = drawn.bounds, drawn.run
    lane = dataclasses.replace(
        drawn.lane,
        cursor_seq=before.end_seq,
        cursor_index=before.end_index,
        cursor_position=before.last + 1,
    )
    left = dataclasses.replace(
        whole,
        max_events=whole.max_events - before.events,
        max_bytes=whole.max_bytes - drawn.size,
        max_chunks=whole.max_chunks - len(before.pieces),
        max_stored_bytes=whole.max_stored_bytes - before.passed_bytes,
    )
    wanted = _part_of(left)
    while min(wanted.max_events, wanted.max_bytes, wanted.max_chunks, wanted.max_stored_bytes) > 0:
        try:
            run, _ = choose(connection, lane, wanted, request.splits, look_on=False)
        except _ENDS:
            return None  # the next batch begins there, and meets it
        if run is None or (whole.one_address and run.remote_address != before.remote_address):
            return None
        with_next = before.passed_bytes + run.pieces[0].chunk.stored_bytes
        if before.end_index == 0 and whole.are_met(len(before.pieces), with_next):
            return None  # the first chunk of a part may be larger than all bounds only where its batch begins
        batch = drawn.batch
        if drawn.fresh:
            batch = dataclasses.replace(batch, options=_decided(connection, batch.options, before, run))
        body = rendering.render(run, context_of(batch))
        if len(body) <= left.max_bytes:
            return run, batch, body
        wanted = dataclasses.replace(wanted, max_events=run.events * left.max_bytes // len(body))
    return None


def _decided(connection: sqlite3.Connection, options: Options, before: Run, run: Run) -> Options:
    """A batch's options with the corrections for what a run adds; what was decided for a stretch stays."""
    known = {piece.chunk.boot for piece in before.pieces}
    stretches = {piece.chunk.boot for piece in run.pieces} - known
    if not stretches:
        return options
    corrections = sorted((*options.corrections, *boots.corrections(connection, stretches)))
    return msgspec.structs.replace(options, corrections=tuple(corrections))


def choose(
    connection: sqlite3.Connection, lane: Lane, bounds: Bounds, splits: Splits, *, look_on: bool
) -> tuple[Run | None, bool]:
    """The next run of a lane, and, where `look_on` asks for it, whether there are events behind it.

    Raises:
        DamagedChunk: what stands at the cursor is not what was written.
        SpoolDamaged: what should stand there is not there.
        InconsistentError: it is what was written, and cannot be right.
    """
    taken = -1

    def watched() -> Iterator[Chunk]:
        nonlocal taken
        for chunk in chunks:
            taken = chunk.seq
            yield chunk

    with closing(splits.chunks(connection, lane, from_seq=lane.cursor_seq)) as chunks:
        run = choosing.choose(
            watched(), index=lane.cursor_index, bounds=bounds, split=partial(splits.split, lane.id)
        )
        if run is None:
            if taken >= 0:
                raise InconsistentError(f"chunk {taken} holds fewer events than were counted")
            return None, False
        ends = [
            lane.cursor_position,
            *(piece.chunk.first_position + piece.chunk.events for piece in run.pieces),
        ]
        if any(piece.first_position != end for piece, end in zip(run.pieces, ends, strict=False)):
            raise SpoolDamaged(f"events are missing from position {lane.cursor_position} on")
        if run.events != run.last - run.first + 1:
            raise InconsistentError(
                f"a chunk from position {run.first} on holds fewer events than were counted"
            )
        more = look_on and (run.end_index > 0 or taken >= run.end_seq or next(chunks, None) is not None)
        return run, more
