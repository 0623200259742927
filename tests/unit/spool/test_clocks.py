"""What the spool makes of wrong clocks: ages over stops, days, and stamps of stretches."""

from __future__ import annotations

from functools import partial

import pytest
from fakes.clocks import A_DAY, START, StandingClocks
from fakes.damage import root, zero_page
from fakes.disks import let_fail
from fakes.spools import accept, chunk, database_of, ledger, query, spool_in

from collector.core.timekeeping import Moment, Trust
from collector.errors import SpoolUnavailable
from collector.spool import age, aside, boots
from collector.spool.directory import DATABASE_FILE
from collector.spool.identity import Machine

MAX_AGE = 30 * A_DAY
TEN_YEARS = 3652 * A_DAY


def at(boot: str) -> Machine:
    return Machine("machine-a", boot)


async def corrected(spool):
    """When each chunk was accepted, with what is known by now."""
    rows = await query(spool, "SELECT seq, boot, received_at FROM chunk ORDER BY seq")
    known = dict(await spool.read(partial(boots.corrections, stretches={boot for _, boot, _ in rows})))
    return [received_at + known.get(boot, 0) for _, boot, received_at in rows]


async def days(spool):
    return [day for (day,) in await query(spool, "SELECT day FROM chunk ORDER BY seq")]


# -- how long a stop was


async def stopped_for(tmp_path, off, *, before, after, max_age=MAX_AGE):
    """Accept, stop the machine, accept again; what expires then."""
    clocks = StandingClocks(confirmed=before)
    async with spool_in(tmp_path, clocks=clocks, machine=at("1"), max_age=max_age) as spool:
        await accept(spool, chunk(2))
        clocks.pass_time(1)
        await spool.maintain()
    later = StandingClocks(wall=clocks.wall + off, age=clocks.age)
    async with spool_in(tmp_path, clocks=later, machine=at("2"), max_age=max_age) as spool:
        await accept(spool, chunk(3, received_at=later.wall))
        # As it is in life: not confirmed from the first moment on.
        later.confirmed = after
        expired = await spool.maintain()
        return expired.get("main/samsara", 0), await ledger(spool)


@pytest.mark.parametrize("off", [MAX_AGE, 2 * MAX_AGE, TEN_YEARS])
async def test_a_stop_whose_ends_were_confirmed_counts_for_what_was_accepted_before_it(tmp_path, off):
    assert await stopped_for(tmp_path, off, before=True, after=True) == (
        2,
        {"accepted": 5, "pending": 3, "expired": 2},
    )


async def test_a_stop_that_was_too_short_ends_nothing(tmp_path):
    assert (await stopped_for(tmp_path, MAX_AGE - 1, before=True, after=True))[0] == 0


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("off", [MAX_AGE, TEN_YEARS, -TEN_YEARS])
async def test_a_stop_of_which_an_end_is_in_doubt_ends_nothing(tmp_path, before, after, off):
    assert (await stopped_for(tmp_path, off, before=before, after=after))[0] == 0


async def test_confirmed_clocks_that_go_back_over_a_stop_end_nothing(tmp_path):
    assert (await stopped_for(tmp_path, -TEN_YEARS, before=True, after=True))[0] == 0


async def test_several_stops_add_up_and_starts_that_were_never_confirmed_are_spared(tmp_path):
    clocks = StandingClocks(confirmed=True)
    for number, confirmed in enumerate((True, True, False, True), start=1):
        clocks.confirmed = confirmed
        async with spool_in(tmp_path, clocks=clocks, machine=at(str(number)), max_age=TEN_YEARS) as spool:
            await accept(spool, chunk(1))
            clocks.pass_time(1000)
            await spool.maintain()
        clocks.wall += 10 * A_DAY
    async with spool_in(tmp_path, clocks=clocks, machine=at("5"), max_age=TEN_YEARS) as spool:
        clocks.confirmed = True
        await spool.maintain()
        stops = await query(spool, "SELECT age, missed FROM stop ORDER BY age")
        # Start 3 lies somewhere within the twenty days between 2 and 4; it is taken to be at their end.
        assert stops == [(1000, 10 * A_DAY), (2000, 20 * A_DAY), (4000, 10 * A_DAY)]
        find = partial(age.accepted_before, age=clocks.age)
        # The first event is 40 days and 4 s old, the second 30 days and 3 s, the others 10 days and less.
        bounds = {
            40 * A_DAY + 4000: [0],
            40 * A_DAY + 3999: [1],
            30 * A_DAY + 3000: [1],
            30 * A_DAY + 2999: [2],
            10 * A_DAY + 2000: [2],
            10 * A_DAY + 1999: [3],
            10 * A_DAY + 999: [4],
            500: [4],
        }
        for max_age, [expected] in bounds.items():
            before = await spool.read(partial(find, max_age=max_age))
            assert await query(spool, "SELECT count(*) FROM chunk WHERE accepted_age < ?", before) == [
                (expected,)
            ], max_age


