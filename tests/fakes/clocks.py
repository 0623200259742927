"""Clocks that stand until they are set."""

from __future__ import annotations

from dataclasses import dataclass

from collector.core.timekeeping import Moment, Trust

A_DAY = 86_400_000
START = 1_800_000_000_000
"""2027-01-15, ms since 1970."""


@dataclass
class StandingClocks:
    """The spool's clocks; see `collector.spool.store.Times`."""

    wall: int = START
    good: bool = True
    age: int = 0
    confirmed: bool = False

    def wall_ms(self) -> int:
        return self.wall

    def age_ms(self) -> int:
        return self.age

    def moment(self) -> Moment:
        trust = Trust.UNKNOWN if not self.good else Trust.CONFIRMED if self.confirmed else Trust.PLAUSIBLE
        return Moment(wall=self.wall, ticks=self.age, age=self.age, trust=trust, newest=self.wall)

    def pass_time(self, ms: int) -> None:
        """Let time pass as it does: for both clocks alike."""
        self.wall += ms
        self.age += ms
