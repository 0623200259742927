"""A spool with a forwarder on it, all on trio's clock and without threads."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from collector.config.model import Upstream
from collector.core.timekeeping import Moment, Trust
from collector.forwarder.forwarder import Forwarder
from collector.forwarder.surroundings import Chances
from collector.spool import read
from collector.spool.identity import Machine
from collector.spool.opening import open_spool
from collector.spool.options import SpoolOptions
from collector.spool.store import NewChunk
from collector.spool.upstreams import Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from collector.forwarder.surroundings import Sender
    from collector.spool.spool import Spool

START_MS = 1_792_000_000_000
"""Wall time at second 0 of trio's clock, in 2026."""

PRODUCT = "a32e6578-17b7-11e4-930a-bc764e1c05e4"

_ids = itertools.count(1)


class Times:
    """The spool's clocks, from trio's, or others that any thread may ask; the wall clock can be set."""

    def __init__(self, ticks: Callable[[], float] = trio.current_time) -> None:
        self._ticks = ticks
        self.wall_offset_ms = 0
        self.trust = Trust.PLAUSIBLE

    def wall_ms(self) -> int:
        return START_MS + self.wall_offset_ms + round(self._ticks() * 1000)

    def moment(self) -> Moment:
        age = self.age_ms()
        return Moment(wall=self.wall_ms(), ticks=age, age=age, trust=self.trust, newest=self.wall_ms())

    def age_ms(self) -> int:
        return round(self._ticks() * 1000)


def samsara(name: str = "samsara", **options) -> Upstream:
    ordinary = {"url": "http://localhost/", "max_events": 1_000, "max_batch_bytes": 1 << 20}
    return Upstream(name=name, kind="samsara", signing="none", **{**ordinary, **options})


def traintracks(name: str = "traintracks", **options) -> Upstream:
    return Upstream(name=name, kind="traintracks", url="http://localhost/", **options)


class Site:
    """A spool, its forwarder, and questions to both."""

    def __init__(self, spool: Spool, forwarder: Forwarder, times: Times) -> None:
        self.spool = spool
        self.forwarder = forwarder
        self.times = times
        self.chance = 0.5
        self.heard: list[float] = []

    async def accept(self, *sizes: int, pad: int | Callable[[], str] = 0, miscounted: int = 0) -> None:
        """Accept one Samsara request for each size, of so many events; `n` counts positions."""
        fill = pad if callable(pad) else partial("x".__mul__, pad)
        for size in sizes:
            first = await self.spool.read(_next_position)
            events = [
                {"timestamp": 1, "sourceId": "till", "eventName": "sold", "n": first + i, "pad": fill()}
                for i in range(size)
            ]
            await self._submit("samsara", "", "", events, miscounted)

    async def accept_traintracks(self, size: int = 1, *, product: str = PRODUCT, address: str = "1.2.3.4"):
        """Accept one Traintracks request of so many events."""
        event = {"eventType": "sold", "clientTimestamp": "2026-10-01T00:00:00.000000+00:00", "data": {}}
        await self._submit("traintracks", product, address, [{**event, "n": i} for i in range(size)])

    async def _submit(
        self, dialect: str, product: str, address: str, events: list[dict], miscounted: int = 0
    ) -> None:
        chunk = NewChunk(
            dialect=dialect,
            product=product,
            remote_address=address,
            received_at=self.times.wall_ms(),
            published_at=None,
            events=len(events) + miscounted,
            encoding="",
            body=msgspec.json.encode(events),
        )
        await self.spool.submit(chunk).committed()

    async def quiet(self) -> None:
        """Wait until no lane has anything to do at this moment of the clock."""
        await wait_all_tasks_blocked()

    async def lane(self, name: str = "samsara/samsara") -> read.Lane:
        lanes = await self.spool.read(read.lanes)
        return next(lane for lane in lanes if lane.name == name)

    async def query(self, sql: str, *values: object) -> list[tuple]:
        return await self.spool.read(lambda connection: connection.execute(sql, values).fetchall())

    async def change(self, sql: str, *values: object) -> None:
        """Write past all of the spool's rules."""
        await self.spool.write(lambda connection: connection.execute(sql, values) and None)

    async def ledger(self) -> dict[str, int]:
        """What became of events, over all lanes and days; what is 0 is left out."""
        fates = ("accepted", "pending", "delivered", "dead", "expired", "evicted", "damaged")
        (sums,) = await self.query(
            "SELECT sum(accepted), sum(pending), sum(delivered), sum(dead), sum(expired), sum(evicted),"
            " sum(damaged) FROM ledger"
        )
        return {fate: count for fate, count in zip(fates, sums, strict=True) if count}

    async def dead_letters(self) -> list[tuple[int, str, int]]:
        """Position, reason and status of each, oldest first."""
        return await self.query("SELECT position, reason, status FROM dead_letter ORDER BY id")

    async def batches(self) -> list[str]:
        """The ids of the batches that are sealed now."""
        return [row[0] for row in await self.query("SELECT id FROM batch")]


def _next_position(connection) -> int:
    row = connection.execute(
        "SELECT next_position FROM stream JOIN stream_end ON stream = id WHERE dialect = 'samsara'"
    ).fetchone()
    return 0 if row is None else row[0]


@asynccontextmanager
async def site(
    directory: Path,
    senders: Mapping[Upstream, Sender],
    *,
    run: bool = True,
    durability: str = "normal",
    threads: bool = False,
    takes: Callable[[str, str], bool] = lambda _dialect, _product: True,
) -> AsyncGenerator[Site]:
    """Open the spool of a directory, and run a forwarder on it; left, all of it is abandoned at once.

    Args:
        senders: of the configured upstreams.
        run: whether the lanes run from the start.
        threads: whether the spool has its threads, for which the clock must be the real one.
        takes: whether the configuration has a dialect and product; each upstream takes its own dialects.
    """
    times = Times(time.monotonic) if threads else Times()
    options = SpoolOptions(
        directory=directory,
        upstreams=[
            Wanted(
                name=upstream.name,
                kind=upstream.kind,
                from_oldest=upstream.start == "oldest",
                takes=lambda dialect, product, upstream=upstream: (
                    dialect in upstream.takes and takes(dialect, product)
                ),
            )
            for upstream in senders
        ],
        durability=durability,
        threads=threads,
    )
    machine = Machine(id="kiosk", boot="first")
    async with open_spool(options, lambda _epoch: times, machine=machine, device="kiosk-17") as spool:
        chances = Chances(
            wall_ms=times.wall_ms,
            chance=lambda: here.chance,
            batch_id=lambda: f"{next(_ids):032x}",
            heard=lambda offset: here.heard.append(offset),  # noqa: PLW0108 (`here` is made later)
        )
        forwarder = Forwarder(
            spool, list(senders), {upstream.name: sender for upstream, sender in senders.items()}, chances
        )
        spool.on_growth = forwarder.grown
        here = Site(spool, forwarder, times)
        async with trio.open_nursery() as nursery:
            if run:
                nursery.start_soon(forwarder.run)
            yield here
            nursery.cancel_scope.cancel()
    assert [problem for sender in senders.values() for problem in getattr(sender, "problems", [])] == []


def balanced(ledger: Mapping[str, int]) -> bool:
    """Whether every accepted event is accounted for."""
    counts = Counter(ledger)
    return counts.pop("accepted", 0) == sum(counts.values())
