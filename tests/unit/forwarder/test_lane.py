from __future__ import annotations

import pytest
import trio
from fakes.lanes import START_MS, balanced, samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, no_answer
from structlog.testing import capture_logs

from collector.config.model import Backoff
from collector.core.failure import Failure
from collector.core.verdict import Blocked, Delivered, Outcome, Retry, judge_failure
from collector.forwarder.sizing import SLOW_ATTEMPTS

RETRIED = [408, 409, 425, 429, 500, 502, 503, 504, 599]
BLOCKED = [401, 403, 404, 405, 410, 418, 501, 505, 511, 301, 302, 307, 204, 100]
HTML = {"body": b"<!doctype html><p>Welcome to the hotel", "content_type": "text/html"}


async def test_what_is_delivered_leaves_the_spool_and_is_counted(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(202), answer(200))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await here.quiet()
        await here.accept(2)
        await here.quiet()
        lane = await here.lane()
        assert sender.ranges == [(0, 2), (3, 4)]
        assert (lane.state, lane.cursor_position, lane.failures) == ("healthy", 5, 0)
        assert await here.ledger() == {"accepted": 5, "delivered": 5}
        assert await here.query("SELECT count(*) FROM chunk") == [(0,)]
        assert await here.batches() == []


@pytest.mark.parametrize("status", RETRIED)
async def test_what_may_work_later_is_retried_with_the_same_batch(tmp_path, autojump_clock, status):
    sender = ScriptedSender(answer(status), answer(status))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await here.quiet()
        lane = await here.lane()
        assert (lane.state, lane.failures) == ("retrying", 1)
        assert str(status) in lane.reason
        assert await here.ledger() == {"accepted": 3, "pending": 3}
        await here.accept(3)  # what comes meanwhile is for the next batch
        await trio.sleep(10)
        assert len({(attempt.batch.id, attempt.body) for attempt in sender.attempts[:3]}) == 1
        assert sender.ranges == [(0, 2), (0, 2), (0, 2), (3, 5)]
        made = [attempt.batch.attempts for attempt in sender.attempts]
        assert made[0] < made[1] < made[2]
        assert made[3] == made[0]
        lane = await here.lane()
        assert (lane.state, lane.reason, lane.failures, lane.next_attempt_at) == ("healthy", "", 0, 0)


@pytest.mark.parametrize(
    "step",
    [*[answer(status) for status in BLOCKED], answer(200, **HTML), no_answer(Failure.TLS)],
    ids=[*map(str, BLOCKED), "html", "tls"],
)
async def test_what_needs_a_person_blocks_the_lane_which_probes_with_the_same_batch(
    tmp_path, autojump_clock, step
):
    sender = ScriptedSender(step, step, step)
    async with site(tmp_path, {samsara(backoff=Backoff(max=60)): sender}) as here:
        here.chance = 0.0
        await here.accept(3)
        await here.quiet()
        lane = await here.lane()
        assert lane.state == "blocked"
        assert lane.next_attempt_at == START_MS + 30_000
        await here.accept(3)
        await trio.sleep(31)
        here.chance = 0.999
        await trio.sleep(200)
        # The wait is chosen when a probe fails: between half of backoff.max and all of it.
        assert sender.times[:3] == [0, 30, 60]
        assert sender.times[3] == pytest.approx(60 + 60, abs=0.1)
        assert sender.ranges == [(0, 2), (0, 2), (0, 2), (0, 2), (3, 5)]
        assert len({attempt.batch.id for attempt in sender.attempts[:4]}) == 1
        assert await here.ledger() == {"accepted": 6, "delivered": 6}


async def test_waits_double_up_to_the_longest_and_are_jittered_in_full(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=answer(500))
    async with site(tmp_path, {samsara(backoff=Backoff(initial=2, max=30)): sender}) as here:
        here.chance = 0.25
        await here.accept(1)
        await trio.sleep(31)
        assert sender.times == [0, 0.5, 1.5, 3.5, 7.5, 15, 22.5, 30]


async def test_a_retry_after_is_kept_to_where_it_is_longer_than_the_backoff(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503, retry_after="17"), answer(429, retry_after="0"), answer(500))
    async with site(tmp_path, {samsara(backoff=Backoff(initial=8)): sender}) as here:
        await here.accept(1)
        await trio.sleep(100)
        # By half of the half that it may be late by; then full jitter, for which half of 16 and of 32.
        assert sender.times == [0, 17 + 4.25, 21.25 + 8, 21.25 + 8 + 16]
        assert (await here.lane()).state == "healthy"


async def test_a_restart_changes_neither_the_wait_nor_the_batch(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=answer(503, retry_after="100"))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await trio.sleep(40)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(3)
        await trio.sleep(50)
        assert sender.times == [0]
        await trio.sleep(36)
        assert sender.times == [0, 125]
        first, second = sender.attempts
        assert (first.batch.id, first.body) == (second.batch.id, second.body)
        assert second.batch.attempts > first.batch.attempts
        assert (await here.lane()).failures == 2


