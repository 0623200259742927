"""A histogram: how often a value fell into which of a few ranges.

Counting costs a quarter of a microsecond, so that the daemon counts always, whether or not
anybody ever asks.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LATENCY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a fast disk's sync to an attempt that was given up."""

DELAY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400, 604800, 2592000)
"""From a twentieth of a second, where all is well, to the month that an event may wait by default."""

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

SIZES = tuple(float(1 << power) for power in range(8, 25, 2))
"""256 bytes to 16 MiB."""


class Histogram:
    """Counts values by upper bounds.

    Attributes:
        bounds: ascending; a value counts for the first that is not below it, or for none.
        total: the sum of all values.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, as often as it occurred."""
        self._counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, infinity last, with how many values are not above it."""
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            below += count
            yield bound, below

    def copy(self) -> Histogram:
        """One that counts no further."""
        twin = Histogram(self.bounds)
        twin.total = self.total
        twin._counts[:] = self._counts
        return twin
