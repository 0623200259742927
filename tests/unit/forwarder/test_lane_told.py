"""What is told of a lane that looks for what its upstream refuses, or whose events nobody takes any more."""

from __future__ import annotations

from http import HTTPStatus

import pytest
import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, refusing, too_large
from structlog.testing import capture_logs

from collector.core.verdict import Delivered
from collector.spool.overview import PRODUCT_LEFT, UPSTREAM_LEFT, lane_views
from collector.spool.settle import NARROWING

HALVES = "; halves are tried, to find what is refused"
TOO_LARGE = f"http 413 {HTTPStatus(413).phrase}; smaller batches are tried"


async def told(here):
    """The only lane's state and reason, as the status has them."""
    (view,) = await here.spool.read(lane_views)
    return view.state, view.reason


def lines(logs, *events):
    return [line["event"] for line in logs if line["event"] in events and line["log_level"] != "debug"]


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ([answer(413)], TOO_LARGE),
        ([answer(400)], f"http 400 Bad Request{HALVES}"),
        (
            [answer(500)] * 10,
            f"http 500 Internal Server Error, 10 times for this batch{HALVES}",
        ),
    ],
)
async def test_a_lane_shows_that_it_tries_smaller_batches_and_why(tmp_path, autojump_clock, refused, reason):
    sender = ScriptedSender(*refused, otherwise=after(1000, Delivered()))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(max_events=8): sender}) as here:
            await here.accept(8)
            await trio.sleep(200)
            assert await told(here) == ("narrowing", reason)
            (view,) = await here.spool.read(lane_views)
            assert view.delivers
            await trio.sleep(1000)
            assert sender.taken["samsara/samsara"] == [0, 1, 2, 3]
            assert await told(here) == ("narrowing", reason)
            up_since = (await here.spool.read(lane_views))[0].since
            await trio.sleep(4000)
            assert await told(here) == ("healthy", "")
            (view,) = await here.spool.read(lane_views)
            assert view.since == up_since, "a batch that was too large is no outage"
            assert await here.ledger() == {"accepted": 8, "delivered": 8}
    assert lines(logs, "lane_narrowing") == ["lane_narrowing"]


async def test_it_is_narrowing_again_after_a_wait_and_after_a_restart(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(413), answer(503), Delivered(), otherwise=after(1000, Delivered()))
    async with site(tmp_path, {samsara(max_events=8): sender}) as here:
        await here.accept(8)
        await here.quiet()
        assert (await told(here))[0] == "retrying"
        await trio.sleep(100)
        assert await told(here) == ("narrowing", NARROWING)
    async with site(tmp_path, {samsara(max_events=8): sender}) as here:
        assert await told(here) == ("narrowing", NARROWING)
        await trio.sleep(4000)
        assert await told(here) == ("healthy", "")
        assert await here.ledger() == {"accepted": 8, "delivered": 8}


async def test_an_event_that_is_found_ends_it(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=refusing(3))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(8)
        await here.quiet()
        assert await told(here) == ("healthy", "")
        assert await here.ledger() == {"accepted": 8, "delivered": 7, "dead": 1}


async def test_a_size_that_is_known_is_tried_again_without_a_line_each_time(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=too_large(3_000))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            for _ in range(20):
                await here.accept(300)
                await trio.sleep(100)
            (view,) = await here.spool.read(lane_views)
            assert 1_500 <= view.learned_limit <= 3_500
    refused = [attempt for attempt in sender.attempts if len(attempt.body) > 3_000]
    assert len(refused) > 5
    assert lines(logs, "lane_narrowing", "lane_healthy", "lane_blocked") == ["lane_narrowing", "lane_healthy"]


async def test_many_bad_events_are_told_as_dead_letters_and_once_a_minute_as_narrowing(
    tmp_path, autojump_clock
):
    sender = ScriptedSender(otherwise=refusing(*range(0, 2000, 50)))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(1000)
            await here.quiet()
            await here.accept(500)
            await trio.sleep(61)
            await here.accept(500)
            await here.quiet()
    assert lines(logs, "lane_narrowing") == ["lane_narrowing"] * 2
    assert len(lines(logs, "dead_letter")) == 40


async def test_events_whose_product_left_say_so_and_not_that_their_upstream_did(tmp_path, autojump_clock):
    upstream = traintracks()
    async with site(tmp_path, {upstream: ScriptedSender()}, run=False) as here:
        await here.accept_traintracks(3)
    nothing = {traintracks("traintracks"): ScriptedSender()}
    async with site(tmp_path, nothing, run=False, takes=lambda *_: False) as here:
        assert await told(here) == ("orphaned", PRODUCT_LEFT)
        assert await here.ledger() == {"accepted": 3, "pending": 3}
    async with site(tmp_path, {samsara(): ScriptedSender()}, run=False) as here:
        assert await told(here) == ("orphaned", UPSTREAM_LEFT)


async def test_what_only_made_dead_letters_is_told_as_healthy_once_an_event_was_taken(
    tmp_path, autojump_clock
):
    sender = ScriptedSender(answer(400), answer(400))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            for state in ("new", "new", "healthy"):
                await here.accept(1)
                await here.quiet()
                assert await told(here) == (state, "")
    assert lines(logs, "lane_healthy", "dead_letter") == ["dead_letter", "dead_letter", "lane_healthy"]


async def test_an_answer_ends_a_wait_whatever_it_makes_of_the_event(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503), answer(400))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(1)
            await trio.sleep(200)
            assert await told(here) == ("healthy", "")
    assert lines(logs, "lane_retrying", "lane_healthy") == ["lane_retrying", "lane_healthy"]


@pytest.mark.parametrize("bad", [3, 7])
async def test_the_end_of_a_narrowing_is_told_as_its_beginning_is(tmp_path, autojump_clock, bad):
    sender = ScriptedSender(Delivered(), otherwise=refusing(bad))
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            await here.accept(1)
            await here.quiet()
            await here.accept(7)
            await here.quiet()
            assert await here.ledger() == {"accepted": 8, "delivered": 7, "dead": 1}
    assert lines(logs, "lane_narrowing", "lane_healthy") == ["lane_healthy", "lane_narrowing", "lane_healthy"]
