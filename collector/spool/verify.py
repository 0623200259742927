"""Proving a spool: every chunk, and the ledger against them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from collector.core.jsontext import split_array
from collector.errors import SpoolDamaged
from collector.spool import examine, read
from collector.spool.extents import END, IN_ORDER, LAST_FIRST, chunks_of
from collector.spool.store import Placed, checksum, unpack
from collector.spool.upstreams import next_seq
from collector.spool.views import ENDS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from collector.core.batch import Chunk

MAX_PROBLEMS = 50
"""Problems that are named; one bad page may make thousands."""


@dataclass(slots=True)
class Proof:
    """What was proved.

    Attributes:
        chunks: how many were read; `events` those in them.
        ledger_rows: how many add up, and agree with the chunks.
        problems: what does not hold, at most `MAX_PROBLEMS`.
    """

    chunks: int = 0
    events: int = 0
    ledger_rows: int = 0
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Add a problem."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def chunk_count(connection: sqlite3.Connection) -> int | None:
    """How many chunks there are; None where that cannot be read."""
    try:
        (count,) = connection.execute("SELECT count(*) FROM chunk").fetchone()
    except sqlite3.Error:
        return None
    return int(count)


def _untold(_chunks: int) -> None:
    """Tell nobody."""


def verify(
    connection: sqlite3.Connection, *, bodies: bool = True, advance: Callable[[int], None] = _untold
) -> Proof:
    """Read all of a spool, on a connection that nobody writes through; takes as long as that is large.

    Args:
        connection: any.
        bodies: whether to look into the chunks too. One whose checksum does not fit is
            dead-lettered when a lane comes to it; all else that does not hold is damage.
        advance: told of chunks as they are done.
    """
    proof = Proof()
    steps: list[Callable[[sqlite3.Connection, Proof], None]] = [
        _pages,
        _rows,
        _streams,
        _extents,
        _ledger,
        _absences,
        _letters,
    ]
    if bodies:
        steps.insert(2, partial(_chunks, advance=advance))
    for step in steps:
        try:
            step(connection, proof)
        except (sqlite3.Error, UnicodeDecodeError, TypeError, SpoolDamaged) as error:
            # TypeError: of a row that was found to be garbled before.
            proof.note(f"cannot be read: {error}")
    return proof


def _pages(connection: sqlite3.Connection, proof: Proof) -> None:
    for (verdict,) in connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})"):
        if verdict != "ok":
            proof.note(" ".join(str(verdict).split()))


def _rows(connection: sqlite3.Connection, proof: Proof) -> None:
    for table in examine.tables(connection):
        garbled = sum(not table.fits(row) for row in connection.execute(table.selection))
        if garbled:
            proof.note(f"table {table.name}: {garbled} rows are garbled")


def _streams(connection: sqlite3.Connection, proof: Proof) -> None:
    for stream, end, replayed, received in connection.execute(
        "SELECT id, next_position, replayed,"
        " (SELECT coalesce(sum(events), 0) FROM intake WHERE intake.stream = id)"
        " FROM stream LEFT JOIN stream_end ON stream = id"
    ):
        if end != received + replayed:
            proof.note(f"stream {stream}: {end} positions, {received} received and {replayed} replayed")
    for stream, last_seq, seq in connection.execute(
        "SELECT stream, last_seq,"  # noqa: S608 (made of constants)
        f" (SELECT seq FROM {chunks_of('stream_end.stream')} {LAST_FIRST} LIMIT 1) FROM stream_end"
    ):
        if seq is not None and seq > last_seq:
            proof.note(f"stream {stream}: chunk {seq} is numbered beyond the last one, {last_seq}")
    for (seq,) in connection.execute(
        "SELECT seq FROM chunk WHERE only_lane IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM lane WHERE lane.id = only_lane AND lane.stream = chunk.stream)"
    ):
        proof.note(f"chunk {seq} is for a lane that is not there")


def _extents(connection: sqlite3.Connection, proof: Proof) -> None:
    """Where no two overlap, and each chunk is in one of its stream's, none has another stream's."""
    for stream, first, end, following in connection.execute(
        "SELECT * FROM (SELECT stream, first_seq, end_seq, lead(first_seq) OVER (ORDER BY first_seq)"
        " AS following FROM extent) WHERE following < end_seq"
    ):
        told = "is open" if end == END else f"ends before {end}"
        proof.note(
            f"stream {stream}: its extent from chunk {first} on {told}, and another begins at {following}"
        )
    for seq, stream in connection.execute(
        "SELECT seq, stream FROM chunk WHERE NOT coalesce((SELECT seq < end_seq FROM extent"
        " WHERE extent.stream = chunk.stream AND first_seq <= seq ORDER BY first_seq DESC LIMIT 1), 0)"
    ):
        proof.note(f"stream {stream}: chunk {seq} is in no extent of it")


def _chunks(connection: sqlite3.Connection, proof: Proof, *, advance: Callable[[int], None]) -> None:
    table = examine.table(connection, "chunk")
    for row in connection.execute(f"{table.selection} ORDER BY seq"):
        values = dict(zip(table.columns, row, strict=True))
        seq, crc, body = values["seq"], values["checksum"], values["body"]
        proof.chunks += 1
        advance(1)
        if not table.fits(row):
            continue  # told already
        placed = Placed(*(values[name] for name in Placed._fields))
        proof.events += placed.events
        if checksum(placed, body) != crc:
            proof.note(f"chunk {seq}: its checksum does not fit")
            continue
        try:
            count = len(split_array(unpack(placed.encoding, body)))
        except ValueError as error:
            proof.note(f"chunk {seq}: {error}")
            continue
        if count != placed.events:
            proof.note(f"chunk {seq}: {placed.events} events were counted, {count} are there")


def _ledger(connection: sqlite3.Connection, proof: Proof) -> None:
    following = next_seq(connection)
    for lane in read.lanes(connection):
        if lane.cursor_seq > following:
            proof.note(f"{lane.name}: stands beyond the last chunk, {following - 1}")
        held: dict[int, int] = {}
        position = lane.cursor_position
        for first, events, day, only_lane, resumed in _way(connection, lane):
            if only_lane not in {None, lane.id}:
                proof.note(f"{lane.name}: events {first} to {first + events - 1} are another lane's")
            if first != position and not resumed:
                proof.note(f"{lane.name}: events {position} to {first - 1} are missing")
            position = first + events
            held[day] = held.get(day, 0) + events
        rows = connection.execute(
            f"SELECT day, accepted, {', '.join(ENDS)} FROM ledger WHERE lane = ?",  # noqa: S608
            (lane.id,),
        ).fetchall()
        for day, accepted, pending, *ended in rows:
            if accepted != pending + sum(ended):
                proof.note(
                    f"{lane.name}: day {day}: {accepted} accepted, {pending + sum(ended)} accounted for"
                )
            if pending != held.pop(day, 0):
                proof.note(f"{lane.name}: day {day}: its chunks do not hold the {pending} events that wait")
            proof.ledger_rows += 1
        for day, events in held.items():
            proof.note(f"{lane.name}: day {day}: {events} events wait that the ledger does not know")


def _absences(connection: sqlite3.Connection, proof: Proof) -> None:
    """What a lane has passed, and its chunks before an absence, are what was accepted until that began."""
    for lane in read.lanes(connection):
        seq: int | None = lane.cursor_seq
        (size,) = connection.execute("SELECT passed_bytes FROM lane WHERE id = ?", (lane.id,)).fetchone()
        for from_seq, to_seq, from_bytes, to_bytes in connection.execute(
            "SELECT from_seq, to_seq, from_bytes, to_bytes FROM absence WHERE lane = ? ORDER BY from_seq",
            (lane.id,),
        ).fetchall():
            (held,) = connection.execute(
                f"SELECT coalesce(sum(length(body)), 0) FROM {chunks_of('?1', first='?2', end='?3')}",  # noqa: S608
                (lane.stream, seq, from_seq),
            ).fetchone()
            if size + held != from_bytes:
                proof.note(f"{lane.name}: its chunks before chunk {from_seq} do not take what was accepted")
            seq, size = to_seq, to_bytes


def _letters(connection: sqlite3.Connection, proof: Proof) -> None:
    for lane, day, count, dead in connection.execute(
        "SELECT dead_letter.lane, dead_letter.day, count(*), coalesce(dead, 0) FROM dead_letter"
        " LEFT JOIN ledger ON ledger.lane = dead_letter.lane AND ledger.day = dead_letter.day"
        " WHERE NOT dead_letter.damaged GROUP BY 1, 2"
    ):
        if count > dead:
            proof.note(f"lane {lane}: day {day}: {count} dead letters are kept, {dead} were counted")


def _way(
    connection: sqlite3.Connection, lane: read.Lane
) -> Generator[tuple[int, int, int, int | None, bool]]:
    """A lane's chunks from its cursor on: position, events, day, whose alone, whether behind an absence."""
    gaps = connection.execute(
        "SELECT from_seq, to_seq FROM absence WHERE lane = ? ORDER BY from_seq", (lane.id,)
    ).fetchall()
    seq, index, resumed = lane.cursor_seq, lane.cursor_index, False
    for end, resume in [*gaps, (END, None)]:
        for first, events, day, only_lane in connection.execute(
            "SELECT first_position, events, day, only_lane"  # noqa: S608 (made of constants)
            f" FROM {chunks_of('?1', first='?2', end='?3')} {IN_ORDER}",
            (lane.stream, seq, end),
        ):
            yield first + index, events - index, day, only_lane, resumed
            index, resumed = 0, False
        if resume is None:
            return
        seq, index, resumed = resume, 0, True


