from __future__ import annotations

import math
from http import HTTPStatus

import pytest
import trio
from fakes.lanes import START_MS, balanced, samsara, site, traintracks
from fakes.sender import ScriptedSender, answer, refusing, too_large
from structlog.testing import capture_logs

from collector.core.reply import MAX_NAMED
from collector.core.verdict import Delivered


async def test_a_batch_too_large_is_halved_until_it_passes_and_the_size_is_learned(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=too_large(3_000))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(160)
        await here.quiet()
        assert sender.taken["samsara/samsara"] == list(range(160))
        refused = [attempt for attempt in sender.attempts if len(attempt.body) > 3_000]
        assert sender.attempts[0] is refused[0]
        assert len(refused) <= 4
        assert sender.ranges[1] == (0, 79)  # the left half, under a new key
        assert sender.attempts[1].batch.id != sender.attempts[0].batch.id
        lane = await here.lane()
        assert lane.suspect_end is None
        assert 1_500 <= lane.learned_limit <= 3_500


async def test_a_learned_size_grows_again_and_is_forgotten_at_the_configured_one(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(413))
    async with site(tmp_path, {samsara(max_batch_bytes=2048): sender}) as here:
        await here.accept(200)
        await here.quiet()
        sizes = [len(attempt.body) for attempt in sender.attempts[1:-1]]
        limit = (await here.lane()).learned_limit
        assert limit is not None
        assert max(sizes[:8]) <= 1024 * 1.2
        await here.accept(2000)
        await here.quiet()
        assert (await here.lane()).learned_limit is None
        assert len(sender.last.body) <= 2048
        assert max(len(attempt.body) for attempt in sender.attempts) > 1800


async def test_a_learned_size_is_kept_across_a_restart(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(413))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(200)
        await here.quiet()
        learned = (await here.lane()).learned_limit
    async with site(tmp_path, {samsara(): sender}) as here:
        before = len(sender.attempts)
        await here.accept(500)
        await here.quiet()
        assert learned * 0.8 < len(sender.attempts[before].body) <= learned


async def test_an_event_too_large_alone_becomes_a_dead_letter(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=too_large(3_000))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(2)
        await here.accept(1, pad=4_000)
        await here.accept(2)
        await here.quiet()
        assert sender.taken["samsara/samsara"] == [0, 1, 3, 4]
        assert await here.dead_letters() == [(2, f"http 413 {HTTPStatus(413).phrase}", 413)]
        assert await here.ledger() == {"accepted": 5, "delivered": 4, "dead": 1}


async def test_an_answer_that_names_the_bad_events_is_believed(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=refusing(3, 4, 8, naming=True))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(5, 5)
        await here.quiet()
        assert sender.ranges == [(0, 9), (0, 2), (5, 7), (9, 9)]
        assert sender.taken["samsara/samsara"] == [0, 1, 2, 5, 6, 7, 9]
        assert await here.dead_letters() == [(bad, f"event {bad} is bad", 400) for bad in (3, 4, 8)]
        assert await here.ledger() == {"accepted": 10, "delivered": 7, "dead": 3}
        assert (await here.lane()).condemned == ()


async def test_what_an_answer_named_survives_a_restart(tmp_path, autojump_clock):
    sender = ScriptedSender(refusing(1, 3, naming=True), answer(503))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(5)
        await here.quiet()
        assert sender.ranges == [(0, 4), (0, 0)]
    async with site(tmp_path, {samsara(): sender}) as here:
        await trio.sleep(60)
        assert sender.taken["samsara/samsara"] == [0, 2, 4]
        assert [letter[0] for letter in await here.dead_letters()] == [1, 3]


