"""What a lane has to do next, read from the spool: the part of forwarding before the attempt.

It changes nothing. What it finds holds for the moment it was read at: retention may move
the lane meanwhile, and then the commit that follows says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from collector.core import batch as batches
from collector.core import rendering
from collector.core.narrowing import bad_deploy, half_end
from collector.errors import SpoolDamaged
from collector.forwarder.tasks import Bury, Idle, InconsistentError, Ready, Replaced
from collector.spool import boots, read
from collector.spool.lanes import position_after, waiting_day
from collector.spool.settle import DeadLetter, Passage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from collector.config.model import Upstream
    from collector.core.batch import Bounds, Chunk, Run, SealedBatch
    from collector.forwarder.tasks import Request, Task
    from collector.spool.read import Lane
    from collector.spool.settle import Condemned

ALL_LATE = 1 << 53
"""A `late_before` that every event was accepted before, whatever the clock said."""

_NO_LIMIT = 1 << 62


def prepare(connection: sqlite3.Connection, request: Request) -> Task:
    """Find what a lane has to do next, and render its batch; runs on the reader's thread.

    Raises:
        InconsistentError: nothing can be done.
        SpoolDamaged: a start can make up for it.
    """
    lane = read.lane(connection, request.lane)
    sealed = read.outstanding(connection, lane)
    replaced = None
    if sealed is not None:
        again = _again(connection, lane, sealed)
        if isinstance(again, Ready):
            return again
        replaced = again
    condemned = lane.condemned
    at_cursor = bool(condemned) and condemned[0].position == lane.cursor_position
    try:
        if at_cursor and not _mistrusted(lane, request):
            return _bury_condemned(connection, lane, condemned[0], replaced)
        return _seal(connection, lane, request, replaced)
    except read.DamagedChunk as damage:
        return _bury_damaged(connection, lane, damage, replaced)


def _mistrusted(lane: Lane, request: Request) -> bool:
    """Whether so much was refused that what an answer named is sent once more instead of buried."""
    return bad_deploy(judged=lane.judged + 1, rejected=lane.rejected + 1, limit=request.upstream.reject_limit)


def _again(connection: sqlite3.Connection, lane: Lane, sealed: SealedBatch) -> Ready | Replaced:
    """Make a sealed batch as it was."""
    everything = batches.Bounds(max_events=sealed.events, max_bytes=_NO_LIMIT, one_address=False)
    try:
        with closing(
            read.chunks(connection, lane.stream, from_seq=sealed.first_seq, end_seq=lane.end_seq)
        ) as chunks:
            run = batches.choose(chunks, index=sealed.first_index, bounds=everything)
        if run is None or (run.first, run.last, run.events) != (sealed.first, sealed.last, sealed.events):
            return Replaced(sealed, "its events are not all there")
        context = rendering.Context(
            sealed.renderer, sealed.options, sealed.epoch, sealed.dialect, sealed.product
        )
        body = rendering.render(run, context)
    except read.DamagedChunk as damage:
        return Replaced(sealed, str(damage))
    except rendering.UnknownRenderer:
        return Replaced(sealed, f"this release does not have its renderer, number {sealed.renderer}")
    if hashlib.sha256(body).digest() != sealed.body_sha256:
        return Replaced(sealed, "it renders to other bytes than before")
    return Ready(lane, sealed, run, body, fresh=False)


def _seal(
    connection: sqlite3.Connection,
    lane: Lane,
    request: Request,
    replaced: Replaced | None,
) -> Task:
    """Choose the next batch's events, and render them."""
    upstream = request.upstream
    epoch, device = read.epoch(connection)
    options = batches.Options(
        form="lines" if upstream.kind == "file" else "array",
        late_before=_late_before(lane, request),
        stamp_ids=upstream.stamp_ids,
    )
    bounds = _bounds(lane, upstream, replaced)
    while True:
        run, more = _choose(connection, lane, bounds, look_on=upstream.linger > 0)
        if run is None:
            if replaced is not None:
                batch = replaced.batch
                raise SpoolDamaged(f"events {batch.first} to {batch.last} are not in the spool")
            return Idle(lane)
        wait = 0.0 if more or replaced is not None else _linger(run, request)
        if wait > 0:
            return Idle(lane, wait)
        stretches = {piece.chunk.boot for piece in run.pieces}
        options = msgspec.structs.replace(options, corrections=boots.corrections(connection, stretches))
        context = rendering.Context(rendering.RENDERER, options, epoch, lane.dialect, lane.product)
        body = rendering.render(run, context)
        if len(body) <= bounds.max_bytes or run.events == 1:
            break
        # What rendering adds to each event is known only now.
        fitting = run.events * bounds.max_bytes // len(body)
        bounds = dataclasses.replace(bounds, max_events=max(1, fitting))
    batch = batches.SealedBatch(
        id=request.batch_id,
        lane=lane.id,
        lane_name=lane.name,
        epoch=epoch,
        device=device,
        dialect=lane.dialect,
        product=lane.product,
        remote_address=run.remote_address,
        first=run.first,
        last=run.last,
        first_seq=run.pieces[0].chunk.seq,
        first_index=run.pieces[0].start,
        end_seq=run.end_seq,
        end_index=run.end_index,
        body_sha256=hashlib.sha256(body).digest(),
        renderer=rendering.RENDERER,
        options=options,
        replaces=None if replaced is None else replaced.batch.id,
    )
    return Ready(lane, batch, run, body, fresh=True, replaced=replaced)


