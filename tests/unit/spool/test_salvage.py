from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import partial
from random import Random  # noqa: TID251 (seeded)

import pytest
from fakes.clocks import A_DAY, StandingClocks
from fakes.damage import (
    ACCEPTED,
    FILES,
    LANES,
    PAGE,
    assert_adds_up,
    hurt,
    open_in,
    root,
    start,
    start_once,
    zero_page,
)
from fakes.letters import bury
from fakes.spools import (
    PRODUCT,
    accept,
    batch_of,
    change,
    chunk,
    lane_of,
    ledger,
    next_run,
    query,
    spool_in,
    wanted,
)

from collector.errors import SpoolDamaged
from collector.spool import aside, read, replay, retention, settle, wal
from collector.spool.directory import DATABASE_FILE
from collector.spool.letters import Choice
from collector.spool.spool import Spool
from collector.spool.verify import verify


async def test_a_sound_spool_is_left_alone(tmp_path, filled):
    for state in ("died", "closed"):
        directory = shutil.copytree(filled / state, tmp_path / state)
        salvaged, books = await start(directory)
        assert salvaged is None
        assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED
        assert not list(directory.glob("*corrupt*"))


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_damaged_the_spool_starts_and_adds_up(tmp_path, filled, seed):
    dice = Random(seed)  # noqa: S311
    for number in range(4):
        state = dice.choice(["died", "closed"])
        name = dice.choice(FILES[:2]) if state == "died" else DATABASE_FILE

        def change(content):
            size = len(content)
            match dice.randrange(4):
                case 0:
                    return content[: dice.randrange(size)]
                case 1:
                    for _ in range(dice.choice([1, 40])):
                        content[dice.randrange(size)] ^= 1 << dice.randrange(8)
                case 2:
                    start = dice.randrange(size)
                    content[start : start + dice.randrange(1, size)] = dice.randbytes(size - start)
                case _:
                    start = dice.randrange(size // PAGE) * PAGE
                    content[start : start + PAGE] = dice.randbytes(PAGE)
            return None

        directory = hurt(tmp_path / str(number), filled, state, name, change)
        salvaged, books = await start(directory)
        assert_adds_up(books)
        if salvaged is not None:
            assert (directory / salvaged.set_aside).exists()


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.99])
async def test_of_a_truncated_database_what_is_left_is_saved_and_the_rest_counted(tmp_path, filled, share):
    directory = hurt(
        tmp_path / "x", filled, "closed", DATABASE_FILE, lambda content: content[: int(len(content) * share)]
    )
    salvaged, books = await start(directory)
    assert salvaged.events > 0
    assert salvaged.damaged > 0
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED
    assert books["a/samsara"]["delivered"] == 30


async def test_of_a_database_that_ends_among_its_first_pages_what_was_lost_is_known_by_number(tmp_path):
    async with spool_in(tmp_path, wanted("a")) as spool:
        for _ in range(50):
            await accept(spool, chunk(3))
    content = (tmp_path / DATABASE_FILE).read_bytes()
    (tmp_path / DATABASE_FILE).write_bytes(content[: (root(tmp_path, "lane_by_stream") - 1) * PAGE])
    salvaged, books = await start(tmp_path)
    assert (salvaged.events, salvaged.damaged) == (0, 150)
    assert books["a/samsara"] == {"accepted": 150, "damaged": 150}


@pytest.mark.parametrize(
    "table", ["lane", "stream", "upstream", "counts", "epoch", "batch", "absence", "extent"]
)
async def test_a_lost_table_costs_no_event(tmp_path, filled, table):
    page = root(filled / "closed", table)
    directory = hurt(tmp_path / "x", filled, "closed", DATABASE_FILE, zero_page(page))
    salvaged, books = await start(directory)
    assert salvaged is not None
    assert salvaged.damaged == 0
    assert set(books) == set(LANES)
    for name, book in books.items():
        # What was delivered may be sent again; nothing is missing.
        assert book["pending"] >= ACCEPTED[name] - (30 if name == "a/samsara" else 0)


async def test_a_lost_root_of_the_chunks_is_made_up_for_page_by_page(tmp_path, filled):
    page = root(filled / "closed", "chunk")
    directory = hurt(tmp_path / "x", filled, "closed", DATABASE_FILE, zero_page(page))
    salvaged, books = await start(directory)
    assert salvaged.damaged == 0
    assert books["a/samsara"] == {"accepted": 210, "pending": 180, "delivered": 30}


async def test_a_broken_log_gives_up_what_stands_behind_the_break(tmp_path, filled):
    def change(content):
        content[20_000] ^= 1

    directory = hurt(tmp_path / "x", filled, "died", FILES[1], change)
    salvaged, books = await start(directory)
    assert "broken behind frame" in salvaged.reason
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED


