"""What a lane's dead letters are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.errors import SpoolDamaged
from collector.forwarder.tasks import Bury
from collector.spool.lanes import position_after, waiting_day
from collector.spool.passage import Passage
from collector.spool.settle import DeadLetter

if TYPE_CHECKING:
    import sqlite3

    from collector.core.batch import Run
    from collector.forwarder.tasks import Replaced
    from collector.spool.read import DamagedChunk, Lane


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


def bury_damaged(
    connection: sqlite3.Connection, lane: Lane, damage: DamagedChunk, replaced: Replaced | None
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
