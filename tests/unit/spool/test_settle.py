from __future__ import annotations

from functools import partial

import pytest
from fakes.spools import accept, batch_of, chunk, database_of, lane_of, ledger, next_run, query, spool_in

from collector.core.choosing import MAX_STORED_BYTES
from collector.spool import read, settle
from collector.spool.items import Append
from collector.spool.passage import Passage
from collector.spool.settle import Condemned, DeadLetter
from collector.spool.space import LARGEST_SETTLING_BYTES
from collector.spool.tickets import Ticket


@pytest.fixture
async def spool(tmp_path):
    async with spool_in(tmp_path) as opened:
        yield opened


async def seal(spool, **bounds):
    lane = await lane_of(spool)
    run = await spool.read(lambda connection: next_run(connection, lane, **bounds))
    batch = await spool.read(lambda connection: batch_of(connection, lane, run))
    assert await spool.write(partial(settle.seal, batch=batch, now=7))
    return batch, run


def letter_of(run):
    stored = run.pieces[0].chunk
    return DeadLetter(
        run.first, stored.day, stored.received_at, None, "", "bad", 400, "no", run.pieces[0].events[0]
    )


def delivered(batch, run):
    return partial(settle.delivered, batch=batch, run=run, settled="3:9", learned_limit=5000, now=11)


def buried(batch, run):
    passage = Passage.of(run)
    burying = partial(settle.buried, lane=batch.lane, letter=letter_of(run), passage=passage, batch=batch)
    return partial(burying, epoch=batch.epoch, now=99)


async def test_a_sealed_batch_is_read_as_it_was_sealed(spool):
    await accept(spool, chunk(5))
    batch, _ = await seal(spool, max_events=3)
    lane = await lane_of(spool)
    assert await spool.read(partial(read.outstanding, lane=lane)) == batch


async def test_a_batch_is_not_sealed_where_the_lane_has_moved(spool):
    await accept(spool, chunk(3), chunk(3))
    lane = await lane_of(spool)
    stale_run = await spool.read(lambda connection: next_run(connection, lane, max_events=2))
    stale = await spool.read(lambda connection: batch_of(connection, lane, stale_run))
    batch, run = await seal(spool, max_events=3)
    assert await spool.write(delivered(batch, run))
    assert not await spool.write(partial(settle.seal, batch=stale, now=0))
    assert await query(spool, "SELECT count(*) FROM batch") == [(0,)]


async def test_a_delivery_moves_cursor_ledger_and_lane_together(spool):
    await accept(spool, chunk(3), chunk(3))
    batch, run = await seal(spool, max_events=4)
    assert await spool.write(delivered(batch, run))
    lane = await lane_of(spool)
    assert (lane.cursor_seq, lane.cursor_index, lane.cursor_position) == (2, 1, 4)
    assert (lane.state, lane.since, lane.settled, lane.learned_limit, lane.judged) == (
        "healthy",
        11,
        "3:9",
        5000,
        4,
    )
    assert await ledger(spool) == {"accepted": 6, "pending": 2, "delivered": 4}
    assert await query(spool, "SELECT seq FROM chunk") == [(2,)]
    assert await query(spool, "SELECT count(*) FROM batch") == [(0,)]


@pytest.mark.parametrize("size", [310, 600, 1000])
async def test_a_settlement_fits_into_what_is_kept_for_it(spool, size):
    body = b'[{"eventName":"%b"}]' % (b"x" * (size - 18))
    many = 2 * MAX_STORED_BYTES // size
    for at in range(0, many, 1000):
        group = [Append(chunk(1, body=body), Ticket()) for _ in range(min(1000, many - at))]
        spool._writer._committer.commit(group)()
    batch, run = await seal(spool, max_events=1_000_000)
    assert run.passed_bytes <= MAX_STORED_BYTES
    database = database_of(spool)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.connection.execute("PRAGMA wal_autocheckpoint=0")
    assert await spool.write(delivered(batch, run))
    assert MAX_STORED_BYTES // 2 < database.log_bytes() <= LARGEST_SETTLING_BYTES


async def test_what_an_ended_batch_came_to_changes_nothing_more(spool):
    await accept(spool, chunk(3))
    batch, run = await seal(spool)
    assert await spool.write(partial(settle.unseal, batch=batch))
    before = await query(spool, "SELECT * FROM lane")
    assert not await spool.write(delivered(batch, run))
    assert not await spool.write(partial(settle.suspected, batch=batch, learned_limit=1, reason="x", now=7))
    assert not await spool.write(partial(settle.condemned, batch=batch, named=[Condemned(0, "x", 400)]))
    assert not await spool.write(buried(batch, run))
    assert await query(spool, "SELECT * FROM lane") == before
    assert await ledger(spool) == {"accepted": 3, "pending": 3}


