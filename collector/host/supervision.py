"""What a service manager is told while the daemon runs: that work goes on, and how much waits.

A ping that a timer sends says only that the timer works. Each of these has gone through the
event loop, through the spool's writing thread behind all that was queued before it, and
through the reading thread; where one of the three hangs, the manager hears nothing, and
starts the daemon anew.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from collector.config.units import rounded_size
from collector.errors import SpoolUnavailable
from collector.spool.overview import overview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.host.notify import Notifier
    from collector.spool.views import LaneView

T = TypeVar("T")

STATUS_SECONDS = 10.0
"""Between two status lines."""

NAMED_LANES = 3
"""Of those that cannot deliver, in the status line."""

PINGS_AN_INTERVAL = 3
"""How often the watchdog is fed within the time that it waits."""


class Workings(Protocol):
    """The spool, as far as its progress is looked at."""

    @property
    def healthy(self) -> bool:
        """Whether the last commit succeeded."""

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run in the next commit."""

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run on the reading connection."""


async def supervise(notify: Notifier, spool: Workings) -> None:
    """Feed the watchdog and keep the status line; runs until cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, notify, spool)
        if notify.watchdog_seconds is not None:
            nursery.start_soon(_feed, notify, spool, notify.watchdog_seconds / PINGS_AN_INTERVAL)


async def _feed(notify: Notifier, spool: Workings, every: float) -> None:
    while True:
        # A disk that refuses is no hang: a new start would not mend it.
        with suppress(SpoolUnavailable):
            await spool.write(_nothing)
        with suppress(sqlite3.Error):
            await spool.read(_nothing)
        notify.alive()
        await trio.sleep(every)


def _nothing(_: sqlite3.Connection) -> None:
    """An empty transaction: it syncs nothing."""


async def _tell(notify: Notifier, spool: Workings) -> None:
    while True:
        try:
            view = await spool.read(overview)
        except sqlite3.Error as error:
            notify.status(f"the spool cannot be read: {error}")
        else:
            notify.status(summary(view.lanes, healthy=spool.healthy))
        await trio.sleep(STATUS_SECONDS)


def summary(lanes: Sequence[LaneView], *, healthy: bool) -> str:
    """The backlog, and what keeps it, in one line.

    Args:
        lanes: all there are.
        healthy: whether commits succeed.
    """
    waiting = sum(lane.pending_events for lane in lanes)
    size = sum(lane.pending_bytes for lane in lanes)
    events = "1 event" if waiting == 1 else f"{waiting:,} events"
    parts = [f"{events} ({rounded_size(size)}) waiting" if waiting else "nothing waits"]
    if not healthy:
        parts.insert(0, "the last commit failed")
    held = [lane for lane in lanes if lane.state in {"retrying", "blocked"} and lane.pending_events]
    parts.extend(f"{lane.name} {lane.state}: {lane.reason}" for lane in held[:NAMED_LANES])
    if len(held) > NAMED_LANES:
        parts.append(f"and {len(held) - NAMED_LANES} more lanes")
    return "; ".join(parts)
