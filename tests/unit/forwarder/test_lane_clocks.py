"""Lanes under a wall clock that is wrong, and set: nothing waits longer, reorders or changes its bytes."""

from __future__ import annotations

import msgspec
import pytest
import trio
from fakes.lanes import START_MS, samsara, site, traintracks
from fakes.sender import ScriptedSender, answer

from collector.core.dialects.traintracks import format_timestamp
from collector.core.timekeeping import Trust
from collector.core.verdict import Delivered, Outcome

TEN_YEARS = 3652 * 86_400_000


def events(attempt):
    return msgspec.json.decode(attempt.body)


def set_to_1970(here):
    here.times.wall_offset_ms, here.times.trust = 60_000 - START_MS, Trust.UNKNOWN


def set_right(here):
    here.times.wall_offset_ms, here.times.trust = 0, Trust.CONFIRMED


async def test_early_stamps_are_corrected_when_a_batch_is_sealed_and_never_after(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503, retry_after="100"), answer(503, retry_after="100"))
    async with site(tmp_path, {samsara(): sender}) as here:
        set_to_1970(here)
        await here.accept(1)  # sealed at once
        await trio.sleep(10)
        await here.accept(1)
        await trio.sleep(10)
        set_right(here)
        await here.accept(1)
        await trio.sleep(300)
        assert sender.ranges == [(0, 0)] * 3 + [(1, 2)]
        assert len({attempt.body for attempt in sender.attempts[:3]}) == 1
        assert [event["receivedAt"] for event in events(sender.attempts[0])] == [60_000]
        assert [event["receivedAt"] for event in events(sender.last)] == [
            START_MS + 10_000,
            START_MS + 20_000,
        ]
        ((_, offset),) = sender.last.batch.options.corrections
        assert offset == START_MS - 60_000
        days = await here.query("SELECT day, delivered FROM ledger ORDER BY day")
        assert days == [(0, 2), (START_MS // 86_400_000, 1)]


async def test_a_corrected_batch_renders_to_the_same_bytes_after_the_clock_was_set_once_more(
    tmp_path, autojump_clock
):
    sender = ScriptedSender(otherwise=answer(503, retry_after="100"))
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        set_to_1970(here)
        await here.accept(1)
        set_right(here)
        here.times.trust = Trust.PLAUSIBLE
        await here.accept(1)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.quiet()
        here.times.wall_offset_ms, here.times.trust = TEN_YEARS, Trust.CONFIRMED
        await here.accept(1)
        assert await here.query("SELECT count(*) FROM boot WHERE corrected_by = 2") == [(2,)]
        await trio.sleep(300)
        assert len(sender.attempts) == 3
        assert len({(attempt.body, attempt.batch.id) for attempt in sender.attempts}) == 1
        assert [event["receivedAt"] for event in events(sender.last)] == [START_MS, START_MS]


async def test_late_traintracks_events_bear_the_corrected_time(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {traintracks(): sender}, run=False) as here:
        set_to_1970(here)
        await here.accept_traintracks()
        await trio.sleep(100)
        set_right(here)
        await here.accept_traintracks()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await here.quiet()
            nursery.cancel_scope.cancel()
        stamps = [event.get("serverTimestamp") for event in events(sender.attempts[0])]
        assert stamps == [format_timestamp(START_MS), format_timestamp(START_MS + 100_000)]


async def test_what_an_upstreams_date_says_is_passed_on(tmp_path, autojump_clock):
    sender = ScriptedSender(Outcome(Delivered(), wrote_body=True, server_time_offset=-2.5), Delivered())
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await here.quiet()
        await here.accept(1)
        await here.quiet()
        assert here.heard == [-2.5]


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS, 60_000 - START_MS])
async def test_a_wall_clock_that_is_set_changes_no_wait(tmp_path, autojump_clock, jump):
    sender = ScriptedSender(*[answer(503, retry_after="30")] * 3)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await trio.sleep(10)
        here.times.wall_offset_ms = jump
        await trio.sleep(40)
        here.times.wall_offset_ms = 0
        await trio.sleep(80)
        assert sender.times == [0, 37.5, 75, 112.5]


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
async def test_a_lane_that_lingers_does_so_for_no_longer_when_the_wall_clock_is_set(
    tmp_path, autojump_clock, jump
):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(linger=60.0): sender}) as here:
        await here.accept(1)
        await trio.sleep(10)
        here.times.wall_offset_ms = jump
        await here.accept(1)
        await trio.sleep(60)
        assert sender.ranges == [(0, 1)]
        assert await here.ledger() == {"accepted": 2, "delivered": 2}


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
async def test_events_keep_their_order_whatever_their_stamps_say(tmp_path, autojump_clock, jump):
    sender = ScriptedSender(answer(503, retry_after="30"))
    async with site(tmp_path, {samsara(): sender}) as here:
        for offset in (0, jump, 0, jump // 2):
            here.times.wall_offset_ms = offset
            await here.accept(2)
        await trio.sleep(60)
        assert sender.taken == {"samsara/samsara": list(range(8))}
