from __future__ import annotations

from functools import partial

import pytest
from fakes.clocks import A_DAY, START, StandingClocks
from fakes.spools import (
    accept,
    batch_of,
    chunk,
    lane_of,
    ledger,
    next_run,
    positions,
    query,
    spool_in,
    wanted,
)

from collector.spool import retention, settle

MAX_AGE = 30 * A_DAY
TEN_YEARS = 3652 * A_DAY


@pytest.fixture
def clocks():
    return StandingClocks()


@pytest.fixture
async def spool(tmp_path, clocks):
    async with spool_in(tmp_path, clocks=clocks, max_age=MAX_AGE) as opened:
        yield opened


async def seal(spool, name="main/samsara", **bounds):
    lane = await lane_of(spool, name)
    run = await spool.read(lambda connection: next_run(connection, lane, **bounds))
    batch = await spool.read(lambda connection: batch_of(connection, lane, run))
    assert await spool.write(partial(settle.seal, batch=batch, now=0))
    return batch, run


async def pending(spool, name="main/samsara"):
    lane = await lane_of(spool, name)
    return await spool.read(lambda connection: positions(connection, lane))


async def evict(spool, wanted_bytes=1, in_flight=()):
    return await spool.write(
        lambda connection: retention.evict(connection, wanted_bytes=wanted_bytes, in_flight=in_flight)
    )


async def test_events_expire_by_the_time_that_the_daemon_has_run(spool, clocks):
    await accept(spool, chunk(2))
    clocks.pass_time(A_DAY)
    await accept(spool, chunk(3))
    clocks.pass_time(MAX_AGE - A_DAY)
    assert await spool.maintain() == {}
    clocks.pass_time(1)
    assert await spool.maintain() == {"main/samsara": 2}
    assert await pending(spool) == [2, 3, 4]
    assert await ledger(spool) == {"accepted": 5, "pending": 3, "expired": 2}
    assert spool.counters.ended == {("expired", "main/samsara"): 2}
    assert await query(spool, "SELECT seq FROM chunk") == [(2,)]


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
async def test_a_wall_clock_that_jumps_ends_nothing(tmp_path, clocks, jump):
    async with spool_in(tmp_path, clocks=clocks, max_age=MAX_AGE) as spool:
        await accept(spool, chunk(2))
        clocks.wall += jump
        assert await spool.maintain() == {}
    async with spool_in(tmp_path, clocks=StandingClocks(wall=START + jump), max_age=MAX_AGE) as spool:
        assert await spool.maintain() == {}
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_expiry_goes_on_by_bounded_steps_until_it_is_done(spool, clocks, monkeypatch):
    monkeypatch.setattr(retention, "STEP_CHUNKS", 3)
    for _ in range(10):
        await accept(spool, chunk(1))
    clocks.pass_time(MAX_AGE + 1)
    before = spool.counters.commits
    assert await spool.maintain() == {"main/samsara": 10}
    # Four that end events, one that finds none, one for dead letters, the vacuum.
    assert spool.counters.commits - before == 4 + 1 + 1 + 1
    assert await pending(spool) == []


async def test_a_sealed_batch_ends_whole_and_its_outcome_is_unknown(spool, clocks):
    await accept(spool, chunk(2))
    clocks.pass_time(A_DAY)
    await accept(spool, chunk(3))
    batch, run = await seal(spool, max_events=4)
    clocks.pass_time(MAX_AGE - A_DAY + 1)
    assert await spool.maintain() == {"main/samsara": 4}
    assert await query(spool, "SELECT count(*) FROM batch") == [(0,)]
    # The last event was not of the batch, and is not old enough.
    assert await pending(spool) == [4]
    assert await ledger(spool) == {"accepted": 5, "pending": 1, "expired": 4, "outcome_unknown": 4}
    late = partial(settle.delivered, batch=batch, run=run, settled=None, learned_limit=None, now=0)
    assert not await spool.write(late)


async def test_only_the_part_of_a_batch_that_is_still_pending_has_an_unknown_outcome(spool, clocks):
    await accept(spool, chunk(6))
    batch, run = await seal(spool, max_events=2)
    await spool.write(
        partial(settle.delivered, batch=batch, run=run, settled=None, learned_limit=None, now=0)
    )
    await seal(spool, max_events=3)
    clocks.pass_time(MAX_AGE + 1)
    await spool.maintain()
    assert await ledger(spool) == {"accepted": 6, "delivered": 2, "expired": 4, "outcome_unknown": 3}