async def test_after_a_restart_a_wait_is_never_longer_than_it_was_at_first(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(500))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await here.quiet()
        # As after a wall clock that was set back by years.
        await here.change("UPDATE lane SET next_attempt_at = next_attempt_at + 86400000000")
    async with site(tmp_path, {samsara(): sender}):
        await trio.sleep(0.6)
        assert sender.times == [0, 0.5]


async def test_a_blocked_lane_probes_at_once_after_a_restart(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(401))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await here.quiet()
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.quiet()
        assert sender.times == [0, 0]


async def test_an_attempt_that_was_cut_off_is_made_again_with_the_same_batch(tmp_path, autojump_clock):
    sender = ScriptedSender(after(60, Delivered()))
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks(3)
        await trio.sleep(1)
    async with site(tmp_path, {traintracks(): sender}) as here:
        await trio.sleep(1)
        first, second = sender.attempts
        assert (first.batch.id, first.body) == (second.batch.id, second.body)
        assert await here.ledger() == {"accepted": 3, "delivered": 3}


async def test_a_batch_of_which_no_byte_left_is_sealed_anew_as_data_from_the_past(tmp_path, autojump_clock):
    sender = ScriptedSender(
        Delivered(),
        *[no_answer(Failure.CONNECT)] * 3,
        no_answer(Failure.TIMEOUT, wrote_body=True),
        no_answer(Failure.CONNECT),
    )
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks()
        await here.quiet()
        await here.accept_traintracks(2)
        await trio.sleep(100)
        _, *attempts = sender.attempts
        stamped = [b"serverTimestamp" in attempt.body for attempt in attempts]
        ids = [attempt.batch.id for attempt in attempts]
        assert stamped == [False, True, True, True, True, True]
        assert len(set(ids)) == 2
        assert ids[0] != ids[1]
        assert {attempt.batch.first for attempt in attempts} == {1}
        assert balanced(await here.ledger())


async def test_a_batch_of_which_a_byte_may_have_left_is_never_sealed_anew(tmp_path, autojump_clock):
    sender = ScriptedSender(
        Delivered(), no_answer(Failure.TIMEOUT, wrote_body=True), *[no_answer(Failure.CONNECT)] * 2
    )
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks()
        await here.quiet()
        await here.accept_traintracks()
        await trio.sleep(100)
        _, *attempts = sender.attempts
        assert len(attempts) == 4
        assert len({(attempt.batch.id, attempt.body) for attempt in attempts}) == 1
        assert b"serverTimestamp" not in attempts[0].body


async def test_a_lane_that_just_failed_stamps_what_it_seals_next(tmp_path, autojump_clock):
    sender = ScriptedSender(Delivered(), answer(400), Delivered())
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks()
        await here.quiet()
        assert b"serverTimestamp" in sender.last.body  # a new lane is not known to deliver
        await here.accept_traintracks()
        await here.quiet()
        assert b"serverTimestamp" not in sender.last.body


async def test_lines_are_logged_when_the_state_changes_and_not_at_each_attempt(tmp_path, autojump_clock):
    script = [
        Delivered(),
        *[Blocked(f"http 401 Unauthorized: request {n}", 401) for n in range(20)],
        Blocked("http 403 Forbidden", 403),
        *[no_answer(Failure.CONNECT)] * 5,
    ]
    sender = ScriptedSender(*script)
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(1)
            await here.quiet()
            await here.accept(1)
            await trio.sleep(600)
            assert (await here.lane()).since == START_MS
            assert (await here.lane()).reason.startswith("http 401 Unauthorized: request")
            await trio.sleep(10_000)
            await here.accept(1)
            await here.quiet()
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("lane_healthy", None),
        ("lane_blocked", "http 401 Unauthorized: request 0"),
        ("lane_blocked", "http 403 Forbidden"),
        ("lane_retrying", "cannot connect: as told"),
        ("lane_healthy", None),
    ]
    assert {line["lane"] for line in logs} == {"samsara/samsara"}


async def test_a_restart_tells_once_what_is_still_not_well(tmp_path, autojump_clock):
    sender = ScriptedSender(Retry("http 500", 500), Retry("http 500", 500))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await here.quiet()
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await trio.sleep(10)
    assert [line["event"] for line in logs] == ["lane_retrying", "lane_healthy"]
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(1)
            await here.quiet()
    assert logs == []


async def test_a_lane_lingers_for_company(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(linger=5.0, max_events=10): sender}) as here:
        await here.accept(1)
        await trio.sleep(3)
        await here.accept(1)
        await trio.sleep(10)
        await here.accept(10)
        await here.quiet()
        assert list(zip(sender.times, sender.ranges, strict=True)) == [(5, (0, 1)), (13, (2, 11))]


