"""Whether a spool's tables hold what its reference model holds."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import pytest
from fakes.spools import next_run, positions

from collector.core import rendering
from collector.spool import read, retention
from collector.spool.extents import END

if TYPE_CHECKING:
    import sqlite3

    from fakes.spool_model import Model, ModelLane

    from collector.spool.read import Lane


def check(connection: sqlite3.Connection, *, model: Model, cursors: dict[int, tuple[int, int, int]]) -> None:
    """Compare all of a spool's tables with its model; `cursors` are those of the last time."""
    rows = {lane.name: lane for lane in read.lanes(connection)}
    assert rows.keys() == model.lanes.keys()
    seqs = [seq for (seq,) in connection.execute("SELECT seq FROM chunk ORDER BY seq").fetchall()]
    assert seqs == model.needed()
    check_extents(connection)
    held = {backlog.lane: backlog.bytes for backlog in retention.backlogs(connection)}
    for name, lane in model.lanes.items():
        row = rows[name]
        check_ledger(connection, row, lane)
        check_cursor(connection, row, lane, model)
        check_batch(connection, row, lane, model)
        cursor = (row.cursor_seq, row.cursor_index, row.cursor_position)
        earlier = cursors.get(row.id, cursor)
        assert earlier[:2] <= cursor[:2]
        assert earlier[2] <= cursor[2]
        cursors[row.id] = cursor
        assert held[row.id] == model.held(lane)
        assert [item.position for item in row.condemned] == lane.condemned
        assert row.suspect_end == lane.suspect_end
    received = connection.execute(
        "SELECT dialect, product, next_position, next_position - replayed,"
        " (SELECT sum(events) FROM intake WHERE intake.stream = id)"
        " FROM stream JOIN stream_end ON stream = id"
    ).fetchall()
    assert {(row[0], row[1]): (row[2], row[3], row[4]) for row in received if row[2]} == {
        stream: (model.next_position[stream], count, count) for stream, count in model.received.items()
    }
    letters = connection.execute("SELECT id FROM dead_letter ORDER BY id").fetchall()
    assert [number for (number,) in letters] == sorted(model.letters)
    batch_ids = {batch_id for (batch_id,) in connection.execute("SELECT id FROM batch").fetchall()}
    assert not batch_ids & model.ended


def check_extents(connection: sqlite3.Connection) -> None:
    """Each chunk is in one extent, of its stream, and each extent but one that grows has a chunk."""
    extents = connection.execute(
        "SELECT stream, first_seq, end_seq FROM extent ORDER BY first_seq"
    ).fetchall()
    assert all(end <= first for (_, _, end), (_, first, _) in itertools.pairwise(extents))
    chunks = dict(connection.execute("SELECT seq, stream FROM chunk").fetchall())
    for seq, stream in chunks.items():
        assert [of for of, first, end in extents if first <= seq < end] == [stream]
    for _, first, end in extents:
        assert end == END or any(first <= seq < end for seq in chunks)


def check_ledger(connection: sqlite3.Connection, row: Lane, lane: ModelLane) -> None:
    columns = ("accepted", "pending", "delivered", "dead", "expired", "evicted", "damaged")
    names = ", ".join((*columns, "outcome_unknown"))
    found = connection.execute(f"SELECT day, {names} FROM ledger WHERE lane = ?", (row.id,)).fetchall()  # noqa: S608
    assert {day: counts for day, *counts in found} == {
        day: [counts[name] for name in (*columns, "outcome_unknown")] for day, counts in lane.ledger.items()
    }
    for _, accepted, *ended, _ in found:
        assert accepted == sum(ended)


def check_cursor(connection: sqlite3.Connection, row: Lane, lane: ModelLane, model: Model) -> None:
    expected = model.pending(lane)
    if expected:
        assert row.cursor_position == expected[0]
    if not any(model.chunks[seq].damaged for seq in lane.needs):
        assert positions(connection, row) == expected
    elif model.head_is_damaged(lane):
        with pytest.raises(read.DamagedChunk):
            positions(connection, row)


def check_batch(connection: sqlite3.Connection, row: Lane, lane: ModelLane, model: Model) -> None:
    batch = read.outstanding(connection, row)
    if lane.batch is None:
        assert batch is None
        return
    assert (batch.id, batch.first, batch.last, batch.epoch, batch.device) == (
        lane.batch.id,
        lane.batch.first,
        lane.batch.last,
        lane.batch.epoch,
        lane.batch.device,
    )
    if not any(model.chunks[seq].damaged for seq in lane.needs):
        run = next_run(connection, row, max_events=batch.events)
        context = rendering.Context(batch.renderer, batch.options, batch.epoch, batch.dialect, batch.product)
        assert hashlib.sha256(rendering.render(run, context)).digest() == batch.body_sha256