async def test_a_wall_clock_that_is_set_between_two_confirmations_of_one_start_is_no_stop(tmp_path):
    clocks = StandingClocks(confirmed=True)
    async with spool_in(tmp_path, clocks=clocks, max_age=MAX_AGE) as spool:
        await accept(spool, chunk(1))
        await spool.maintain()
        clocks.wall += TEN_YEARS
        assert await spool.maintain() == {}
        assert await query(spool, "SELECT count(*) FROM stop") == [(0,)]


async def test_a_stop_of_which_the_commit_failed_is_counted_once_by_the_next(tmp_path):
    clocks = StandingClocks(confirmed=True)
    async with spool_in(tmp_path, clocks=clocks, machine=at("1")) as spool:
        await accept(spool, chunk(1))
    clocks.wall += A_DAY
    clocks.confirmed = False
    async with spool_in(tmp_path, clocks=clocks, machine=at("2")) as spool:
        clocks.confirmed = True
        database = database_of(spool)
        real = database.connection
        let_fail(database, "COMMIT")
        with pytest.raises(SpoolUnavailable):
            await spool.maintain()
        database.connection = real
        await spool.maintain()
        await spool.maintain()
        assert await query(spool, "SELECT missed FROM stop") == [(A_DAY,)]


# -- stamps