async def test_a_log_that_is_shorter_than_its_index_says_is_damage(tmp_path, filled):
    directory = hurt(tmp_path / "x", filled, "died", FILES[1], lambda content: content[:40_000])
    salvaged, books = await start(directory)
    assert "frames" in salvaged.reason
    assert_adds_up(books)


def test_a_commit_that_a_power_cut_tore_is_no_damage(filled):
    log, index = filled / "died" / FILES[1], filled / "died" / "no-index"
    content = log.read_bytes()
    commits = [frame for frame in wal.scan(log, index, page_bytes=PAGE).frames if frame.commits]
    torn = bytearray(content[: commits[5].offset + PAGE])
    torn[commits[4].offset + 50 + PAGE] ^= 1
    copy = log.with_name("torn-wal")
    copy.write_bytes(torn)
    assert wal.scan(copy, index, page_bytes=PAGE).damage == ""


async def test_a_salvage_begins_a_new_epoch_and_keeps_device_and_journal(tmp_path, filled):
    directory = hurt(
        tmp_path / "x", filled, "closed", DATABASE_FILE, zero_page(root(filled / "closed", "lane"))
    )
    async with open_in(directory) as spool:
        epochs = await query(spool, "SELECT reason, device FROM epoch ORDER BY number")
        assert [reason for reason, _ in epochs] == ["created", "salvaged"]
        assert len({device for _, device in epochs}) == 1
        ((reason, set_aside, events),) = await query(spool, "SELECT reason, set_aside, events FROM salvage")
        assert (reason, set_aside) == (spool.salvaged.reason, spool.salvaged.set_aside)
        assert events == spool.salvaged.events
    async with open_in(directory) as spool:
        assert spool.salvaged is None


async def test_a_chunk_that_was_deleted_does_not_come_back(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, *[chunk(2, pad=300) for _ in range(100)])
        lane = await lane_of(spool)
        run = await spool.read(lambda connection: next_run(connection, lane, max_events=100))
        batch = await spool.read(lambda connection: batch_of(connection, lane, run))
        await spool.write(lambda connection: settle.seal(connection, batch, now=1))
        await spool.write(
            lambda connection: settle.delivered(
                connection, batch, run, settled=None, learned_limit=None, now=1
            )
        )
    content = bytearray((tmp_path / DATABASE_FILE).read_bytes())
    zero_page(root(tmp_path, "chunk"))(content)
    (tmp_path / DATABASE_FILE).write_bytes(content)
    aside.mark_damaged(tmp_path / DATABASE_FILE, "for the test")
    async with spool_in(tmp_path) as spool:
        assert await ledger(spool) == {"accepted": 200, "pending": 100, "delivered": 100}
        assert await query(spool, "SELECT sum(events) FROM chunk") == [(100,)]


async def test_a_garbled_row_of_a_chunk_ends_the_process_and_is_salvaged_next(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2), chunk(3), chunk(4))
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as connection:
        connection.execute("UPDATE chunk SET day = x'00ff' WHERE seq = 2")
    with pytest.raises(SpoolDamaged):  # noqa: PT012
        async with spool_in(tmp_path) as spool:
            lane = await lane_of(spool)
            await spool.read(lambda connection: next_run(connection, lane))
    async with spool_in(tmp_path) as spool:
        assert await ledger(spool) == {"accepted": 9, "pending": 6, "damaged": 3}
        assert spool.salvaged.damaged == 3


async def test_a_garbled_name_in_the_copies_costs_nothing(tmp_path, filled):
    directory = shutil.copytree(filled / "closed", tmp_path / "hurt")
    page = root(directory, "name_copy")
    content = bytearray((directory / DATABASE_FILE).read_bytes())
    content[content.index(b"lane", (page - 1) * PAGE, page * PAGE) + 2] ^= 32
    (directory / DATABASE_FILE).write_bytes(content)
    salvaged, books = await start_once(directory)
    assert salvaged.damaged == 0
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED


@pytest.mark.parametrize("table", ["stream", "upstream", "lane"])
async def test_a_garbled_number_of_a_row_costs_nothing_that_refers_to_it(tmp_path, filled, table):
    directory = shutil.copytree(filled / "closed", tmp_path / "hurt")
    with closing(sqlite3.connect(directory / DATABASE_FILE, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {table} SET id = id + 64 WHERE id = 2")  # noqa: S608 (the test's own)
    salvaged, books = await start(directory)
    assert salvaged.damaged == 0
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED


async def test_a_lanes_garbled_list_is_damage_and_no_defect(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        await change(spool, "UPDATE lane SET condemned = '[}'")
        with pytest.raises(SpoolDamaged):
            await spool.read(read.lanes)
    async with spool_in(tmp_path) as spool:
        assert spool.salvaged.events == 2
        assert (await lane_of(spool)).condemned == ()


async def test_a_flipped_bit_in_an_index_of_a_small_table_is_noticed_at_the_start(tmp_path, filled):
    directory = shutil.copytree(filled / "closed", tmp_path / "hurt")
    page = root(directory, "sqlite_autoindex_upstream_1")
    content = bytearray((directory / DATABASE_FILE).read_bytes())
    content[content.rindex(b"b", (page - 1) * PAGE, page * PAGE)] ^= 8
    (directory / DATABASE_FILE).write_bytes(content)
    salvaged, books = await start_once(directory)
    assert "upstream" in salvaged.reason
    assert {name: book["accepted"] for name, book in books.items()} == ACCEPTED


async def evict(spool):
    await spool.write(partial(retention.evict, wanted_bytes=1 << 20, in_flight=()))


@pytest.mark.parametrize("retain", [Spool.maintain, evict])
async def test_a_day_that_the_ledger_does_not_have_stops_no_retention_for_ever(tmp_path, retain):
    clocks = StandingClocks()
    options = {"clocks": clocks, "max_age": A_DAY}
    async with spool_in(tmp_path, **options) as spool:
        await accept(spool, chunk(2), chunk(3), chunk(4))
        await change(spool, "UPDATE chunk SET day = day + 1 WHERE seq = 2")
        clocks.pass_time(A_DAY + 1)
        with pytest.raises(SpoolDamaged):
            await retain(spool)
    async with spool_in(tmp_path, **options) as spool:
        assert spool.salvaged.damaged == 3
        await spool.maintain()
        assert await ledger(spool) == {"accepted": 9, "damaged": 3, "expired": 6}


@pytest.mark.parametrize("retain", [Spool.maintain, evict])
async def test_an_extent_that_has_anothers_chunk_ends_none_of_these(tmp_path, retain):
    clocks = StandingClocks()
    options = {"clocks": clocks, "max_age": A_DAY}
    async with spool_in(tmp_path, **options) as spool:
        await accept(spool, chunk(2), chunk(3, dialect="traintracks", product=PRODUCT), chunk(4))
        await change(spool, "UPDATE extent SET end_seq = end_seq + 1 WHERE first_seq = 1")
        clocks.pass_time(A_DAY + 1)
        await accept(spool, chunk(9))
        with pytest.raises(SpoolDamaged):
            await retain(spool)
    async with spool_in(tmp_path, **options) as spool:
        assert spool.salvaged.damaged == 0
        assert await ledger(spool) == {"accepted": 15, "pending": 15}
        assert await ledger(spool, f"main/traintracks/{PRODUCT}") == {"accepted": 3, "pending": 3}
        assert (await spool.read(verify)).problems == []


async def test_replayed_letters_and_their_counts_come_through_a_salvage(tmp_path):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(3), chunk(2))
        for _ in range(2):
            await bury(spool, name="a/samsara")
        done = await replay.replay(spool, Choice(ids=(1,)))
        assert done.replayed == 1
        before = {name: await ledger(spool, name) for name in ("a/samsara", "b/samsara")}
        streams = await query(
            spool, "SELECT next_position, replayed FROM stream JOIN stream_end ON stream = id"
        )
        assert (await spool.read(verify)).problems == []
    aside.mark_damaged(tmp_path / DATABASE_FILE, "for the test", certain=True)
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        assert spool.salvaged.damaged == 0
        assert (await spool.read(verify)).problems == []
        assert {name: await ledger(spool, name) for name in before} == before
        assert (
            await query(spool, "SELECT next_position, replayed FROM stream JOIN stream_end ON stream = id")
            == streams
            == [(6, 1)]
        )
        assert (await replay.replay(spool, Choice(all=True))).replayed == 1
        assert (await spool.read(verify)).problems == []


@pytest.mark.parametrize("table", ["absence", "stream", "counts", "lane", "dead_letter", "age_clock"])
async def test_a_replayed_chunk_stays_its_lanes_own_whatever_table_is_lost(tmp_path, table):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(3), chunk(2))
        for _ in range(2):
            await bury(spool, name="a/samsara")
        await replay.replay(spool, Choice(ids=(1,)))
    hurt_page = zero_page(root(tmp_path, table))
    content = bytearray((tmp_path / DATABASE_FILE).read_bytes())
    hurt_page(content)
    (tmp_path / DATABASE_FILE).write_bytes(content)
    aside.mark_damaged(tmp_path / DATABASE_FILE, "for the test")
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        assert spool.salvaged is not None
        assert (await spool.read(verify)).problems == []
        book = await ledger(spool, "b/samsara")
        assert (book["pending"], book["accepted"]) == (5, 5)
        await bury(spool, name="a/samsara")
        assert (await spool.read(verify)).problems == []
