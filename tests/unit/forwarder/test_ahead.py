"""The next batch, prepared while one is under way; and large requests, cut apart once."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from fakes.lanes import balanced, samsara, site, traintracks
from fakes.letters import bury
from fakes.sender import ScriptedSender, after, answer

from collector.core import jsontext
from collector.core.verdict import Delivered, Outcome
from collector.forwarder import ahead, splits
from collector.forwarder.breaker import LANES_AT_ONCE
from collector.forwarder.tasks import Ready
from collector.spool import replay, retention
from collector.spool.letters import Choice


@pytest.fixture
def prepared(monkeypatch):
    """The first positions of what was prepared ahead."""
    found = []
    behind = ahead.prepare_behind

    def spy(connection, *, request, before):
        ready = behind(connection, request=request, before=before)
        found.append(ready.batch.first if isinstance(ready, Ready) else None)
        return ready

    monkeypatch.setattr(ahead, "prepare_behind", spy)
    return found


def while_sent(sender, first, meanwhile):
    """Have something happen while the batch that begins at a position is under way."""
    deliver = sender.otherwise

    async def otherwise(batch, body):
        if batch.first == first:
            await meanwhile()
        return await deliver(batch, body)

    sender.otherwise = otherwise


async def go_out(here):
    """Run the forwarder until all has gone out."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.forwarder.run)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seconds", [0.1, 20])
async def test_the_next_batch_is_there_when_one_is_delivered(tmp_path, autojump_clock, prepared, seconds):
    sender = ScriptedSender(otherwise=after(seconds, Delivered()))
    async with site(tmp_path, {samsara(max_events=10): sender}, run=False) as here:
        await here.accept(25, 20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await trio.sleep(10 * seconds)
            assert sender.ranges == [(0, 9), (10, 19), (20, 29), (30, 39), (40, 44)]
            assert sender.times == pytest.approx([number * seconds for number in range(5)])
            # The first attempt has yet to show that events are taken; behind the last there is nothing.
            assert prepared == [20, 30, 40, None]
            nursery.cancel_scope.cancel()
        assert await here.ledger() == {"accepted": 45, "delivered": 45}


async def test_nothing_is_prepared_behind_a_batch_that_was_not_taken_yet(tmp_path, autojump_clock, prepared):
    sender = ScriptedSender(otherwise=answer(503))
    async with site(tmp_path, {samsara(max_events=10): sender}) as here:
        await here.accept(50)
        await trio.sleep(1000)
        assert len(sender.attempts) > 10
        assert prepared == []


@pytest.mark.parametrize(("late_after", "first_late"), [(15, 30), (25, 40), (1000, None)])
async def test_what_was_prepared_says_which_events_are_late_when_it_is_sealed(
    tmp_path, autojump_clock, prepared, late_after, first_late
):
    sender = ScriptedSender(Delivered(), otherwise=after(10, Delivered()))
    upstream = traintracks(max_events=10, late_after=float(late_after))
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept_traintracks(50)
        await trio.sleep(100)
        assert await here.ledger() == {"accepted": 50, "delivered": 50}
        # The first was sealed before it was known whether the upstream takes anything.
        late = [attempt.batch.first for attempt in sender.attempts[1:] if b"serverTimestamp" in attempt.body]
        assert min(late, default=None) == first_late
        assert sender.times == [0, 0, 10, 20, 30]


@pytest.mark.parametrize("status", [400, 401, 413, 500, 503])
async def test_what_was_prepared_is_dropped_where_the_batch_before_it_is_not_delivered(
    tmp_path, autojump_clock, prepared, status
):
    async def slowly(batch, body):
        await trio.sleep(0.1)
        return Outcome(answer(status)(batch, body), wrote_body=True)

    sender = ScriptedSender(Delivered(), slowly)
    async with site(tmp_path, {samsara(max_events=10): sender}) as here:
        await here.accept(30)
        await trio.sleep(200)
        assert prepared[0] == 20
        assert sender.ranges[1] == (10, 19)
        assert sender.ranges[2][0] == 10
        assert sender.taken["samsara/samsara"] == list(range(30))
        assert await here.ledger() == {"accepted": 30, "delivered": 30}


async def test_what_retention_ended_meanwhile_is_not_sent(tmp_path, autojump_clock, prepared):
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {samsara(max_events=10): sender}) as here:
        await here.accept(*[10] * 6)
        evict = partial(retention.evict, wanted_bytes=1000, in_flight=frozenset())

        async def meanwhile():
            here.spool.in_flight = frozenset()
            # Past the batch under way, and what was prepared behind it.
            await here.spool.write(partial(evict))
            await here.spool.write(partial(evict))

        while_sent(sender, 20, meanwhile)
        await trio.sleep(100)
        assert sender.problems == []
        ledger = await here.ledger()
        assert balanced(ledger)
        assert "pending" not in ledger
        assert ledger["evicted"] >= 20
        assert [first for first, _ in sender.ranges] == sorted(first for first, _ in sender.ranges)


