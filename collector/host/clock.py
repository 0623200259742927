"""The clocks of this machine, as the rest of the program is given them."""

from __future__ import annotations

import time

EARLIEST_GOOD_MS = 1_767_225_600_000
"""2026-01-01. This release is younger: a clock that says otherwise has lost its time, as
machines without a battery do, which start in 1970 or at their image's date."""


class Clocks:
    """Wall time, whether it is believed, and the age clock.

    Args:
        age_ms: where the age clock stood when the daemon last kept it.
    """

    def __init__(self, *, age_ms: int = 0) -> None:
        self._age_offset = age_ms - self._monotonic_ms()

    @staticmethod
    def _monotonic_ms() -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Wall time, ms since 1970."""
        return time.time_ns() // 1_000_000

    def wall_good(self) -> bool:
        """Whether the wall clock is believed."""
        return self.plausible(self.wall_ms())

    @staticmethod
    def plausible(wall: int) -> bool:
        """Whether a wall clock can be right; ms since 1970."""
        return wall >= EARLIEST_GOOD_MS

    def age_ms(self) -> int:
        """The age clock: it goes on by the monotonic clock, from where it stood."""
        return self._age_offset + self._monotonic_ms()