async def test_a_postponed_batch_stays_as_it_is_and_counts_what_it_was_answered(spool):
    await accept(spool, chunk(3))
    batch, _ = await seal(spool)
    for status, same in ((0, 1), (0, 2), (500, 1), (500, 2), (0, 1)):
        kept = await spool.write(
            partial(
                settle.postponed,
                batch=batch,
                state="retrying",
                reason=f"http {status}",
                status=status,
                next_attempt_at=1000,
                now=status,
            )
        )
        assert kept
        lane = await lane_of(spool)
        found = await spool.read(partial(read.outstanding, lane=lane))
        assert (found.last_status, found.same_status) == (status, same)
    assert (found.attempts, lane.failures, lane.next_attempt_at) == (5, 5, 1000)
    assert (found.id, found.body_sha256, found.first, found.last) == (batch.id, batch.body_sha256, 0, 2)
    batch, run = found, await spool.read(lambda connection: next_run(connection, lane))
    assert await spool.write(delivered(batch, run))
    assert (await lane_of(spool)).failures == 0


async def test_a_state_lasts_since_it_began(spool):
    await accept(spool, chunk(1))
    batch, _ = await seal(spool)
    times = []
    for now, state in ((10, "blocked"), (20, "blocked"), (30, "retrying")):
        await spool.write(
            partial(
                settle.postponed,
                batch=batch,
                state=state,
                reason=f"at {now}",
                status=401,
                next_attempt_at=0,
                now=now,
            )
        )
        times.append((await lane_of(spool)).since)
    assert times == [10, 10, 30]


async def test_what_is_too_large_ends_no_healthy_time(spool):
    await accept(spool, chunk(8))
    batch, run = await seal(spool, max_events=2)
    assert await spool.write(delivered(batch, run))
    up_since = (await lane_of(spool)).since
    batch, _ = await seal(spool)
    suspected = partial(
        settle.suspected, batch=batch, learned_limit=2000, reason="http 413", now=up_since + 7
    )
    assert await spool.write(suspected)
    assert (await lane_of(spool)).since == up_since
    batch, run = await seal(spool, max_events=6)
    assert await spool.write(delivered(batch, run))
    assert ((await lane_of(spool)).suspect_end, (await lane_of(spool)).since) == (None, up_since)


async def test_suspects_are_remembered_until_the_cursor_is_past_them(spool):
    await accept(spool, chunk(8))
    batch, _ = await seal(spool, max_events=6)
    suspected = partial(settle.suspected, batch=batch, learned_limit=2000, reason="http 413", now=7)
    assert await spool.write(suspected)
    assert ((await lane_of(spool)).suspect_end, (await lane_of(spool)).learned_limit) == (6, 2000)
    for size, suspect_end in ((3, 6), (3, None)):
        batch, run = await seal(spool, max_events=size)
        assert await spool.write(delivered(batch, run))
        assert (await lane_of(spool)).suspect_end == suspect_end


async def test_the_condemned_are_forgotten_once_the_lane_is_past_them_however_it_came_there(spool):
    await accept(spool, chunk(8))
    batch, _ = await seal(spool)
    named = [Condemned(position, "bad é", 400) for position in (1, 4, 6)]
    assert await spool.write(partial(settle.condemned, batch=batch, named=named))
    assert (await lane_of(spool)).condemned == tuple(named)
    batch, run = await seal(spool, max_events=3)
    assert await spool.write(delivered(batch, run))
    assert (await lane_of(spool)).condemned == tuple(named[1:])
    # A later answer about events before them leaves them condemned.
    batch, _ = await seal(spool, max_events=1)
    assert await spool.write(partial(settle.condemned, batch=batch, named=[Condemned(3, "y", 422)]))
    assert [item.position for item in (await lane_of(spool)).condemned] == [3, 4, 6]


async def test_a_dead_letter_keeps_the_event_and_why(spool):
    await accept(spool, chunk(3))
    batch, run = await seal(spool, max_events=1)
    assert await spool.write(buried(batch, run))
    assert await ledger(spool) == {"accepted": 3, "pending": 2, "dead": 1}
    assert await query(spool, "SELECT position, died_at, reason, status, answer, event FROM dead_letter") == [
        (0, 99, "bad", 400, "no", run.pieces[0].events[0])
    ]
    lane = await lane_of(spool)
    assert (lane.cursor_position, lane.judged, lane.rejected) == (1, 1, 1)


async def test_the_share_of_rejected_events_is_of_the_last_ones(spool):
    await accept(spool, chunk(2))
    await spool.write(lambda connection: connection.execute("UPDATE lane SET judged = 9999, rejected = 500"))
    batch, run = await seal(spool)
    assert await spool.write(delivered(batch, run))
    lane = await lane_of(spool)
    assert (lane.judged, lane.rejected) == (5000, 250)


async def test_a_lane_has_one_batch_at_most(spool):
    await accept(spool, chunk(3))
    batch, _ = await seal(spool)
    with pytest.raises(Exception, match=r"UNIQUE constraint failed: batch\.(lane|id)"):
        await seal(spool)
    assert await query(spool, "SELECT id FROM batch") == [(batch.id,)]
