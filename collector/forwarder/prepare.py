"""What a lane has to do next, read from the spool: the part of forwarding before the attempt."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core import batch as batches
from collector.core.narrowing import bad_deploy, half_end
from collector.spool import read
from collector.spool.settle import DeadLetter, Passage

if TYPE_CHECKING:
    import sqlite3

    from collector.config.model import Upstream
    from collector.core.batch import Run, SealedBatch
    from collector.spool.read import Lane


@dataclass(frozen=True, slots=True)
class Ready:
    """A batch to send.

    Attributes:
        fresh: whether it has yet to be sealed.
        body: before any Content-Encoding.
    """

    lane: Lane
    batch: SealedBatch
    run: Run
    body: bytes
    fresh: bool


@dataclass(frozen=True, slots=True)
class Idle:
    """No event waits.

    Attributes:
        linger: seconds until the events that do wait are sent even so, None for no event.
    """

    lane: Lane
    linger: float | None = None


@dataclass(frozen=True, slots=True)
class Bury:
    """The event at the cursor is dead-lettered unsent: an answer named it, or it is damaged."""

    lane: Lane
    letter: DeadLetter
    passage: Passage
    damaged: bool


@dataclass(frozen=True, slots=True)
class Unrenderable:
    """The sealed batch cannot be made again as it was; its events are sealed anew."""

    lane: Lane
    batch: SealedBatch
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The lane has sent all it had before its upstream left, and goes on where that returned."""

    lane: Lane


Task = Ready | Idle | Bury | Unrenderable | Resume


@dataclass(frozen=True, slots=True)
class Request:
    """What the reading side needs to know beside the spool.

    Attributes:
        batch_id: for a batch that is to be sealed.
        replaces: the sealed batch that it stands for, where that could not be made again.
        now: ms since 1970.
        healthy: whether the lane is known to deliver.
    """

    lane: int
    upstream: Upstream
    batch_id: str
    replaces: str | None
    now: int
    healthy: bool


def prepare(connection: sqlite3.Connection, request: Request) -> Task:
    """Find what a lane has to do next, and render its batch; runs on the reader's thread."""
    lane = read.lane(connection, request.lane)
    sealed = read.outstanding(connection, lane)
    if sealed is not None and sealed.id != request.replaces:
        return _resend(connection, lane, sealed)
    if (
        lane.condemned
        and lane.condemned[0].position == lane.cursor_position
        and not _mistrusted(lane, request)
    ):
        return _bury_condemned(connection, lane)
    try:
        run = _choose(connection, lane, request)
    except read.DamagedChunk as damage:
        return _bury_damaged(lane, damage)
    if run is None:
        return Resume(lane) if lane.resume_seq is not None else Idle(lane)
    linger = _linger(run, request)
    if linger > 0:
        return Idle(lane, linger)
    return _seal(connection, lane, run, request)


def _mistrusted(lane: Lane, request: Request) -> bool:
    """Whether so much was refused that what an answer named is sent once more instead of buried."""
    return bad_deploy(judged=lane.judged + 1, rejected=lane.rejected + 1, limit=request.upstream.reject_limit)


def _resend(connection: sqlite3.Connection, lane: Lane, sealed: SealedBatch) -> Task:
    everything = batches.Bounds(max_events=sealed.events, max_bytes=1 << 62, one_address=False)
    try:
        with closing(
            read.chunks(connection, lane.stream, from_seq=sealed.first_seq, end_seq=lane.end_seq)
        ) as chunks:
            run = batches.choose(chunks, index=sealed.first_index, bounds=everything)
        if run is None or (run.first, run.last) != (sealed.first, sealed.last):
            return Unrenderable(lane, sealed, "its events are not all there")
        body = batches.render(run, _context(sealed))
    except (read.DamagedChunk, batches.UnknownRenderer) as error:
        return Unrenderable(lane, sealed, str(error))
    if hashlib.sha256(body).digest() != sealed.body_sha256:
        return Unrenderable(lane, sealed, "it renders to other bytes than before")
    return Ready(lane, sealed, run, body, fresh=False)


def _context(batch: SealedBatch) -> batches.Context:
    return batches.Context(batch.renderer, batch.options, batch.epoch, batch.dialect, batch.product)


def _choose(connection: sqlite3.Connection, lane: Lane, request: Request) -> Run | None:
    upstream = request.upstream
    ends = [item.position for item in lane.condemned if item.position > lane.cursor_position]
    if lane.condemned and lane.condemned[0].position == lane.cursor_position:
        ends.append(lane.cursor_position + 1)
    if lane.suspect_end is not None:
        ends.append(half_end(lane.cursor_position, lane.suspect_end))
    bounds = batches.Bounds(
        max_events=upstream.max_events,
        max_bytes=min(upstream.max_batch_bytes, lane.learned_limit or upstream.max_batch_bytes),
        end_position=min(ends, default=None),
        one_address=upstream.kind == "traintracks",
    )
    with closing(
        read.chunks(connection, lane.stream, from_seq=lane.cursor_seq, end_seq=lane.end_seq)
    ) as chunks:
        return batches.choose(chunks, index=lane.cursor_index, bounds=bounds)


def _linger(run: Run, request: Request) -> float:
    """Seconds that a run which is not full may still wait for more."""
    upstream = request.upstream
    if not upstream.linger or run.events >= upstream.max_events:
        return 0.0
    age = max(0.0, (request.now - run.pieces[0].chunk.received_at) / 1000)
    return upstream.linger - age


def _seal(connection: sqlite3.Connection, lane: Lane, run: Run, request: Request) -> Ready:
    upstream = request.upstream
    epoch, device = read.epoch(connection)
    late_before = None
    if lane.dialect == "traintracks":
        # What may wait for long is sent as data from the past from the start: its bytes cannot change later.
        margin = round(upstream.late_after * 1000) if request.healthy else -1
        late_before = request.now - margin
    options = batches.Options(
        form="lines" if upstream.kind == "file" else "array",
        late_before=late_before,
        stamp_ids=upstream.stamp_ids,
    )
    context = batches.Context(batches.RENDERER, options, epoch, lane.dialect, lane.product)
    body = batches.render(run, context)
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
        renderer=batches.RENDERER,
        options=options,
        replaces=request.replaces,
    )
    return Ready(lane, batch, run, body, fresh=True)


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


def _bury_condemned(connection: sqlite3.Connection, lane: Lane) -> Task:
    verdict = lane.condemned[0]
    one = batches.Bounds(max_events=1, max_bytes=1 << 62)
    try:
        with closing(read.chunks(connection, lane.stream, from_seq=lane.cursor_seq)) as chunks:
            run = batches.choose(chunks, index=lane.cursor_index, bounds=one)
    except read.DamagedChunk as damage:
        return _bury_damaged(lane, damage)
    if run is None:
        return Idle(lane)
    letter = letter_of(run, reason=verdict.reason, status=verdict.status, answer=verdict.reason)
    return Bury(lane, letter, Passage.of(run), damaged=False)


def _bury_damaged(lane: Lane, damage: read.DamagedChunk) -> Bury:
    chunk = damage.chunk
    start = lane.cursor_index if chunk.seq == lane.cursor_seq else 0
    letter = DeadLetter(
        position=chunk.first_position + start,
        day=chunk.day,
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
        end_position=chunk.first_position + chunk.events,
        days=((chunk.day, chunk.events - start),),
        passed_bytes=chunk.stored_bytes,
    )
    return Bury(lane, letter, passage, damaged=True)