async def test_stamps_of_1970_are_corrected_once_the_clock_is_right(tmp_path):
    clocks = StandingClocks(wall=60_000, good=False)
    async with spool_in(tmp_path, clocks=clocks) as spool:
        for _ in range(2):
            await accept(spool, chunk(1, received_at=clocks.wall))
            clocks.pass_time(5000)
        assert await corrected(spool) == [60_000, 65_000]
        clocks.wall, clocks.good = START, True
        await accept(spool, chunk(1, received_at=clocks.wall))
        assert await corrected(spool) == [START - 10_000, START - 5000, START]
        # The day of acceptance stays unknown: the ledger was counted by it.
        assert await days(spool) == [0, 0, START // A_DAY]
        # Stamps made since are left alone, whatever the clock does.
        clocks.wall += TEN_YEARS
        await accept(spool, chunk(1, received_at=clocks.wall))
        assert await corrected(spool) == [START - 10_000, START - 5000, START, START + TEN_YEARS]


async def test_a_clock_that_was_only_plausible_is_corrected_when_one_is_confirmed(tmp_path):
    """As of a machine that starts with the time at which it was switched off."""
    clocks = StandingClocks(wall=START)
    async with spool_in(tmp_path, clocks=clocks) as spool:
        await accept(spool, chunk(1, received_at=START))
        clocks.pass_time(1000)
        clocks.wall += 20 * A_DAY
        clocks.confirmed = True
        await spool.write(lambda _: None)  # any commit learns of it
        assert await corrected(spool) == [START + 20 * A_DAY]
        clocks.confirmed = False
        clocks.wall -= TEN_YEARS
        await accept(spool, chunk(1, received_at=clocks.wall))
        clocks.wall += TEN_YEARS + 1000
        clocks.confirmed = True
        await accept(spool, chunk(1, received_at=clocks.wall))
        right = START + 1000 + 20 * A_DAY
        # A confirmed stretch is never corrected; the one set wrong after it is.
        assert await corrected(spool) == [START + 20 * A_DAY, right + 1000, right + 1000]


async def test_what_is_not_of_this_start_is_not_corrected(tmp_path):
    clocks = StandingClocks(wall=60_000, good=False)
    async with spool_in(tmp_path, clocks=clocks, machine=at("1")) as spool:
        await accept(spool, chunk(1, received_at=clocks.wall))
    async with spool_in(tmp_path, clocks=StandingClocks(confirmed=True), machine=at("2")) as spool:
        await accept(spool, chunk(1))
        assert await corrected(spool) == [60_000, START]


async def test_a_restart_of_the_daemon_alone_keeps_what_its_start_was_wrong_by(tmp_path):
    clocks = StandingClocks(wall=60_000, good=False)
    async with spool_in(tmp_path, clocks=clocks) as spool:
        await accept(spool, chunk(1, received_at=clocks.wall))
    clocks.wall, clocks.good, clocks.confirmed = START, True, True
    async with spool_in(tmp_path, clocks=clocks) as spool:
        assert await corrected(spool) == [START]
    clocks.confirmed = False
    async with spool_in(tmp_path, clocks=clocks) as spool:
        assert await query(spool, "SELECT trust, clock_offset FROM boot ORDER BY id") == [
            (Trust.UNKNOWN, START - 60_000),
            (Trust.CONFIRMED, None),
        ]


async def test_a_request_that_waited_while_the_clock_was_set_is_of_the_stretch_of_its_stamp(tmp_path):
    clocks = StandingClocks(wall=60_000, good=False)
    async with spool_in(tmp_path, clocks=clocks) as spool:
        await accept(spool, chunk(1, received_at=clocks.wall))
        waiting = chunk(1, received_at=clocks.wall + 10)
        clocks.pass_time(30)
        clocks.wall, clocks.good = START, True
        await accept(spool, waiting)
        assert await corrected(spool) == [START - 30, START - 20]
        assert await days(spool) == [0, 0]


async def test_what_a_failed_commit_noted_is_noted_again(tmp_path):
    clocks = StandingClocks(wall=60_000, good=False)
    async with spool_in(tmp_path, clocks=clocks) as spool:
        await accept(spool, chunk(1, received_at=clocks.wall))
        clocks.wall, clocks.good = START, True
        database = database_of(spool)
        real = database.connection
        let_fail(database, "COMMIT")
        with pytest.raises(SpoolUnavailable):
            await accept(spool, chunk(1, received_at=START))
        database.connection = real
        await accept(spool, chunk(1, received_at=START))
        assert await corrected(spool) == [START, START]


def test_a_stretch_goes_on_while_the_clock_only_runs_and_is_trusted_alike():
    stretch = boots.Stretch(1, base=5000, trust=Trust.PLAUSIBLE)

    def moment(base, trust=Trust.PLAUSIBLE):
        return Moment(wall=base + 70, ticks=70, age=0, trust=trust, newest=0)

    assert [stretch.goes_on(moment(base)) for base in (3999, 4000, 6000, 6001)] == [False, True, True, False]
    assert not stretch.goes_on(moment(5000, Trust.UNKNOWN))
    assert not stretch.goes_on(moment(5000, Trust.CONFIRMED))
    confirmed = boots.Stretch(1, base=5000, trust=Trust.CONFIRMED)
    assert confirmed.goes_on(moment(5000))
    assert not confirmed.goes_on(moment(5000, Trust.UNKNOWN))


@pytest.mark.parametrize("lost", [(), ("age_clock",)])
async def test_corrections_and_ages_come_through_a_salvage(tmp_path, lost):
    clocks = StandingClocks(wall=60_000, good=False)
    options = {"clocks": clocks, "max_age": MAX_AGE}
    async with spool_in(tmp_path, machine=at("1"), **options) as spool:
        await accept(spool, chunk(2, received_at=clocks.wall))
        clocks.pass_time(A_DAY)
        clocks.wall, clocks.good, clocks.confirmed = START, True, True
        await accept(spool, chunk(3, received_at=clocks.wall))
        before = await corrected(spool)
        assert before == [START - A_DAY, START]
        clocks.pass_time(A_DAY)
        await spool.maintain()
    clocks.wall += 10 * A_DAY
    async with spool_in(tmp_path, machine=at("2"), **options) as spool:
        await spool.maintain()
        assert await query(spool, "SELECT missed FROM stop") == [(10 * A_DAY,)]
    for table in lost:
        zeroed = zero_page(root(tmp_path, table))
        content = bytearray((tmp_path / DATABASE_FILE).read_bytes())
        zeroed(content)
        (tmp_path / DATABASE_FILE).write_bytes(content)
    aside.mark_damaged(tmp_path / DATABASE_FILE, "for the test", certain=True)
    async with spool_in(tmp_path, machine=at("2"), **options) as spool:
        assert spool.salvaged.events == 5
        assert await corrected(spool) == before
        # The first is 12 days old, the second 11.
        clocks.pass_time(MAX_AGE - 12 * A_DAY)
        assert await spool.maintain() == {}
        clocks.pass_time(1)
        assert await spool.maintain() == {"main/samsara": 2}
        clocks.pass_time(A_DAY)
        assert await spool.maintain() == {"main/samsara": 3}
