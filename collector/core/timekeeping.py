"""What is believed of the machine's clocks: one that only goes on, and one that can be set.

`ticks` go on by themselves from the machine's start, and nobody can set them: age is counted
by them. The wall clock may say anything: 1970 on a machine without a battery, its image's
date, ten years ahead after a mistake. `base`, wall time less ticks, stands still while the
wall clock is only running, so when it moves somebody has set the clock.

Three degrees of trust follow. `UNKNOWN`: before this release, or before what the spool has
already seen, as after a start with a flat battery. `PLAUSIBLE`: neither, good enough for
days and stamps. `CONFIRMED`: somebody who knows has said so, a time server or an upstream,
and the clock was not set since. Only a confirmed clock says how long the machine was off.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

EARLIEST_GOOD_MS = 1_767_225_600_000
"""2026-01-01. This release is younger: a clock that says otherwise has lost its time."""

JUMP_MS = 1000
"""The base moves by less through slewing (0.5 ms a second at most) and reading two clocks in turn;
by more when the clock was set."""

BACKWARD_TOLERANCE_MS = 86_400_000
"""How far behind the newest time it knows a start may be. A clock chip that is kept in local time is
off by up to 14 hours until the zone is applied."""

DATE_TOLERANCE_MS = 60_000
"""How far an upstream's Date may be from the wall clock that it confirms. It counts whole seconds and
was written before the answer travelled; more matters to no age that is counted in days."""


class Trust(IntEnum):
    """How far the wall clock is believed."""

    UNKNOWN = 0
    PLAUSIBLE = 1
    CONFIRMED = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """What the machine's clocks say.

    Attributes:
        wall: ms since 1970.
        ticks: ms since the machine's start, which nobody can set.
        synchronised: whether the system says that a time server keeps the wall clock right.
    """

    wall: int
    ticks: int
    synchronised: bool = False

    @property
    def base(self) -> int:
        """What the wall clock said, or would have, when ticks were 0."""
        return self.wall - self.ticks


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of the clocks over a stop.

    Attributes:
        age: where the age clock stood, ms.
        boot: a name of the machine's start then, empty for none.
        ticks: where those stood at the same moment.
        newest: the newest wall time that was believed, ms since 1970.
    """

    age: int = 0
    boot: str = ""
    ticks: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by all clocks; ms.

    Attributes:
        wall: since 1970.
        ticks: since the machine's start.
        age: the age clock.
        trust: in `wall`.
        newest: the newest wall time that was believed.
    """

    wall: int
    ticks: int
    age: int
    trust: Trust
    newest: int

    @property
    def base(self) -> int:
        """What the wall clock said, or would have, when ticks were 0."""
        return self.wall - self.ticks


class Timekeeper:
    """Follows the clocks of one machine from one start of the daemon on."""

    def __init__(self) -> None:
        self._age_offset = 0
        self._newest = 0
        self._base: int | None = None
        self._trust = Trust.UNKNOWN

    def take_up(self, kept: Kept, boot: str, reading: Reading) -> None:
        """Go on from what was kept.

        Since the same start of the machine the ticks say how long the daemon was stopped. Over
        another start the age clock has stood still meanwhile.

        Args:
            kept: over the stop.
            boot: a name of the machine's start now, empty for none.
            reading: of now.
        """
        same = boot != "" and boot == kept.boot and reading.ticks >= kept.ticks
        self._age_offset = kept.age - (kept.ticks if same else reading.ticks)
        self._newest = kept.newest
        self._base = None
        self.look(reading)

    def look(self, reading: Reading) -> Moment:
        """What is to be made of the clocks' saying this now."""
        first = self._base is None
        moved = not first and self._moved(reading)
        self._base = reading.base
        if reading.wall < EARLIEST_GOOD_MS:
            self._trust = Trust.UNKNOWN
        elif reading.synchronised or (self._trust is Trust.CONFIRMED and not (moved or first)):
            self._trust = Trust.CONFIRMED
        elif moved:
            # A clock loses its time while the machine is off; while it is on, somebody sets it.
            self._trust = Trust.PLAUSIBLE
        elif first:
            lost = reading.wall < self._newest - BACKWARD_TOLERANCE_MS
            self._trust = Trust.UNKNOWN if lost else Trust.PLAUSIBLE
        if self._trust is not Trust.UNKNOWN:
            lowers = moved or self._trust is Trust.CONFIRMED
            self._newest = reading.wall if lowers else max(self._newest, reading.wall)
        return self._moment(reading)

    def heard(self, reading: Reading, offset: float) -> Moment:
        """Compare with an upstream's clock.

        Args:
            reading: of now.
            offset: ms that the upstream is ahead, as far as its Date tells.
        """
        self.look(reading)
        if reading.wall >= EARLIEST_GOOD_MS and abs(offset) <= DATE_TOLERANCE_MS:
            self._trust, self._newest = Trust.CONFIRMED, reading.wall
        return self._moment(reading)

    def _moved(self, reading: Reading) -> bool:
        return self._base is None or abs(reading.base - self._base) > JUMP_MS

    def _moment(self, reading: Reading) -> Moment:
        age = reading.ticks + self._age_offset
        return Moment(reading.wall, reading.ticks, age, self._trust, self._newest)
