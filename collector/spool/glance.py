"""The spool as the status page shows it: a bounded number of rows, however many lanes and days there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core.batch import lane_name
from collector.core.days import UNKNOWN_DAY
from collector.spool import letters
from collector.spool.overview import lane_views, ledger_row, salvages
from collector.spool.views import LEDGER, LedgerRow

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from collector.spool.letters import Letter
    from collector.spool.views import LaneView, SalvageRow

MAX_DAYS = 14
"""The newest that have events, beside the unknown one."""

MAX_ROWS = 200
"""Lanes of one day."""

MAX_LETTERS = 20
"""The oldest: what is replayed is best replayed in order."""

ALL_LANES = ""
"""In place of a lane's name, in rows that sum them all."""


@dataclass(frozen=True, slots=True)
class Glance:
    """All of it, of one moment.

    Attributes:
        lanes: all of them.
        days: the ledger by day over all lanes, the newest first; the unknown day is the last.
        day: the ledger of the day that was asked for, by lane.
        letters: the oldest dead letters, without their events.
        kept_letters: how many there are in all.
        salvage: the newest, if the spool was ever damaged.
    """

    lanes: Sequence[LaneView]
    days: Sequence[LedgerRow]
    day: Sequence[LedgerRow]
    letters: Sequence[Letter]
    kept_letters: int
    salvage: SalvageRow | None = None


def glance(connection: sqlite3.Connection, day: int | None) -> Glance:
    """Read it.

    Args:
        connection: any.
        day: whose rows are wanted lane by lane, in days since 1970.
    """
    lanes = lane_views(connection)
    page = letters.page(connection, letters.Choice(all=True), limit=MAX_LETTERS)
    return Glance(
        lanes=lanes,
        days=_days(connection),
        day=[] if day is None else _day(connection, day),
        letters=page.letters,
        kept_letters=sum(lane.dead_letters for lane in lanes),
        salvage=next(iter(salvages(connection)), None),
    )


def _days(connection: sqlite3.Connection) -> list[LedgerRow]:
    sums = ", ".join(f"sum({fate})" for fate in LEDGER)
    rows = connection.execute(
        f"SELECT day, {sums} FROM ledger GROUP BY day HAVING sum(accepted) > 0"  # noqa: S608 (constants)
        " ORDER BY day DESC"
    ).fetchall()
    known = [row for row in rows if row[0] != UNKNOWN_DAY]
    unknown = [row for row in rows if row[0] == UNKNOWN_DAY]
    return [ledger_row(ALL_LANES, row) for row in (*known[:MAX_DAYS], *unknown)]


def _day(connection: sqlite3.Connection, day: int) -> list[LedgerRow]:
    rows = connection.execute(
        f"SELECT upstream.name, dialect, product, day, {', '.join(LEDGER)} FROM ledger"  # noqa: S608 (likewise)
        " JOIN lane ON lane.id = ledger.lane"
        " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " WHERE day = ? ORDER BY upstream.name, dialect, product LIMIT ?",
        (day, MAX_ROWS),
    ).fetchall()
    return [ledger_row(lane_name(row[0], row[1], row[2]), row[3:]) for row in rows]