async def test_a_batch_in_flight_is_spared(spool, clocks):
    await accept(spool, chunk(2))
    batch, run = await seal(spool)
    clocks.pass_time(MAX_AGE + 1)
    with spool.flight(batch.lane):
        assert await spool.maintain() == {}
        assert await evict(spool, in_flight=spool.in_flight) == {}
        await spool.write(
            partial(settle.delivered, batch=batch, run=run, settled=None, learned_limit=None, now=0)
        )
    assert await ledger(spool) == {"accepted": 2, "delivered": 2}
    assert spool.in_flight == frozenset()


async def test_eviction_takes_the_oldest_of_the_lane_that_holds_most(tmp_path):
    only = {name: wanted(name, takes=lambda _, product, name=name: product == name) for name in ("a", "b")}
    async with spool_in(tmp_path, *only.values()) as spool:
        for product, count in (("a", 2), ("b", 5)):
            for _ in range(count):
                await accept(spool, chunk(1, dialect="traintracks", product=product))
        assert await evict(spool) == {"b/traintracks/b": 1}
        assert await pending(spool, "b/traintracks/b") == [1, 2, 3, 4]
        assert await evict(spool, wanted_bytes=1 << 30) == {"b/traintracks/b": 4}
        assert await evict(spool, wanted_bytes=1 << 30) == {"a/traintracks/a": 2}
        assert await evict(spool) == {}
        assert await ledger(spool, "b/traintracks/b") == {"accepted": 5, "evicted": 5}
        assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]


async def test_eviction_takes_from_an_upstream_that_has_left_first(tmp_path):
    takes = {name: wanted(name, takes=lambda _, product, name=name: product == name) for name in ("a", "b")}
    async with spool_in(tmp_path, *takes.values()) as spool:
        await accept(spool, chunk(1, dialect="traintracks", product="a"))
        await accept(spool, chunk(9, dialect="traintracks", product="b"))
    async with spool_in(tmp_path, takes["b"]) as spool:
        assert await evict(spool) == {"a/traintracks/a": 1}
        assert await evict(spool) == {"b/traintracks/b": 9}


async def test_a_shared_chunk_is_deleted_when_its_last_lane_lost_it(tmp_path):
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        await accept(spool, chunk(1), chunk(1))
        assert await evict(spool) == {"main/samsara": 1}
        assert await query(spool, "SELECT seq FROM chunk") == [(1,), (2,)]
        assert await evict(spool) == {"second/samsara": 1}
        assert await query(spool, "SELECT seq FROM chunk") == [(2,)]


async def test_an_ended_lane_that_is_back_goes_on_after_retention_too(tmp_path, clocks):
    main, second = wanted("main"), wanted("second")
    async with spool_in(tmp_path, main, second, clocks=clocks) as spool:
        await accept(spool, chunk(2))
    async with spool_in(tmp_path, main, clocks=clocks) as spool:
        await accept(spool, chunk(3))
    async with spool_in(tmp_path, main, second, clocks=clocks, max_age=MAX_AGE) as spool:
        clocks.pass_time(MAX_AGE + 1)
        await accept(spool, chunk(4))
        assert await spool.maintain() == {"main/samsara": 5, "second/samsara": 2}
        assert await pending(spool, "second/samsara") == [5, 6, 7, 8]
        clocks.pass_time(MAX_AGE + 1)
        await spool.maintain()
        assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]
        assert await ledger(spool, "second/samsara") == {"accepted": 6, "expired": 6}


async def test_backlogs_are_told_in_bytes_that_the_chunks_take(tmp_path):
    main, second = wanted("main"), wanted("second")
    async with spool_in(tmp_path, main, second) as spool:
        await accept(spool, chunk(2), chunk(3))
        sizes = [size for (size,) in await query(spool, "SELECT length(body) FROM chunk")]
        batch, run = await seal(spool, max_events=2)
        await spool.write(
            partial(settle.delivered, batch=batch, run=run, settled=None, learned_limit=None, now=0)
        )
    async with spool_in(tmp_path, main) as spool:
        await accept(spool, chunk(9))
    async with spool_in(tmp_path, main, second) as spool:
        await accept(spool, chunk(1))
        *_, third, fourth = await query(spool, "SELECT length(body) FROM chunk ORDER BY seq")
        held = {item.name: (item.bytes, item.away) for item in await spool.read(retention.backlogs)}
        assert held == {
            "main/samsara": (sizes[1] + third[0] + fourth[0], False),
            "second/samsara": (sum(sizes) + fourth[0], False),
        }
