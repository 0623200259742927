"""A salvaged lane's ledger.

What a lane holds now is its pending count. What is missing of the old one is `damaged`; where it
holds more than it did, the excess was delivered before and will be again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.spool.views import ENDS, LEDGER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_GIVES_BACK = ("delivered", "expired", "evicted")
"""Columns that events come from which are found pending again."""

Counts = dict[str, int]
ByDay = dict[int, int]
Ledger = dict[int, dict[int, Counts]]
"""Rows by lane and day."""

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


def take_up(row: Counts, ledger: Ledger) -> None:
    """Add a lane's row of `counts` to a ledger."""
    counts = ledger.setdefault(row["lane"], {}).setdefault(row["day"], dict.fromkeys(LEDGER, 0))
    for column in LEDGER:
        # There may be another of the day already, where the stream of one is garbled.
        counts[column] += row[column]


def settle_ledger(
    connection: sqlite3.Connection,
    lane: int,
    stream: int,
    waiting: ByDay,
    lost: ByDay,
    ledger: Mapping[int, Counts],
    tally: Tally,
) -> None:
    """Write a lane's ledger.

    Args:
        connection: the new database.
        lane: its row is there.
        stream: the lane's.
        waiting: events that it holds, by day.
        lost: events missing between them.
        ledger: its rows that could be read, by day.
        tally: is added to.
    """
    letters: ByDay = dict(
        connection.execute(
            "SELECT day, count(*) FROM dead_letter WHERE lane = ? AND NOT damaged GROUP BY day", (lane,)
        ).fetchall()
    )
    for day in sorted({*ledger, *waiting, *lost, *letters}):
        held = waiting.get(day, 0)
        # Of one that is lost nothing is known but the dead letters that are kept.
        row = dict(ledger.get(day) or {**dict.fromkeys(LEDGER, 0), "pending": SHAKY})
        kept = max(row["dead"], letters.get(day, 0))
        row["accepted"] += kept - row["dead"]
        row["dead"] = kept
        if row["pending"] == SHAKY:
            # Then only the gaps between the chunks say what is missing.
            row["pending"] = held + lost.get(day, 0)
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
            f"INSERT INTO counts (day, lane, stream, {', '.join(LEDGER)})"  # noqa: S608 (names above)
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (day, lane, stream, *(row[column] for column in LEDGER)),
        )


def _take_back(row: Counts, excess: int) -> None:
    """Count events as pending that had been counted as ended."""
    for column in _GIVES_BACK:
        taken = min(excess, row[column])
        row[column] -= taken
        excess -= taken
    row["accepted"] += excess


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
