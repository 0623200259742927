"""The journal of salvages, which the salvaged spool keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

KEPT_ENTRIES = 20
"""Salvages that the journal keeps."""

MAX_NOTES = 2000
"""Characters of an entry's notes."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a salvage came to.

    Attributes:
        reason: what was damaged.
        set_aside: where the damaged database is now; its log is beside it.
        chunks: how many were saved; `events` those in them.
        damaged: events that waited and are lost, as far as their number is known, over all lanes.
        notes: what else is to be known.
    """

    reason: str
    set_aside: str
    chunks: int
    events: int
    damaged: int
    notes: tuple[str, ...]


def keep(connection: sqlite3.Connection, salvaged: Salvaged, *, epoch: str, now: int) -> None:
    """Add a salvage, and forget the oldest.

    Args:
        connection: the new database.
        salvaged: what it came to.
        epoch: the one that it began.
        now: ms since 1970.
    """
    connection.execute(
        "INSERT INTO salvage (at, reason, set_aside, epoch, chunks, events, damaged, notes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            now,
            salvaged.reason[:MAX_NOTES],
            salvaged.set_aside,
            epoch,
            salvaged.chunks,
            salvaged.events,
            salvaged.damaged,
            "; ".join(salvaged.notes)[:MAX_NOTES],
        ),
    )
    connection.execute(
        "DELETE FROM salvage WHERE id NOT IN (SELECT id FROM salvage ORDER BY id DESC LIMIT ?)",
        (KEPT_ENTRIES,),
    )
