"""Settling: what a verdict does to a lane's cursor, its batch, the ledger and the dead letters.

Each function runs inside the writer's transaction, so that a lane's cursor and its
counts move together or not at all. Retention may have ended a batch while its attempt was
under way; what the attempt came to then changes nothing any more, and the function
returns False.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from collector.spool.passage import Passage, advance

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from collector.core.batch import Run, SealedBatch

LaneState = Literal["new", "healthy", "retrying", "blocked"]

NARROWING = "events were refused together; smaller batches are tried"
"""The reason of a lane that looks for what its upstream refuses, and had to wait on the way."""

JUDGED_WINDOW = 10_000
"""The share of rejected events is taken over about so many of the last ones."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that ended at an upstream's refusal, and why.

    Attributes:
        status: the upstream's answer's, 0 where there was none.
        answer: an excerpt of that answer.
        event: its own bytes; those of a whole chunk, as stored, where that was damaged.
    """

    position: int
    day: int
    received_at: int
    published_at: int | None
    remote_address: str
    reason: str
    status: int
    answer: str
    event: bytes


class Condemned(msgspec.Struct, frozen=True):
    """An event that waits for its turn to be dead-lettered: an upstream's answer named it, or a person.

    Attributes:
        by_command: whether it was a person, who is believed whatever else was refused.
    """

    position: int
    reason: str
    status: int
    by_command: bool = False


CONDEMNED = msgspec.json.Decoder(tuple[Condemned, ...])
"""Reads a lane's list of them."""


def seal(connection: sqlite3.Connection, batch: SealedBatch, *, now: int) -> bool:
    """Persist a batch before its first attempt, which may have been made from here on.

    Returns:
        False where the lane's cursor has moved since the batch was chosen, or not all of it is the
        lane's own: what is prepared ahead, or part by part, may be of chunks that came after the lane's
        row was read. So too where a reload has made another kind of the upstream meanwhile.
    """
    inserted = connection.execute(
        "INSERT INTO batch (id, device, lane, epoch, first, last, first_seq, first_index, end_seq, end_index,"
        " remote_address, body_sha256, renderer, options, sealed_at, replaces)"
        " SELECT ?, ?, lane.id, number, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM epoch, lane"
        " WHERE epoch.name = ? AND lane.id = ? AND cursor_position = ?"
        " AND NOT EXISTS (SELECT 1 FROM absence WHERE absence.lane = lane.id AND from_seq < ?)"
        " AND EXISTS (SELECT 1 FROM upstream WHERE upstream.id = lane.upstream AND (kind = 'file') = ?)",
        (
            batch.id,
            batch.device,
            batch.first,
            batch.last,
            batch.first_seq,
            batch.first_index,
            batch.end_seq,
            batch.end_index,
            batch.remote_address,
            batch.body_sha256,
            batch.renderer,
            msgspec.json.encode(batch.options).decode(),
            now,
            batch.replaces,
            batch.epoch,
            batch.lane,
            batch.first,
            batch.end_seq + (batch.end_index > 0),
            batch.options.form == "lines",
        ),
    )
    return inserted.rowcount == 1


def unseal(connection: sqlite3.Connection, batch: SealedBatch) -> bool:
    """End a batch whose events stay pending; its id is never used again."""
    ended = connection.execute("DELETE FROM batch WHERE lane = ? AND id = ?", (batch.lane, batch.id))
    return ended.rowcount == 1


def delivered(
    connection: sqlite3.Connection,
    batch: SealedBatch,
    run: Run,
    *,
    settled: str | None,
    learned_limit: int | None,
    now: int,
) -> bool:
    """The upstream has taken a batch."""
    if not unseal(connection, batch):
        return False
    advance(connection, batch.lane, Passage.of(run), "delivered")
    connection.execute(
        "UPDATE lane SET since = CASE state WHEN 'healthy' THEN since ELSE ?1 END,"
        " state = 'healthy', reason = CASE WHEN suspect_end IS NULL THEN ''"
        "  WHEN state IN ('new', 'healthy') THEN reason ELSE ?2 END,"
        " failures = 0, next_attempt_at = 0, settled = coalesce(?3, settled), learned_limit = ?4"
        " WHERE id = ?5",
        (now, NARROWING, settled, learned_limit, batch.lane),
    )
    _judge(connection, batch.lane, events=batch.events, rejected=0)
    return True


