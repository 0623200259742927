"""The spool at a glance: lanes with their backlog, and the ledger; a few rows, whatever the backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.batch import lane_name
from collector.core.days import day_name
from collector.spool.extents import IN_ORDER, chunks_of
from collector.spool.retention import backlogs
from collector.spool.views import LEDGER, IntakeRow, LaneView, LedgerRow, Overview, SalvageRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

UPSTREAM_LEFT = "its upstream is not in the configuration any more"
PRODUCT_LEFT = "its product is not in the configuration any more"
DIALECT_LEFT = "its upstream takes its dialect no longer"
"""Why a lane is orphaned."""

_ANSWERED = frozenset({"new", "healthy"})


def overview(connection: sqlite3.Connection) -> Overview:
    """Read the spool's overview."""
    return Overview(
        lanes=lane_views(connection),
        ledger=_ledger(connection),
        received=_intake(connection),
        salvages=salvages(connection),
    )


def lane_views(connection: sqlite3.Connection) -> list[LaneView]:
    """The lanes, by name."""
    held = {backlog.lane: backlog for backlog in backlogs(connection)}
    rows = connection.execute(
        "SELECT lane.id, upstream.name, dialect, product, state, reason, since, next_attempt_at,"  # noqa: S608
        " (SELECT coalesce(sum(pending), 0) FROM ledger WHERE ledger.lane = lane.id),"
        " (SELECT received_at + coalesce((SELECT clock_offset FROM boot WHERE boot.id = chunk.boot), 0)"
        f"  FROM {chunks_of('lane.stream', first='lane.cursor_seq')} {IN_ORDER} LIMIT 1),"
        " (SELECT count(*) FROM dead_letter WHERE dead_letter.lane = lane.id), paused_at,"
        " suspect_end IS NOT NULL, learned_limit, orphaned_at IS NOT NULL"
        " FROM lane JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " ORDER BY upstream.name, dialect, product"
    ).fetchall()
    return [
        LaneView(
            name=held[lane].name,
            upstream=upstream,
            dialect=dialect,
            product=product,
            state=(stands := _standing(state, away=held[lane].away, paused=paused_at, narrows=narrows)),
            reason=_reason(stands, reason, product=product, left=left) if events or reason else "",
            since=since if paused_at is None else paused_at,
            next_attempt_at=next_attempt_at or None,
            pending_events=events,
            pending_bytes=held[lane].bytes,
            # Where events wait, the first chunk from the cursor on is the lane's own.
            oldest_received_at=oldest if events else None,
            dead_letters=dead_letters,
            learned_limit=learned_limit,
        )
        for (
            lane,
            upstream,
            dialect,
            product,
            state,
            reason,
            since,
            next_attempt_at,
            events,
            oldest,
            dead_letters,
            paused_at,
            narrows,
            learned_limit,
            left,
        ) in rows
    ]


def _standing(state: str, *, away: bool, paused: int | None, narrows: bool) -> str:
    if away:
        return "orphaned"
    if paused is not None:
        return "paused"
    return "narrowing" if narrows and state in _ANSWERED else state


def _reason(standing: str, reason: str, *, product: str, left: bool) -> str:
    """Why a lane is not healthy; a row keeps the reason of what age or quota has ended since."""
    match standing:
        case "orphaned" if left:
            return UPSTREAM_LEFT
        case "orphaned":
            return PRODUCT_LEFT if product else DIALECT_LEFT
        case "paused":
            return "paused; `waystation upstream resume` lets it go on"
        case "new" | "healthy":
            return ""
        case _:
            return reason


def _ledger(connection: sqlite3.Connection) -> list[LedgerRow]:
    rows = connection.execute(
        f"SELECT upstream.name, dialect, product, day, {', '.join(LEDGER)} FROM ledger"  # noqa: S608 (constants)
        " JOIN lane ON lane.id = ledger.lane"
        " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " ORDER BY upstream.name, dialect, product, day"
    ).fetchall()
    return [ledger_row(lane_name(row[0], row[1], row[2]), row[3:]) for row in rows]


def ledger_row(lane: str, row: Sequence[int]) -> LedgerRow:
    """A row of the ledger: the day, and the columns of `LEDGER`."""
    counts = dict(zip(LEDGER, row[1:], strict=True))
    return LedgerRow(lane=lane, day=day_name(row[0]), **counts)


def _intake(connection: sqlite3.Connection) -> list[IntakeRow]:
    rows = connection.execute(
        "SELECT dialect, product, day, requests, events FROM intake JOIN stream ON stream.id = intake.stream"
        " ORDER BY dialect, product, day"
    ).fetchall()
    return [
        IntakeRow(dialect=row[0], product=row[1], day=day_name(row[2]), requests=row[3], events=row[4])
        for row in rows
    ]


def salvages(connection: sqlite3.Connection) -> list[SalvageRow]:
    """The journal of salvages, the newest first."""
    rows = connection.execute(
        "SELECT at, reason, set_aside, epoch, chunks, events, damaged, notes FROM salvage ORDER BY id DESC"
    ).fetchall()
    return [
        SalvageRow(
            at=row[0],
            reason=row[1],
            set_aside=row[2],
            epoch=row[3],
            chunks=row[4],
            events=row[5],
            damaged=row[6],
            notes=row[7],
        )
        for row in rows
    ]


def products(connection: sqlite3.Connection) -> list[str]:
    """The products that the spool has ever had events of."""
    return [
        product
        for (product,) in connection.execute("SELECT product FROM stream WHERE product <> ''").fetchall()
    ]