async def test_of_many_named_events_a_bounded_number_is_kept_at_a_time(tmp_path, autojump_clock):
    bad = range(0, 900, 3)
    sender = ScriptedSender(otherwise=refusing(*bad, naming=True))
    upstream = samsara(reject_limit=0.9)
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept(900)
        most = 0
        while (lane := await here.lane()).cursor_position < 900:
            most = max(most, len(lane.condemned))
            await here.spool.read(lambda _: None)
        assert most == MAX_NAMED
        await here.quiet()
        assert [letter[0] for letter in await here.dead_letters()] == list(bad)
        assert sender.taken["samsara/samsara"] == [n for n in range(900) if n % 3]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("bad", [0, 500, 511, 640, 998, 999])
async def test_one_bad_event_among_many_is_found_in_few_requests(tmp_path, autojump_clock, bad, status):
    sender = ScriptedSender(otherwise=refusing(bad, status=status))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(500, 500)
        await here.quiet()
        assert [letter[0] for letter in await here.dead_letters()] == [bad]
        assert sender.taken["samsara/samsara"] == [n for n in range(1000) if n != bad]
        # The whole, then a half for each bit and for the one that is left, then the rest.
        assert len(sender.attempts) <= math.ceil(math.log2(1000)) + 4
        assert await here.ledger() == {"accepted": 1000, "delivered": 999, "dead": 1}


async def test_several_bad_events_are_each_found(tmp_path, autojump_clock):
    bad = (0, 7, 8, 63, 64, 99)
    sender = ScriptedSender(otherwise=refusing(*bad))
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks(100)
        await here.quiet()
        assert tuple(letter[0] for letter in await here.dead_letters()) == bad
        (taken,) = sender.taken.values()
        assert taken == [n for n in range(100) if n not in bad]
        assert len(sender.attempts) <= len(bad) * 9


async def test_a_search_goes_on_after_a_restart(tmp_path, autojump_clock):
    sender = ScriptedSender(*[refusing(13)] * 3, answer(503), otherwise=refusing(13))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(32)
        await here.quiet()
    async with site(tmp_path, {samsara(): sender}) as here:
        await trio.sleep(60)
        assert [letter[0] for letter in await here.dead_letters()] == [13]
        assert len(sender.attempts) <= 1 + 5 + 3 + 1


@pytest.mark.parametrize("naming", [True, False])
async def test_when_too_much_is_refused_the_lane_is_blocked_and_the_events_stay(
    tmp_path, autojump_clock, naming
):
    everything = refusing(*range(2000), naming=naming)
    sender = ScriptedSender(otherwise=everything)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1000, 1000)
        await trio.sleep(1)
        lane = await here.lane()
        dead = len(await here.dead_letters())
        assert lane.state == "blocked"
        assert lane.reason.startswith("http 400 Bad Request: 100 of the last 100 events were refused")
        assert dead == 99
        requests = len(sender.attempts)
        await trio.sleep(600)
        assert len(await here.dead_letters()) == dead
        assert requests < len(sender.attempts) <= requests + 20
        assert len({attempt.batch.id for attempt in sender.attempts[requests:]}) == 1
        assert (await here.lane()).reason == lane.reason
        # The upstream is mended.
        sender.otherwise = Delivered()
        await trio.sleep(60)
        assert sender.taken["samsara/samsara"] == list(range(dead, 2000))
        assert await here.ledger() == {"accepted": 2000, "delivered": 2000 - dead, "dead": dead}


async def test_a_few_refusals_among_many_block_nothing(tmp_path, autojump_clock):
    bad = set(range(0, 2000, 50))
    sender = ScriptedSender(otherwise=refusing(*bad, naming=True))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1000, 1000)
        await here.quiet()
        assert await here.ledger() == {"accepted": 2000, "delivered": 1960, "dead": 40}


def failing_on(bad):
    """The upstream fails with a 500 on batches that hold a position."""
    return lambda batch, body: answer(500 if batch.first <= bad <= batch.last else 202)(batch, body)


