"""Replaying: dead letters become pending events again, at the tail of their lane.

A lane reads its stream by position, and a letter's own position lies behind its cursor. So
replayed events get new positions: they are appended to the stream as a chunk of their own, with
the stamps and the day that they were accepted with. It is for one lane only, since the
other lanes of the stream may have delivered these events long ago: those get an absence over
it, as over any stretch of a stream that is not theirs, and go on behind it. Upstream they
see a gap of positions there.

Each step is one transaction: its letters go, its chunks come, and the ledger moves them from
dead to pending. So an event is always either, whenever the process dies.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from collector.core.batch import lane_name
from collector.core.days import day_name
from collector.spool import extents, letters
from collector.spool.store import NewChunk, Placed, checksum, stored
from collector.spool.tables import END_DAY
from collector.spool.upstreams import next_seq, resume

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence

    from collector.spool.letters import Choice

T = TypeVar("T")

STEP_LETTERS = 500
STEP_BYTES = 1024 * 1024
"""Letters, and bytes of their events, that one transaction replays at most (one letter at the least)."""


class LedgerDisagrees(Exception):
    """The ledger counts fewer dead events of a lane and day than there are letters."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to.

    Attributes:
        replayed: letters that are pending events now.
        damaged: chosen ones that cannot be, since they are what is left of a damaged chunk.
        away: chosen ones that cannot be, since their upstream is not configured, or takes them no more.
    """

    replayed: int
    damaged: int
    away: int


class Spool(Protocol):
    """What is needed of the spool; see `collector.spool.spool.Spool`."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the next commit."""

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the reading connection."""

    async def grow(
        self, work: Callable[[sqlite3.Connection, int], tuple[T, Collection[tuple[str, str]]]]
    ) -> T:
        """Run `work`, which appends, in the next commit."""


async def replay(spool: Spool, choice: Choice) -> Replayed:
    """Make the chosen letters pending again, those that are there now; one that dies anew stays.

    Raises:
        UnknownLane: the choice names a lane that is not there.
        LedgerDisagrees: the ledger does not count them; what was done until then is kept.
        SpoolUnavailable: the disk refused; what was done until then is kept.
    """
    up_to = await spool.read(letters.newest)
    replayed = 0
    while step := await spool.grow(lambda connection, age: replay_step(connection, choice, up_to, age)):
        replayed += step
    damaged, away = await spool.read(lambda connection: _left(connection, choice, up_to))
    return Replayed(replayed, damaged, away)


async def purge(spool: Spool, choice: Choice) -> int:
    """End the chosen letters that are there now; returns how many that were.

    Raises:
        UnknownLane: the choice names a lane that is not there.
        SpoolUnavailable: the disk refused; what was done until then is kept.
    """
    up_to = await spool.read(letters.newest)
    purged = 0
    while step := await spool.write(lambda connection: letters.purge(connection, choice, up_to=up_to)):
        purged += step
    return purged


class _Source(NamedTuple):
    """What letters must have in common to become one chunk."""

    lane: int
    stream: int
    upstream: str
    dialect: str
    product: str
    boot: int
    day: int
    received_at: int
    published_at: int | None
    remote_address: str


_AWAY = "EXISTS (SELECT 1 FROM absence WHERE absence.lane = dead_letter.lane AND to_seq IS NULL AND NOT full)"


def replay_step(
    connection: sqlite3.Connection, choice: Choice, up_to: int, age: int
) -> tuple[int, set[tuple[str, str]]]:
    """Replay some of the chosen letters up to an id, in order of their lanes and ids.

    Returns:
        How many, and the streams that they were appended to.

    Raises:
        UnknownLane: the choice names a lane that is not there.
        LedgerDisagrees: the ledger does not count them.
    """
    chosen, parameters = letters.condition(connection, choice)
    cursor = connection.execute(
        "SELECT dead_letter.lane, lane.stream, upstream.name, dialect, product,"  # noqa: S608 (our own words)
        # Where the boot is forgotten, nothing is known of its clock: this one's is as good.
        " coalesce(boot, (SELECT max(id) FROM boot)),"
        " day, received_at, published_at, remote_address, dead_letter.id, event FROM dead_letter"
        " JOIN lane ON lane.id = dead_letter.lane"
        " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        f" WHERE {chosen} AND dead_letter.id <= ? AND NOT damaged AND NOT {_AWAY}"
        " ORDER BY dead_letter.lane, dead_letter.id LIMIT ?",
        (*parameters, up_to, STEP_LETTERS),
    )
    taken: list[tuple[_Source, int, bytes]] = []
    size = 0
    for row in cursor:
        size += len(row[11])
        if taken and size > STEP_BYTES:
            break
        taken.append((_Source(*row[:10]), row[10], row[11]))
    cursor.close()
    for source, group in groupby(taken, key=lambda letter: letter[0]):
        _append(connection, source, [event for _, _, event in group], age=age)
    connection.executemany("DELETE FROM dead_letter WHERE id = ?", [(letter,) for _, letter, _ in taken])
    return len(taken), {(source.dialect, source.product) for source, _, _ in taken}


def _append(connection: sqlite3.Connection, source: _Source, events: Sequence[bytes], *, age: int) -> None:
    """Append events to their stream, for their own lane."""
    count = len(events)
    moved = connection.execute(
        "UPDATE counts SET dead = dead - ?1, pending = pending + ?1"
        " WHERE lane = ?2 AND day = ?3 AND dead >= ?1",
        (count, source.lane, source.day),
    )
    if moved.rowcount != 1:
        name = lane_name(source.upstream, source.dialect, source.product)
        raise LedgerDisagrees(
            f"the ledger of lane {name} counts fewer than {count} dead of day {day_name(source.day)}"
        )
    whole = NewChunk(
        dialect=source.dialect,
        product=source.product,
        remote_address=source.remote_address,
        received_at=source.received_at,
        published_at=source.published_at,
        events=count,
        encoding="",
        body=b"[" + b",".join(events) + b"]",
    )
    encoding, body = stored(whole)
    seq = next_seq(connection)
    connection.execute("UPDATE stream SET replayed = replayed + ? WHERE id = ?", (count, source.stream))
    (first,) = connection.execute(
        "UPDATE counts SET next_position = next_position + ?1, stored_bytes = stored_bytes + ?2,"
        " last_seq = ?3 WHERE day = ?4 AND lane = 0 AND stream = ?5 RETURNING next_position",
        (count, len(body), seq, END_DAY, source.stream),
    ).fetchone()
    first -= count
    _let_in(connection, source.lane, seq, position=first, size=len(body))
    placed = Placed(
        source.stream,
        first,
        count,
        source.day,
        source.received_at,
        source.published_at,
        source.remote_address,
        encoding,
    )
    extents.take(connection, source.stream, seq)
    connection.execute(
        "INSERT INTO chunk (seq, stream, boot, day, accepted_age, received_at, published_at, remote_address,"
        " events, first_position, encoding, checksum, only_lane, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            seq,
            source.stream,
            source.boot,
            source.day,
            # A new life: by the old one's age it would expire at once.
            age,
            source.received_at,
            source.published_at,
            source.remote_address,
            count,
            first,
            encoding,
            checksum(placed, body),
            source.lane,
            body,
        ),
    )
    _pass_over(connection, source, seq, first=first, events=count, size=len(body))


def _let_in(connection: sqlite3.Connection, lane: int, seq: int, *, position: int, size: int) -> None:
    """Let a lane in that is not admitted at the moment: what it replays is its own."""
    let_in = connection.execute(
        "UPDATE absence SET to_seq = ?1, to_position = ?2, to_bytes ="
        " (SELECT stored_bytes - ?3 FROM lane JOIN stream_end USING (stream) WHERE lane.id = ?4)"
        " WHERE lane = ?4 AND to_seq IS NULL",
        (seq, position, size, lane),
    )
    if let_in.rowcount:
        resume(connection, lane)


def _pass_over(
    connection: sqlite3.Connection, source: _Source, seq: int, *, first: int, events: int, size: int
) -> None:
    """Have the other lanes of the stream go by a chunk that is not theirs."""
    others = connection.execute(
        # One that is away has no part in it already.
        "SELECT id FROM lane WHERE stream = ? AND id <> ? AND NOT EXISTS"
        " (SELECT 1 FROM absence WHERE absence.lane = lane.id AND to_seq IS NULL)",
        (source.stream, source.lane),
    ).fetchall()
    for (lane,) in others:
        grown = connection.execute(
            # What adjoins is one absence.
            "UPDATE absence SET to_seq = ?, to_position = ?, to_bytes = to_bytes + ?"
            " WHERE lane = ? AND to_position = ?",
            (seq + 1, first + events, size, lane, first),
        )
        if grown.rowcount == 0:
            connection.execute(
                "INSERT INTO absence (lane, from_seq, to_seq, to_position, from_bytes, to_bytes)"
                " SELECT ?1, ?2, ?2 + 1, ?3, stored_bytes - ?4, stored_bytes FROM stream_end"
                " WHERE stream = ?5",
                (lane, seq, first + events, size, source.stream),
            )
        resume(connection, lane)


def _left(connection: sqlite3.Connection, choice: Choice, up_to: int) -> tuple[int, int]:
    """How many of the chosen letters cannot be replayed: damaged ones, and those of lanes that are away."""
    chosen, parameters = letters.condition(connection, choice)
    damaged, away = connection.execute(
        f"SELECT count(*) FILTER (WHERE damaged), count(*) FILTER (WHERE NOT damaged AND {_AWAY})"  # noqa: S608
        f" FROM dead_letter WHERE {chosen} AND dead_letter.id <= ?",
        (*parameters, up_to),
    ).fetchone()
    return int(damaged), int(away)
