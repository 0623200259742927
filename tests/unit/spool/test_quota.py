from __future__ import annotations

from functools import partial

import pytest
from fakes.spools import accept, bulk, change, chunk, lane_of, ledger, query, spool_in, wanted

from collector.errors import SpoolFull
from collector.spool import database, settle
from collector.spool.passage import Passage
from collector.spool.store import NewChunk

MIB = 1 << 20
QUOTA = 16 * MIB
ROOM = 12 * MIB
PAGE = 8192


def of(product: str, size: int) -> NewChunk:
    return NewChunk("traintracks", product, "", 0, None, 1, "gzip", b"\x5a" * size)


def takes_product(name: str, **options):
    return wanted(name, takes=lambda _, product: product == name, **options)


async def fill(spool, *, most: int = 100) -> int:
    """Append until the spool refuses; how many chunks of a MiB that were."""
    for count in range(most):
        try:
            await accept(spool, bulk(MIB))
        except SpoolFull:
            return count
    return most


async def drain(spool):
    await change(spool, "UPDATE lane SET cursor_seq = 1000000")
    await change(spool, "DELETE FROM chunk")
    await change(spool, "UPDATE counts SET delivered = accepted, pending = 0")


@pytest.mark.parametrize("threads", [False, True], ids=["inline", "thread"])
async def test_a_full_spool_rejects_and_keeps_a_reserve_for_settling(tmp_path, threads):
    async with spool_in(tmp_path, max_bytes=QUOTA, threads=threads) as spool:
        count = await fill(spool)
        assert (ROOM - 6 * MIB) // MIB <= count <= ROOM // MIB
        with pytest.raises(SpoolFull) as refusal:
            spool.submit(bulk(MIB))
        assert refusal.value.quota == QUOTA
        assert refusal.value.lane == "main/samsara"
        assert spool.used_bytes <= ROOM
        # Nothing of what was refused is anywhere.
        assert await ledger(spool) == {"accepted": count, "pending": count}
        # Settling goes on all the same.
        lane = await lane_of(spool)
        letter = settle.DeadLetter(0, lane.cursor_seq, 0, None, "", "x", 400, "y" * MIB, b"{}")
        days = await query(spool, "SELECT day FROM ledger")
        passage = Passage(1, 2, 0, 1, ((days[0][0], 1),), MIB)
        assert await spool.write(
            partial(
                settle.buried,
                lane=lane.id,
                letter=letter,
                passage=passage,
                epoch=spool.epoch.name,
                batch=None,
                now=0,
            )
        )


async def test_a_drained_spool_admits_again(tmp_path):
    async with spool_in(tmp_path, max_bytes=QUOTA) as spool:
        count = await fill(spool)
        await drain(spool)
        await spool.maintain()
        assert spool.used_bytes <= database.WAL_CHECKPOINT_BYTES + 2 * MIB
        assert await fill(spool) == count


async def test_bodies_that_wait_for_their_commit_count(tmp_path):
    async with spool_in(tmp_path, max_bytes=QUOTA, threads=True) as spool:
        tickets = [spool.submit(bulk(MIB)) for _ in range(6)]
        with pytest.raises(SpoolFull):
            # What these take in the log counts too, until its checkpoint.
            spool.submit(bulk(3 * MIB))
        for ticket in tickets:
            await ticket.committed()


async def test_a_queue_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("collector.spool.entrance.MAX_QUEUED_BYTES", 3 * MIB)
    async with spool_in(tmp_path, threads=True) as spool:
        first = spool.submit(bulk(2 * MIB))
        with pytest.raises(SpoolFull, match=f"{3 * MIB} bytes"):
            spool.submit(bulk(2 * MIB))
        await first.committed()
        await spool.write(lambda _: None)
        await accept(spool, bulk(2 * MIB))


@pytest.mark.parametrize("threads", [False, True], ids=["inline", "thread"])
async def test_drop_oldest_ends_the_oldest_and_admits_what_comes(tmp_path, threads):
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full="drop-oldest", threads=threads) as spool:
        for _ in range(30):
            await accept(spool, bulk(MIB))
            assert spool.used_bytes <= QUOTA
        rows = await query(spool, "SELECT seq FROM chunk ORDER BY seq")
        kept = [seq for (seq,) in rows]
        assert kept == list(range(31 - len(kept), 31))
        # No more was ended than had to be: the log takes up to 4 MiB of the 12.
        assert len(kept) >= 6
        counts = await ledger(spool)
        assert counts == {"accepted": 30, "pending": len(kept), "evicted": 30 - len(kept)}
        assert spool.counters.ended == {("evicted", "main/samsara"): 30 - len(kept)}


