"""`GET /metrics`: everything that can be counted, for Prometheus.

Nothing here runs until it is asked for. What happens often is counted where it happens, in
plain numbers and histograms; what the spool's tables know is read from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from collector.admin import readings
from collector.admin.answers import UNSAVED
from collector.admin.endpoints import Asynchronous
from collector.admin.families import FAMILIES, LOG_LINES, READY
from collector.core.http import Answer
from collector.spool.gauges import gauges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collector.admin.readings import Reading
    from collector.forwarder.forwarder import Forwarder
    from collector.listener.policy import Counts, Dialect, UserCounts
    from collector.listener.routes import Tally
    from collector.spool.spool import Spool


@dataclass(frozen=True, slots=True)
class Counted:
    """A listener, as the metrics see it.

    Attributes:
        name: its `bind`, as configured.
        counts: of what brought events, by dialect.
    """

    name: str
    tally: Tally
    counts: Mapping[Dialect, Counts]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are.

    Attributes:
        listeners: those of now.
        users: who brought events.
        labels: put on every sample.
        ready: whether `/readyz` would say so.
        log_lines: so far, by level.
        now_ms: wall time, ms since 1970.
        more: further readings.
    """

    spool: Spool
    forwarder: Forwarder
    listeners: Callable[[], Sequence[Counted]]
    users: Callable[[], UserCounts]
    labels: Callable[[], Mapping[str, str]]
    ready: Callable[[], bool]
    log_lines: Callable[[], Mapping[str, int]]
    now_ms: Callable[[], int]
    more: Callable[[], Sequence[Reading]]


def metrics_endpoint(sources: Sources) -> Asynchronous:
    """`GET /metrics`."""

    async def answer() -> Answer:
        return Answer(200, await scrape(sources), "text/plain; version=0.0.4; charset=utf-8", UNSAVED)

    return Asynchronous(answer)


async def scrape(sources: Sources) -> bytes:
    """All metrics of now.

    Raises:
        sqlite3.Error: the spool cannot be read.
    """
    spool = sources.spool
    view = await spool.read(gauges)
    # What the event loop's thread counts is copied on it; the rest may take its time elsewhere.
    live: list[Reading] = [
        *readings.of_spool(spool),
        *readings.of_ends(spool.counters, view.lanes),
        *readings.of_forwarder(sources.forwarder),
        (READY, (), sources.ready()),
        *readings.of_users(sources.users()),
        *((LOG_LINES, (level,), lines) for level, lines in sources.log_lines().items()),
        *sources.more(),
    ]
    for listener in sources.listeners():
        live += readings.of_listener(listener.name, listener.tally, listener.counts)
    now_ms, healthy, labels = sources.now_ms(), spool.healthy, dict(sources.labels())

    def write() -> bytes:
        # Imported here: prometheus_client takes memory that a daemon nobody scrapes does not need.
        from collector.admin.exposition import expose  # noqa: PLC0415

        return expose([*live, *readings.of_lanes(view, now_ms=now_ms, healthy=healthy)], FAMILIES, labels)

    return await trio.to_thread.run_sync(write)
