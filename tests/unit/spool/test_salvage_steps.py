"""What is damage and what only seemed so, and a salvage step by step."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import closing

import pytest
from fakes.damage import ACCEPTED, FILES, LANES, assert_adds_up, hurt, open_in, start, zero_page
from fakes.spools import accept, chunk, ledger, query, spool_in

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.spool import aside, confirm, examine, files, salvage
from collector.spool import verify as verify_module
from collector.spool.database import Database
from collector.spool.directory import DATABASE_FILE
from collector.spool.verify import verify


class _PowerCutError(Exception):
    pass


@pytest.mark.parametrize("step", ["mark", "set_aside", "build", "put_in_place", "finish"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_death_in_the_middle_of_a_salvage_loses_nothing(tmp_path, filled, monkeypatch, step, after):
    directory = hurt(tmp_path / "x", filled, "died", FILES[1], lambda content: content[:100] + content[101:])
    place = salvage.image if step == "build" else aside
    real = getattr(place, step)

    def die(*arguments, **named):
        if after:
            real(*arguments, **named)
        raise _PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(place, step, die)
        with pytest.raises(_PowerCutError):
            await start(directory)
    _, books = await start(directory)
    assert_adds_up(books)
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM salvage").fetchone() == (1,)
    assert (
        len([name for name in aside.set_aside_files(directory / DATABASE_FILE) if name.suffix[-1] == "Z"])
        == 1
    )
    assert not aside.Places(directory / DATABASE_FILE).marker.exists()


async def test_without_room_for_a_salvage_nothing_is_touched(tmp_path, filled, monkeypatch):
    directory = hurt(tmp_path / "x", filled, "closed", DATABASE_FILE, zero_page(1))
    before = (directory / DATABASE_FILE).read_bytes()
    monkeypatch.setattr(salvage, "SPARE_BYTES", 1 << 60)
    with pytest.raises(SpoolUnavailable, match="make room"):
        await start(directory)
    assert (directory / DATABASE_FILE).read_bytes() == before


async def test_damage_that_a_disk_told_of_once_ends_the_process_and_is_looked_for_in_vain_next(
    tmp_path, filled
):
    directory = shutil.copytree(filled / "closed", tmp_path / "x")
    with pytest.raises(SpoolDamaged):  # noqa: PT012
        async with open_in(directory) as spool:

            def corrupt(_):
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error

            with pytest.raises(SpoolDamaged):
                await spool.read(corrupt)
            assert not spool.healthy
            await spool.sound()
    salvaged, books = await start(directory)
    assert salvaged is None
    assert not aside.Places(directory / DATABASE_FILE).marker.exists()
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED


async def test_a_mark_that_nothing_confirms_is_taken_away(tmp_path, filled):
    directory = shutil.copytree(filled / "died", tmp_path / "x")
    aside.mark_damaged(directory / DATABASE_FILE, "database disk image is malformed")
    async with open_in(directory) as spool:
        assert spool.salvaged is None
        assert spool.unconfirmed == "database disk image is malformed"
        assert await query(spool, "SELECT reason FROM epoch") == [("created",)]
        assert (await spool.read(verify)).problems == []
    assert not aside.Places(directory / DATABASE_FILE).marker.exists()
    assert not aside.set_aside_files(directory / DATABASE_FILE)
    async with open_in(directory) as spool:
        assert spool.unconfirmed == ""


async def test_damage_that_is_met_again_is_believed_so_that_no_daemon_ends_and_starts_for_ever(tmp_path):
    path = tmp_path / DATABASE_FILE
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(3))

    async def live():
        async with spool_in(tmp_path) as spool:
            spool.damaged(SpoolDamaged("met by a lane"))
            return spool.salvaged

    assert await live() is None
    assert not aside.read_marker(aside.Places(path)).doubted
    assert await live() is None  # looked for, in vain
    assert aside.read_marker(aside.Places(path)).certain
    async with spool_in(tmp_path) as spool:
        assert spool.salvaged.reason == "met by a lane"
        assert await ledger(spool) == {"accepted": 3, "pending": 3}
    # In between, a close in good order takes the doubt away.
    for _ in range(2):
        await live()
        async with spool_in(tmp_path) as spool:
            assert spool.salvaged is None
            assert spool.unconfirmed == "met by a lane"
            assert aside.read_marker(aside.Places(path)).doubted
        assert aside.read_marker(aside.Places(path)) is None


async def test_damage_that_only_the_first_commit_meets_is_salvaged_by_the_same_start(tmp_path, monkeypatch):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(3))
    establish = files.identity.establish

    def damaged(connection, **named):
        if connection.execute("SELECT count(*) FROM salvage").fetchone() == (0,):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return establish(connection, **named)

    monkeypatch.setattr(files.identity, "establish", damaged)
    async with spool_in(tmp_path) as spool:
        assert "malformed" in spool.salvaged.reason
        assert await ledger(spool) == {"accepted": 3, "pending": 3}


@pytest.mark.parametrize("lasting", [False, True])
async def test_a_disk_that_cannot_read_at_a_start_is_asked_once_more_by_the_next(
    tmp_path, filled, monkeypatch, lasting
):
    directory = shutil.copytree(filled / "died", tmp_path / "x")
    real = confirm.examine.examine_files

    def unreadable(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(confirm.examine, "examine_files", unreadable)
    with pytest.raises(SpoolUnavailable, match="Input/output error"):
        await start(directory)
    if not lasting:
        monkeypatch.setattr(confirm.examine, "examine_files", real)
    salvaged, books = await start(directory)
    assert (salvaged is not None) == lasting
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED
    assert {name: book["pending"] for name, book in books.items()} == {
        name: events - (30 if name == "a/samsara" else 0) for name, events in ACCEPTED.items()
    }


async def test_a_read_that_fails_while_damage_is_looked_for_confirms_it(tmp_path, filled, monkeypatch):
    directory = shutil.copytree(filled / "died", tmp_path / "x")
    aside.mark_damaged(directory / DATABASE_FILE, "met by a lane")

    def unreadable(*_):
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(verify_module, "_pages", unreadable)
        async with open_in(directory) as spool:
            assert spool.salvaged.reason == "met by a lane"
    assert (await start(directory))[0] is None


async def test_a_mark_does_not_make_a_salvage_that_has_begun_begin_anew(tmp_path, filled):
    directory = hurt(tmp_path / "x", filled, "closed", DATABASE_FILE, zero_page(1))
    places = aside.Places(directory / DATABASE_FILE)
    begun = aside.set_aside(places, "its header is gone", now=1)
    aside.mark_damaged(places.database, "met behind it")
    assert aside.read_marker(places) == begun
    salvaged, books = await start(directory)
    assert salvaged.set_aside == begun.name
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED


@pytest.mark.parametrize(("fails", "pending"), [(1, 210), (2, 210), (3, 0)])
async def test_what_cannot_be_put_together_is_left_out_rather_than_that_the_daemon_does_not_start(
    tmp_path, filled, monkeypatch, fails, pending
):
    directory = hurt(tmp_path / "x", filled, "closed", DATABASE_FILE, zero_page(1))
    real, calls = salvage.rebuild.settle_lane, []

    def surprise(*arguments):
        calls.append(arguments)
        if len(calls) <= fails:
            raise KeyError("dead")
        return real(*arguments)

    monkeypatch.setattr(salvage.rebuild, "settle_lane", surprise)
    salvaged, books = await start(directory)
    assert any("could be put together" in note for note in salvaged.notes)
    assert books.get("b/samsara", {}).get("pending", 0) == pending
    assert (directory / salvaged.set_aside).stat().st_size > 0


def test_every_table_is_known_to_the_salvage_and_to_the_examination(tmp_path):
    database = Database(tmp_path / DATABASE_FILE)
    names = {table.name for table in examine.tables(database.connection)}
    database.close()
    assert names == salvage.ALL == examine.LARGE | examine.SMALL


FLIPS = {
    "an upstream's name": "UPDATE upstream SET name = 'c' WHERE name = 'b'",
    "a stream's dialect": "UPDATE stream SET dialect = 'samsarq' WHERE dialect = 'samsara'",
    "a stream's product": "UPDATE stream SET product = 'x' || substr(product, 2) WHERE product <> ''",
    "a lane's stream": "UPDATE lane SET stream = stream + 64 WHERE id = 2",
    "a copy of a name": "UPDATE name_copy SET first = 'c' WHERE kind = 'upstream' AND first = 'b'",
    "a stream's end": "UPDATE counts SET next_position = next_position + 4096 WHERE last_seq AND stream = 1",
    "a last chunk's number": "UPDATE counts SET last_seq = last_seq & ~64 WHERE last_seq AND stream = 1",
    "a count of what was received": "UPDATE counts SET events = events + 4096 WHERE events AND stream = 1",
    "a lane's position": "UPDATE lane SET cursor_position = cursor_position + 64 WHERE id = 1",
    "a lane's chunk": "UPDATE lane SET cursor_seq = cursor_seq + 64 WHERE id = 1",
    "the stream of a count": "UPDATE counts SET stream = 2 WHERE lane = 1",
    "the lane of a count": "UPDATE counts SET lane = lane + 64 WHERE lane = 3",
    "a count in the ledger": "UPDATE counts SET pending = pending | 4096 WHERE lane = 1",
    "an extent's stream": "UPDATE extent SET stream = 3 - stream WHERE first_seq = 5",
    "an extent's begin": "UPDATE extent SET first_seq = first_seq + 1 WHERE first_seq = 6",
    "an extent's end": "UPDATE extent SET end_seq = end_seq + 4 WHERE first_seq = 5",
    "the begin of the open extent": "UPDATE extent SET first_seq = first_seq + 1 WHERE end_seq > (1 << 61)",
    "the age clock": "UPDATE age_clock SET age = age + (1 << 40)",
    "a stop of the machine": "UPDATE stop SET missed = missed + (1 << 40)",
}


@pytest.mark.parametrize("sql", FLIPS.values(), ids=FLIPS)
async def test_a_flipped_bit_inside_a_value_is_noticed_and_costs_nothing(tmp_path, filled, sql):
    directory = shutil.copytree(filled / "closed", tmp_path / "x")
    with closing(sqlite3.connect(directory / DATABASE_FILE, isolation_level=None)) as connection:
        connection.execute("INSERT INTO stop VALUES (1, 5, 6)")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        (trigger,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'upstream_renamed'"
        ).fetchone()
        connection.execute("DROP TRIGGER upstream_renamed")
        connection.execute(sql)
        assert connection.execute("SELECT changes()").fetchone() == (1,)
        connection.execute(trigger)
        before = connection.execute("SELECT min(accepted_age), max(accepted_age) FROM chunk").fetchone()
    salvaged, books = await start(directory)
    assert salvaged is not None
    assert_adds_up(books)
    assert set(books) == set(LANES)
    for name, book in books.items():
        # What was delivered may be sent again; nothing is missing.
        assert book["pending"] >= ACCEPTED[name] - (30 if name == "a/samsara" else 0)
        assert book.get("damaged", 0) == 0
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        (age,) = connection.execute("SELECT age FROM age_clock").fetchone()
        assert age < before[1] + 1_000_000
        assert connection.execute("SELECT coalesce(max(missed), 0) FROM stop").fetchone()[0] < 1_000_000
