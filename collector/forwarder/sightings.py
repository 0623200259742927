"""What those who watch events in passing see of the forwarding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.tap import Sighting

if TYPE_CHECKING:
    from collector.core.batch import Run, SealedBatch


NOT_HELD = 1 << 62
"""The size of events whose bytes were let go of: no watcher holds as much; it is told how many it missed."""


def seen_delivered(batch: SealedBatch, run: Run, *, now_ms: int) -> Sighting:
    """What watchers are told of a batch that its upstream has taken."""
    return Sighting(
        what="delivered",
        at=now_ms,
        dialect=batch.dialect,
        product=batch.product,
        count=batch.events,
        size=NOT_HELD if run.is_shed else sum(len(event) for piece in run.pieces for event in piece.events),
        events=lambda: [event for piece in run.pieces for event in piece.events],
        lane=batch.lane_name,
        batch=batch.id,
        first=batch.first,
    )
