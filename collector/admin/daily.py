"""Days of the ledger, as lines of a table and bars of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.core.days import MS_A_DAY, day_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.spool.views import LedgerRow

CHART_DAYS = 7


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of the chart; heights are in percent of the tallest bar."""

    day: str
    label: str
    accepted: int
    delivered: int
    delivered_height: float
    rest_height: float


@dataclass(frozen=True, slots=True)
class DayLine:
    """A row of the ledger; `lost` sums what ended undelivered, `name` is a day or a lane."""

    name: str
    accepted: int
    delivered: int
    pending: int
    dead: int
    lost: int
    complete: bool


def lines_by_lane(rows: Sequence[LedgerRow]) -> list[DayLine]:
    """A day's rows, by lane."""
    return [day_line(row.lane, row) for row in rows]


def chart(rows: Mapping[str, LedgerRow], now_ms: int) -> list[Bar]:
    """The last seven days, this one included; `rows` by day."""
    today = now_ms // MS_A_DAY
    names = [day_name(day) for day in range(today - CHART_DAYS + 1, today + 1) if day > 0]
    days = [day_line(name, rows.get(name)) for name in names]
    top = max((day.accepted for day in days), default=0) or 1
    return [
        Bar(
            day=day.name,
            label=day.name[5:],
            accepted=day.accepted,
            delivered=day.delivered,
            delivered_height=round(100 * day.delivered / top, 2),
            rest_height=round(100 * (day.accepted - day.delivered) / top, 2),
        )
        for day in days
    ]


def day_line(name: str, row: LedgerRow | None) -> DayLine:
    """A row, or what stands for none."""
    if row is None:
        return DayLine(name, accepted=0, delivered=0, pending=0, dead=0, lost=0, complete=True)
    return DayLine(
        name,
        accepted=row.accepted,
        delivered=row.delivered,
        pending=row.pending,
        dead=row.dead,
        lost=row.expired + row.evicted + row.damaged,
        complete=row.accepted == row.delivered,
    )