def _late_before(lane: Lane, request: Request) -> int | None:
    """What may wait for long is sent as data from the past from the start: its bytes cannot change later."""
    if lane.dialect != "traintracks":
        return None
    if not request.healthy:
        return ALL_LATE
    return request.now - round(request.upstream.late_after * 1000)


def _bounds(lane: Lane, upstream: Upstream, replaced: Replaced | None) -> Bounds:
    ends = [item.position for item in lane.condemned]
    if ends and ends[0] == lane.cursor_position:
        ends[0] += 1  # mistrusted: sent once more, alone
    if lane.suspect_end is not None:
        ends.append(half_end(lane.cursor_position, lane.suspect_end))
    if replaced is not None:
        # An upstream that has the old batch may drop the new one whole.
        ends.append(replaced.batch.last + 1)
    return batches.Bounds(
        max_events=upstream.max_events,
        max_bytes=min(upstream.max_batch_bytes, lane.learned_limit or upstream.max_batch_bytes),
        end_position=min(ends, default=None),
        one_address=upstream.kind == "traintracks",
    )


def _choose(
    connection: sqlite3.Connection, lane: Lane, bounds: Bounds, *, look_on: bool
) -> tuple[Run | None, bool]:
    """The next run, and, where `look_on` asks for it, whether there are events behind it.

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

    with closing(
        read.chunks(connection, lane.stream, from_seq=lane.cursor_seq, end_seq=lane.end_seq)
    ) as chunks:
        run = batches.choose(watched(), index=lane.cursor_index, bounds=bounds)
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


def _linger(run: Run, request: Request) -> float:
    """Seconds that a run with nothing behind it may still wait for more."""
    upstream = request.upstream
    age = (request.now - run.pieces[0].chunk.received_at) / 1000
    # The wall clock may have been set back: then the age says nothing, and nothing is waited for.
    if run.events >= upstream.max_events or age < 0:
        return 0.0
    return upstream.linger - age


def letter_of(run: Run, *, reason: str, status: int, answer: str) -> DeadLetter:
    """The dead letter for a run of one event."""
    (piece,) = run.pieces
    (event,) = piece.events
    chunk = piece.chunk
    return DeadLetter(
        position=piece.first_position,
        day=chunk.day,
        received_at=chunk.received_at,
        published_at=chunk.published_at,
        remote_address=chunk.remote_address,
        reason=reason,
        status=status,
        answer=answer,
        event=event,
    )


def _bury_condemned(
    connection: sqlite3.Connection, lane: Lane, condemned: Condemned, replaced: Replaced | None
) -> Bury:
    one = batches.Bounds(max_events=1, max_bytes=_NO_LIMIT)
    run, _ = _choose(connection, lane, one, look_on=False)
    if run is None:
        raise SpoolDamaged(f"event {condemned.position} is not in the spool")
    reason, status = condemned.reason, condemned.status
    letter = letter_of(run, reason=reason, status=status, answer=reason)
    return Bury(lane, letter, Passage.of(run), damaged=False, replaced=replaced)


def _bury_damaged(
    connection: sqlite3.Connection, lane: Lane, damage: read.DamagedChunk, replaced: Replaced | None
) -> Bury:
    """Give up a damaged chunk: the events from the cursor up to the next chunk.

    Raises:
        SpoolDamaged: the rows around it do not say how many those are, or the ledger does not have them.
    """
    chunk = damage.chunk
    # Nothing that the chunk says of itself is believed where its neighbours can be asked.
    end = position_after(connection, lane.stream, chunk.seq, end_seq=lane.end_seq)
    events = end - lane.cursor_position
    if events < 1:
        raise SpoolDamaged(str(damage))
    day = waiting_day(connection, lane.id, chunk.seq, events=events)
    letter = DeadLetter(
        position=lane.cursor_position,
        day=day,
        received_at=chunk.received_at,
        published_at=chunk.published_at,
        remote_address=chunk.remote_address,
        reason=f"damaged: {damage.reason}",
        status=0,
        answer="",
        event=chunk.body,
    )
    passage = Passage(
        first_seq=lane.cursor_seq,
        end_seq=chunk.seq + 1,
        end_index=0,
        end_position=end,
        days=((day, events),),
        passed_bytes=chunk.stored_bytes,
    )
    return Bury(lane, letter, passage, damaged=True, replaced=replaced)
