from __future__ import annotations

from functools import partial

from fakes.spools import accept, chunk, lane_of, spool_in, wanted

from collector.spool import lanes


async def test_the_next_chunk_says_where_one_ends_or_the_stream_does(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(3), chunk(1, dialect="traintracks", product="p"), chunk(4))
        for seq, end in ((1, 3), (3, 7)):
            assert await spool.read(partial(lanes.position_after, stream=1, seq=seq)) == end


async def test_a_chunk_that_is_not_the_lanes_own_is_not_asked(tmp_path):
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        await accept(spool, chunk(3))
        first = await lane_of(spool, "second/samsara")
    async with spool_in(tmp_path, wanted("main")) as spool:
        await accept(spool, chunk(4), chunk(5))
        lane = await lane_of(spool, "second/samsara")
        assert (first.end_seq, lane.end_seq) == (None, 2)
        # Were the second chunk gone, the third would say that the first ends at 7.
        await spool.write(lambda connection: connection.execute("DELETE FROM chunk WHERE seq = 2") and None)
        ask = partial(lanes.position_after, stream=1, seq=1)
        assert await spool.read(ask) == 7
        assert await spool.read(partial(ask, end_seq=lane.end_seq)) == 3


async def test_a_halted_lane_shows_since_when_and_why(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
        lane = await lane_of(spool)
        for now in (5, 9):
            halted = partial(lanes.halted, lane=lane.id, reason=f"at {now}", next_attempt_at=now + 1, now=now)
            await spool.write(halted)
        lane = await lane_of(spool)
        assert (lane.state, lane.reason, lane.since, lane.next_attempt_at) == ("blocked", "at 9", 5, 10)


async def test_the_senders_marker_is_kept(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
        lane = await lane_of(spool)
        await spool.write(partial(lanes.opened, lane=lane.id, settled="3:17"))
        assert (await lane_of(spool)).settled == "3:17"
