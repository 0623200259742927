"""How fast an upstream's attempts may send, together: room is left for the device's other traffic."""

from __future__ import annotations

import trio

MAX_PIECE = 16 * 1024
"""Bytes that are written at once: the write time-out bounds each of them, so that a slow link is given up
for standing still and not for being slow."""

MIN_PIECE = 1024
PIECES_PER_SECOND = 10


class Pace:
    """Shares bytes a second among all attempts of one upstream, in the order in which they ask.

    Args:
        rate: bytes a second; None for as fast as the link goes.

    Attributes:
        rate: the same.
        piece: bytes to ask for at once.
    """

    def __init__(self, rate: int | None) -> None:
        self.rate = rate
        self.piece = MAX_PIECE
        if rate is not None:
            self.piece = min(MAX_PIECE, max(MIN_PIECE, rate // PIECES_PER_SECOND))
        self._free_at = float("-inf")

    async def spend(self, size: int) -> None:
        """Wait until `size` bytes may go."""
        if self.rate is None:
            return
        start = max(trio.current_time(), self._free_at)
        self._free_at = start + size / self.rate
        await trio.sleep_until(start)
