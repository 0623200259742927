"""Lanes that share an upstream, and upstreams that share events."""

from __future__ import annotations

from collections import Counter

import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import ScriptedSender, after, no_answer

from collector.core.failure import Failure
from collector.core.verdict import Delivered
from collector.forwarder.breaker import LANES_AT_ONCE


async def test_lanes_of_one_upstream_take_turns_however_much_one_of_them_has(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=after(1, Delivered()))
    lanes = 2 * LANES_AT_ONCE + 3
    async with site(tmp_path, {traintracks(max_events=1): sender}, run=False) as here:
        await here.accept_traintracks(60, product="large")
        for lane in range(lanes):
            await here.accept_traintracks(5, product=f"p{lane}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            turns: Counter[str] = Counter()
            for _ in range(10):
                await trio.sleep(1)
                turns = Counter(attempt.batch.product for attempt in sender.attempts)
                assert max(turns.values()) - min(turns[name] for name in turns) <= 2
            assert len(turns) == lanes + 1
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert await here.ledger() == {"accepted": 60 + 5 * lanes, "delivered": 60 + 5 * lanes}


async def test_upstreams_that_take_the_same_events_have_each_a_cursor_and_share_the_chunks(
    tmp_path, autojump_clock
):
    down, up = ScriptedSender(otherwise=no_answer(Failure.CONNECT)), ScriptedSender()
    async with site(tmp_path, {samsara("down"): down, samsara("up"): up}) as here:
        await here.accept(3, 4, 5)
        await trio.sleep(10)
        assert up.taken == {"up/samsara": list(range(12))}
        assert await here.query("SELECT count(*), sum(events) FROM chunk") == [(3, 12)]
        cursors = [(await here.lane(f"{name}/samsara")).cursor_position for name in ("down", "up")]
        assert cursors == [0, 12]
        down.otherwise = Delivered()
        await trio.sleep(100)
        assert down.taken == {"down/samsara": list(range(12))}
        assert await here.query("SELECT count(*) FROM chunk") == [(0,)]
        assert await here.ledger() == {"accepted": 24, "delivered": 24}


async def test_a_lane_whose_upstream_hangs_holds_no_other_upstream_up(tmp_path, autojump_clock):
    hanging = ScriptedSender(otherwise=after(1e9, Delivered()))
    up = ScriptedSender()
    async with site(tmp_path, {samsara("hanging"): hanging, samsara("up"): up}) as here:
        for _ in range(5):
            await here.accept(1)
            await trio.sleep(100)
        assert up.taken == {"up/samsara": list(range(5))}
        assert hanging.ranges == [(0, 0)]
