"""Making a salvaged spool consistent: lanes, absences and the ledger, from the chunks that are left.

The chunks are in the new database when this begins, and so are the rows of the other
tables that could be read. Positions stay as they were; where chunks are missing a lane has
an absence, so that it goes on behind the gap. A lane whose cursor is not known starts at the
oldest chunk: its events are sent again rather than not at all.

What a lane holds now is its pending count. What is missing of the old one is `damaged`; where it
holds more than it did, the excess was delivered before and will be again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.spool.passage import release

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

END = 1 << 62
ENDS = ("pending", "delivered", "dead", "expired", "evicted", "damaged")
LEDGER = ("accepted", *ENDS, "outcome_unknown")
_GIVES_BACK = ("delivered", "expired", "evicted")
"""Columns that events come from which are found pending again."""

Counts = dict[str, int]
ByDay = dict[int, int]
SHAKY = -1
"""Stands for a pending count that is not known."""


@dataclass(slots=True)
class Tally:
    """What became of the lanes' events.

    Attributes:
        pending: events that wait, of all lanes.
        damaged: events that were pending and are lost.
    """

    pending: int = 0
    damaged: int = 0


def drop_contradictions(connection: sqlite3.Connection) -> int:
    """Delete chunks that do not come behind the one before them; returns how many."""
    dropped: list[tuple[int]] = []
    ends: dict[int, int] = {}
    for seq, stream, first, events in connection.execute(
        "SELECT seq, stream, first_position, events FROM chunk ORDER BY seq"
    ):
        if first < ends.get(stream, 0):
            dropped.append((seq,))
        else:
            ends[stream] = first + events
    connection.executemany("DELETE FROM chunk WHERE seq = ?", dropped)
    return len(dropped)


def settle_streams(connection: sqlite3.Connection) -> None:
    """Have each stream end behind all that is known of it, and the next chunk be numbered so."""
    connection.execute(
        "UPDATE stream SET stored_bytes ="
        " (SELECT coalesce(sum(length(body)), 0) FROM chunk WHERE chunk.stream = stream.id),"
        " next_position = max(next_position,"
        "  coalesce((SELECT max(first_position + events) FROM chunk WHERE chunk.stream = stream.id), 0),"
        "  coalesce((SELECT max(cursor_position) FROM lane WHERE lane.stream = stream.id), 0))"
    )


def number_on(connection: sqlite3.Connection, known: int) -> None:
    """Have the next chunk numbered behind all that is known."""
    (last,) = connection.execute(
        "SELECT max(?, coalesce((SELECT max(seq) FROM chunk), 0),"
        " coalesce((SELECT max(cursor_seq) - 1 FROM lane), 0),"
        " coalesce((SELECT max(max(from_seq, coalesce(to_seq, 0))) - 1 FROM absence), 0))",
        (known,),
    ).fetchone()
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'chunk'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('chunk', ?)", (last,))


@dataclass(frozen=True, slots=True)
class _Gap:
    """Where a lane goes on behind something; `at_end` where there is no chunk behind it."""

    from_seq: int
    to_seq: int
    to_position: int
    from_bytes: int
    to_bytes: int


@dataclass(slots=True)
class _Way:
    """A lane's way over the chunks that are left.

    Attributes:
        gaps: what it passes over.
        days: events that wait, by day.
        lost: events missing between chunks, by the day of the chunk before or behind them.
    """

    cursor: tuple[int, int, int]
    passed_bytes: int
    gaps: list[_Gap]
    days: ByDay
    lost: ByDay


def settle_lane(
    connection: sqlite3.Connection, lane: int, ledger: Mapping[int, Counts], tally: Tally
) -> None:
    """Set a lane's cursor, absences and ledger by the chunks that are left.

    Args:
        connection: the new database.
        lane: its row is there.
        ledger: its rows that could be read, by day.
        tally: is added to.
    """
    stream, seq, index, position = connection.execute(
        "SELECT stream, cursor_seq, cursor_index, cursor_position FROM lane WHERE id = ?", (lane,)
    ).fetchone()
    absences = connection.execute(
        "SELECT from_seq, coalesce(to_seq, ?) FROM absence WHERE lane = ? ORDER BY from_seq", (END, lane)
    ).fetchall()
    start = _start(connection, stream, seq, index, position)
    way = _way(connection, stream, start, absences)
    connection.execute(
        "UPDATE lane SET cursor_seq = ?, cursor_index = ?, cursor_position = ?, passed_bytes = ?,"
        " suspect_end = NULL, condemned = '[]' WHERE id = ?",
        (*way.cursor, way.passed_bytes, lane),
    )
    connection.execute("DELETE FROM absence WHERE lane = ?", (lane,))
    connection.executemany(
        "INSERT INTO absence (lane, from_seq, to_seq, to_position, from_bytes, to_bytes)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (lane, gap.from_seq, None, None, gap.from_bytes, None)
            if gap.to_seq == END
            else (lane, gap.from_seq, gap.to_seq, gap.to_position, gap.from_bytes, gap.to_bytes)
            for gap in way.gaps
        ],
    )
    _settle_ledger(connection, lane, way, ledger, tally)


def _start(connection: sqlite3.Connection, stream: int, seq: int, index: int, position: int) -> int:
    """The position that a lane goes on from: the earlier one, where its cursor contradicts itself."""
    chunk = connection.execute(
        "SELECT seq, first_position, events FROM chunk WHERE stream = ? AND seq >= ? ORDER BY seq LIMIT 1",
        (stream, seq),
    ).fetchone()
    if chunk is None:
        return position
    at, first, events = chunk
    return int(min(position, first + index if at == seq and index < events else first))


def _way(connection: sqlite3.Connection, stream: int, start: int, absences: list[tuple[int, int]]) -> _Way:
    next_position, stored_bytes = connection.execute(
        "SELECT next_position, stored_bytes FROM stream WHERE id = ?", (stream,)
    ).fetchone()
    (next_seq,) = connection.execute("SELECT seq + 1 FROM sqlite_sequence WHERE name = 'chunk'").fetchone()
    way = _Way((next_seq, 0, next_position), stored_bytes, [], {}, {})
    seen_bytes = 0
    end_seq, end_position, end_bytes = 0, start, 0
    day = None
    for seq, first, events, chunk_day, size in connection.execute(
        "SELECT seq, first_position, events, day, length(body) FROM chunk WHERE stream = ? ORDER BY seq",
        (stream,),
    ):
        before, seen_bytes = seen_bytes, seen_bytes + size
        own = first + events > start and not any(low <= seq < high for low, high in absences)
        if not own:
            continue
        if first > end_position:
            skipped = first - end_position - _foreign(connection, stream, absences, end_position, first)
            told = chunk_day if day is None else day
            way.lost[told] = way.lost.get(told, 0) + max(0, skipped)
        if day is None:
            inside = max(0, start - first)
            way.cursor, way.passed_bytes = (seq, inside, first + inside), before
        else:
            inside = 0
            if first != end_position:
                way.gaps.append(_Gap(end_seq, seq, first, end_bytes, before))
        way.days[chunk_day] = way.days.get(chunk_day, 0) + events - inside
        end_seq, end_position, end_bytes, day = seq + 1, first + events, seen_bytes, chunk_day
    last = None if day is None else _Last(day, end_seq, end_position, end_bytes)
    _end_way(connection, way, stream, start, absences, last)
    return way


@dataclass(frozen=True, slots=True)
class _Last:
    """Where a lane's last chunk ends; `day` is that of the chunk."""

    day: int
    seq: int
    position: int
    bytes: int


