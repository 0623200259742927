"""What the metrics stand at now, as plain values; read when asked for, not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector import __version__
from collector.admin import families as f
from collector.admin.status import healthy_lanes
from collector.core.failure import cause_of
from collector.core.histogram import Histogram
from collector.host.wear import written_bytes
from collector.listener.policy import OTHERS
from collector.spool.views import LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collector.admin.families import Family
    from collector.forwarder.forwarder import Forwarder
    from collector.listener.policy import Counts, Dialect, UserCounts
    from collector.listener.product_keys import ProductKeys
    from collector.listener.routes import Tally
    from collector.spool.gauges import Gauges
    from collector.spool.options import Counters
    from collector.spool.spool import Spool
    from collector.spool.views import LaneView

Reading = tuple["Family", tuple[str, ...], float | Histogram]
"""A metric, its labels' values, and what it stands at."""

MAX_REASON = 100
"""Characters of a reason that a label has."""

STATES = ("new", "healthy", "narrowing", "retrying", "blocked", "paused", "orphaned")


def of_listener(name: str, tally: Tally, counts: Mapping[Dialect, Counts]) -> Iterator[Reading]:
    """One listener's."""
    yield f.CONNECTIONS, (name,), tally.open
    yield f.ACCEPTED_CONNECTIONS, (name,), tally.connections
    for status, requests in tally.answers.items():
        yield f.LISTENER_REQUESTS, (name, str(status)), requests
    for dialect, brought in counts.items():
        for status, answered in brought.answers.items():
            yield f.INGEST_REQUESTS, (name, dialect, str(status)), answered.requests
            yield f.INGEST_EVENTS, (name, dialect, str(status)), answered.events
            yield f.INGEST_BYTES, (name, dialect, str(status)), answered.bytes


def of_users(users: UserCounts) -> Iterator[Reading]:
    """What each user brought, on all listeners; the bound on how many is the counts' own."""
    for uid, brought in users.items():
        user = "tcp" if uid is None else f.OTHERS if uid == OTHERS else str(uid)
        yield f.USER_REQUESTS, (user,), sum(answered.requests for answered in brought.answers.values())
        yield f.USER_EVENTS, (user,), brought.events
        yield f.USER_BYTES, (user,), sum(answered.bytes for answered in brought.answers.values())


def of_spool(spool: Spool) -> Iterator[Reading]:
    """The spool's own."""
    counters = spool.counters
    yield f.INFO, (__version__, spool.epoch.device, spool.epoch.name), 1
    yield f.COMMITS, (), counters.commits
    yield f.FAILED_COMMITS, (), counters.failed_commits
    yield f.COMMIT_SECONDS, (), counters.commit_seconds.copy()
    yield f.SYNC_SECONDS, (), counters.sync_seconds.copy()
    yield f.GROUP_REQUESTS, (), counters.group_requests.copy()
    yield f.USED_BYTES, (), spool.used_bytes
    yield f.QUOTA_BYTES, (), spool.options.max_bytes
    yield f.SPOOL_HEALTHY, (), spool.healthy
    yield f.DISK_FULL, (), spool.disk_full
    yield f.SHORTAGES, (), counters.shortages
    if spool.options.durability == "full":
        yield f.SYNCS, (), counters.commits
    written = written_bytes()
    if written is not None:
        yield f.WRITTEN_BYTES, (), written


def of_ends(counters: Counters, lanes: Sequence[LaneView]) -> Iterator[Reading]:
    """What ended or was refused for want of room, by lane; lanes beyond the bound are summed."""
    own = {lane.name for lane in lanes[: f.MAX_LANES]} | {""}
    sums: dict[tuple[Family, tuple[str, ...]], int] = {}

    def add(family: Family, lane: str, count: int, *labels: str) -> None:
        key = family, (lane if lane in own else f.OTHERS, *labels)
        sums[key] = sums.get(key, 0) + count

    for lane, requests in counters.refused.items():
        add(f.REFUSED, lane, requests)
    for (fate, lane), events in counters.ended.items():
        add(f.ENDED, lane, events, fate)
    for lane, letters in counters.letters_ended.items():
        add(f.DISCARDED_LETTERS, lane, letters)
    for (family, labels), count in sums.items():
        yield family, labels, count


