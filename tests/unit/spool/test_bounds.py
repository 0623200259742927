"""One upstream at its bound, and streams that it shares with others."""

from __future__ import annotations

import json
import zlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from fakes.spools import (
    accept,
    batch_of,
    chunk,
    database_of,
    lane_of,
    ledger,
    next_run,
    positions,
    query,
    spool_in,
    wanted,
)

from collector.errors import SpoolFull
from collector.spool import read, retention, settle
from collector.spool.overview import overview

if TYPE_CHECKING:
    from collector.spool.store import NewChunk

MIB = 1 << 20
QUOTA = 16 * MIB
STORED = 1200
"""What a chunk of these tests takes at most beyond its padding."""
DEAD, WELL = "dead/samsara", "well/samsara"


def bulk(size: int, *, events: int = 1) -> NewChunk:
    """A chunk that can be read, and takes at most `size` bytes where that is more than a little."""
    pad = "x" * max(0, (size - STORED) // events)
    body = json.dumps(
        [{"timestamp": 1, "sourceId": "s", "eventName": "e", "pad": pad} for _ in range(events)]
    ).encode()
    packer = zlib.compressobj(0, wbits=31)
    packed = packer.compress(body) + packer.flush()
    return chunk(events)._replace(body=packed, encoding="gzip")


async def deliver(spool, name=WELL) -> list[int]:
    """The lane's upstream takes all that it may have; the positions, in order."""
    taken: list[int] = []
    while True:
        lane = await lane_of(spool, name)
        run = await spool.read(lambda connection, lane=lane: next_run(connection, lane))
        if run is None:
            return taken
        batch = await spool.read(lambda c, lane=lane, run=run: batch_of(c, lane, run))
        assert await spool.write(partial(settle.seal, batch=batch, now=0))
        delivered = partial(settle.delivered, settled=None, learned_limit=None, now=0)
        assert await spool.write(partial(delivered, batch=batch, run=run))
        taken += range(run.first, run.last + 1)


async def pending(spool, name):
    lane = await lane_of(spool, name)
    return await spool.read(lambda connection: positions(connection, lane))


@pytest.mark.parametrize("threads", [False, True], ids=["inline", "thread"])
async def test_what_one_upstream_has_no_room_for_another_is_given_all_the_same(tmp_path, threads):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, *upstreams, threads=threads) as spool:
        for _ in range(5):
            await accept(spool, bulk(MIB))
        assert await deliver(spool) == [0, 1, 2, 3, 4]
        assert await pending(spool, DEAD) == [0, 1]
        assert await ledger(spool, DEAD) == {"accepted": 5, "pending": 2, "evicted": 3}
        assert await ledger(spool, WELL) == {"accepted": 5, "delivered": 5}
        assert spool.counters.ended == {("evicted", DEAD): 3}
        assert await query(spool, "SELECT seq FROM chunk") == [(1,), (2,)]
        # It is at its bound; it has not left.
        states = {lane.name: lane.state for lane in (await spool.read(overview)).lanes}
        assert states[DEAD] == "new"


async def test_an_upstream_that_has_room_again_goes_on_with_what_comes(tmp_path):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, *upstreams) as spool:
        for _ in range(4):
            await accept(spool, bulk(MIB))
        await deliver(spool)
        assert await deliver(spool, DEAD) == [0, 1]
        await accept(spool, bulk(MIB))
        await accept(spool, bulk(MIB))
        assert await deliver(spool, DEAD) == [4, 5]
        assert await ledger(spool, DEAD) == {"accepted": 6, "delivered": 4, "evicted": 2}
        assert await deliver(spool) == [4, 5]
        assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]
        assert await query(spool, "SELECT count(*) FROM absence") == [(0,)]


async def test_what_was_read_of_a_lane_before_it_was_shut_out_is_not_sealed_beyond_that(tmp_path):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, *upstreams) as spool:
        await accept(spool, bulk(MIB))
        lane = await lane_of(spool, DEAD)
        for _ in range(3):
            await accept(spool, bulk(MIB))
        for events, sealed in ((4, False), (3, False), (2, True)):
            run = await spool.read(partial(next_run, lane=lane, max_events=events))
            assert run.events == events
            batch = await spool.read(partial(batch_of, lane=lane, run=run))
            assert await spool.write(partial(settle.seal, batch=batch, now=0)) is sealed


