from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from fakes.spools import accept, bulk, change, query, spool_in

from collector.errors import SpoolFull, SpoolNoSpace
from collector.spool.store import NewChunk

MIB = 1 << 20
QUOTA = 16 * MIB


def big(number: int, size: int = 2 * MIB) -> NewChunk:
    return NewChunk("samsara", "", "", number, None, 1, "gzip", b"\x5a" * size)


async def fill(spool) -> int:
    """Append until one is refused; how many that were."""
    count = 0
    with suppress(SpoolFull):
        while True:
            await accept(spool, big(0))
            count += 1
    spool.counters.refused.clear()
    return count


async def make_room(spool, most: int) -> None:
    """An upstream takes the oldest."""
    await change(spool, "DELETE FROM chunk WHERE seq <= ?", most)
    await change(spool, "UPDATE lane SET passed_bytes = ?", most * 2 * MIB)


async def test_a_request_waits_a_bounded_time_and_is_then_refused_by_the_lanes_name(tmp_path, autojump_clock):
    async with spool_in(tmp_path, max_bytes=QUOTA, patience=2.0) as spool:
        count = await fill(spool)
        ticket = spool.submit(big(1))
        began = trio.current_time()
        with pytest.raises(SpoolFull, match="lane main/samsara"):
            await ticket.committed()
        assert trio.current_time() - began == pytest.approx(2.0)
        assert spool.counters.refused == {"main/samsara": 1}
        # Who comes next finds nobody in the way.
        await make_room(spool, count)
        await accept(spool, big(2))
        assert await query(spool, "SELECT max(received_at) FROM chunk") == [(2,)]


async def test_those_who_wait_are_admitted_in_their_order_when_there_is_room(tmp_path, autojump_clock):
    async with spool_in(tmp_path, max_bytes=QUOTA, patience=2.0) as spool:
        count = await fill(spool)
        outcomes = []

        async def wait(number, ticket):
            await ticket.committed()
            outcomes.append(number)

        async with trio.open_nursery() as nursery:
            for number in (1, 2):
                nursery.start_soon(wait, number, spool.submit(big(number)))
            # A small one would fit, and does not overtake.
            nursery.start_soon(wait, 3, spool.submit(big(3, size=10)))
            await trio.sleep(0.5)
            assert outcomes == []
            await make_room(spool, count)
        assert sorted(outcomes) == [1, 2, 3]
        rows = await query(spool, "SELECT received_at FROM chunk WHERE received_at > 0 ORDER BY seq")
        assert rows == [(1,), (2,), (3,)]
        assert spool.counters.refused == {}


async def test_a_refused_request_is_not_stored_later(tmp_path, autojump_clock):
    async with spool_in(tmp_path, max_bytes=QUOTA, patience=2.0) as spool:
        count = await fill(spool)
        ticket = spool.submit(big(1))
        with pytest.raises(SpoolFull):
            await ticket.committed()
        forgotten = spool.submit(big(2))
        await trio.sleep(3)
        await make_room(spool, count)
        with pytest.raises(SpoolFull):
            await forgotten.committed()
        assert await query(spool, "SELECT count(*) FROM chunk WHERE received_at > 0") == [(0,)]


async def test_bodies_that_wait_are_bounded(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr("collector.spool.entrance.MAX_QUEUED_BYTES", 5 * MIB)
    async with spool_in(tmp_path, max_bytes=QUOTA, patience=2.0) as spool:
        await fill(spool)
        tickets = [spool.submit(big(1)), spool.submit(big(1))]
        with pytest.raises(SpoolFull, match=f"{5 * MIB} bytes"):
            spool.submit(big(2))
        with pytest.raises(SpoolFull, match="main/samsara"):
            await tickets[0].committed()


async def test_what_can_never_fit_is_refused_at_once(tmp_path):
    async with spool_in(tmp_path, max_bytes=QUOTA, patience=2.0) as spool:
        with pytest.raises(SpoolFull):
            spool.submit(bulk(13 * MIB))


async def test_a_disk_that_fills_up_ends_the_waiting(tmp_path, autojump_clock):
    async with spool_in(tmp_path, max_bytes=QUOTA, patience=2.0) as spool:
        await fill(spool)
        ticket = spool.submit(big(1))
        spool._space.short = True
        await spool.write(lambda _: None)
        began = trio.current_time()
        with pytest.raises(SpoolNoSpace):
            await ticket.committed()
        assert trio.current_time() == began
        with pytest.raises(SpoolNoSpace, match="no room left on the disk"):
            spool.submit(big(2))
        assert not spool.ready
