"""What a lane has to do next, read from the spool: the part of forwarding before the attempt.

It changes nothing. What it finds holds for the moment it was read at: retention may move
the lane meanwhile, and then the commit that follows says so.
"""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from collector.core import batch as batches
from collector.core import rendering
from collector.core.narrowing import bad_deploy, half_end, limit_after_delivery
from collector.errors import SpoolDamaged
from collector.forwarder.letters import bury_damaged, letter_of
from collector.forwarder.splits import Splits
from collector.forwarder.tasks import Bury, Idle, InconsistentError, Ready, Replaced
from collector.spool import boots, read
from collector.spool.settle import Passage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

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
        again = _again(connection, lane, sealed, request)
        if isinstance(again, Ready):
            return again
        replaced = again
    condemned = lane.condemned
    at_cursor = bool(condemned) and condemned[0].position == lane.cursor_position
    try:
        if at_cursor and (condemned[0].by_command or not _mistrusted(lane, request)):
            return _bury_condemned(connection, lane, condemned[0], replaced)
        return _seal(connection, lane, request, replaced)
    except read.DamagedChunk as damage:
        return bury_damaged(connection, lane, damage, replaced)


def _mistrusted(lane: Lane, request: Request) -> bool:
    """Whether so much was refused that what an answer named is sent once more instead of buried."""
    return bad_deploy(judged=lane.judged + 1, rejected=lane.rejected + 1, limit=request.upstream.reject_limit)


def prepare_behind(connection: sqlite3.Connection, *, request: Request, before: Ready) -> Ready | None:
    """Find the batch that a lane has to send next once the one before it is delivered.

    Returns:
        None where there is none yet, or where something is to be done that is not as simple.
    """
    batch = before.batch
    lane = dataclasses.replace(
        before.lane,
        cursor_seq=batch.end_seq,
        cursor_index=batch.end_index,
        cursor_position=batch.last + 1,
        failures=0,
        judged=before.lane.judged + batch.events,
        learned_limit=limit_after_delivery(
            before.lane.learned_limit, size=len(before.body), most=request.upstream.max_batch_bytes
        ),
    )
    try:
        task = _seal(connection, lane, request, None)
    except (read.DamagedChunk, InconsistentError):
        return None
    return task if isinstance(task, Ready) else None


def _again(
    connection: sqlite3.Connection, lane: Lane, sealed: SealedBatch, request: Request
) -> Ready | Replaced:
    """Make a sealed batch as it was."""
    everything = batches.Bounds(max_events=sealed.events, max_bytes=_NO_LIMIT, one_address=False)
    try:
        splits = request.splits
        with closing(splits.chunks(connection, lane, from_seq=sealed.first_seq)) as chunks:
            run = batches.choose(
                chunks,
                index=sealed.first_index,
                bounds=everything,
                split=partial(splits.split, lane.id),
            )
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
    bounds = _bounds(lane, request, replaced)
    while True:
        run, more = _choose(connection, lane, bounds, request.splits, look_on=upstream.linger > 0)
        if run is None:
            if replaced is not None:
                batch = replaced.batch
                raise SpoolDamaged(f"events {batch.first} to {batch.last} are not in the spool")
            return Idle(lane)
        wait = 0.0 if more or request.flush or replaced is not None else _linger(run, request)
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
    request.splits.keep(lane.id, run)
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


def _bounds(lane: Lane, request: Request, replaced: Replaced | None) -> Bounds:
    upstream = request.upstream
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
        max_bytes=min(
            upstream.max_batch_bytes, *filter(None, (lane.learned_limit, request.body_bytes)), _NO_LIMIT
        ),
        end_position=min(ends, default=None),
        one_address=upstream.kind == "traintracks",
    )


def _choose(
    connection: sqlite3.Connection, lane: Lane, bounds: Bounds, splits: Splits, *, look_on: bool
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

    with closing(splits.chunks(connection, lane, from_seq=lane.cursor_seq)) as chunks:
        run = batches.choose(
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


def _linger(run: Run, request: Request) -> float:
    """Seconds that a run with nothing behind it may still wait for more."""
    upstream = request.upstream
    age = (request.now - run.pieces[0].chunk.received_at) / 1000
    # The wall clock may have been set back: then the age says nothing, and nothing is waited for.
    if run.events >= upstream.max_events or age < 0:
        return 0.0
    return upstream.linger - age


def _bury_condemned(
    connection: sqlite3.Connection, lane: Lane, condemned: Condemned, replaced: Replaced | None
) -> Bury:
    one = batches.Bounds(max_events=1, max_bytes=_NO_LIMIT)
    run, _ = _choose(connection, lane, one, Splits(), look_on=False)
    if run is None:
        raise SpoolDamaged(f"event {condemned.position} is not in the spool")
    reason, status = condemned.reason, condemned.status
    letter = letter_of(run, reason=reason, status=status, answer=reason)
    return Bury(lane, letter, Passage.of(run), damaged=False, replaced=replaced)
