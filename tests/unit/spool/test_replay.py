"""Replaying: dead letters are pending events again, of their own lane alone, in order at its tail."""

from __future__ import annotations

import json

import pytest
from fakes.clocks import A_DAY, START, StandingClocks
from fakes.disks import let_fail
from fakes.letters import bury, deliver, kept
from fakes.spools import (
    accept,
    bulk,
    change,
    chunk,
    database_of,
    lane_of,
    ledger,
    positions,
    query,
    snapshot,
    spool_in,
    wanted,
)

from collector.errors import SpoolNoSpace, SpoolUnavailable
from collector.spool import read, replay, retention
from collector.spool.lanes import position_after
from collector.spool.letters import Choice, UnknownLane
from collector.spool.replay import LedgerDisagrees, Replayed

EVERYTHING = Choice(all=True)
SECOND = "second/samsara"


@pytest.fixture
async def spool(tmp_path):
    async with spool_in(tmp_path) as opened:
        yield opened


@pytest.fixture
async def shared(tmp_path):
    """A spool with two upstreams that take the same events."""
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as opened:
        yield opened


async def pending(spool, name="main/samsara"):
    lane = await lane_of(spool, name)
    return await spool.read(lambda connection: positions(connection, lane))


def numbers(events):
    return [json.loads(bytes(event))["n"] for event in events]


async def test_a_replayed_letter_is_pending_once_more_at_the_tail(spool):
    await accept(spool, chunk(3))
    await bury(spool, 2)
    dead = [bytes(letter.event) for letter in await kept(spool)]
    await accept(spool, chunk(1))
    assert await replay.replay(spool, EVERYTHING) == Replayed(replayed=2, damaged=0, away=0)
    assert await kept(spool) == []
    assert await ledger(spool) == {"accepted": 4, "pending": 4}
    assert await pending(spool) == [2, 3, 4, 5]
    assert (await deliver(spool))[2:] == dead
    assert await ledger(spool) == {"accepted": 4, "delivered": 4}
    assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]


async def test_what_is_accepted_after_a_replay_follows_it(spool):
    await accept(spool, chunk(2))
    await bury(spool, 2)
    await replay.replay(spool, EVERYTHING)
    await accept(spool, chunk(2))
    assert await pending(spool) == [2, 3, 4, 5]
    assert await query(spool, "SELECT seq, first_position, events FROM chunk") == [(2, 2, 2), (3, 4, 2)]


async def test_a_lane_that_is_not_admitted_is_let_in_by_what_it_replays(tmp_path):
    upstreams = wanted("main", max_bytes=2000), wanted("second")
    async with spool_in(tmp_path, *upstreams) as spool:
        await accept(spool, chunk(1))
        await bury(spool, 1)
        await accept(spool, bulk(2000), bulk(1))
        assert await ledger(spool) == {"accepted": 3, "pending": 1, "dead": 1, "evicted": 1}
        assert await replay.replay(spool, EVERYTHING) == Replayed(replayed=1, damaged=0, away=0)
        assert await ledger(spool) == {"accepted": 3, "pending": 2, "evicted": 1}
        seqs = "SELECT from_seq, to_seq, to_position, to_bytes - from_bytes FROM absence WHERE lane = ?"
        lane = await lane_of(spool)
        assert await query(spool, seqs, lane.id) == [(3, 4, 3, 1)]
        # It is full still.
        await accept(spool, bulk(1))
        assert (await ledger(spool))["evicted"] == 2
        assert {item.name: item.bytes for item in await spool.read(retention.backlogs)}["main/samsara"] > 2000


