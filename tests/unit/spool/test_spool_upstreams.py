from __future__ import annotations

import dataclasses

from fakes.spools import (
    accept,
    batch_of,
    change,
    chunk,
    lane_of,
    ledger,
    next_run,
    positions,
    query,
    spool_in,
    wanted,
)

from collector.core.batch import Options
from collector.spool import read, settle
from collector.spool.overview import overview


async def pending(spool, name="main/samsara"):
    lane = await lane_of(spool, name)
    return await spool.read(lambda connection: positions(connection, lane))


async def orphans(spool):
    """The upstreams that left the configuration."""
    return [name for (name,) in await query(spool, "SELECT name FROM upstream WHERE orphaned_at NOT NULL")]


async def deliver(spool, name="main/samsara", *, max_events=1000):
    """Deliver the lane's next batch; its positions."""
    lane = await lane_of(spool, name)
    run = await spool.read(lambda connection: next_run(connection, lane, max_events=max_events))
    if run is None:
        return None
    batch = await spool.read(lambda connection: batch_of(connection, lane, run))
    assert await spool.write(lambda connection: settle.seal(connection, batch, now=0))
    assert await spool.write(
        lambda connection: settle.delivered(connection, batch, run, settled=None, learned_limit=None, now=0)
    )
    return (batch.first, batch.last)


async def chunks(spool):
    return [seq for (seq,) in await query(spool, "SELECT seq FROM chunk ORDER BY seq")]


A, B = wanted("main"), wanted("second")


async def test_a_new_upstream_starts_at_the_tail(tmp_path):
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(3))
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(2))
        assert await pending(spool, "second/samsara") == [3, 4]
        assert await ledger(spool, "second/samsara") == {"accepted": 2, "pending": 2}


async def test_a_new_upstream_may_start_at_the_oldest_event_that_is_there(tmp_path):
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(3), chunk(2), chunk(1))
        await deliver(spool, max_events=4)
    async with spool_in(tmp_path, A, wanted("second", from_oldest=True)) as spool:
        # The chunk that is partly sent is still there, and whole.
        assert await pending(spool, "second/samsara") == [3, 4, 5]
        assert await ledger(spool, "second/samsara") == {"accepted": 3, "pending": 3}
        await accept(spool, chunk(2))
        assert await pending(spool, "second/samsara") == [3, 4, 5, 6, 7]
        assert await deliver(spool, "second/samsara") == (3, 7)
    # It is not new any more.
    async with spool_in(tmp_path, A, wanted("second", from_oldest=True)) as spool:
        assert await pending(spool, "second/samsara") == []


async def test_an_upstream_that_starts_at_the_oldest_takes_nothing_of_what_it_does_not_take(tmp_path):
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(3), chunk(1, dialect="traintracks", product="p"))
    traintracks = wanted("second", from_oldest=True, takes=lambda dialect, _: dialect == "traintracks")
    async with spool_in(tmp_path, A, traintracks) as spool:
        lanes = await spool.read(read.lanes)
        assert [lane.name for lane in lanes if lane.upstream == "second"] == ["second/traintracks/p"]


async def test_starting_at_the_oldest_leaps_over_what_is_gone_already(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(3))
        await deliver(spool)
    async with spool_in(tmp_path, A) as spool:  # `second` leaves with its events unsent
        await accept(spool, chunk(2))
        await deliver(spool)
        await accept(spool, chunk(4))
        assert await chunks(spool) == [1, 3]
    async with spool_in(tmp_path, A, wanted("third", from_oldest=True)) as spool:
        assert await pending(spool, "third/samsara") == [0, 1, 2, 5, 6, 7, 8]
        # No batch has a position in its range that is not in it.
        assert await deliver(spool, "third/samsara") == (0, 2)
        assert await deliver(spool, "third/samsara") == (5, 8)
        assert await ledger(spool, "third/samsara") == {"accepted": 7, "delivered": 7}


async def test_starting_at_the_oldest_leaps_over_what_is_gone_at_the_tail(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(3))
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(2), chunk(1, dialect="traintracks", product="p"))
        await deliver(spool)
    async with spool_in(tmp_path, A, wanted("third", from_oldest=True)) as spool:
        await accept(spool, chunk(4))
        assert await deliver(spool, "third/samsara") == (0, 2)
        assert await deliver(spool, "third/samsara") == (5, 8)


async def test_an_upstream_that_left_keeps_its_events_and_gets_no_more(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(3), chunk(2))
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(4))
        assert await pending(spool, "second/samsara") == [0, 1, 2, 3, 4]
        assert await ledger(spool, "second/samsara") == {"accepted": 5, "pending": 5}
        (lane,) = [lane for lane in (await spool.read(overview)).lanes if lane.upstream == "second"]
        assert (lane.state, lane.pending_events) == ("orphaned", 5)
        while await deliver(spool):
            pass
        assert await chunks(spool) == [1, 2]
        while await deliver(spool, "second/samsara"):
            pass
        assert await chunks(spool) == []
        assert await orphans(spool) == ["second"]