def pending(
    connection: sqlite3.Connection, lane: read.Lane
) -> Generator[tuple[int, Chunk, bytes] | read.DamagedChunk]:
    """The events that a lane has still to send, in order: position, chunk, and the event's own bytes.

    A chunk that is not what was written is given as what is wrong with it.
    """
    gaps = connection.execute(
        "SELECT from_seq, to_seq FROM absence WHERE lane = ? ORDER BY from_seq", (lane.id,)
    ).fetchall()
    seq, index = lane.cursor_seq, lane.cursor_index
    for end, resume in [*gaps, (END, None)]:
        while True:
            try:
                for chunk in read.chunks(connection, lane.stream, from_seq=seq, end_seq=end):
                    for offset, event in enumerate(chunk.split()[index:], index):
                        yield chunk.first_position + offset, chunk, event
                    seq, index = chunk.seq + 1, 0
            except read.DamagedChunk as damage:
                yield damage
                seq, index = damage.chunk.seq + 1, 0
                continue
            following = connection.execute(
                f"SELECT 1 FROM {chunks_of('?1', first='?2', end='?3')} LIMIT 1",  # noqa: S608
                (lane.stream, seq, end),
            ).fetchone()
            if following is None:
                break
        if resume is None:
            return
        seq, index = resume, 0
