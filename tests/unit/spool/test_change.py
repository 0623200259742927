"""Other upstreams, quota and bounds, taken up while the spool is open."""

from __future__ import annotations

import dataclasses

import pytest
import trio
from fakes.disks import let_fail
from fakes.spools import accept, bulk, chunk, database_of, ledger, query, spool_in, wanted

from collector.errors import NotTaken, SpoolFull, SpoolUnavailable


def samsara_only(dialect, _product):
    return dialect == "samsara"


def with_upstreams(spool, *upstreams, **changes):
    return dataclasses.replace(spool.options, upstreams=upstreams, **changes)


async def lanes(spool):
    rows = await query(
        spool,
        "SELECT upstream.name, sum(accepted) FROM ledger JOIN lane ON lane.id = ledger.lane"
        " JOIN upstream ON upstream.id = lane.upstream GROUP BY upstream.name",
    )
    return dict(rows)


async def test_what_comes_afterwards_belongs_to_the_new_upstreams(tmp_path):
    async with spool_in(tmp_path, wanted("old"), wanted("both")) as spool:
        await accept(spool, chunk(3))
        await spool.change(with_upstreams(spool, wanted("both"), wanted("new")))
        await accept(spool, chunk(2))
        assert await lanes(spool) == {"old": 3, "both": 5, "new": 2}
        assert spool.takers("samsara", "") == ["both", "new"]
        (orphaned,) = await query(spool, "SELECT name FROM upstream WHERE orphaned_at IS NOT NULL")
        assert orphaned == ("old",)


async def test_an_upstream_that_is_back_goes_on_where_it_was(tmp_path):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        everyone = spool.options
        await accept(spool, chunk(1))
        await spool.change(with_upstreams(spool, wanted("a")))
        await accept(spool, chunk(2))
        await spool.change(everyone)
        await accept(spool, chunk(4))
        assert await lanes(spool) == {"a": 7, "b": 5}


async def test_what_nobody_takes_any_more_is_refused(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1, dialect="traintracks", product="p"))
        await spool.change(with_upstreams(spool, wanted(takes=samsara_only)))
        with pytest.raises(NotTaken, match="no upstream takes traintracks p"):
            spool.submit(chunk(1, dialect="traintracks", product="p"))
        await accept(spool, chunk(1))


async def test_what_is_taken_from_now_on_is_accepted(tmp_path):
    async with spool_in(tmp_path, wanted(takes=samsara_only)) as spool:
        with pytest.raises(NotTaken):
            spool.submit(chunk(1, dialect="traintracks", product="p"))
        await spool.change(with_upstreams(spool, wanted()))
        await accept(spool, chunk(1, dialect="traintracks", product="p"))
        assert await ledger(spool, "main/traintracks/p") == {"accepted": 1, "pending": 1}


async def test_where_the_disk_refuses_nothing_has_changed(tmp_path):
    async with spool_in(tmp_path, wanted("old")) as spool:
        await accept(spool, chunk(1))
        before = spool.options
        disk = let_fail(database_of(spool), "COMMIT")
        with pytest.raises(SpoolUnavailable):
            await spool.change(with_upstreams(spool, wanted("new")))
        disk.failing.clear()
        assert spool.options is before
        await accept(spool, chunk(2))
        assert await lanes(spool) == {"old": 3}
        assert await query(spool, "SELECT name FROM upstream") == [("old",)]


async def test_a_lower_quota_refuses_and_a_higher_one_takes_again(tmp_path):
    quota = 64 << 20
    async with spool_in(tmp_path, max_bytes=quota) as spool:
        await accept(spool, bulk(12 << 20))
        await spool.change(dataclasses.replace(spool.options, max_bytes=16 << 20))
        with pytest.raises(SpoolFull):
            await accept(spool, bulk(8 << 20))
        await spool.change(dataclasses.replace(spool.options, max_bytes=quota))
        await accept(spool, bulk(8 << 20))


async def test_dropping_the_oldest_can_be_turned_on(tmp_path):
    async with spool_in(tmp_path, max_bytes=16 << 20) as spool:
        with pytest.raises(SpoolFull):
            await accept(spool, *(bulk(2 << 20) for _ in range(8)))
        await spool.change(dataclasses.replace(spool.options, when_full="drop-oldest"))
        for _ in range(8):
            await accept(spool, bulk(2 << 20))
        assert (await ledger(spool))["evicted"] > 0


async def test_not_an_event_goes_missing_while_upstreams_come_and_go(tmp_path):
    async with spool_in(tmp_path, wanted("steady"), threads=True) as spool:
        accepted = 0
        done = trio.Event()

        async def post() -> None:
            nonlocal accepted
            while not done.is_set():
                await accept(spool, chunk(2), chunk(1))
                accepted += 3

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(post)
            for turn in range(40):
                others = [wanted(f"other-{number}") for number in range(turn % 3)]
                await spool.change(with_upstreams(spool, wanted("steady"), *others))
            done.set()
        assert await ledger(spool, "steady/samsara") == {"accepted": accepted, "pending": accepted}
        ((received,),) = [await query(spool, "SELECT sum(events) FROM intake")]
        assert received == (accepted,)
        unbalanced = await query(
            spool,
            "SELECT 1 FROM ledger WHERE pending <> accepted",
        )
        assert unbalanced == []