async def test_events_keep_their_order_however_attempts_end(tmp_path, autojump_clock):
    script = [answer(503), answer(401), Delivered(), answer(500), Delivered(), answer(429), answer(302)]
    sender = ScriptedSender(*script)
    async with site(tmp_path, {samsara(max_events=7): sender}) as here:
        for size in (1, 5, 20, 3, 1):
            await here.accept(size)
            await trio.sleep(1)
        await trio.sleep(1000)
        assert sender.taken["samsara/samsara"] == list(range(30))
        numbers = [n for attempt in sender.attempts for n in attempt.numbers]
        assert numbers == [position for attempt in sender.attempts for position in attempt.positions]


def link(bandwidth: float, delay: float, *, total: float = 60.0):
    """A step: a link that takes its time, and an attempt that is cut off after `total`."""

    async def carry(batch, body):
        seconds = delay + len(body) / bandwidth
        if seconds > total:
            await trio.sleep(total)
            return no_answer(Failure.TIMEOUT, wrote_body=True)
        await trio.sleep(seconds)
        return Outcome(Delivered(), wrote_body=True, sent_bytes=len(body), seconds=seconds)

    return carry


async def test_batches_grow_with_what_the_link_rewards(tmp_path, autojump_clock):
    """2 Mbit/s with 600 ms there and back, used to nine tenths once the window has grown."""
    sender = ScriptedSender(otherwise=link(250_000, 0.6))
    upstream = samsara(max_events=20_000, max_batch_bytes=8 << 20)
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept(*[1000] * 50, pad=250)
        await trio.sleep(100)
        assert (await here.ledger()) == {"accepted": 50_000, "delivered": 50_000}
        sizes = [len(attempt.body) for attempt in sender.attempts]
        assert sizes[0] < 140_000
        assert 2_200_000 < max(sizes) <= 2_600_000
        began, ended = sender.times[5], sender.times[-1]
        assert sum(sizes[5:-1]) / 250_000 > 0.9 * (ended - began)


async def test_a_batch_too_large_for_its_link_ends_and_smaller_ones_arrive(tmp_path, autojump_clock):
    """At 1 kB/s the first batch never arrives within the time-out."""
    sender = ScriptedSender(otherwise=link(1_000, 1))
    upstream = samsara(max_events=20_000, max_batch_bytes=8 << 20)
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept(1500, pad=20)
        await trio.sleep(3000)
        assert (await here.ledger()) == {"accepted": 1500, "delivered": 1500}
        assert sender.taken["samsara/samsara"] == list(range(1500))
        first = [attempt.batch.id for attempt in sender.attempts].count(sender.attempts[0].batch.id)
        assert first == SLOW_ATTEMPTS
        assert len({attempt.body for attempt in sender.attempts[:first]}) == 1


@pytest.mark.parametrize(
    "cut",
    [judge_failure(Failure.BROKEN, "reset"), Retry("http 408", status=408, breaker=False)],
    ids=["broken", "408"],
)
async def test_a_batch_that_is_cut_off_in_its_middle_each_time_ends_and_smaller_ones_arrive(
    tmp_path, autojump_clock, cut
):
    """A link that was good turns bad, and something on it cuts connections off before the total time-out."""
    quick = link(250_000, 0.6)

    async def slow(batch, body):
        if len(body) / 20_000 > 30:
            await trio.sleep(30)
            return Outcome(cut, wrote_body=True, sent_bytes=600_000, cut_short=True)
        return await link(20_000, 0.6)(batch, body)

    sender = ScriptedSender(otherwise=quick)
    upstream = samsara(max_events=20_000, max_batch_bytes=8 << 20)
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept(*[1000] * 20, pad=250)
        await trio.sleep(100)
        sender.otherwise, before = slow, len(sender.attempts)
        await here.accept(*[1000] * 10, pad=250)
        await trio.sleep(3000)
        assert (await here.ledger()) == {"accepted": 30_000, "delivered": 30_000}
        assert sender.taken["samsara/samsara"] == list(range(30_000))
        large = [attempt for attempt in sender.attempts[before:] if len(attempt.body) > 600_000]
        assert len(large) >= SLOW_ATTEMPTS
        assert {attempt.batch.id for attempt in large[:SLOW_ATTEMPTS]} == {large[0].batch.id}


async def test_a_batch_that_the_link_still_rewards_stays_as_it_is_however_often_it_breaks(
    tmp_path, autojump_clock
):
    broken = Outcome(judge_failure(Failure.BROKEN, "reset"), wrote_body=True, sent_bytes=10, cut_short=True)
    sender = ScriptedSender(*[broken] * 20)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(20)
        await trio.sleep(3000)
        assert len({attempt.batch.id for attempt in sender.attempts}) == 1
        assert await here.ledger() == {"accepted": 20, "delivered": 20}


async def test_a_single_event_is_never_too_large_for_its_link(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=link(1_000, 1))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1, pad=100_000)
        await trio.sleep(3000)
        assert len({attempt.batch.id for attempt in sender.attempts}) == 1
        sender.otherwise = Delivered()
        await trio.sleep(200)
        assert await here.ledger() == {"accepted": 1, "delivered": 1}