async def test_within_one_group_a_bound_is_kept_to_the_byte(tmp_path):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, *upstreams, threads=True) as spool:
        await accept(spool, *[bulk(MIB // 2) for _ in range(9)])
        held = {item.name: item.bytes for item in await spool.read(retention.backlogs)}
        assert 2 * MIB - 4 * STORED <= held[DEAD] <= 2 * MIB
        assert held[WELL] >= 9 * (MIB // 2 - STORED)


async def test_a_stream_of_which_all_takers_are_at_their_bounds_is_refused(tmp_path):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well", max_bytes=3 * MIB)
    async with spool_in(tmp_path, *upstreams) as spool:
        for _ in range(3):
            await accept(spool, bulk(MIB))
        with pytest.raises(SpoolFull, match="lane well/samsara holds too much"):
            await accept(spool, bulk(5 * STORED))
        assert spool.counters.refused == {WELL: 1}
        await deliver(spool)
        await accept(spool, bulk(5 * STORED))
        assert await ledger(spool, DEAD) == {"accepted": 4, "pending": 2, "evicted": 2}


async def test_being_shut_out_survives_a_restart_and_a_return(tmp_path):
    dead, well = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, dead, well) as spool:
        for _ in range(3):
            await accept(spool, bulk(MIB))
    async with spool_in(tmp_path, dead, well) as spool:
        await accept(spool, bulk(MIB))
        assert await pending(spool, DEAD) == [0, 1]
    async with spool_in(tmp_path, well) as spool:
        states = {lane.name: lane.state for lane in (await spool.read(overview)).lanes}
        assert states[DEAD] == "orphaned"
        await accept(spool, bulk(MIB))
        assert await ledger(spool, DEAD) == {"accepted": 4, "pending": 2, "evicted": 2}
    async with spool_in(tmp_path, wanted("dead"), well) as spool:
        await accept(spool, bulk(MIB))
        assert await pending(spool, DEAD) == [0, 1, 5]
        assert await pending(spool, WELL) == [0, 1, 2, 3, 4, 5]
        assert await deliver(spool, DEAD) == [0, 1, 5]


async def test_a_refused_group_shuts_nobody_out(tmp_path):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, *upstreams) as spool:
        await accept(spool, bulk(MIB), bulk(MIB))
        database = database_of(spool)
        (pages,) = database.connection.execute("PRAGMA page_count").fetchone()
        database.connection.execute(f"PRAGMA max_page_count={pages + 1}")
        with pytest.raises(Exception, match="no room"):
            await accept(spool, bulk(MIB))
        database.connection.execute("PRAGMA max_page_count=1000000")
        assert await query(spool, "SELECT count(*) FROM absence") == [(0,)]
        await spool.maintain()
        await accept(spool, bulk(MIB))
        assert await ledger(spool, DEAD) == {"accepted": 3, "pending": 2, "evicted": 1}


async def test_over_nine_tenths_a_dead_upstream_is_given_nothing_more_and_a_healthy_one_all(tmp_path):
    async with spool_in(tmp_path, wanted("dead"), wanted("well"), max_bytes=2 * QUOTA) as spool:
        taken = []
        for _ in range(40):
            await accept(spool, bulk(MIB))
            taken += await deliver(spool)
        assert taken == list(range(40))
        counts = await ledger(spool, DEAD)
        assert counts["accepted"] == counts["pending"] + counts["evicted"] == 40
        assert counts["pending"] >= 15
        assert spool.used_bytes <= 2 * QUOTA
        assert spool.counters.refused == {}


def file_bytes(directory) -> int:
    return sum(file.stat().st_size for file in directory.glob("spool.db*") if file.suffix != ".db-shm")


@pytest.mark.parametrize("when_full", ["reject", "drop-oldest"])
async def test_files_stay_within_the_quota(tmp_path, when_full):
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full=when_full, threads=True) as spool:
        for _ in range(30):
            tickets = []
            for size in (3 * MIB, MIB, 100, 2 * MIB):
                try:
                    tickets.append(spool.submit(bulk(size)))
                except SpoolFull:
                    continue
            for ticket in tickets:
                try:
                    await ticket.committed()
                except SpoolFull:
                    assert when_full == "drop-oldest"
            assert file_bytes(tmp_path) <= QUOTA


async def test_drop_oldest_evicts_only_from_the_upstream_that_is_over_its_bound(tmp_path):
    upstreams = wanted("dead", max_bytes=2 * MIB), wanted("well")
    async with spool_in(tmp_path, *upstreams, when_full="drop-oldest") as spool:
        for _ in range(5):
            await accept(spool, bulk(MIB))
        assert await pending(spool, DEAD) == [3, 4]
        assert await pending(spool, WELL) == [0, 1, 2, 3, 4]


async def test_a_batch_in_flight_is_spared_by_its_upstreams_bound_too(tmp_path):
    async with spool_in(tmp_path, wanted("dead", max_bytes=2 * MIB), when_full="drop-oldest") as spool:
        await accept(spool, bulk(MIB))
        lane = await lane_of(spool, DEAD)
        with spool.flight(lane.id):
            for _ in range(3):
                await accept(spool, bulk(MIB))
            assert await pending(spool, DEAD) == [0, 1, 2, 3]
        await spool.write(lambda _: None)
        assert await pending(spool, DEAD) == [2, 3]


async def test_a_sealed_batch_that_is_evicted_ends_whole_with_its_outcome_unknown(tmp_path):
    async with spool_in(tmp_path, wanted("dead", max_bytes=2 * MIB), when_full="drop-oldest") as spool:
        await accept(spool, bulk(MIB, events=3))
        lane = await lane_of(spool, DEAD)
        run = await spool.read(lambda c: next_run(c, lane))
        batch = await spool.read(lambda c: batch_of(c, lane, run))
        await spool.write(partial(settle.seal, batch=batch, now=0))
        await accept(spool, bulk(MIB), bulk(MIB))
        assert await ledger(spool, DEAD) == {
            "accepted": 5,
            "pending": 2,
            "evicted": 3,
            "outcome_unknown": 3,
        }
        assert await spool.read(lambda c: read.outstanding(c, lane)) is None


async def test_a_lowered_quota_is_come_down_to_in_bounded_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("collector.spool.eviction.EVICTION_STEPS", 2)
    monkeypatch.setattr("collector.spool.eviction.EVICTION_BYTES", 2 * MIB)
    async with spool_in(tmp_path) as spool:
        for _ in range(40):
            await accept(spool, bulk(MIB))
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full="drop-oldest") as spool:
        assert spool.over_quota
        before = spool.counters.commits
        await spool.maintain()
        assert spool.counters.commits - before >= 5
        assert not spool.over_quota
        kept = (await ledger(spool))["pending"]
        assert 5 <= kept <= 12  # the log takes up to 4 of the 12
        assert await query(spool, "SELECT min(seq) FROM chunk") == [(41 - kept,)]
        assert (tmp_path / "spool.db").stat().st_size <= QUOTA