async def test_what_was_replayed_meanwhile_for_another_lane_is_not_sent(tmp_path, autojump_clock, prepared):
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    slow = ScriptedSender(otherwise=after(5, Delivered()))  # what is replayed for it is there for a while
    upstreams = {samsara(name="first"): slow, samsara(name="second", max_events=10): sender}
    async with site(tmp_path, upstreams, run=False) as here:
        await here.accept(*[10] * 4)
        await bury(here.spool, name="first/samsara")

        async def meanwhile():
            await here.accept(5)
            await replay.replay(here.spool, Choice(all=True))
            await here.accept(20)

        while_sent(sender, 10, meanwhile)
        await go_out(here)
        assert sender.problems == []
        assert sender.taken["second/samsara"] == [*range(45), *range(46, 66)]
        assert await here.ledger() == {"accepted": 130, "delivered": 130}


async def test_what_another_lane_had_of_its_own_meanwhile_is_not_missed(tmp_path, autojump_clock, prepared):
    """It was replayed for that one, delivered and deleted, all while this one went from batch to batch."""
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    upstreams = {samsara(name="first"): ScriptedSender(), samsara(name="second", max_events=10): sender}
    async with site(tmp_path, upstreams, run=False) as here:
        await here.accept(*[10] * 4)
        await bury(here.spool, name="first/samsara")

        async def meanwhile():
            await replay.replay(here.spool, Choice(all=True))
            await trio.sleep(1)
            await here.accept(5)

        while_sent(sender, 10, meanwhile)
        await go_out(here)
        assert here.spool.damage is None
        assert sender.problems == []
        assert sender.taken["second/samsara"] == [*range(40), *range(41, 46)]
        assert await here.ledger() == {"accepted": 90, "delivered": 90}


async def test_lanes_that_wait_for_their_turn_hold_no_batch(tmp_path, autojump_clock, prepared):
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {traintracks(max_events=1): sender}, run=False) as here:
        for product in range(3 * LANES_AT_ONCE):
            for _ in range(3):
                await here.accept_traintracks(1, product=f"p{product}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await trio.sleep(0.55)
            assert len(sender.attempts) > 4 * LANES_AT_ONCE
            assert prepared == []
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert await here.ledger() == {"accepted": 72, "delivered": 72}


async def test_a_sender_that_raises_halts_the_lane_with_its_own_error(tmp_path, autojump_clock, prepared):
    def fail(batch, body):
        raise ZeroDivisionError

    sender = ScriptedSender(Delivered(), fail)
    async with site(tmp_path, {samsara(max_events=10): sender}) as here:
        await here.accept(30)
        await trio.sleep(1)
        assert (await here.lane()).reason.startswith(
            "a defect of Waystation: ZeroDivisionError in test_ahead.py"
        )
        await trio.sleep(100)
        assert await here.ledger() == {"accepted": 30, "delivered": 30}


async def test_a_large_request_is_cut_apart_once_for_all_its_batches(tmp_path, autojump_clock, monkeypatch):
    cut = []
    split = jsontext.split_array
    monkeypatch.setattr(jsontext, "split_array", lambda body: cut.append(len(body)) or split(body))
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {samsara(max_events=50): sender}) as here:
        await here.accept(10, 3000, 10)
        await trio.sleep(100)
        assert sender.taken["samsara/samsara"] == list(range(3020))
        assert [number for attempt in sender.attempts for number in attempt.numbers] == list(range(3020))
        large = [size for size in cut if size > splits.WORTH_BYTES]
        assert len(large) <= 2


async def test_a_kept_chunk_that_is_gone_is_not_sent(tmp_path, autojump_clock):
    sender = ScriptedSender(Delivered(), answer(503, retry_after="100"))
    async with site(tmp_path, {samsara(max_events=50): sender}) as here:
        await here.accept(3000, 5)
        await here.quiet()
        assert sender.ranges == [(0, 49), (50, 99)]
        await here.spool.write(partial(retention.evict, wanted_bytes=1, in_flight=frozenset()))
        await trio.sleep(1000)
        assert sender.ranges[2:] == [(3000, 3004)]


async def test_a_kept_chunk_whose_row_is_lost_is_told_and_not_sent(tmp_path, autojump_clock):
    sender = ScriptedSender(Delivered(), answer(503, retry_after="100"))
    async with site(tmp_path, {samsara(max_events=50): sender}) as here:
        await here.accept(3000, 5)
        await here.quiet()
        await here.change("DELETE FROM chunk WHERE seq = 1")
        await trio.sleep(1000)
        assert len(sender.ranges) == 2
        lane = await here.lane()
        assert (lane.state, lane.cursor_position) == ("blocked", 50)


async def test_what_is_kept_of_many_lanes_is_bounded(tmp_path, autojump_clock, monkeypatch):
    monkeypatch.setattr(splits, "MAX_BYTES", 3 * splits.WORTH_BYTES)
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {traintracks(max_events=200): sender}) as here:
        for product in range(6):
            await here.accept_traintracks(900, product=f"p{product}")
        most = 0
        (around,) = here.forwarder._around.values()
        while (await here.ledger()).get("pending"):
            most = max(most, sum(kept.size for kept in around.splits._kept.values()))
            await trio.sleep(0.1)
        assert 0 < most <= splits.MAX_BYTES
        assert around.splits._kept == {}