async def test_a_large_group_does_not_end_more_than_has_to_be(tmp_path):
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full="drop-oldest", threads=True) as spool:
        await accept(spool, *[bulk(MIB) for _ in range(8)])
        await accept(spool, bulk(MIB), bulk(MIB))
        rows = await query(spool, "SELECT seq FROM chunk ORDER BY seq")
        assert len(rows) >= 7


async def test_drop_oldest_refuses_what_cannot_have_room(tmp_path):
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full="drop-oldest") as spool:
        await accept(spool, bulk(MIB))
        with pytest.raises(SpoolFull):
            spool.submit(bulk(ROOM + 1))
        assert await ledger(spool) == {"accepted": 1, "pending": 1}


async def test_drop_oldest_refuses_rather_than_end_a_batch_in_flight(tmp_path):
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full="drop-oldest") as spool:
        await accept(spool, bulk(MIB))
        lane = await lane_of(spool)
        with spool.flight(lane.id):
            count = 1 + await fill(spool)
            assert count < QUOTA // MIB
            assert spool.used_bytes <= QUOTA
            assert await ledger(spool) == {"accepted": count, "pending": count}
        await accept(spool, bulk(MIB))
        assert (await ledger(spool))["evicted"] >= 1


async def test_a_lowered_quota_is_come_down_to(tmp_path):
    async with spool_in(tmp_path) as spool:
        for _ in range(20):
            await accept(spool, bulk(MIB))
    async with spool_in(tmp_path, max_bytes=QUOTA, when_full="drop-oldest") as spool:
        assert spool.used_bytes <= QUOTA
        assert spool.counters.ended[("evicted", "main/samsara")] >= 7


async def test_the_last_tenth_is_for_lanes_that_hold_less_than_their_share(tmp_path):
    upstreams = (takes_product("a"), takes_product("b"))
    async with spool_in(tmp_path, *upstreams, max_bytes=64 * MIB) as spool:
        await accept(spool, of("b", 1000))
        for _ in range(44):  # of 56 MiB, the log among them
            await accept(spool, of("a", MIB))
        while spool.used_bytes <= 0.9 * 56 * MIB:
            await accept(spool, of("a", MIB))
        with pytest.raises(SpoolFull) as refusal:
            spool.submit(of("a", MIB))
        assert refusal.value.lane == "a/traintracks/a"
        for _ in range(4):
            await accept(spool, of("b", MIB))


async def test_a_single_lane_may_fill_the_spool(tmp_path):
    async with spool_in(tmp_path, max_bytes=64 * MIB) as spool:
        assert await fill(spool) >= 51


async def test_an_upstreams_own_quota_rejects_its_streams_alone(tmp_path):
    upstreams = (takes_product("a", max_bytes=2 * MIB), takes_product("b"))
    async with spool_in(tmp_path, *upstreams) as spool:
        await accept(spool, of("a", MIB))
        await accept(spool, of("a", MIB))
        with pytest.raises(SpoolFull, match="lane a/traintracks/a holds too much"):
            spool.submit(of("a", 1))
        await accept(spool, of("b", 4 * MIB))
        await drain(spool)
        await change(spool, "UPDATE lane SET passed_bytes = 2 * 1048576")
        await accept(spool, of("a", 1))


async def test_an_upstreams_own_quota_drops_its_own_oldest(tmp_path):
    upstreams = (takes_product("a", max_bytes=2 * MIB), takes_product("b"))
    async with spool_in(tmp_path, *upstreams, when_full="drop-oldest") as spool:
        await accept(spool, of("b", 4 * MIB))
        for _ in range(5):
            await accept(spool, of("a", MIB))
        await spool.write(lambda _: None)
        assert await ledger(spool, "b/traintracks/b") == {"accepted": 1, "pending": 1}
        assert await ledger(spool, "a/traintracks/a") == {"accepted": 5, "pending": 2, "evicted": 3}


@pytest.mark.parametrize("threads", [False, True], ids=["inline", "thread"])
async def test_maintenance_gives_free_pages_back_to_the_file_system(tmp_path, threads):
    async with spool_in(tmp_path, threads=threads) as spool:
        for _ in range(24):
            await accept(spool, bulk(MIB))
        await drain(spool)
        await spool.maintain()
        (free,) = (await query(spool, "PRAGMA freelist_count"))[0]
        assert free == database.KEPT_FREE_PAGES
        assert (tmp_path / "spool.db").stat().st_size < (free + 50) * PAGE


async def test_what_free_pages_take_is_not_used(tmp_path):
    async with spool_in(tmp_path) as spool:
        for _ in range(3):
            await accept(spool, bulk(MIB))
        full = spool.used_bytes
        await drain(spool)
        assert spool.used_bytes < full - 2 * MIB
        await accept(spool, chunk(1))