def of_forwarder(forwarder: Forwarder) -> Iterator[Reading]:
    """The upstreams'."""
    for name, tally in forwarder.tallies().items():
        yield f.UPSTREAM_WAITING, (name,), forwarder.breaker(name).is_open
        for verdict, attempts in tally.attempts.items():
            yield f.ATTEMPTS, (name, verdict), attempts
        yield f.ATTEMPT_SECONDS, (name,), tally.attempt_seconds.copy()
        yield f.BATCH_EVENTS, (name,), tally.batch_events.copy()
        yield f.BODY_BYTES, (name,), tally.body_bytes.copy()
        yield f.WIRE_BYTES, (name,), tally.wire_bytes.copy()
        yield f.DELAY_SECONDS, (name,), tally.delay_seconds.copy()


def of_products(keys: ProductKeys) -> Iterator[Reading]:
    """How near `limits.max_products` is, and what it has kept out."""
    yield f.PRODUCTS, (), len(keys)
    yield f.PRODUCTS_REFUSED, (), keys.refused


def of_lanes(gauges: Gauges, *, now_ms: int, healthy: bool) -> Iterator[Reading]:
    """What the spool's tables say.

    Args:
        gauges: as read.
        now_ms: ms since 1970.
        healthy: whether commits succeed.
    """
    lanes = gauges.lanes
    yield f.HEALTHY, (), healthy and healthy_lanes(lanes)
    yield f.PENDING_EVENTS, (), sum(lane.pending_events for lane in lanes)
    yield f.OLDEST_AGE, (), _oldest(lanes, now_ms)
    yield f.SALVAGES, (), len(gauges.salvages)
    yield f.SALVAGED_REQUESTS, (), sum(row.chunks for row in gauges.salvages)
    yield f.SALVAGED_EVENTS, ("saved",), sum(row.events for row in gauges.salvages)
    yield f.SALVAGED_EVENTS, ("lost",), sum(row.damaged for row in gauges.salvages)
    states: dict[tuple[str, str], int] = {
        (upstream, state): 0 for upstream in {lane.upstream for lane in lanes} for state in STATES
    }
    for lane in lanes:
        states[lane.upstream, lane.state] = states.get((lane.upstream, lane.state), 0) + 1
    for labels, count in states.items():
        yield f.LANES, labels, count
    for labels, letters in gauges.dead_letters.items():
        yield f.DEAD_LETTERS, labels, letters
    own, others = lanes[: f.MAX_LANES], lanes[f.MAX_LANES :]
    for lane in own:
        yield from _of_group(lane.name, [lane], gauges, now_ms)
        for state in STATES:
            yield f.LANE_STATE, (lane.name, state), lane.state == state
        if lane.learned_limit is not None:
            yield f.LANE_LEARNED_LIMIT, (lane.name,), lane.learned_limit
        if lane.reason and lane.state != "healthy":
            # Sizes, times and names come behind a colon, and there may be any number of them.
            yield f.LANE_REASON, (lane.name, cause_of(lane.reason)[:MAX_REASON]), 1
    if others:
        yield from _of_group(f.OTHERS, others, gauges, now_ms)


def _of_group(name: str, lanes: Sequence[LaneView], gauges: Gauges, now_ms: int) -> Iterator[Reading]:
    yield f.LANE_PENDING_EVENTS, (name,), sum(lane.pending_events for lane in lanes)
    yield f.LANE_PENDING_BYTES, (name,), sum(lane.pending_bytes for lane in lanes)
    yield f.LANE_OLDEST_AGE, (name,), _oldest(lanes, now_ms)
    for fate in LEDGER:
        yield f.LEDGER, (name, fate), sum(gauges.ledger.get((lane.name, fate), 0) for lane in lanes)


def _oldest(lanes: Iterable[LaneView], now_ms: int) -> float:
    """The age of the oldest event that waits, in seconds."""
    times = [lane.oldest_received_at for lane in lanes if lane.oldest_received_at is not None]
    return max(0, now_ms - min(times)) / 1000 if times else 0.0
