"""By how much rendering makes events longer, so that a batch which is bounded in bytes is chosen once.

What it adds to each event (an id, a stamp) is known only when it is rendered. A batch chosen by what is
stored would be too large each time, and so be read and rendered twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.limits import KIB

if TYPE_CHECKING:
    from collector.core.batch import Run


SPARE = 0.97
"""Of the bytes that there is room for are aimed at: events differ, and who hits the bound chooses again."""


WORTH_BYTES = KIB * 256
"""A smaller batch is read and rendered twice in some milliseconds, and comes closer to its bound so."""


class Swelling:
    """That of one upstream's lanes, as the last batch of each told it."""

    def __init__(self) -> None:
        self._factors: dict[int, float] = {}

    def fitting(self, lane: int, max_bytes: int) -> int:
        """How many bytes of stored events are likely to be at most `max_bytes` once they are rendered."""
        factor = self._factors.get(lane)
        if factor is None or max_bytes < WORTH_BYTES:
            return max_bytes
        return int(SPARE * max_bytes / factor)

    def learn(self, lane: int, run: Run, rendered: int) -> None:
        """A lane's run was rendered to so many bytes."""
        stored = sum(
            len(piece.chunk.body) if piece.cut is None else sum(map(len, piece.cut)) for piece in run.pieces
        )
        if stored:
            self._factors[lane] = max(1.0, rendered / stored)