def _end_way(
    connection: sqlite3.Connection,
    way: _Way,
    stream: int,
    start: int,
    absences: list[tuple[int, int]],
    last: _Last | None,
) -> None:
    """What is behind a lane's last chunk: a gap, and the time that its upstream is away."""
    next_seq, next_position = way.cursor[0], way.cursor[2]
    if last is not None:
        (next_seq, next_position) = connection.execute(
            "SELECT sqlite_sequence.seq + 1, next_position FROM stream, sqlite_sequence"
            " WHERE stream.id = ? AND sqlite_sequence.name = 'chunk'",
            (stream,),
        ).fetchone()
    (stored_bytes,) = connection.execute("SELECT stored_bytes FROM stream WHERE id = ?", (stream,)).fetchone()
    away_from = next((first for first, end in absences if end == END), END)
    end_seq, end_bytes = next_seq, stored_bytes
    if last is not None:
        end_seq, end_bytes = last.seq, last.bytes
        if last.position != next_position and (away_from == END or end_bytes == stored_bytes):
            if not any(low >= end_seq for low, _ in absences):
                way.lost[last.day] = way.lost.get(last.day, 0) + next_position - last.position
            way.gaps.append(_Gap(end_seq, next_seq, next_position, end_bytes, stored_bytes))
            end_seq, end_bytes = next_seq, stored_bytes
    elif away_from != END and stored_bytes:
        # Its upstream takes nothing more for now, and what there is is not its own.
        end_seq = min(away_from, next_seq)
        (end_bytes,) = connection.execute(
            "SELECT coalesce(sum(length(body)), 0) FROM chunk WHERE stream = ? AND seq < ?", (stream, end_seq)
        ).fetchone()
        way.cursor, way.passed_bytes = (end_seq, 0, start), end_bytes
    if away_from != END:
        way.gaps.append(_Gap(end_seq, END, 0, end_bytes, 0))


