"""The spool in numbers, for metrics: lanes, ledger and dead letters, without a row a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core.batch import lane_name
from collector.spool.overview import lane_views, salvages
from collector.spool.views import LEDGER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from collector.spool.views import LaneView, SalvageRow

_TOO_LARGE = 413
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Gauges:
    """All of it, of one moment.

    Attributes:
        lanes: with their backlog.
        ledger: by lane name and fate, events of all days.
        dead_letters: by upstream and kind of reason, those that are kept.
        salvages: those that are remembered.
    """

    lanes: Sequence[LaneView]
    ledger: Mapping[tuple[str, str], int]
    dead_letters: Mapping[tuple[str, str], int]
    salvages: Sequence[SalvageRow]


def gauges(connection: sqlite3.Connection) -> Gauges:
    """Read them."""
    return Gauges(
        lane_views(connection), _ledger(connection), _dead_letters(connection), salvages(connection)
    )


def _ledger(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    sums = ", ".join(f"sum({fate})" for fate in LEDGER)
    rows = connection.execute(
        f"SELECT upstream.name, dialect, product, {sums} FROM ledger JOIN lane ON lane.id = ledger.lane"  # noqa: S608 (constants)
        " JOIN upstream ON upstream.id = lane.upstream JOIN stream ON stream.id = lane.stream"
        " GROUP BY lane.id"
    ).fetchall()
    return {
        (lane_name(row[0], row[1], row[2]), fate): events
        for row in rows
        for fate, events in zip(LEDGER, row[3:], strict=True)
    }


def _dead_letters(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    rows = connection.execute(
        "SELECT upstream.name, dead_letter.damaged, status, count(*) FROM dead_letter"
        " JOIN lane ON lane.id = dead_letter.lane JOIN upstream ON upstream.id = lane.upstream"
        " GROUP BY upstream.name, dead_letter.damaged, status"
    ).fetchall()
    counts: dict[tuple[str, str], int] = {}
    for upstream, damaged, status, letters in rows:
        key = (upstream, _reason(damaged=bool(damaged), status=status))
        counts[key] = counts.get(key, 0) + letters
    return counts


def _reason(*, damaged: bool, status: int) -> str:
    """The kind of a dead letter's reason: there are a few of these, and any number of texts."""
    if damaged:
        return "damaged"
    if status == _TOO_LARGE:
        return "too_large"
    return "server_error" if status >= _SERVER_ERROR else "refused"