async def test_an_upstream_that_is_back_sends_what_it_had_then_what_is_accepted_from_now_on(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(3))
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(2))
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(4))
        assert await pending(spool, "second/samsara") == [0, 1, 2, 5, 6, 7, 8]
        assert await deliver(spool, "second/samsara") == (0, 2)
        assert await deliver(spool, "second/samsara") == (5, 8)
        assert await deliver(spool, "second/samsara") is None
        assert await ledger(spool, "second/samsara") == {"accepted": 7, "delivered": 7}
        assert await orphans(spool) == []
        assert await ledger(spool) == {"accepted": 9, "pending": 9}


async def test_an_upstream_that_comes_and_goes_loses_nothing_that_was_its_own(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(1))
    for _ in range(3):
        async with spool_in(tmp_path, A) as spool:
            await accept(spool, chunk(1))
        async with spool_in(tmp_path, A, B) as spool:
            await accept(spool, chunk(1))
    async with spool_in(tmp_path, A) as spool:
        assert await pending(spool, "second/samsara") == [0, 2, 4, 6]
        while await deliver(spool):
            pass
        assert await chunks(spool) == [1, 3, 5, 7]
        sent = []
        while batch := await deliver(spool, "second/samsara"):
            sent.append(batch)
        assert sent == [(0, 0), (2, 2), (4, 4), (6, 6)]
        assert await chunks(spool) == []


async def test_leaving_and_coming_back_with_nothing_between_changes_nothing(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(2))
    for upstreams in ((A,), (A, B), (A,), (A, B)):
        async with spool_in(tmp_path, *upstreams):
            pass
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(2))
        assert await pending(spool, "second/samsara") == [0, 1, 2, 3]
        assert await deliver(spool, "second/samsara") == (0, 3)
        assert await query(spool, "SELECT count(*) FROM absence") == [(0,)]


async def test_an_upstream_that_had_nothing_left_goes_on_at_once(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(2))
        await deliver(spool, "second/samsara")
    async with spool_in(tmp_path, A) as spool:
        await accept(spool, chunk(3))
    async with spool_in(tmp_path, A, B) as spool:
        lane = await lane_of(spool, "second/samsara")
        assert (lane.cursor_position, lane.end_seq) == (5, None)


async def test_a_stream_that_an_upstream_takes_no_longer_is_as_if_it_had_left(tmp_path):
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(2), chunk(1, dialect="traintracks", product="p"))
    only_traintracks = wanted("second", takes=lambda dialect, _: dialect == "traintracks")
    async with spool_in(tmp_path, A, only_traintracks) as spool:
        await accept(spool, chunk(4), chunk(1, dialect="traintracks", product="p"))
        assert await pending(spool, "second/samsara") == [0, 1]
        assert await pending(spool, "second/traintracks/p") == [0, 1]
        assert await ledger(spool, "second/samsara") == {"accepted": 2, "pending": 2}
        states = {lane.name: lane.state for lane in (await spool.read(overview)).lanes}
        assert states["second/samsara"] == "orphaned"
        assert states["second/traintracks/p"] == "new"
    async with spool_in(tmp_path, A, B) as spool:
        await accept(spool, chunk(1))
        assert await pending(spool, "second/samsara") == [0, 1, 6]


async def test_an_upstreams_kind_is_the_configured_one(tmp_path):
    async with spool_in(tmp_path, A) as spool:
        await change(spool, "UPDATE upstream SET kind = 'file'")
    async with spool_in(tmp_path, A) as spool:
        assert await query(spool, "SELECT kind FROM upstream") == [("samsara",)]


async def test_an_upstream_of_another_kind_forgets_what_was_sealed_and_learned_for_the_first(tmp_path):
    async with spool_in(tmp_path, wanted("main", kind="file")) as spool:
        await accept(spool, chunk(3))
        lane = await lane_of(spool)
        run = await spool.read(lambda connection: next_run(connection, lane, max_events=2))
        batch = await spool.read(lambda connection: batch_of(connection, lane, run))
        assert not await spool.write(lambda connection: settle.seal(connection, batch, now=0))
        batch = dataclasses.replace(batch, options=Options(form="lines"))
        assert await spool.write(lambda connection: settle.seal(connection, batch, now=0))
        await change(spool, "UPDATE lane SET settled = '1:5', learned_limit = 9, suspect_end = 2")
    async with spool_in(tmp_path, wanted("main", kind="samsara")) as spool:
        lane = await lane_of(spool)
        assert await spool.read(lambda connection: read.outstanding(connection, lane)) is None
        assert (lane.settled, lane.learned_limit, lane.suspect_end) == (None, None, None)
        assert await pending(spool) == [0, 1, 2]
        assert await ledger(spool) == {"accepted": 3, "pending": 3}