async def test_the_same_500_ten_times_narrows_down_to_one_event_which_blocks(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=failing_on(5))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(8)
            await trio.sleep(20_000)
            lane = await here.lane()
            assert (lane.state, lane.cursor_position) == ("blocked", 5)
            assert lane.reason == (
                "http 500 Internal Server Error, 10 times and more for this one event: position 5"
            )
            assert lane.since > START_MS
            assert sender.taken["samsara/samsara"] == [0, 1, 2, 3, 4]
            tries = [sender.ranges.count(span) for span in [(0, 7), (0, 3), (4, 5), (4, 4), (5, 5)]]
            assert tries[:4] == [10, 1, 10, 1]
            assert tries[4] > 50
            assert await here.dead_letters() == []
            assert await here.ledger() == {"accepted": 8, "pending": 3, "delivered": 5}
            told = len(logs)
            await trio.sleep(20_000)
            assert (await here.lane()).since == lane.since
            assert len(logs) == told
            sender.otherwise = Delivered()
            await trio.sleep(60)
            assert sender.taken["samsara/samsara"] == list(range(8))


async def test_where_it_is_configured_the_event_that_fails_for_ever_is_given_up(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=failing_on(5))
    async with site(tmp_path, {samsara(failing_event="dead-letter"): sender}) as here:
        await here.accept(8)
        await trio.sleep(20_000)
        assert sender.taken["samsara/samsara"] == [0, 1, 2, 3, 4, 6, 7]
        assert sender.ranges.count((5, 5)) == 10
        reason = "http 500 Internal Server Error, 10 times and more for this one event"
        assert await here.dead_letters() == [(5, reason, 500)]
        assert await here.ledger() == {"accepted": 8, "delivered": 7, "dead": 1}
        lane = await here.lane()
        assert (lane.state, lane.reason) == ("healthy", "")


async def test_past_the_reject_limit_no_event_is_given_up(tmp_path, autojump_clock):
    sender = ScriptedSender(*[answer(400)] * 99, otherwise=answer(500))
    upstream = samsara(failing_event="dead-letter", max_events=1)
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept(200)
        await trio.sleep(1_000)
        lane = await here.lane()
        assert lane.state == "blocked"
        assert "100 of the last 100 events were refused, over reject_limit" in lane.reason
        assert await here.ledger() == {"accepted": 200, "pending": 101, "dead": 99}


async def test_answers_of_500_are_counted_across_a_restart(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=failing_on(5))
    for _ in range(4):
        async with site(tmp_path, {samsara(): sender}) as here:
            if not sender.attempts:
                await here.accept(8)
            await trio.sleep(40)
    assert sender.ranges[:11] == [(0, 7)] * 10 + [(0, 3)]


async def test_another_answer_in_between_starts_the_count_of_500_anew(tmp_path, autojump_clock):
    sender = ScriptedSender(*[answer(500)] * 9, answer(503), *[answer(500)] * 9)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(8)
        await trio.sleep(20_000)
        assert sender.ranges == [(0, 7)] * 20


async def test_nothing_is_lost_when_large_bad_and_failing_events_come_together(tmp_path, autojump_clock):
    def step(batch, body):
        if len(body) > 5_000:
            return answer(413)(batch, body)
        if batch.first <= 37 <= batch.last:
            return answer(500)(batch, body)
        return refusing(12, 13, 60)(batch, body)

    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(30, 1, 60)
        await here.accept(1, pad=6_000)
        await here.accept(10)
        await trio.sleep(50_000)
        assert (await here.lane()).cursor_position == 37
        sender.otherwise = lambda batch, body: Delivered() if batch.first == 37 else step(batch, body)
        await trio.sleep(50_000)
        assert [letter[0] for letter in await here.dead_letters()] == [12, 13, 60, 91]
        assert sender.taken["samsara/samsara"] == [n for n in range(102) if n not in {12, 13, 60, 91}]
        ledger = await here.ledger()
        assert balanced(ledger)
        assert "pending" not in ledger


async def test_a_lane_that_waited_is_well_again_once_its_upstream_refuses_an_event(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503), answer(400), otherwise=answer(503))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await trio.sleep(10)
        lane = await here.lane()
        assert await here.ledger() == {"accepted": 1, "dead": 1}
        assert (lane.state, lane.reason, lane.failures) == ("healthy", "", 0)
