"""Upkeep: what the spool needs now and then, and what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
import trio

from collector.core.bursts import Bursts
from collector.errors import SpoolUnavailable

if TYPE_CHECKING:
    from collector.spool.spool import Spool

UPKEEP_SECONDS = 10.0
"""Between two rounds: so often events expire and space goes back to the file system, and so late
it is told that a burst is over."""

SHORT_SECONDS = 1.0
"""The same while the disk is full: how late ingest opens after there is room again."""


async def keep(spool: Spool) -> None:
    """Look after a spool until cancelled."""
    teller = _Teller(spool)
    while True:
        await teller.maintain()
        teller.tell()
        if spool.disk_full:
            await trio.sleep(SHORT_SECONDS)
        else:
            with trio.move_on_after(UPKEEP_SECONDS):
                await spool.shortage.wait()
        teller.tell_disk()


class _Teller:
    """Tells each thing once, and that it is over."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._log = structlog.get_logger()
        self._ended: Bursts[tuple[str, str]] = Bursts()
        self._letters: Bursts[str] = Bursts()
        self._refused: Bursts[str] = Bursts()
        self._shortages = 0
        self._full = False
        self._over = False
        self._failing = False

    async def maintain(self) -> None:
        try:
            await self._spool.maintain()
        except SpoolUnavailable as error:
            if not self._failing and not self._spool.disk_full:
                self._log.warning("maintenance_failed", reason=error.reason)
            self._failing = True
        else:
            self._failing = False

    def tell(self) -> None:
        counters = self._spool.counters
        for burst in self._ended.look(counters.ended):
            fate, lane = burst.key
            told = "events_ended_in_all" if burst.over else "events_ended"
            self._log.warning(told, fate=fate, lane=lane, events=burst.count)
        for letters in self._letters.look(counters.letters_ended):
            told = "dead_letters_ended_in_all" if letters.over else "dead_letters_ended"
            self._log.warning(told, lane=letters.key, letters=letters.count)
        for refusals in self._refused.look(counters.refused):
            told = "requests_refused_in_all" if refusals.over else "requests_refused"
            self._log.warning(told, reason="spool full", lane=refusals.key, requests=refusals.count)
        self.tell_disk()
        over = self._spool.over_quota
        if over and not self._over:
            options = self._spool.options
            self._log.warning(
                "over_quota",
                used_bytes=self._spool.used_bytes,
                max_bytes=options.max_bytes,
                until="it has drained" if options.when_full == "reject" else "the oldest are evicted",
            )
        self._over = over

    def tell_disk(self) -> None:
        shortages = self._spool.counters.shortages
        if shortages > self._shortages:
            self._shortages = shortages
            self._full = True
            self._log.error("disk_full", directory=str(self._spool.options.directory))
        if self._full and not self._spool.disk_full:
            self._full = False
            self._log.info("disk_has_room")