def _judge(connection: sqlite3.Connection, lane: int, *, events: int, rejected: int) -> None:
    connection.execute(
        "UPDATE lane SET judged = judged + ?, rejected = rejected + ? WHERE id = ?", (events, rejected, lane)
    )
    connection.execute(
        "UPDATE lane SET judged = judged / 2, rejected = rejected / 2 WHERE id = ? AND judged > ?",
        (lane, JUDGED_WINDOW),
    )


def postponed(
    connection: sqlite3.Connection,
    batch: SealedBatch,
    *,
    state: LaneState,
    reason: str,
    status: int,
    next_attempt_at: int,
    now: int,
) -> bool:
    """An attempt failed; the batch stays as it is and will be sent again.

    How the upstream is doing is kept even where the batch was ended meanwhile.
    """
    updated = connection.execute(
        "UPDATE batch SET attempts = attempts + 1, last_status = ?1,"
        " same_status = CASE WHEN last_status = ?1 THEN same_status + 1 ELSE 1 END"
        " WHERE lane = ?2 AND id = ?3",
        (status, batch.lane, batch.id),
    )
    connection.execute(
        "UPDATE lane SET since = CASE WHEN state = ?1 THEN since ELSE ?3 END, state = ?1,"
        " reason = ?2, failures = failures + 1, next_attempt_at = ?4, wait = ?4 - ?3 WHERE id = ?5",
        (state, reason, now, next_attempt_at, batch.lane),
    )
    return updated.rowcount == 1


def suspected(
    connection: sqlite3.Connection, batch: SealedBatch, *, learned_limit: int | None, reason: str, now: int
) -> bool:
    """End a refused batch; the lane remembers up to where its events are suspects.

    It was answered, so the lane does not wait; the reason is told for as long as there are suspects.
    """
    if not unseal(connection, batch):
        return False
    connection.execute(
        "UPDATE lane SET since = CASE WHEN state IN ('new', 'healthy') THEN since ELSE ? END,"
        " state = CASE state WHEN 'new' THEN 'new' ELSE 'healthy' END, reason = ?,"
        " failures = 0, next_attempt_at = 0, suspect_end = ?, learned_limit = ? WHERE id = ?",
        (now, reason, batch.last + 1, learned_limit, batch.lane),
    )
    return True


def condemned(connection: sqlite3.Connection, batch: SealedBatch, named: Sequence[Condemned]) -> bool:
    """End a refused batch whose bad events the answer named; each dies when its turn comes.

    They are given in order. What earlier answers named behind the batch stays so.
    """
    if not unseal(connection, batch):
        return False
    (text,) = connection.execute("SELECT condemned FROM lane WHERE id = ?", (batch.lane,)).fetchone()
    later = [item for item in CONDEMNED.decode(text) if item.position > batch.last]
    connection.execute(
        "UPDATE lane SET condemned = ? WHERE id = ?",
        (msgspec.json.encode([*named, *later]).decode(), batch.lane),
    )
    return True


def buried(
    connection: sqlite3.Connection,
    lane: int,
    letter: DeadLetter,
    passage: Passage,
    *,
    epoch: str,
    batch: SealedBatch | None,
    now: int,
    fate: Literal["dead", "damaged"] = "dead",
) -> bool:
    """Dead-letter what stands at a lane's cursor, and end the sealed `batch` that begins with it, if any."""
    if batch is not None and not unseal(connection, batch):
        return False
    inserted = connection.execute(
        "INSERT INTO dead_letter"
        " (lane, epoch, position, day, received_at, published_at, remote_address, died_at, reason,"
        "  status, answer, event, damaged, bytes, boot, died_age)"
        " SELECT lane.id, number, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        "  (SELECT boot FROM chunk WHERE seq = ? AND chunk.stream = lane.stream),"
        "  (SELECT age FROM age_clock) FROM epoch, lane"
        " WHERE epoch.name = ? AND lane.id = ? AND cursor_position = ?",
        (
            letter.position,
            letter.day,
            letter.received_at,
            letter.published_at,
            letter.remote_address,
            now,
            letter.reason,
            letter.status,
            letter.answer,
            letter.event,
            fate == "damaged",
            len(letter.event) + len(letter.answer) + len(letter.reason),
            passage.first_seq,
            epoch,
            lane,
            letter.position,
        ),
    )
    if inserted.rowcount != 1:
        return False
    advance(connection, lane, passage, fate)
    connection.execute(
        "UPDATE lane SET reason = ''"
        " WHERE id = ? AND state IN ('new', 'healthy') AND reason <> '' AND suspect_end IS NULL",
        (lane,),
    )
    if fate == "dead":
        _judge(connection, lane, events=1, rejected=1)
    return True
