"""A chunk's number is given out once: lanes stand at numbers, and what came under one again would be lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from fakes.damage import root, zero_page
from fakes.letters import bury, deliver
from fakes.spools import PRODUCT, accept, chunk, query, spool_in, wanted

from collector.errors import SpoolDamaged
from collector.spool import aside, examine, replay
from collector.spool.directory import DATABASE_FILE
from collector.spool.letters import Choice
from collector.spool.verify import verify


async def numbers(spool):
    return [seq for (seq,) in await query(spool, "SELECT seq FROM chunk ORDER BY seq")]


async def test_no_number_of_another_stream_is_given_out_again_after_all_was_delivered(tmp_path):
    lanes = ("main/samsara", f"main/traintracks/{PRODUCT}")
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), chunk(1, dialect="traintracks", product=PRODUCT))
        for lane in lanes:
            await deliver(spool, name=lane)
        assert await numbers(spool) == []
        await accept(spool, chunk(1))
        assert await numbers(spool) == [3]
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1, dialect="traintracks", product=PRODUCT))
        assert await numbers(spool) == [3, 4]


async def test_what_is_replayed_takes_the_next_number_and_uses_it_up(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), chunk(1))
        await bury(spool, 2)
        assert (await replay.replay(spool, Choice(all=True))).replayed == 2
        (replayed,) = await numbers(spool)
        assert replayed == 3
        await deliver(spool)
    async with spool_in(tmp_path) as spool:
        assert await numbers(spool) == []
        await accept(spool, chunk(1))
        assert await numbers(spool) == [4]


async def test_an_upstream_that_is_away_while_all_is_delivered_comes_back_behind_it(tmp_path):
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(1))
        await deliver(spool, name="b/samsara")
    async with spool_in(tmp_path, wanted("a")) as spool:
        await accept(spool, chunk(1))
        await deliver(spool, name="a/samsara")
        assert await numbers(spool) == []
    async with spool_in(tmp_path, wanted("a"), wanted("b")) as spool:
        await accept(spool, chunk(1))
        assert await numbers(spool) == [3]
        assert len(await deliver(spool, name="b/samsara")) == 1
        assert (await spool.read(verify)).problems == []


def change_in(directory, sql):
    with closing(sqlite3.connect(directory / DATABASE_FILE, isolation_level=None)) as connection:
        connection.execute(sql)


LOWERED = "UPDATE counts SET last_seq = last_seq & ~4"


@pytest.mark.parametrize("hurt_by", ["nothing", "a lost page", "a flipped bit"])
async def test_no_number_is_given_out_again_after_a_salvage(tmp_path, hurt_by):
    async with spool_in(tmp_path) as spool:
        await accept(spool, *[chunk(2) for _ in range(5)])
        await deliver(spool)
    database = tmp_path / DATABASE_FILE
    match hurt_by:
        case "a lost page":
            content = bytearray(database.read_bytes())
            zero_page(root(tmp_path, "counts"))(content)
            database.write_bytes(content)
        case "a flipped bit":
            change_in(tmp_path, LOWERED)
        case _:
            aside.mark_damaged(database, "for the test", certain=True)
    async with spool_in(tmp_path) as spool:
        assert spool.salvaged is not None
        await accept(spool, chunk(2))
        assert await query(spool, "SELECT seq, first_position FROM chunk") == [(6, 10)]
        assert len(await deliver(spool)) == 2


GARBLED = {
    "a cursor": "UPDATE lane SET cursor_position = cursor_position + 64 WHERE id = 2",
    "a stream's end": "UPDATE counts SET next_position = next_position + 64 WHERE last_seq",
}


@pytest.mark.parametrize("sql", GARBLED.values(), ids=GARBLED)
@pytest.mark.parametrize("left_before", [False, True])
async def test_an_upstream_may_leave_where_a_salvage_finds_positions_behind_the_last_chunk(
    tmp_path, sql, left_before
):
    both, one = (wanted("a"), wanted("b")), wanted("b")
    async with spool_in(tmp_path, *both) as spool:
        await accept(spool, chunk(2), chunk(3))
        await bury(spool, 1, name="a/samsara")
    if left_before:
        async with spool_in(tmp_path, one):
            pass
    change_in(tmp_path, sql)
    async with spool_in(tmp_path, *([one] if left_before else both)) as spool:
        assert spool.salvaged.notes == ()
    async with spool_in(tmp_path, one) as spool:
        assert await query(spool, "SELECT count(*) FROM dead_letter") == [(1,)]
        await accept(spool, chunk(8))
    async with spool_in(tmp_path, *both) as spool:
        await accept(spool, chunk(16))
        assert len(await deliver(spool, name="a/samsara")) == 4 + 16
        assert len(await deliver(spool, name="b/samsara")) == 5 + 8 + 16
        assert (await spool.read(verify)).problems == []


@pytest.mark.parametrize("drained", [False, True])
async def test_a_last_number_that_is_too_low_is_damage(tmp_path, drained):
    async with spool_in(tmp_path) as spool:
        await accept(spool, *[chunk(2) for _ in range(5)])
        if drained:
            await deliver(spool)
    change_in(tmp_path, LOWERED)
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as connection:
        with pytest.raises(SpoolDamaged):
            examine.examine(connection)
        problems = verify(connection).problems
    (problem,) = problems
    assert ("stands beyond" if drained else "is numbered beyond") in problem
