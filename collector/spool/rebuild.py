"""Making a salvaged spool consistent: lanes, absences and the ledger, from the chunks that are left.

The chunks are in the new database when this begins, and so are the rows of the other
tables that could be read. Positions stay as they were; where chunks are missing a lane has
an absence, so that it goes on behind the gap. A lane whose cursor is not known starts at the
oldest chunk: its events are sent again rather than not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core.days import UNKNOWN_DAY
from collector.spool.books import settle_ledger
from collector.spool.extents import END, IN_ORDER, chunks_of
from collector.spool.passage import release
from collector.spool.tables import END_DAY
from collector.spool.upstreams import next_seq

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from collector.spool.books import ByDay, Counts, Tally


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
    """Have each stream go on behind all that is known, and the next chunk be numbered so."""
    connection.execute(
        "INSERT OR IGNORE INTO counts (day, lane, stream) SELECT ?, 0, id FROM stream", (END_DAY,)
    )
    connection.execute(
        "UPDATE counts SET stored_bytes ="  # noqa: S608 (made of constants)
        f" (SELECT coalesce(sum(length(body)), 0) FROM {chunks_of('counts.stream')}),"
        " next_position = max(next_position,"
        f"  coalesce((SELECT max(first_position + chunk.events) FROM {chunks_of('counts.stream')}), 0),"
        "  coalesce((SELECT max(cursor_position) FROM lane WHERE lane.stream = counts.stream), 0)),"
        # The numbers of chunks are all streams' together.
        " last_seq = max(last_seq,"
        "  coalesce((SELECT max(seq) FROM chunk), 0),"
        "  coalesce((SELECT max(cursor_seq) - 1 FROM lane), 0),"
        "  coalesce((SELECT max(max(from_seq, coalesce(to_seq, 0))) - 1 FROM absence), 0))"
        " WHERE day = ? AND lane = 0",
        (END_DAY,),
    )
    # Positions behind the last chunk of all were those of one that is lost, and it had a number: a lane goes
    # on behind that one, and from there on its upstream may be away.
    connection.execute(
        "UPDATE counts SET last_seq = last_seq + 1 WHERE day = ? AND lane = 0"
        " AND (stream, last_seq) = (SELECT stream, seq FROM chunk ORDER BY seq DESC LIMIT 1)"
        " AND next_position >"
        "  (SELECT first_position + chunk.events FROM chunk ORDER BY seq DESC LIMIT 1)",
        (END_DAY,),
    )


def settle_intake(connection: sqlite3.Connection, *, known: bool) -> None:
    """Have each stream's positions be those that were received and those that were replayed.

    Args:
        connection: the new database.
        known: whether the number of those replayed is; else it is what the received ones leave.
    """
    for stream, end, replayed, received, held in connection.execute(
        "SELECT id, next_position, replayed,"
        " (SELECT coalesce(sum(events), 0) FROM intake WHERE intake.stream = id),"
        " (SELECT coalesce(sum(events), 0) FROM chunk WHERE chunk.stream = id AND only_lane IS NOT NULL)"
        " FROM stream JOIN stream_end ON stream = id"
    ).fetchall():
        again = min(max(replayed if known else end - received, held), end)
        connection.execute("UPDATE stream SET replayed = ? WHERE id = ?", (again, stream))
        excess = received + again - end
        if excess < 0:
            connection.execute(
                "INSERT INTO counts (day, lane, stream, events) VALUES (?2, 0, ?1, ?3)"
                " ON CONFLICT DO UPDATE SET events = events + ?3",
                (stream, UNKNOWN_DAY, -excess),
            )
        for day, events in connection.execute(
            "SELECT day, events FROM intake WHERE stream = ? ORDER BY day DESC", (stream,)
        ).fetchall():
            taken = min(max(excess, 0), events)
            excess -= taken
            connection.execute(
                "UPDATE counts SET events = events - ? WHERE stream = ? AND lane = 0 AND day = ?",
                (taken, stream, day),
            )


def adopt_replayed(connection: sqlite3.Connection) -> int:
    """Make replayed chunks whose lane is not known those of all lanes; returns how many there were."""
    return connection.execute(
        "UPDATE chunk SET only_lane = NULL WHERE only_lane IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM lane WHERE lane.id = only_lane AND lane.stream = chunk.stream)"
    ).rowcount


def settle_age(connection: sqlite3.Connection) -> None:
    """Have the age clock go on from the newest chunk, where it is lost itself.

    Then it is of no start of the machine that is known, so no stop is counted: events keep longer.
    """
    connection.execute(
        "INSERT OR IGNORE INTO age_clock (id, age, boot, ticks, newest_wall, total)"
        " SELECT 1, coalesce(max(accepted_age), 0), '', 0, 0, coalesce(max(accepted_age), 0) FROM chunk"
    )


def number_letters_on(connection: sqlite3.Connection, known: int) -> None:
    """Have the next dead letter numbered behind all that are known, those that are gone too."""
    (last,) = connection.execute(
        "SELECT max(?, coalesce((SELECT max(id) FROM dead_letter), 0))", (known,)
    ).fetchone()
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'dead_letter'")
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('dead_letter', ?)", (last,))


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
    way = _way(connection, lane, stream, start, absences)
    if not ledger and not way.days and seq > 0 and way.cursor[2] > start:
        # Nothing but its cursor is left: what it had still to send is known by number alone.
        way.lost[UNKNOWN_DAY] = way.cursor[2] - start
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
    settle_ledger(connection, lane, stream, way.days, way.lost, ledger, tally)


def _start(connection: sqlite3.Connection, stream: int, seq: int, index: int, position: int) -> int:
    """The position that a lane goes on from: the earlier one, where its cursor contradicts itself."""
    chunk = connection.execute(
        f"SELECT seq, first_position, events FROM {chunks_of('?1', first='?2')} {IN_ORDER} LIMIT 1",  # noqa: S608
        (stream, seq),
    ).fetchone()
    if chunk is None:
        return position
    at, first, events = chunk
    return int(min(position, first + index if at == seq and index < events else first))


def _way(
    connection: sqlite3.Connection, lane: int, stream: int, start: int, absences: list[tuple[int, int]]
) -> _Way:
    next_position, stored_bytes = connection.execute(
        "SELECT next_position, stored_bytes FROM stream_end WHERE stream = ?", (stream,)
    ).fetchone()
    way = _Way((next_seq(connection), 0, next_position), stored_bytes, [], {}, {})
    seen_bytes = 0
    end_seq, end_position, end_bytes = 0, start, 0
    day = None
    foreign = 0
    for seq, first, events, chunk_day, size, others in connection.execute(
        "SELECT seq, first_position, events, day, length(body), coalesce(only_lane, ?1) <> ?1"  # noqa: S608
        f" FROM {chunks_of('?2')} {IN_ORDER}",
        (lane, stream),
    ):
        before, seen_bytes = seen_bytes, seen_bytes + size
        if others or first + events <= start or any(low <= seq < high for low, high in absences):
            foreign += events if first >= end_position else 0
            continue
        if first > end_position:
            told = chunk_day if day is None else day
            way.lost[told] = way.lost.get(told, 0) + max(0, first - end_position - foreign)
        foreign = 0
        if day is None:
            inside = max(0, start - first)
            way.cursor, way.passed_bytes = (seq, inside, first + inside), before
        else:
            inside = 0
            if first != end_position:
                way.gaps.append(_Gap(end_seq, seq, first, end_bytes, before))
        way.days[chunk_day] = way.days.get(chunk_day, 0) + events - inside
        end_seq, end_position, end_bytes, day = seq + 1, first + events, seen_bytes, chunk_day
    last = None if day is None else _Last(day, end_seq, end_position, end_bytes, foreign)
    _end_way(connection, way, stream, start, absences, last)
    return way


@dataclass(frozen=True, slots=True)
class _Last:
    """Where a lane's last chunk ends; `day` is that of the chunk, `foreign` the others' events behind it."""

    day: int
    seq: int
    position: int
    bytes: int
    foreign: int


def _end_way(
    connection: sqlite3.Connection,
    way: _Way,
    stream: int,
    start: int,
    absences: list[tuple[int, int]],
    last: _Last | None,
) -> None:
    """What is behind a lane's last chunk: a gap, and the time that its upstream is away."""
    following = next_seq(connection)
    next_position, stored_bytes = connection.execute(
        "SELECT next_position, stored_bytes FROM stream_end WHERE stream = ?", (stream,)
    ).fetchone()
    away_from = next((first for first, end in absences if end == END), END)
    end_seq, end_bytes = following, stored_bytes
    if last is not None:
        end_seq, end_bytes = last.seq, last.bytes
        if last.position != next_position and (away_from == END or end_bytes == stored_bytes):
            if not any(low >= end_seq for low, _ in absences):
                missing = next_position - last.position - last.foreign
                way.lost[last.day] = way.lost.get(last.day, 0) + max(0, missing)
            way.gaps.append(_Gap(end_seq, following, next_position, end_bytes, stored_bytes))
            end_seq, end_bytes = following, stored_bytes
    elif away_from != END and stored_bytes:
        # Its upstream takes nothing more for now, and what there is is not its own.
        end_seq = min(away_from, following)
        (end_bytes,) = connection.execute(
            f"SELECT coalesce(sum(length(body)), 0) FROM {chunks_of('?1', end='?2')}",  # noqa: S608
            (stream, end_seq),
        ).fetchone()
        way.cursor, way.passed_bytes = (end_seq, 0, start), end_bytes
    if away_from != END:
        way.gaps.append(_Gap(end_seq, END, 0, end_bytes, 0))


def release_unneeded(connection: sqlite3.Connection) -> None:
    """Delete the chunks that no lane needs: they had been deleted before, and were found again."""
    for (stream,) in connection.execute("SELECT id FROM stream").fetchall():
        release(connection, stream, 0, END)
