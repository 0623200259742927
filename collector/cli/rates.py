"""How fast events come and go, from two looks at the status."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.admin.status import Status
    from collector.spool.views import LaneView

ENDS = ("dead", "expired", "evicted", "damaged")


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of a lane's events so far, over all days."""

    accepted: int = 0
    pending: int = 0
    delivered: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class LaneRate:
    """A lane; rates are events a second.

    Attributes:
        empty_in: seconds until nothing waits, at these rates; None where that is never.
    """

    lane: LaneView
    accepted: float
    delivered: float
    empty_in: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """All of it, a second.

    Attributes:
        requests: taken; `events` those in them, once an event.
    """

    requests: float
    events: float
    lanes: tuple[LaneRate, ...]


def totals(status: Status) -> dict[str, Totals]:
    """The ledger's sums, by lane."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in status.ledger:
        lane = sums[row.lane]
        for fate in ("accepted", "pending", "delivered"):
            lane[fate] += getattr(row, fate)
        lane["lost"] += sum(getattr(row, fate) for fate in ENDS)
    return {name: Totals(**lane) for name, lane in sums.items()}


def rates(before: Status, after: Status, *, seconds: float) -> Rates:
    """What happened between two looks.

    Args:
        before: the earlier status.
        after: the later one; counts that went back, as in a spool that is another, are taken for none.
        seconds: between them.
    """
    was, now = totals(before), totals(after)

    def rate(earlier: int, later: int) -> float:
        return max(0, later - earlier) / seconds

    lanes = []
    for lane in after.lanes:
        start, end = was.get(lane.name, Totals()), now.get(lane.name, Totals())
        accepted = rate(start.accepted, end.accepted)
        delivered = rate(start.delivered, end.delivered)
        shrinks = delivered - accepted
        waiting = lane.pending_events
        empty_in = 0.0 if not waiting else waiting / shrinks if shrinks > 0 else None
        lanes.append(LaneRate(lane, accepted, delivered, empty_in))
    requests, events = (
        [sum(getattr(row, count) for row in status.received) for status in (before, after)]
        for count in ("requests", "events")
    )
    return Rates(rate(*requests), rate(*events), tuple(lanes))
