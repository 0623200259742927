"""How many bytes of a batch an upstream's link rewards.

An attempt takes the link's delay, and then as long as its bytes need at the link's bandwidth. A
batch of sixteen times bandwidth x delay so spends a seventeenth of its time waiting for the other end,
and less than a tenth together with what lies between two attempts: a commit, a signature. Larger ones
gain little, and lose more when the link breaks. Both numbers are fitted to the last deliveries; until
they are known the window doubles with each batch that fills it, as TCP's does.

Bytes are those on the wire. What a body of so many events compresses to is told by the last one.
"""

from __future__ import annotations

from collector.core.limits import KIB, MIB

FIRST = 128 * KIB
"""Before anything is known: 16 s at 64 kbit/s."""

SMALLEST = 4 * KIB
LARGEST = 8 * MIB

DELAYS = 16.0
"""Times bandwidth x delay."""

MAX_SHARE = 0.25
"""Of an attempt's total time-out that a batch may take: links get worse."""

_FULL = 0.5
_MEMORY = 0.8
"""What a delivery still counts for after the next one."""

_EVEN = 1e-3
"""Relative variance of the sizes below which they say nothing about bandwidth."""


class Window:
    """One upstream's, shared by its lanes.

    Args:
        patience: an attempt's total time-out, in seconds.

    Attributes:
        size: bytes on the wire that a batch may have.
    """

    def __init__(self, *, patience: float = 60.0) -> None:
        self.size = FIRST
        self._patience = patience
        self._ratio = 1.0
        # Decayed sums of weight, bytes, seconds, bytes squared, bytes times seconds.
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def body_bytes(self) -> int:
        """The same, before compression."""
        return int(self.size * self._ratio)

    def delivered(self, *, body_bytes: int, sent_bytes: int, seconds: float | None) -> None:
        """A batch was taken.

        Args:
            body_bytes: of it before compression; at least 1.
            sent_bytes: of it on the wire, 0 where that is not known.
            seconds: from its first byte to the end of the answer; None where that is not known.
        """
        sent = sent_bytes or body_bytes
        self._ratio = max(1.0, body_bytes / sent)
        if seconds is not None:
            values = (1.0, sent, seconds, sent * sent, sent * seconds)
            self._sums = tuple(_MEMORY * old + new for old, new in zip(self._sums, values, strict=True))  # type: ignore[assignment]
        rewarded = self._rewarded()
        if rewarded < self.size:
            self.size = rewarded
        elif sent >= _FULL * self.size:
            self.size = min(2 * self.size, rewarded)

    def failed(self) -> None:
        """The link broke, or was too slow, while a batch was on it."""
        self.size = max(SMALLEST, self.size // 2)

    def _rewarded(self) -> int:
        """Bytes that the link rewards, as far as is known."""
        weight, size, seconds, size_squared, product = self._sums
        variance = weight * size_squared - size * size
        if variance <= _EVEN * size * size:
            return LARGEST
        per_byte = (weight * product - size * seconds) / variance
        if per_byte <= 0:
            return LARGEST
        delay = max(0.0, (seconds - per_byte * size) / weight)
        worth = min(DELAYS * delay, MAX_SHARE * self._patience) / per_byte
        # What the first batch had is never too much: noise must not make many small ones.
        return int(min(LARGEST, max(min(FIRST, self.size), worth)))