async def test_under_a_lowered_quota_nothing_is_admitted_until_it_has_drained(tmp_path):
    async with spool_in(tmp_path) as spool:
        for _ in range(20):
            await accept(spool, bulk(MIB))
    async with spool_in(tmp_path, max_bytes=QUOTA) as spool:
        assert spool.over_quota
        await spool.maintain()
        with pytest.raises(SpoolFull, match="lane main/samsara"):
            spool.submit(bulk(5 * STORED))
        assert await ledger(spool) == {"accepted": 20, "pending": 20}
        assert await deliver(spool, "main/samsara") == list(range(20))
        await spool.maintain()
        await accept(spool, bulk(5 * STORED))
        assert not spool.over_quota


async def test_while_the_largest_lane_is_spared_a_small_ones_events_are_not_ended_in_its_place(tmp_path):
    upstreams = wanted("dead"), wanted("well")
    async with spool_in(tmp_path, *upstreams, max_bytes=2 * QUOTA, when_full="drop-oldest") as spool:
        for _ in range(12):
            await accept(spool, bulk(MIB))
            await deliver(spool)
        lane = await lane_of(spool, DEAD)
        with spool.flight(lane.id):
            taken = []
            for _ in range(20):
                await accept(spool, bulk(MIB))
                taken += await deliver(spool)
        assert taken == list(range(12, 32))
        assert "evicted" not in await ledger(spool, WELL)
        counts = await ledger(spool, DEAD)
        assert counts["evicted"] >= 5
        # The batch in flight would have been of its oldest.
        assert (await pending(spool, DEAD))[0] == 0
        await accept(spool, bulk(MIB))
        assert (await pending(spool, DEAD))[-1] == 32
