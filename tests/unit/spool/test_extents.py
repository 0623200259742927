"""Extents say which chunks are whose, and are hardly written to."""

from __future__ import annotations

import json
from functools import partial
from random import Random  # noqa: TID251 (seeded)

import pytest
from fakes.clocks import A_DAY, StandingClocks
from fakes.disks import let_fail
from fakes.letters import bury, deliver
from fakes.spool_checks import check_extents
from fakes.spools import PRODUCT, accept, change, chunk, database_of, lane_of, ledger, query, spool_in, wanted

from collector.errors import SpoolDamaged, SpoolUnavailable
from collector.spool import read, replay
from collector.spool.extents import END, IN_ORDER, LAST_FIRST, chunks_of
from collector.spool.items import Append
from collector.spool.letters import Choice
from collector.spool.overview import overview
from collector.spool.passage import release
from collector.spool.retention import evict, expire
from collector.spool.spool import Spool
from collector.spool.tickets import Ticket
from collector.spool.verify import verify

OTHER = f"main/traintracks/{PRODUCT}"


def other(events: int = 1):
    event = {"eventType": "e", "clientTimestamp": "2027-01-15T08:00:00.000000+00:00", "data": {}}
    return chunk(events, dialect="traintracks", product=PRODUCT, body=json.dumps([event] * events).encode())


def commit(spool, *new):
    appends = [Append(one, Ticket()) for one in new]
    errors = []
    for append in appends:
        append.ticket.then(errors.append)
    spool._writer._committer.commit(appends)()
    assert errors == [None] * len(appends)


async def extents(spool):
    await spool.read(check_extents)
    assert (await spool.read(verify)).problems == []
    return await query(spool, "SELECT stream, first_seq, end_seq FROM extent ORDER BY first_seq")


async def test_nothing_is_written_while_one_stream_grows(tmp_path):
    for _ in range(2):
        async with spool_in(tmp_path) as spool:
            await accept(spool, chunk(1))
            disk = let_fail(database_of(spool))
            for _ in range(3):
                await accept(spool, chunk(1), chunk(2))
                await deliver(spool)
            assert not [statement for statement in disk.statements if statement.startswith("UPDATE extent")]
            assert await extents(spool) == [(1, 1, END)]
            await accept(spool, chunk(1))


async def test_a_chunk_of_another_stream_ends_the_open_extent_and_begins_the_next(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), chunk(1))
        await accept(spool, other())
        assert await extents(spool) == [(1, 1, 3), (2, 3, END)]
    async with spool_in(tmp_path) as spool:
        await accept(spool, other())
        await accept(spool, chunk(1))
        assert await extents(spool) == [(1, 1, 3), (2, 3, 5), (1, 5, END)]


async def test_what_shares_a_commit_begins_one_extent_a_stream_and_keeps_the_order_in_each(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), other())
        commit(spool, chunk(3), other(4), chunk(5), other(6))
        assert await query(spool, "SELECT stream, first_position, events FROM chunk WHERE seq > 2") == [
            (2, 1, 4),
            (2, 5, 6),
            (1, 1, 3),
            (1, 4, 5),
        ]
        assert await extents(spool) == [(1, 1, 2), (2, 2, 5), (1, 5, END)]
        assert len(await deliver(spool)) == 9


@pytest.mark.parametrize("known", [True, False])
async def test_an_empty_extent_that_grows_and_is_ended_by_the_same_commit_stays(tmp_path, known):
    async with spool_in(tmp_path) as spool:
        if known:
            await accept(spool, other())
            await deliver(spool, name=OTHER)
        await accept(spool, chunk(1))
        await deliver(spool)
        commit(spool, chunk(1), other(), chunk(2))
        expected = [(2, 2, 5), (1, 5, END)] if known else [(1, 1, 3), (2, 3, 4), (1, 4, END)]
        assert await extents(spool) == expected
        assert len(await deliver(spool)) == 3


async def test_an_extent_goes_with_the_last_of_its_chunks_and_the_open_one_when_it_ends(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), other(), chunk(1), other())
        assert len(await extents(spool)) == 4
        assert len(await deliver(spool)) == 2
        assert await extents(spool) == [(2, 2, 3), (2, 4, END)]
        assert len(await deliver(spool, name=OTHER)) == 2
        assert await extents(spool) == [(2, 4, END)]
        await accept(spool, chunk(1))
        assert await extents(spool) == [(1, 5, END)]


async def test_an_extent_of_which_a_lane_still_needs_a_chunk_stays(tmp_path):
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        await accept(spool, chunk(1), chunk(1), other(), chunk(1))
        await deliver(spool)
        assert await extents(spool) == [(1, 1, 3), (2, 3, 4), (1, 4, END)]
        assert len(await deliver(spool, name="second/samsara")) == 3
        assert await extents(spool) == [(2, 3, 4), (1, 4, END)]


