"""Eviction: the oldest events end where `when_full` says so and there is no room for what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from collector.spool import retention

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from collector.spool.admission import Limits
    from collector.spool.database import Database

EVICTION_STEPS = 16
"""Steps of eviction in one commit at most."""

EVICTION_BYTES = 8 * 1024 * 1024
"""Bytes that one step of eviction ends at most: a lowered quota is come down to over several commits."""


class Sparing(Protocol):
    """Who knows which lanes must be spared."""

    @property
    def in_flight(self) -> frozenset[int]:
        """Lanes whose batch is being attempted; read on the writer's thread."""


class Eviction:
    """Evicts within the writer's transaction, and counts.

    Args:
        database: the writing connection.
        limits: the bytes that the spool may take.
        sparing: whom to spare.
    """

    def __init__(self, database: Database, limits: Limits, sparing: Sparing) -> None:
        self._database = database
        self._limits = limits
        self._sparing = sparing
        self._evicted: dict[str, int] = {}

    def make_room(self, connection: sqlite3.Connection, *, used: int, incoming: int) -> bool:
        """Make room for what comes; orphans' events end first, then those of the lane with most.

        Args:
            connection: the writing one.
            used: bytes that the spool takes.
            incoming: bytes that come.

        Returns:
            Whether there is more to end than may be in one commit.
        """
        self._evicted = {}
        room = self._limits.room - incoming
        if used <= room:
            return False
        return self._evict(connection, lambda: self._database.used_bytes(otherwise=used) - room, None)

    def keep_bounds(self, connection: sqlite3.Connection) -> bool:
        """Bring each upstream that has a bound of its own below that, with what has just come.

        Returns:
            As `make_room`.
        """
        more = False
        for upstream, bound in self._limits.upstreams.items():

            def excess(upstream: str = upstream, bound: int = bound) -> int:
                lanes = (item for item in retention.backlogs(connection) if item.upstream == upstream)
                return sum(item.bytes for item in lanes) - bound

            more |= self._evict(connection, excess, upstream)
        return more

    def take_count(self) -> dict[str, int]:
        """The events that ended since `make_room` began, by lane name."""
        return self._evicted

    def _evict(self, connection: sqlite3.Connection, excess: Callable[[], int], upstream: str | None) -> bool:
        for _ in range(EVICTION_STEPS):
            excessive = excess()
            if excessive <= 0:
                return False
            ended = retention.evict(
                connection,
                wanted_bytes=min(excessive, EVICTION_BYTES),
                in_flight=self._sparing.in_flight,
                upstream=upstream,
            )
            for lane, events in ended.items():
                self._evicted[lane] = self._evicted.get(lane, 0) + events
            if not ended:
                return False
        return True