async def test_while_the_disk_is_full_nothing_is_replayed_and_the_letters_stay(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        await bury(spool, 1)
        connection = database_of(spool).connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(SpoolNoSpace):
            await accept(spool, bulk(1 << 20))
        with pytest.raises(SpoolNoSpace, match="no room left"):
            await replay.replay(spool, EVERYTHING)
        assert await ledger(spool) == {"accepted": 2, "pending": 1, "dead": 1}
        connection.execute(f"PRAGMA max_page_count={1 << 30}")
        await spool.maintain()
        assert await replay.replay(spool, EVERYTHING) == Replayed(replayed=1, damaged=0, away=0)


async def test_only_the_chosen_letters_are_replayed(spool):
    await accept(spool, chunk(4))
    await bury(spool, 4)
    assert (await replay.replay(spool, Choice(ids=(3, 1, 77)))).replayed == 2
    assert [letter.id for letter in await kept(spool)] == [2, 4]
    assert await ledger(spool) == {"accepted": 4, "pending": 2, "dead": 2}
    with pytest.raises(UnknownLane):
        await replay.replay(spool, Choice(lane="nobody/samsara"))


async def test_a_replay_keeps_the_stamps_the_day_and_the_order_of_what_died(tmp_path):
    clocks = StandingClocks()
    async with spool_in(tmp_path, clocks=clocks) as spool:
        for _ in range(2):
            for address in ("10.0.0.1", "10.0.0.2"):
                await accept(
                    spool,
                    chunk(
                        2,
                        dialect="traintracks",
                        product="p",
                        remote_address=address,
                        received_at=clocks.wall,
                    ),
                )
            clocks.pass_time(A_DAY)
        await bury(spool, 8, name="main/traintracks/p")
        dead = numbers(letter.event for letter in await kept(spool))
        await replay.replay(spool, Choice(lane="main/traintracks/p"))
        rows = await query(spool, "SELECT day, received_at, remote_address, events, accepted_age FROM chunk")
        first = START // A_DAY
        assert rows == [
            (first, START, "10.0.0.1", 2, 2 * A_DAY),
            (first, START, "10.0.0.2", 2, 2 * A_DAY),
            (first + 1, START + A_DAY, "10.0.0.1", 2, 2 * A_DAY),
            (first + 1, START + A_DAY, "10.0.0.2", 2, 2 * A_DAY),
        ]
        assert await query(spool, "SELECT day, pending, dead FROM ledger") == [
            (first, 4, 0),
            (first + 1, 4, 0),
        ]
        sent = numbers([event for _ in range(4) for event in await deliver(spool, name="main/traintracks/p")])
        assert sent == dead


async def test_other_lanes_pass_over_a_replay_and_do_not_count_it(shared):
    spool = shared
    await accept(spool, chunk(3))
    await bury(spool, 1)
    before = await ledger(spool, SECOND)
    await replay.replay(spool, EVERYTHING)
    await accept(spool, chunk(2))
    assert await ledger(spool, SECOND) == {**before, "accepted": 5, "pending": 5}
    assert await pending(spool, SECOND) == [0, 1, 2, 4, 5]
    assert await pending(spool) == [1, 2, 3, 4, 5]
    assert len(await deliver(spool, name=SECOND)) == 5
    assert len(await deliver(spool)) == 5
    assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]
    assert await query(spool, "SELECT count(*) FROM absence") == [(0,)]


async def test_an_idle_lane_goes_on_behind_another_ones_replay_at_once(shared):
    spool = shared
    await accept(spool, chunk(3))
    await deliver(spool, name=SECOND)
    await bury(spool, 3)
    await replay.replay(spool, EVERYTHING)
    assert (await lane_of(spool, SECOND)).cursor_position == 6
    held = {backlog.name: backlog.bytes for backlog in await spool.read(retention.backlogs)}
    assert held[SECOND] == 0
    assert held["main/samsara"] > 0
    await accept(spool, chunk(1))
    assert await pending(spool, SECOND) == [6]
    assert await query(spool, "SELECT count(*) FROM absence") == [(0,)]


async def test_replays_that_adjoin_are_one_absence(shared):
    spool = shared
    await accept(spool, chunk(4))
    await bury(spool, 4)
    for letter in (1, 2, 3, 4):
        await replay.replay(spool, Choice(ids=(letter,)))
    await accept(spool, chunk(1))
    assert await query(spool, "SELECT from_seq, to_seq, to_position FROM absence") == [(2, 6, 8)]
    assert await pending(spool, SECOND) == [0, 1, 2, 3, 8]
    own = await query(spool, "SELECT sum(length(body)) FROM chunk WHERE only_lane IS NULL")
    held = {backlog.name: backlog.bytes for backlog in await spool.read(retention.backlogs)}
    assert [(held[SECOND],)] == own


async def test_two_lanes_may_replay_the_same_events(shared):
    spool = shared
    await accept(spool, chunk(2))
    await bury(spool, 2)
    await bury(spool, 2, name=SECOND)
    assert (await replay.replay(spool, EVERYTHING)).replayed == 4
    assert await pending(spool) == [2, 3]
    assert await pending(spool, SECOND) == [4, 5]
    assert numbers(await deliver(spool)) == numbers(await deliver(spool, name=SECOND))
    assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]


async def test_a_batch_sealed_up_to_the_tail_is_settled_past_another_lanes_replay(shared):
    spool = shared
    await accept(spool, chunk(2))
    await bury(spool, 2)
    lane = await lane_of(spool, SECOND)
    assert await pending(spool, SECOND) == [0, 1]
    await replay.replay(spool, EVERYTHING)
    assert (await lane_of(spool, SECOND)).cursor_position == lane.cursor_position
    await deliver(spool, name=SECOND)
    assert (await lane_of(spool, SECOND)).cursor_position == 4


async def test_letters_of_an_upstream_that_is_away_stay(tmp_path):
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        await accept(spool, chunk(2))
        await bury(spool, 1)
        await bury(spool, 1, name=SECOND)
    async with spool_in(tmp_path, wanted("main")) as spool:
        assert await replay.replay(spool, EVERYTHING) == Replayed(replayed=1, damaged=0, away=1)
        assert [letter.lane for letter in await kept(spool)] == [SECOND]
        await accept(spool, chunk(1))
    async with spool_in(tmp_path, wanted("main"), wanted("second")) as spool:
        assert await pending(spool, SECOND) == [1]
        assert (await replay.replay(spool, EVERYTHING)).replayed == 1
        await deliver(spool, name=SECOND)
        await deliver(spool)
        assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]