async def test_replayed_letters_begin_an_extent_of_their_stream(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), chunk(1), other())
        await bury(spool, 2)
        assert (await replay.replay(spool, Choice(all=True))).replayed == 2
        await accept(spool, chunk(1))
        await accept(spool, other())
        assert await extents(spool) == [(2, 3, 4), (1, 4, 6), (2, 6, END)]
        assert len(await deliver(spool)) == 3


@pytest.mark.parametrize("failing", ["COMMIT", "INSERT INTO chunk", "UPDATE extent"])
async def test_a_commit_that_fails_ends_no_extent(tmp_path, failing):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), other())
        await accept(spool, chunk(1))
        disk = let_fail(database_of(spool), failing)
        with pytest.raises(SpoolUnavailable):
            await accept(spool, other())
        disk.failing.clear()
        assert await extents(spool) == [(1, 1, 2), (2, 2, 3), (1, 3, END)]
        await accept(spool, chunk(1))
        await accept(spool, other())
        assert await extents(spool) == [(1, 1, 2), (2, 2, 3), (1, 3, 5), (2, 5, END)]


async def test_each_lane_finds_its_own_chunks_among_those_of_others(tmp_path):
    async with spool_in(tmp_path) as spool:
        for _ in range(5):
            await accept(spool, chunk(1), other(), other(), chunk(2))
        view = await spool.read(overview)
        assert [(lane.name, lane.pending_events) for lane in view.lanes] == [
            ("main/samsara", 15),
            (OTHER, 10),
        ]
        assert all(lane.oldest_received_at for lane in view.lanes)
        assert len(await deliver(spool)) == 15
        assert len(await deliver(spool, name=OTHER)) == 10


async def test_what_a_damaged_extent_says_deletes_no_chunk_of_another_stream(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), other(), chunk(1))
        await change(spool, "UPDATE extent SET end_seq = 4 WHERE first_seq = 1")
        await change(spool, "UPDATE lane SET cursor_seq = 4")
        await spool.write(lambda connection: release(connection, 1, 0, END))
        assert await query(spool, "SELECT seq, stream FROM chunk") == [(2, 2)]


async def test_anothers_chunk_is_no_damaged_chunk_of_ones_own(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), other(), chunk(1))
        await change(spool, "UPDATE extent SET end_seq = 4 WHERE first_seq = 1")
        with pytest.raises(SpoolDamaged, match="chunk 2 is of stream 2, and in an extent of stream 1"):
            await spool.read(lambda connection: list(read.chunks(connection, 1, from_seq=2)))


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(Spool.maintain, id="expiry"),
        pytest.param(
            lambda spool: spool.write(partial(evict, wanted_bytes=1 << 30, in_flight=frozenset())),
            id="eviction",
        ),
    ],
)
async def test_what_ends_the_oldest_events_passes_over_no_hidden_chunk(tmp_path, end, hidden):
    clocks = StandingClocks()
    async with spool_in(tmp_path, clocks=clocks, max_age=A_DAY) as spool:
        await accept(spool, chunk(1), other(), chunk(2), other(), chunk(4))
        await change(spool, "DELETE FROM extent WHERE first_seq = ?", hidden)
        clocks.pass_time(A_DAY + 1)
        with pytest.raises(SpoolDamaged, match="events are missing from position"):
            await end(spool)
    async with spool_in(tmp_path, clocks=clocks) as spool:
        assert await query(spool, "SELECT count(*) FROM chunk") == [(5,)]
        assert (await ledger(spool))["pending"] == 7


SIDE = 2
"""The lane side/samsara."""


async def away_for_a_time(tmp_path, *before):
    """A spool whose lane main/samsara has an absence, over chunk 5, behind what was accepted `before`."""
    async with spool_in(tmp_path, wanted("main"), wanted("side")) as spool:
        await accept(spool, *before)
    async with spool_in(tmp_path, wanted("side")) as spool:
        await accept(spool, *([other()] * (4 - len(before))), chunk(8))


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(deliver, id="delivery"),
        pytest.param(
            lambda spool: spool.write(partial(expire, accepted_before=A_DAY, in_flight=[SIDE])), id="expiry"
        ),
        pytest.param(
            lambda spool: spool.write(partial(evict, wanted_bytes=1 << 30, in_flight=(), upstream="main")),
            id="eviction",
        ),
    ],
)
async def test_a_lane_leaps_over_no_chunk_that_is_hidden_before_an_absence(tmp_path, end):
    await away_for_a_time(tmp_path, chunk(1), other(), chunk(2))
    async with spool_in(tmp_path, wanted("main"), wanted("side")) as spool:
        assert (await lane_of(spool, "side/samsara")).id == SIDE
        await change(spool, "DELETE FROM extent WHERE first_seq = 3")
        with pytest.raises(SpoolDamaged, match="chunks of lane 1 are missing before chunk 4"):
            await end(spool)
    async with spool_in(tmp_path, wanted("main"), wanted("side")) as spool:
        assert spool.salvaged is not None
        assert await ledger(spool) == {"accepted": 3, "pending": 3}
        assert len(await deliver(spool)) == 3
        assert await ledger(spool, "side/samsara") == {"accepted": 11, "pending": 11}


