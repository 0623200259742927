from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys

import pytest
from fakes.clocks import START, StandingClocks
from fakes.spools import (
    HERE,
    accept,
    batch_of,
    chunk,
    lane_of,
    ledger,
    next_run,
    query,
    snapshot,
    spool_in,
)

from collector.errors import SpoolLocked, SpoolTooNew, SpoolUnavailable
from collector.spool import read, settle
from collector.spool.identity import Machine
from collector.spool.lock import owned

OWNER = """
import sys, pathlib
from collector.spool.lock import owned
with owned(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Another process that owns the spool in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "spool.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


async def test_a_second_owner_is_refused_and_told_the_first_ones_pid(tmp_path, other_process):
    with pytest.raises(SpoolLocked) as refusal:
        async with spool_in(tmp_path):
            pass
    assert refusal.value.owner == other_process.pid
    assert f"process {other_process.pid}" in str(refusal.value)
    assert not (tmp_path / "spool.db").exists()


async def test_the_lock_of_a_dead_process_is_no_obstacle(tmp_path, other_process):
    other_process.kill()
    other_process.wait()
    assert (tmp_path / "spool.lock").read_text() == f"{other_process.pid}\n"
    async with spool_in(tmp_path):
        assert (tmp_path / "spool.lock").read_text() == f"{os.getpid()}\n"


async def test_one_process_opens_a_spool_once(tmp_path):
    async with spool_in(tmp_path):
        with pytest.raises(SpoolLocked, match=f"process {os.getpid()}"):
            async with spool_in(tmp_path):
                pass
    async with spool_in(tmp_path):
        pass


def test_an_owner_who_has_not_signed_yet_is_another_process(tmp_path):
    path = tmp_path / "spool.lock"
    with path.open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(SpoolLocked, match="another process"), owned(path):
            pass


async def test_a_spool_that_did_not_open_is_not_owned(tmp_path):
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(SpoolUnavailable, match=r"spool\.db"):
        async with spool_in(tmp_path):
            pass
    (tmp_path / "spool.db").rmdir()
    async with spool_in(tmp_path):
        pass


async def test_a_spool_of_a_later_release_is_refused_and_left_as_it_is(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
    connection = sqlite3.connect(tmp_path / "spool.db")
    with connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('spool', '0099_x', '')"
        )
    before = connection.execute("SELECT count(*) FROM epoch").fetchone()
    with pytest.raises(SpoolTooNew, match="0099_x") as refusal:
        async with spool_in(tmp_path):
            pass
    assert refusal.value.unknown == ("0099_x",)
    assert connection.execute("SELECT count(*) FROM epoch").fetchone() == before
    connection.close()


@pytest.mark.parametrize("threads", [False, True])
async def test_a_directory_that_cannot_be_made_is_said_so(tmp_path, threads):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnavailable, match="Not a directory"):
        async with spool_in(tmp_path / "file" / "spool", threads=threads):
            pass


async def test_what_is_made_none_but_the_owner_can_read(tmp_path):
    umask = os.umask(0)
    try:
        async with spool_in(tmp_path / "a" / "b") as spool:
            await accept(spool, chunk(1))
            names = ["spool.db", "spool.db-wal", "spool.db-shm", "spool.lock"]
            modes = [stat.S_IMODE((tmp_path / "a" / "b" / name).stat().st_mode) for name in names]
            assert modes == [0o600] * 4
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


async def test_settings_are_those_that_durability_needs(tmp_path):
    async with spool_in(tmp_path) as spool:
        names = ("synchronous", "journal_mode", "auto_vacuum", "page_size", "foreign_keys")
        names += ("fullfsync", "checkpoint_fullfsync")  # they count on macOS alone, and are kept everywhere
        found = await spool.write(
            lambda connection: [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        )
        assert found == [2, "wal", 2, 8192, 1, 1, 1]


async def test_a_closed_spool_leaves_one_file_and_its_lock(tmp_path):
    async with spool_in(tmp_path, threads=True) as spool:
        await accept(spool, chunk(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spool.db", "spool.lock"]


async def test_a_spool_keeps_its_epoch_and_device_over_restarts(tmp_path):
    async with spool_in(tmp_path) as spool:
        first = spool.epoch
    async with spool_in(tmp_path) as spool:
        assert (spool.epoch.name, spool.epoch.device) == (first.name, first.device)
    assert len(first.name) == 16
    assert len(first.device) == 32


async def test_a_cloned_machine_gets_a_new_epoch_and_device(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(4))
        first = spool.epoch
        await _seal(spool)
    async with spool_in(tmp_path, machine=Machine(id="machine-b", boot="boot-9")) as spool:
        assert spool.epoch.name != first.name
        assert spool.epoch.device != first.device
        assert await query(spool, "SELECT reason, device FROM epoch ORDER BY number") == [
            ("created", first.device),
            ("cloned", spool.epoch.device),
        ]
        # What was sealed is sealed anew, under the new names.
        assert await query(spool, "SELECT count(*) FROM batch") == [(0,)]
        assert await ledger(spool) == {"accepted": 4, "pending": 4}
        batch = await _seal(spool)
        assert (batch.epoch, batch.device) == (spool.epoch.name, spool.epoch.device)
        second = spool.epoch
    async with spool_in(tmp_path, machine=Machine(id="machine-b", boot="boot-9")) as spool:
        assert spool.epoch.name == second.name


async def test_a_configured_device_id_outlasts_cloning(tmp_path):
    async with spool_in(tmp_path, device="till-7") as spool:
        first = spool.epoch.name
    async with spool_in(tmp_path, device="till-7", machine=Machine("machine-b", "")) as spool:
        assert (spool.epoch.device, spool.epoch.name == first) == ("till-7", False)


async def test_a_machine_without_a_name_is_no_clone_and_a_name_it_gets_is_kept(tmp_path):
    async with spool_in(tmp_path, machine=Machine("", "")) as spool:
        first = spool.epoch.name
    async with spool_in(tmp_path, machine=HERE) as spool:
        assert spool.epoch.name == first
    async with spool_in(tmp_path, machine=Machine("", "")) as spool:
        assert spool.epoch.name == first
    async with spool_in(tmp_path, machine=Machine("machine-b", "")) as spool:
        assert spool.epoch.name != first


async def test_a_sealed_batch_keeps_the_device_it_was_sealed_with(tmp_path):
    async with spool_in(tmp_path, device="till-7") as spool:
        await accept(spool, chunk(1))
        batch = await _seal(spool)
    async with spool_in(tmp_path, device="till-8") as spool:
        lane = await lane_of(spool)
        assert await spool.read(lambda connection: read.outstanding(connection, lane)) == batch
        assert (batch.device, spool.epoch.device) == ("till-7", "till-8")


async def test_boots_are_kept_while_there_are_events_of_theirs(tmp_path):
    for boot in ("boot-1", "boot-1", "boot-2"):
        async with spool_in(tmp_path, machine=Machine("m", boot)) as spool:
            await accept(spool, chunk(1))
    async with spool_in(tmp_path, machine=Machine("m", "boot-3")) as spool:
        assert await query(spool, "SELECT name FROM boot") == [("boot-1",), ("boot-2",), ("boot-3",)]
        await spool.write(lambda connection: connection.execute("DELETE FROM chunk WHERE seq < 3") and None)
    async with spool_in(tmp_path, machine=Machine("m", "boot-4")) as spool:
        assert await query(spool, "SELECT name FROM boot") == [("boot-2",), ("boot-3",), ("boot-4",)]


async def test_the_age_clock_goes_on_from_where_it_stood_whatever_the_wall_clock_says(tmp_path):
    clocks = StandingClocks()
    async with spool_in(tmp_path, clocks=clocks) as spool:
        clocks.pass_time(5000)
        await accept(spool, chunk(1))
        clocks.pass_time(1000)
        await spool.maintain()
    async with spool_in(tmp_path, clocks=StandingClocks(wall=START + 10**12)) as spool:
        assert spool.epoch.age == 6000
    # A death after the last maintenance: the newest event says how late it was at the least.
    async with spool_in(tmp_path) as spool:
        await spool.write(
            lambda connection: (
                connection.execute("UPDATE age_clock SET total = total - age, age = 0") and None
            )
        )
        died = snapshot(tmp_path, tmp_path / "died")
    async with spool_in(died) as spool:
        assert spool.epoch.age == 5000


async def _seal(spool):
    lane = await lane_of(spool)
    batch = await spool.read(lambda connection: batch_of(connection, lane, next_run(connection, lane)))
    assert await spool.write(lambda connection: settle.seal(connection, batch, now=0))
    return batch
