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
from collector.core import choosing, rendering
from collector.core.narrowing import bad_deploy, half_end, limit_after_delivery
from collector.errors import SpoolDamaged
from collector.forwarder import parts
from collector.forwarder.letters import bury_damaged, letter_of
from collector.forwarder.splits import Splits
from collector.forwarder.tasks import Bury, Drawn, Idle, InconsistentError, Ready, Replaced
from collector.spool import boots, read
from collector.spool.passage import Passage

if TYPE_CHECKING:
    import sqlite3

    from collector.config.model import Upstream
    from collector.core.batch import Run, SealedBatch
    from collector.core.choosing import Bounds
    from collector.forwarder.tasks import Request, Task
    from collector.spool.read import Lane
    from collector.spool.settle import Condemned

ALL_LATE = 1 << 53
"""A `late_before` that every event was accepted before, whatever the clock said."""

_NO_LIMIT = 1 << 62


def prepare(connection: sqlite3.Connection, request: Request) -> Task | Drawn:
    """Find what a lane has to do next, and render its batch, or the first part of a large one.

    It runs on the reader's thread.

    Raises:
        InconsistentError: nothing can be done.
        SpoolDamaged: a start can make up for it.
    """
    lane = read.lane(connection, request.lane)
    sealed = read.outstanding(connection, lane)
    replaced = None
    if sealed is not None:
        again = _again(connection, lane, sealed, request)
        if not isinstance(again, Replaced):
            return again
        replaced = again
    return _anew(connection, lane, request, replaced)


def prepare_in_place(connection: sqlite3.Connection, *, request: Request, replaced: Replaced) -> Task | Drawn:
    """Find what a lane has to do next whose sealed batch cannot be made again.

    Raises:
        InconsistentError: nothing can be done.
        SpoolDamaged: a start can make up for it.
    """
    lane = read.lane(connection, request.lane)
    sealed = read.outstanding(connection, lane)
    if sealed is None or sealed.id != replaced.batch.id:
        # It ended while it was made again part by part, as by retention: so its events were not to be found.
        return prepare(connection, request)
    return _anew(connection, lane, request, replaced)


def _anew(
    connection: sqlite3.Connection, lane: Lane, request: Request, replaced: Replaced | None
) -> Task | Drawn:
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


def prepare_behind(
    connection: sqlite3.Connection, *, request: Request, before: Ready
) -> Ready | Drawn | Idle:
    """Find the batch that a lane has to send next once the one before it is delivered.

    Returns:
        Idle where there is none yet, or where something is to be done that is not as simple.
    """
    batch = before.batch
    # From batch to batch hours may go by. What is not the lane's own since may be deleted already.
    lane = read.lane(connection, before.lane.id)
    if lane.cursor_position != batch.first or not lane.is_plain:
        return Idle(lane)
    lane = dataclasses.replace(
        lane,
        cursor_seq=batch.end_seq,
        cursor_index=batch.end_index,
        cursor_position=batch.last + 1,
        failures=0,
        judged=lane.judged + batch.events,
        learned_limit=limit_after_delivery(
            lane.learned_limit, size=len(before.body), most=request.upstream.max_batch_bytes
        ),
    )
    try:
        task = _seal(connection, lane, request, None)
    except (read.DamagedChunk, InconsistentError):
        return Idle(lane)
    return Idle(lane) if isinstance(task, Bury) else task


def _again(
    connection: sqlite3.Connection, lane: Lane, sealed: SealedBatch, request: Request
) -> Ready | Drawn | Replaced:
    """Make a sealed batch as it was, or its first part."""
    everything = choosing.Bounds(
        max_events=sealed.events,
        max_bytes=_NO_LIMIT,
        end_position=sealed.last + 1,
        one_address=False,
        max_chunks=_NO_LIMIT,
        max_stored_bytes=_NO_LIMIT,
    )
    try:
        splits = request.splits
        with closing(splits.chunks(connection, lane, from_seq=sealed.first_seq)) as chunks:
            run = choosing.choose(
                chunks,
                index=sealed.first_index,
                bounds=parts.bounds(everything) if request.in_parts else everything,
                split=partial(splits.split, lane.id),
            )
        in_parts = request.in_parts and run is not None and run.events < sealed.events
        if run is None or not (in_parts or parts.is_whole(run, sealed)):
            return Replaced(sealed, parts.NOT_ALL_THERE)
        body = rendering.render(run, parts.context_of(sealed))
    except read.DamagedChunk as damage:
        return Replaced(sealed, str(damage))
    except rendering.UnknownRenderer:
        return Replaced(sealed, f"this release does not have its renderer, number {sealed.renderer}")
    if in_parts:
        splits.keep(lane.id, run)
        return parts.begin(lane, sealed, run, body, everything, fresh=False)
    if reason := _unfit(sealed, body, request.upstream):
        return Replaced(sealed, reason)
    return Ready(lane, sealed, run, body, fresh=False)


