"""The clocks of this machine, as the rest of the program is given them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from collector.core.timekeeping import Kept, Moment, Reading, Timekeeper
from collector.host.synchronised import TimeServer

if TYPE_CHECKING:
    from collections.abc import Callable

# Where there is such a clock it also counts the time that the machine was suspended.
_TICKS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _ticks_ms() -> int:
    return time.clock_gettime_ns(_TICKS) // 1_000_000


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class AsksTime(Protocol):
    """Who knows whether a time server keeps the wall clock right."""

    def synchronised(self, *, wall: int) -> bool:
        """Whether it is, where it says `wall`, ms since 1970."""


class Clocks:
    """Wall time, how far it is believed, and the age clock; of use to several threads.

    Args:
        wall_ms: wall time, ms since 1970.
        ticks_ms: ms since the machine's start, which nobody can set.
        server: who knows of time servers.
    """

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int] = _wall_ms,
        ticks_ms: Callable[[], int] = _ticks_ms,
        server: AsksTime | None = None,
    ) -> None:
        self.wall_ms = wall_ms
        self.ticks_ms = ticks_ms
        self._server = server or TimeServer()
        self._keeper = Timekeeper()
        self._lock = threading.Lock()

    def take_up(self, kept: Kept, boot: str) -> None:
        """Go on from what the spool has kept; `boot` names the machine's start now."""
        with self._lock:
            self._keeper.take_up(kept, boot, self._read())

    def moment(self) -> Moment:
        """This moment by all clocks."""
        with self._lock:
            return self._keeper.look(self._read())

    def heard(self, offset: float) -> None:
        """An upstream's Date was `offset` seconds ahead of the wall clock."""
        with self._lock:
            self._keeper.heard(self._read(), offset * 1000)

    def age_ms(self) -> int:
        """The age clock: it goes on by the ticks, from where it stood."""
        return self.moment().age

    def _read(self) -> Reading:
        wall = self.wall_ms()
        return Reading(wall, self.ticks_ms(), self._server.synchronised(wall=wall))
