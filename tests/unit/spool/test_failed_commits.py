from __future__ import annotations

import sqlite3

import pytest
from fakes.disks import let_fail
from fakes.spools import accept, bulk, chunk, database_of, ledger, query, snapshot, spool_in

from collector.errors import SpoolUnavailable
from collector.spool.database import Database

TRUNCATE = "PRAGMA wal_checkpoint(TRUNCATE)"


@pytest.mark.parametrize("failing", ["COMMIT", "INSERT INTO chunk"])
async def test_a_failed_commit_answers_none_as_success_and_nothing_of_it_remains(tmp_path, failing):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        disk = let_fail(database_of(spool), failing)
        disk.executemany = lambda sql, rows: [disk.execute(sql, row) for row in rows]
        with pytest.raises(SpoolUnavailable, match="disk I/O error"):
            await accept(spool, chunk(3))
        assert not spool.healthy
        assert spool.counters.failed_commits == 1
        assert await ledger(spool) == {"accepted": 2, "pending": 2}
        disk.failing.clear()
        await accept(spool, chunk(4))
        assert spool.healthy
        assert await query(spool, "SELECT seq, first_position FROM chunk") == [(1, 0), (2, 2)]
        assert await ledger(spool) == {"accepted": 6, "pending": 6}


async def test_after_a_failed_commit_none_succeeds_until_a_checkpoint_has_emptied_the_log(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
        database = database_of(spool)
        log = tmp_path / "spool.db-wal"
        disk = let_fail(database, "COMMIT", TRUNCATE)
        for _ in range(2):
            with pytest.raises(SpoolUnavailable):
                await accept(spool, chunk(1))
        disk.failing.remove("COMMIT")
        disk.statements.clear()
        with pytest.raises(SpoolUnavailable):
            await accept(spool, chunk(1))
        assert disk.statements == [TRUNCATE]
        assert not database.trusted
        assert log.stat().st_size > 0
        disk.failing.clear()
        disk.statements.clear()
        await accept(spool, chunk(1))
        assert disk.statements[0] == TRUNCATE
        assert database.trusted
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_a_reader_that_keeps_the_log_from_being_emptied_keeps_commits_from_succeeding(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
        database = database_of(spool)
        database.connection.execute("PRAGMA busy_timeout=0")
        other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM chunk").fetchone()
        await accept(spool, chunk(1))
        disk = let_fail(database, "COMMIT")
        with pytest.raises(SpoolUnavailable, match="disk I/O error"):
            await accept(spool, chunk(1))
        disk.failing.clear()
        with pytest.raises(SpoolUnavailable, match="reader"):
            await accept(spool, chunk(1))
        other.close()
        await accept(spool, chunk(1))
        assert await ledger(spool) == {"accepted": 3, "pending": 3}


async def test_a_failed_rollback_is_no_success_either(tmp_path):
    async with spool_in(tmp_path) as spool:
        disk = let_fail(database_of(spool), "COMMIT", "ROLLBACK")
        for _ in range(2):
            with pytest.raises(SpoolUnavailable):
                await accept(spool, chunk(1))
        disk.failing.clear()
        await accept(spool, chunk(1))
        assert await ledger(spool) == {"accepted": 1, "pending": 1}


async def test_lanes_of_a_refused_first_request_are_made_with_the_next(tmp_path):
    async with spool_in(tmp_path) as spool:
        disk = let_fail(database_of(spool), "COMMIT")
        with pytest.raises(SpoolUnavailable):
            await accept(spool, chunk(1))
        disk.failing.clear()
        await accept(spool, chunk(2))
        assert await query(spool, "SELECT cursor_seq, cursor_position FROM lane") == [(1, 0)]
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_a_failing_disk_fails_the_whole_group_not_one_work_alone(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))

        def fail(_connection):
            raise sqlite3.DatabaseError("database disk image is malformed")

        with pytest.raises(SpoolUnavailable, match="malformed"):
            await spool.write(fail)
        assert not spool.healthy


async def test_a_size_that_cannot_be_told_unmakes_no_commit(tmp_path):
    async with spool_in(tmp_path) as spool:
        disk = let_fail(database_of(spool), "PRAGMA page_count")
        await accept(spool, chunk(2))
        assert spool.healthy
        disk.failing.clear()
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


async def test_what_was_refused_waits_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("collector.spool.entrance.MAX_QUEUED_BYTES", 1000)
    async with spool_in(tmp_path) as spool:
        disk = let_fail(database_of(spool), "COMMIT")
        for _ in range(5):
            with pytest.raises(SpoolUnavailable):
                await accept(spool, bulk(600))
        disk.failing.clear()
        await accept(spool, bulk(600))


async def test_a_vacuum_that_fails_makes_the_log_suspect(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, bulk(6 << 20))
        await spool.write(lambda connection: connection.execute("DELETE FROM chunk") and None)
        database = database_of(spool)
        disk = let_fail(database, "PRAGMA wal_checkpoint(PASSIVE)")
        with pytest.raises(SpoolUnavailable):
            await spool.maintain()
        assert not database.trusted
        assert not spool.healthy
        disk.failing.clear()
        disk.statements.clear()
        await accept(spool, chunk(1))
        assert disk.statements[0] == TRUNCATE
        assert spool.healthy


def test_the_first_act_of_a_start_empties_the_log(tmp_path):
    first = Database(tmp_path / "spool.db")
    first.commit(
        lambda connection: connection.execute(
            "INSERT INTO upstream (name, kind, added_at) VALUES ('a', 'k', 0)"
        )
    )
    dead = snapshot(tmp_path, tmp_path / "dead")
    log = dead / "spool.db-wal"
    assert log.stat().st_size > 0
    again = Database(dead / "spool.db")
    assert log.stat().st_size == 0
    assert again.connection.execute("SELECT name FROM upstream").fetchall() == [("a",)]
    again.close()
    first.close()


def test_a_log_that_cannot_be_emptied_is_not_opened(tmp_path):
    first = Database(tmp_path / "spool.db")
    first.commit(
        lambda connection: connection.execute(
            "INSERT INTO upstream (name, kind, added_at) VALUES ('a', 'k', 0)"
        )
    )
    dead = snapshot(tmp_path, tmp_path / "dead")
    reader = sqlite3.connect(dead / "spool.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM upstream").fetchone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.spool.database.BUSY_SECONDS", 0.0)
        with pytest.raises(SpoolUnavailable, match="reader"):
            Database(dead / "spool.db")
    reader.close()
    first.close()


def test_refused_frames_of_the_very_first_commit_are_taken_out_of_the_log(tmp_path):
    database = Database(tmp_path / "spool.db")
    database.connection.execute(TRUNCATE)
    # What a failed sync leaves: frames in the file that the connection does not count.
    with (tmp_path / "spool.db-wal").open("wb") as log:
        log.write(b"refused")
    database._suspect = True
    database._heal()
    assert (tmp_path / "spool.db-wal").stat().st_size == 0
    database.close()