def _unfit(sealed: SealedBatch, body: bytes, upstream: Upstream) -> str:
    """Why what a sealed batch renders to now can never be sent as that; empty where it can."""
    if hashlib.sha256(body).digest() != sealed.body_sha256:
        return parts.OTHER_BYTES
    if upstream.kind == "file" and len(body) > upstream.max_files * upstream.max_file_bytes:
        # Sealed when the files might hold more, it would wait for ever. One event cannot be made smaller.
        return f"it takes {len(body)} bytes, more than all files may hold" if sealed.events > 1 else ""
    return ""


def _seal(
    connection: sqlite3.Connection,
    lane: Lane,
    request: Request,
    replaced: Replaced | None,
) -> Task | Drawn:
    """Choose the next batch's events, and render them, or the first part of them."""
    upstream = request.upstream
    epoch, device = read.epoch(connection)
    options = batches.Options(
        form="lines" if upstream.kind == "file" else "array",
        late_before=late_before(lane, request),
        stamp_ids=upstream.stamp_ids,
    )
    whole = _bounds(lane, request, replaced)
    bounds = parts.bounds(whole) if request.in_parts else whole
    in_parts = bounds is not whole
    bounds = dataclasses.replace(bounds, max_bytes=request.swelling.fitting(lane.id, bounds.max_bytes))
    look_on = upstream.linger > 0 or in_parts
    while True:
        run, more = parts.choose(connection, lane, bounds, request.splits, look_on=look_on)
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
        goes_on = in_parts and more and run.last + 1 != whole.end_position
        if goes_on and run.events == 1 < whole.max_events and bounds.max_bytes < whole.max_bytes:
            # One of which no two fit in a part. What comes in parts has two: one alone may have to be buried.
            bounds = dataclasses.replace(whole, max_events=2)
            continue
        if len(body) <= whole.max_bytes or run.events == 1:
            break
        # What rendering adds to each event is known only now.
        fitting = run.events * whole.max_bytes // len(body)
        bounds = dataclasses.replace(bounds, max_events=max(1, fitting))
    request.splits.keep(lane.id, run)
    request.swelling.learn(lane.id, run, len(body))
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
        body_sha256=b"",
        renderer=rendering.RENDERER,
        options=options,
        replaces=None if replaced is None else replaced.batch.id,
    )
    if goes_on and run.events > 1:
        return parts.begin(lane, batch, run, body, whole, fresh=True, replaced=replaced)
    batch = dataclasses.replace(batch, body_sha256=hashlib.sha256(body).digest())
    return Ready(lane, batch, run, body, fresh=True, replaced=replaced)


def late_before(lane: Lane, request: Request) -> int | None:
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
    max_events, max_bytes = upstream.max_events, upstream.max_batch_bytes
    if not request.in_parts:
        max_events, max_bytes = min(max_events, parts.WHOLE_EVENTS), min(max_bytes, parts.WHOLE_BYTES)
    if upstream.kind == "file":
        # More than all files may hold would wait for ever, in front of an empty directory.
        max_bytes = min(max_bytes, upstream.max_file_bytes)
    return choosing.Bounds(
        max_events=max_events,
        max_bytes=min(max_bytes, *filter(None, (lane.learned_limit, request.body_bytes)), _NO_LIMIT),
        end_position=min(ends, default=None),
        one_address=upstream.kind == "traintracks",
    )


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
    one = choosing.Bounds(max_events=1, max_bytes=_NO_LIMIT)
    run, _ = parts.choose(connection, lane, one, Splits(), look_on=False)
    if run is None:
        raise SpoolDamaged(f"event {condemned.position} is not in the spool")
    reason, status = condemned.reason, condemned.status
    letter = letter_of(run, reason=reason, status=status, answer=reason)
    return Bury(lane, letter, Passage.of(run), damaged=False, replaced=replaced)