async def test_an_upstream_that_starts_at_the_oldest_event_is_not_given_replays(tmp_path):
    oldest = wanted("oldest", from_oldest=True)
    async with spool_in(tmp_path, wanted("main")) as spool:
        await accept(spool, chunk(2))
        await bury(spool, 1)
        await accept(spool, chunk(1))
        await replay.replay(spool, EVERYTHING)
    async with spool_in(tmp_path, wanted("main"), oldest) as spool:
        assert await ledger(spool, "oldest/samsara") == {"accepted": 3, "pending": 3}
        assert await pending(spool, "oldest/samsara") == [0, 1, 2]
        await accept(spool, chunk(1))
        assert await pending(spool, "oldest/samsara") == [0, 1, 2, 4]
        assert len(await deliver(spool, name="oldest/samsara")) == 4
        held = {backlog.name: backlog.bytes for backlog in await spool.read(retention.backlogs)}
        assert held["oldest/samsara"] == 0
        await deliver(spool)
        assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]


async def test_a_damaged_chunk_before_another_lanes_replay_ends_where_its_own_events_do(shared):
    spool = shared
    await accept(spool, chunk(3))
    await bury(spool, 1)
    await replay.replay(spool, EVERYTHING)
    await deliver(spool)
    lane = await lane_of(spool, SECOND)
    assert (
        await spool.read(lambda connection: position_after(connection, lane.stream, 1, end_seq=lane.end_seq))
        == 3
    )


async def test_what_is_left_of_a_damaged_chunk_cannot_be_replayed(spool):
    await accept(spool, chunk(2))
    await bury(spool, 2)
    await change(spool, "UPDATE dead_letter SET damaged = 1 WHERE id = 1")
    assert await replay.replay(spool, EVERYTHING) == Replayed(replayed=1, damaged=1, away=0)
    assert [letter.id for letter in await kept(spool)] == [1]


async def test_a_large_replay_goes_by_bounded_steps(spool, monkeypatch):
    await accept(spool, chunk(10))
    await bury(spool, 10)
    monkeypatch.setattr(replay, "STEP_LETTERS", 4)
    before = spool.counters.commits
    assert (await replay.replay(spool, EVERYTHING)).replayed == 10
    assert spool.counters.commits - before == 3 + 1
    assert await pending(spool) == list(range(10, 20))


async def test_a_step_of_large_letters_holds_few(spool, monkeypatch):
    await accept(spool, chunk(4, pad=1000))
    await bury(spool, 4)
    monkeypatch.setattr(replay, "STEP_BYTES", 1500)
    before = spool.counters.commits
    assert (await replay.replay(spool, EVERYTHING)).replayed == 4
    assert spool.counters.commits - before == 4 + 1


async def test_a_replay_that_the_disk_refuses_changes_nothing(spool):
    await accept(spool, chunk(2))
    await bury(spool, 2)
    database = database_of(spool)
    real = database.connection
    let_fail(database, "COMMIT")
    with pytest.raises(SpoolUnavailable):
        await replay.replay(spool, EVERYTHING)
    database.connection = real
    assert len(await kept(spool)) == 2
    assert await ledger(spool) == {"accepted": 2, "dead": 2}
    await accept(spool, chunk(1))
    assert await pending(spool) == [2]


async def test_a_replay_is_there_whole_after_a_death(tmp_path):
    async with spool_in(tmp_path / "a") as spool:
        await accept(spool, chunk(3))
        await bury(spool, 3)
        await replay.replay(spool, EVERYTHING)
        left = snapshot(tmp_path / "a", tmp_path / "b")
    async with spool_in(left) as spool:
        assert await ledger(spool) == {"accepted": 3, "pending": 3}
        assert await pending(spool) == [3, 4, 5]
        assert await kept(spool) == []


async def test_letters_that_the_ledger_does_not_count_are_not_replayed(spool):
    await accept(spool, chunk(2))
    await bury(spool, 2)
    await change(spool, "UPDATE counts SET dead = 1, pending = 1 WHERE lane > 0")
    with pytest.raises(LedgerDisagrees, match="lane main/samsara counts fewer than 2 dead of day 2027-01-15"):
        await replay.replay(spool, EVERYTHING)
    assert len(await kept(spool)) == 2
    assert await query(spool, "SELECT count(*) FROM chunk") == [(0,)]
    await accept(spool, chunk(1))
    assert await pending(spool) == [2]


async def test_replayed_events_wake_the_lanes_of_their_stream(spool):
    await accept(spool, chunk(1))
    await bury(spool)
    woken = []
    spool.on_growth = woken.append
    await replay.replay(spool, EVERYTHING)
    assert woken == [{("samsara", "")}]


async def test_a_replayed_chunk_passes_its_checksum(spool):
    await accept(spool, chunk(4, pad=1000))
    await bury(spool, 4)
    await replay.replay(spool, EVERYTHING)
    lane = await lane_of(spool)
    (stored,) = await spool.read(
        lambda connection: list(read.chunks(connection, lane.stream, from_seq=lane.cursor_seq))
    )
    assert stored.events == len(json.loads(stored.body)) == 4
