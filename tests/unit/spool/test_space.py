"""What the spool does while its disk is full; `max_page_count` makes SQLite say so."""

from __future__ import annotations

import os
import sqlite3
from functools import partial

import pytest
from fakes.disks import let_fail
from fakes.spools import (
    accept,
    batch_of,
    bulk,
    change,
    chunk,
    database_of,
    lane_of,
    ledger,
    next_run,
    query,
    spool_in,
)

from collector.errors import SpoolNoSpace, SpoolUnavailable
from collector.spool import settle, space
from collector.spool.database import PAGE_BYTES

MIB = 1 << 20
BALLAST = 2 * MIB


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch):
    """No test shall write more than it has to."""
    monkeypatch.setattr(space, "LARGEST_SETTLING_BYTES", MIB)
    monkeypatch.setattr(space, "BALLAST_STEP_BYTES", MIB)
    monkeypatch.setattr(space, "REOPEN_BYTES", 0)


def ballast(tmp_path) -> int:
    return (tmp_path / "ballast").stat().st_size


def shrink_disk(spool, *, pages: int = 0) -> None:
    """The database's file can grow by so many pages and no more."""
    connection = database_of(spool).connection
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={count + pages}")


def widen_disk(spool) -> None:
    database_of(spool).connection.execute("PRAGMA max_page_count=1000000")


async def deliver(spool, *, max_events=1):
    lane = await lane_of(spool)
    run = await spool.read(lambda c: next_run(c, lane, max_events=max_events))
    batch = await spool.read(lambda c: batch_of(c, lane, run))
    assert await spool.write(partial(settle.seal, batch=batch, now=0))
    delivered = partial(settle.delivered, batch=batch, run=run, settled=None, learned_limit=None, now=0)
    assert await spool.write(delivered)


@pytest.mark.parametrize("threads", [False, True], ids=["inline", "thread"])
async def test_a_full_disk_refuses_requests_whole_and_settles_all_the_same(tmp_path, threads):
    async with spool_in(tmp_path, ballast_bytes=BALLAST, threads=threads) as spool:
        assert ballast(tmp_path) == BALLAST
        await accept(spool, chunk(1), chunk(1))
        shrink_disk(spool)
        with pytest.raises(SpoolNoSpace, match="no room left on the disk"):
            await accept(spool, bulk(MIB))
        assert spool.disk_full
        assert not spool.ready
        assert spool.shortage.is_set()
        assert (spool.counters.shortages, spool.counters.failed_commits) == (1, 1)
        with pytest.raises(SpoolNoSpace):
            spool.submit(chunk(1))
        assert await query(spool, "SELECT count(*), sum(events) FROM chunk") == [(2, 2)]
        await deliver(spool)
        await deliver(spool)
        assert await ledger(spool) == {"accepted": 2, "delivered": 2}


async def test_ingest_opens_again_only_when_the_ballast_is_whole(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, chunk(1))
        shrink_disk(spool)
        with pytest.raises(SpoolNoSpace):
            await accept(spool, bulk(MIB))
        spool._space._ballast.cut(MIB)
        spool._space._held = MIB
        widen_disk(spool)
        await spool.maintain()
        assert spool.ready
        assert not spool.shortage.is_set()
        assert ballast(tmp_path) >= BALLAST
        await accept(spool, bulk(MIB))


async def test_ingest_stays_shut_while_the_file_system_has_no_room_for_the_ballast(tmp_path, monkeypatch):
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, chunk(1))
        shrink_disk(spool)
        with pytest.raises(SpoolNoSpace):
            await accept(spool, bulk(MIB))
        widen_disk(spool)
        monkeypatch.setattr(space, "REOPEN_BYTES", 1 << 60)
        await spool.maintain()
        assert spool.disk_full


async def test_a_ballast_that_cannot_be_built_is_tried_again_less_and_less_often(tmp_path, monkeypatch):
    tries = []

    def refuse(self, size):
        tries.append(size)
        raise SpoolNoSpace("quota of this user")

    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, chunk(1))
        spool._space.short = True
        with monkeypatch.context() as patch:
            patch.setattr("collector.spool.ballast.Ballast.fill", refuse)
            for _ in range(20):
                await spool.maintain()
                assert spool.disk_full
        assert len(tries) == 5  # in rounds 1, 3, 6, 11 and 20
        for _ in range(20):
            await spool.maintain()
        assert spool.ready


async def test_the_ballast_grows_before_a_commit_that_is_larger_than_it_would_do_for(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, bulk(6 * MIB))
        assert ballast(tmp_path) >= 7 * MIB
        await spool.maintain()
        await accept(spool, chunk(1))
        await spool.maintain()
        assert ballast(tmp_path) <= 6 * MIB  # the log is 4 MiB still