async def test_what_a_lane_has_passed_is_proved_and_where_it_is_wrong_the_next_start_salvages(tmp_path):
    await away_for_a_time(tmp_path, chunk(1), other(), chunk(2))
    async with spool_in(tmp_path, wanted("main"), wanted("side")) as spool:
        assert (await spool.read(verify)).problems == []
        await change(spool, "UPDATE lane SET passed_bytes = passed_bytes + 64 WHERE id = 1")
        assert (await spool.read(verify)).problems == [
            "main/samsara: its chunks before chunk 4 do not take what was accepted"
        ]
        with pytest.raises(SpoolDamaged, match="chunks of lane 1 are missing before chunk 4"):
            await deliver(spool)
    async with spool_in(tmp_path, wanted("main"), wanted("side")) as spool:
        assert spool.salvaged is not None
        assert len(await deliver(spool)) == 3


@pytest.mark.parametrize("there", [("main", "side"), ("side",)])
async def test_a_hidden_chunk_between_a_lane_and_its_absence_is_damage_at_the_start(tmp_path, there):
    await away_for_a_time(tmp_path, chunk(2), other())
    upstreams = [wanted(name) for name in there]
    async with spool_in(tmp_path, *upstreams) as spool:
        await change(spool, "DELETE FROM extent WHERE first_seq = 1")
    async with spool_in(tmp_path, *upstreams) as spool:
        assert "stands at event 0, and there is no chunk of it" in spool.salvaged.reason
        assert await ledger(spool) == {"accepted": 2, "pending": 2}


@pytest.mark.parametrize("ends", [0, 1, 2])
async def test_a_new_upstream_that_begins_at_the_oldest_leaps_over_what_is_not_its_own(tmp_path, ends):
    """Between what one that left still keeps and the tail; what it comes upon meanwhile is all there is."""
    async with spool_in(tmp_path, wanted("old")) as spool:
        await accept(spool, chunk(1), other(), chunk(2))
    async with spool_in(tmp_path, wanted("main")) as spool:
        await accept(spool, chunk(4), other())
        await deliver(spool)
        await accept(spool, *[chunk(8)] * ends)
    async with spool_in(tmp_path, wanted("main"), wanted("new", from_oldest=True)) as spool:
        await accept(spool, chunk(16))
        assert len(await deliver(spool, name="new/samsara")) == 3 + 8 * ends + 16


async def test_an_extent_that_begins_where_no_chunk_is_yet_is_damage(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1), other())
        await change(spool, "INSERT INTO extent VALUES (1, 3, 5)")
        spool._writer._committer._store.forget()
        with pytest.raises(SpoolDamaged, match="begins at chunk 3"):
            await accept(spool, chunk(1))
    async with spool_in(tmp_path) as spool:
        assert spool.salvaged is not None
        await accept(spool, chunk(1))
        assert await extents(spool) == [(1, 1, 2), (2, 2, 3), (1, 3, END)]


async def test_a_lane_whose_next_chunk_is_in_no_extent_is_damage_at_the_start(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        await change(spool, "DELETE FROM extent")
    async with spool_in(tmp_path) as spool:
        assert "stands at event 0, and there is no chunk of it" in spool.salvaged.reason
        assert spool.salvaged.damaged == 0
        assert len(await deliver(spool)) == 2


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_shares_a_commit_and_is_delivered_meanwhile_each_chunk_is_in_its_extent(
    tmp_path, seed
):
    dice = Random(seed)  # noqa: S311
    sent = {"main/samsara": 0, OTHER: 0}
    accepted = dict.fromkeys(sent, 0)
    for _ in range(3):
        async with spool_in(tmp_path) as spool:
            await accept(spool, chunk(1), other())
            for name in accepted:
                accepted[name] += 1
            for name in dice.choices([*sent], k=20):
                group = dice.choices([*sent], k=dice.randint(1, 5))
                commit(spool, *[chunk(1) if one == "main/samsara" else other() for one in group])
                for one in group:
                    accepted[one] += 1
                if dice.random() < 0.7:
                    sent[name] += len(await deliver(spool, name=name))
                await spool.read(check_extents)
    async with spool_in(tmp_path) as spool:
        await extents(spool)
        for name in sent:
            sent[name] += len(await deliver(spool, name=name))
    assert sent == accepted


@pytest.mark.parametrize("order", [IN_ORDER, LAST_FIRST])
async def test_a_streams_chunks_come_in_order_without_being_sorted(tmp_path, order):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(1))
        selection = f"EXPLAIN QUERY PLAN SELECT body FROM {chunks_of('?1', first='?2', end='?3')} {order}"  # noqa: S608
        plan = [step for *_, step in await query(spool, selection, 1, 1, END)]
    assert not [step for step in plan if "TEMP B-TREE" in step or "SCAN" in step]
