from __future__ import annotations

from fakes.letters import bury
from fakes.spools import accept, change, chunk, spool_in

from collector.core.days import UNKNOWN_DAY
from collector.spool.glance import MAX_DAYS, MAX_LETTERS, glance


async def look(spool, day=None):
    return await spool.read(lambda connection: glance(connection, day))


async def test_days_are_summed_over_lanes_and_bounded(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2), chunk(3, dialect="traintracks", product="p"))
        await change(spool, "DELETE FROM counts WHERE lane > 0")
        for day in (UNKNOWN_DAY, *range(20_000, 20_000 + MAX_DAYS + 3)):
            await change(
                spool,
                "INSERT INTO counts (lane, stream, day, accepted, delivered)"
                " SELECT id, stream, ?, ?, ? FROM lane",
                day,
                7,
                7,
            )
        days = (await look(spool)).days
        assert len(days) == MAX_DAYS + 1
        assert days[0].day > days[1].day
        assert days[-1].day == "unknown"
        assert all(day.accepted == day.delivered == 14 for day in days)


async def test_a_day_is_shown_by_lane(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        await change(spool, "UPDATE counts SET day = 20000 WHERE lane > 0")
        assert [(row.lane, row.accepted) for row in (await look(spool, 20_000)).day] == [("main/samsara", 2)]
        assert (await look(spool, 19_999)).day == []
        assert (await look(spool)).day == []


async def test_the_oldest_letters_are_shown_and_all_counted(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(MAX_LETTERS + 2))
        await bury(spool, MAX_LETTERS + 2)
        found = await look(spool)
        assert [letter.id for letter in found.letters] == list(range(1, MAX_LETTERS + 1))
        assert found.kept_letters == MAX_LETTERS + 2