async def test_a_commit_for_which_the_ballast_cannot_grow_is_refused(tmp_path, monkeypatch):
    def refuse(self, size):
        raise SpoolNoSpace("no")

    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, chunk(1))
        monkeypatch.setattr("collector.spool.ballast.Ballast.fill", refuse)
        with pytest.raises(SpoolNoSpace):
            await accept(spool, bulk(6 * MIB))
        assert await ledger(spool) == {"accepted": 1, "pending": 1}


async def test_the_ballast_is_spent_in_pieces_as_it_is_needed(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=4 * MIB) as spool:
        left = [3]

        def work():
            left[0] -= 1
            if left[0]:
                raise SpoolNoSpace("more")
            return "done"

        assert spool._space._spend(work) == "done"
        assert ballast(tmp_path) == 2 * MIB


async def test_what_the_checkpoint_will_need_is_kept_while_a_reader_stands_in_its_way(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=4 * MIB) as spool:

        def work():
            raise SpoolNoSpace("more")

        with pytest.raises(SpoolNoSpace):
            spool._space._spend(work, keep=2 * MIB + 5)
        assert ballast(tmp_path) == 2 * MIB + 5


async def test_a_full_disk_does_not_make_the_log_suspect_so_a_reader_is_no_obstacle(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, chunk(1), chunk(1))
        other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM chunk").fetchone()
        await change(spool, "UPDATE lane SET failures = failures + 1")
        shrink_disk(spool)
        with pytest.raises(SpoolNoSpace):
            await accept(spool, bulk(MIB))
        assert spool.healthy
        await deliver(spool)
        widen_disk(spool)
        await spool.maintain()
        await accept(spool, chunk(1))
        other.close()
        assert await ledger(spool) == {"accepted": 3, "pending": 2, "delivered": 1}


async def test_work_of_a_group_that_found_no_room_is_done_all_the_same(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=BALLAST, threads=True) as spool:
        await accept(spool, chunk(1))
        shrink_disk(spool)
        refused = spool.submit(bulk(MIB))
        await change(spool, "UPDATE lane SET failures = 7")
        with pytest.raises(SpoolNoSpace):
            await refused.committed()
        assert await query(spool, "SELECT failures FROM lane") == [(7,)]


async def test_a_start_builds_the_ballast_and_a_hole_in_its_place_is_none(tmp_path):
    with (tmp_path / "ballast").open("wb") as hole:
        hole.truncate(BALLAST)
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        assert spool.ready
        assert (tmp_path / "ballast").stat().st_blocks * 512 >= BALLAST


async def test_a_reader_keeps_a_vacuum_from_making_the_log_ever_longer(tmp_path):
    async with spool_in(tmp_path) as spool:
        for _ in range(24):
            await accept(spool, bulk(MIB))
        other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM chunk").fetchone()
        await change(spool, "DELETE FROM chunk")
        before = (await query(spool, "PRAGMA page_count"))[0][0]
        await spool.maintain()
        after = (await query(spool, "PRAGMA page_count"))[0][0]
        assert before - after <= space.VACUUM_PAGES
        other.close()
        await spool.maintain()
        assert (tmp_path / "spool.db").stat().st_size < 6 * MIB


async def test_a_log_that_a_reader_made_long_is_cut_when_the_reader_has_gone(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
        other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM chunk").fetchone()
        for _ in range(12):
            await accept(spool, bulk(MIB))
        assert database_of(spool).log_bytes() > 12 * MIB
        await spool.maintain()
        other.close()
        await spool.maintain()
        assert database_of(spool).log_bytes() <= 4 * MIB + PAGE_BYTES


async def test_another_failure_than_want_of_room_is_no_shortage(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        await accept(spool, chunk(1))
        disk = let_fail(database_of(spool), "COMMIT")
        with pytest.raises(Exception, match="disk I/O error"):
            await accept(spool, chunk(1))
        assert not spool.disk_full
        assert ballast(tmp_path) == BALLAST
        disk.failing.clear()
        await accept(spool, chunk(1))


async def test_a_log_that_cannot_be_looked_at_refuses_requests_and_no_more(tmp_path, monkeypatch):
    async with spool_in(tmp_path, ballast_bytes=BALLAST, threads=True) as spool:
        await accept(spool, chunk(1))
        with monkeypatch.context() as broken:
            broken.setattr(database_of(spool), "log_bytes", partial(os.stat, tmp_path / "none"))
            with pytest.raises(SpoolUnavailable, match="No such file"):
                await accept(spool, bulk(MIB // 4))
        await accept(spool, chunk(1))
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_the_ballast_that_was_cut_grows_again_before_the_log_has_outgrown_it(tmp_path):
    async with spool_in(tmp_path, ballast_bytes=BALLAST) as spool:
        other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
        for _ in range(2):
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM chunk").fetchone()
            for _ in range(40):
                await accept(spool, bulk(MIB // 2))
                assert ballast(tmp_path) >= database_of(spool).log_bytes()
            other.execute("ROLLBACK")
            for _ in range(4):  # the log begins anew, and is looked at
                await accept(spool, bulk(MIB // 2))
            await spool.maintain()
            assert ballast(tmp_path) < 8 * MIB
        other.close()
