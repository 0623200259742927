"""Taking up another configuration while lanes run."""

from __future__ import annotations

import pytest
import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import ScriptedSender, after, no_answer

from collector.config.model import Backoff
from collector.core.failure import Failure
from collector.core.verdict import Delivered
from collector.spool import steering

DOWN = no_answer(Failure.CONNECT)


async def test_an_attempt_ends_as_it_began_and_the_next_is_with_the_new_sender(tmp_path, autojump_clock):
    old, new = ScriptedSender(after(5, Delivered())), ScriptedSender()
    async with site(tmp_path, {samsara(max_events=2): old}) as here:
        await here.accept(6)
        await here.quiet()
        here.forwarder.change([samsara(max_events=4)], {"samsara": new}, drain_timeout=10)
        await trio.sleep(4)
        assert not old.closed
        await trio.sleep(2)
        assert old.ranges == [(0, 1)]
        assert new.ranges == [(2, 5)]
        assert old.closed
        assert not new.closed
        assert await here.ledger() == {"accepted": 6, "delivered": 6}


async def test_an_attempt_that_takes_too_long_is_made_again_with_the_new_sender(tmp_path, autojump_clock):
    old, new = ScriptedSender(after(600, Delivered())), ScriptedSender()
    async with site(tmp_path, {samsara(): old}) as here:
        await here.accept(2)
        await here.quiet()
        here.forwarder.change([samsara(linger=0.1)], {"samsara": new}, drain_timeout=10)
        await trio.sleep(11)
        assert [attempt.batch.id for attempt in new.attempts] == [
            attempt.batch.id for attempt in old.attempts
        ]
        assert await here.ledger() == {"accepted": 2, "delivered": 2}


async def test_what_did_not_change_goes_on(tmp_path, autojump_clock):
    steady, old, new = ScriptedSender(after(5, Delivered())), ScriptedSender(), ScriptedSender()
    unchanged = samsara()
    async with site(tmp_path, {unchanged: steady, traintracks(): old}) as here:
        await here.accept(2)
        await here.accept_traintracks(2)
        await here.quiet()
        changed = traintracks(late_after=5.0)
        here.forwarder.change([unchanged, changed], {"traintracks": new}, drain_timeout=1)
        await here.accept_traintracks(2)
        await trio.sleep(6)
        assert steady.ranges == [(0, 1)]
        assert not steady.closed
        assert (old.ranges, new.ranges) == ([(0, 1)], [(2, 3)])
        assert await here.ledger() == {"accepted": 6, "delivered": 6}


async def test_an_upstream_that_left_is_sent_nothing_and_keeps_its_events(tmp_path, autojump_clock):
    old, other = ScriptedSender(otherwise=DOWN), ScriptedSender()
    async with site(tmp_path, {samsara(): old, samsara("other"): other}) as here:
        await here.accept(2)
        await here.quiet()
        here.forwarder.change([samsara("other")], {}, drain_timeout=10)
        attempts = len(old.attempts)
        await here.accept(2)
        await trio.sleep(3600)
        assert len(old.attempts) == attempts
        assert old.closed
        assert other.ranges == [(0, 1), (2, 3)]
        assert await here.ledger() == {"accepted": 8, "delivered": 4, "pending": 4}


async def test_a_changed_upstream_is_tried_at_once(tmp_path, autojump_clock):
    patient = Backoff(initial=3600, max=3600)
    old, new = ScriptedSender(otherwise=DOWN), ScriptedSender()
    async with site(tmp_path, {samsara(backoff=patient): old}) as here:
        await here.accept(2)
        await trio.sleep(1)
        here.forwarder.change([samsara()], {"samsara": new}, drain_timeout=10)
        await trio.sleep(1)
        assert new.ranges == [(0, 1)]
        assert (await here.lane()).state == "healthy"


async def test_one_change_after_the_other_ends_with_the_last(tmp_path, autojump_clock):
    senders = [ScriptedSender(after(5, Delivered())) for _ in range(4)]
    async with site(tmp_path, {samsara(max_events=1): senders[0]}) as here:
        await here.accept(3)
        await here.quiet()
        for linger, sender in enumerate(senders[1:]):
            here.forwarder.change([samsara(linger=float(linger))], {"samsara": sender}, drain_timeout=10)
        await trio.sleep(20)
        assert [sender.ranges for sender in senders] == [[(0, 0)], [], [], [(1, 2)]]
        assert [sender.closed for sender in senders] == [True, True, True, False]


async def test_a_paused_upstream_stays_paused_when_it_changes_and_when_it_comes_back(
    tmp_path, autojump_clock
):
    senders = [ScriptedSender() for _ in range(3)]
    async with site(tmp_path, {samsara(): senders[0]}) as here:
        await here.spool.write(lambda connection: steering.set_paused(connection, "samsara", at=1))
        here.forwarder.breaker("samsara").pause()
        await here.accept(2)
        await here.quiet()
        here.forwarder.change([samsara(linger=0.1)], {"samsara": senders[1]}, drain_timeout=1)
        await trio.sleep(3600)
        here.forwarder.change([], {}, drain_timeout=1)
        await here.quiet()
        here.forwarder.change([samsara()], {"samsara": senders[2]}, drain_timeout=1)
        await trio.sleep(3600)
        assert [sender.attempts for sender in senders] == [[], [], []]
        here.forwarder.breaker("samsara").resume()
        await trio.sleep(1)
        assert senders[2].ranges == [(0, 1)]


@pytest.mark.parametrize("steps", range(8))
async def test_a_flush_counts_at_whatever_the_lane_is(tmp_path, autojump_clock, steps):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(linger=3600): sender}) as here:
        await here.accept(2)
        await here.quiet()
        here.forwarder.hurry("samsara")
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        here.forwarder.flush("samsara")
        await trio.sleep(1)
        assert sender.ranges == [(0, 1)]
