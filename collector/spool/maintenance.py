"""Maintenance: a spool comes down to its quota and bounds, and gives back what it does not need.

Each step is bounded, so that what is accepted meanwhile need not wait for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.errors import SpoolUnavailable
from collector.spool import age, letters, retention
from collector.spool.items import Chore
from collector.spool.tickets import ResultTicket

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.spool.space import Space
    from collector.spool.spool import Spool
    from collector.spool.store import Times


class Maintenance:
    """Of one open spool.

    Args:
        spool: which.
        space: what it takes on the disk.
        times: its clocks.
        put: gives a chore to the writer.
    """

    def __init__(self, spool: Spool, space: Space, times: Times, put: Callable[[Chore], None]) -> None:
        self._spool = spool
        self._space = space
        self._times = times
        self._put = put

    async def round(self) -> dict[str, int]:
        """Do all that is to be done now; as `Spool.maintain`."""
        spool, counters = self._spool, self._spool.counters
        expired: dict[str, int] = {}
        refused: SpoolUnavailable | None = None
        try:
            while spool.evicting and not spool.disk_full:
                await spool.write(lambda _: None)
            while ended := await spool.write(self._expire):
                counters.add("expired", ended)
                for lane, events in ended.items():
                    expired[lane] = expired.get(lane, 0) + events
            while forgotten := await spool.write(self._trim_letters):
                counters.add_letters(forgotten)
        except SpoolUnavailable as error:
            refused = error
        # Most of all where the disk refuses: this is what makes room on it.
        while await self._upkeep():
            pass
        if refused is not None:
            raise refused
        return expired

    def _expire(self, connection: sqlite3.Connection) -> dict[str, int]:
        now = self._spool.keep_clocks(connection)
        before = age.accepted_before(connection, age=now.age, max_age=self._spool.options.max_age)
        return retention.expire(connection, accepted_before=before, in_flight=self._spool.in_flight)

    def _trim_letters(self, connection: sqlite3.Connection) -> dict[str, int]:
        return letters.trim(connection, self._spool.options.letters, age=self._times.age_ms())

    async def _upkeep(self) -> bool:
        """A step of the upkeep of its space, which no transaction may hold; whether there is more to do."""
        ticket: ResultTicket[bool] = ResultTicket()

        def chore() -> None:
            ticket.result = self._space.upkeep()

        self._put(Chore(chore, ticket))
        await ticket.committed()
        return bool(ticket.result)