def _foreign(
    connection: sqlite3.Connection,
    stream: int,
    absences: Iterable[tuple[int, int]],
    low: int,
    high: int,
) -> int:
    """Events between two positions that are not the lane's own, as far as they are still there."""
    return sum(
        int(
            connection.execute(
                "SELECT coalesce(sum(events), 0) FROM chunk WHERE stream = ? AND seq >= ? AND seq < ?"
                " AND first_position >= ? AND first_position < ?",
                (stream, first, end, low, high),
            ).fetchone()[0]
        )
        for first, end in absences
    )


def _settle_ledger(
    connection: sqlite3.Connection, lane: int, way: _Way, ledger: Mapping[int, Counts], tally: Tally
) -> None:
    for day in sorted({*ledger, *way.days, *way.lost}):
        held = way.days.get(day, 0)
        row = dict(ledger[day]) if day in ledger else _from_letters(connection, lane, day)
        if row["pending"] == SHAKY:
            # Then only the gaps between the chunks say what is missing.
            row["pending"] = held + way.lost.get(day, 0)
            row["accepted"] = sum(row[column] for column in ENDS)
        missing = row["pending"] - held
        if missing > 0:
            row["damaged"] += missing
            tally.damaged += missing
        else:
            _take_back(row, -missing)
        row["pending"] = held
        tally.pending += held
        connection.execute(
            f"INSERT OR REPLACE INTO ledger (lane, day, {', '.join(LEDGER)})"  # noqa: S608 (names above)
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (lane, day, *(row[column] for column in LEDGER)),
        )


def _take_back(row: Counts, excess: int) -> None:
    """Count events as pending that had been counted as ended."""
    for column in _GIVES_BACK:
        taken = min(excess, row[column])
        row[column] -= taken
        excess -= taken
    row["accepted"] += excess


def _from_letters(connection: sqlite3.Connection, lane: int, day: int) -> Counts:
    """A ledger row of which nothing is known but the dead letters that are kept."""
    row = {**dict.fromkeys(LEDGER, 0), "pending": SHAKY}
    (row["dead"],) = connection.execute(
        "SELECT count(*) FROM dead_letter WHERE lane = ? AND day = ? AND reason NOT LIKE 'damaged:%'",
        (lane, day),
    ).fetchone()
    return row


def sound(row: Counts, *, at_most: int) -> bool:
    """Whether a ledger row that was read adds up; where not, what is left of it is made usable.

    Args:
        row: is changed then.
        at_most: events that the stream has ever had; more were never accepted.
    """
    if min(row.values()) >= 0 and sum(row[column] for column in ENDS) == row["accepted"] <= at_most:
        return True
    for column in LEDGER:
        row[column] = min(max(row[column], 0), at_most)
    row["pending"] = SHAKY
    return False


def release_unneeded(connection: sqlite3.Connection) -> None:
    """Delete the chunks that no lane needs: they had been deleted before, and were found again."""
    for (stream,) in connection.execute("SELECT id FROM stream").fetchall():
        release(connection, stream, 0, END)
