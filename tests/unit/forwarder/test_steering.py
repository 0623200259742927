"""Pause, resume, flush and dry runs, on trio's clock."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import trio
from fakes.forwarding import sending
from fakes.lanes import PRODUCT, samsara, site, traintracks
from fakes.sender import ScriptedSender, answer, no_answer
from fakes.upstream import Behaviour

from collector.core.failure import Failure
from collector.forwarder.trial import TRIAL_SECONDS, try_directory, try_products
from collector.spool import steering
from collector.spool.overview import overview


async def pause(here, name="samsara"):
    await here.spool.write(partial(steering.set_paused, upstream=name, at=here.times.wall_ms()))
    here.forwarder.breaker(name).pause()


async def resume(here, name="samsara"):
    await here.spool.write(partial(steering.set_paused, upstream=name, at=None))
    here.forwarder.breaker(name).resume()


async def test_a_paused_upstream_keeps_its_events_across_restarts_and_goes_on_when_resumed(
    tmp_path, autojump_clock
):
    upstream, other = samsara(), samsara("other")
    paused, going = ScriptedSender(), ScriptedSender()
    async with site(tmp_path, {upstream: paused, other: going}) as here:
        await pause(here)
        await here.accept(3)
        await trio.sleep(1000)
        assert going.ranges == [(0, 2)]
        (lane,) = [lane for lane in (await here.spool.read(overview)).lanes if lane.upstream == "samsara"]
        assert (lane.state, lane.pending_events) == ("paused", 3)
        assert "resume" in lane.reason
    async with site(tmp_path, {upstream: paused, other: going}) as here:
        await here.accept(2)
        await trio.sleep(1000)
        assert paused.attempts == []
        await resume(here)
        await here.quiet()
        assert paused.ranges == [(0, 4)]
    async with site(tmp_path, {upstream: paused, other: going}) as here:
        await here.accept(1)
        await here.quiet()
        assert paused.ranges == [(0, 4), (5, 5)]
        assert await here.ledger() == {"accepted": 12, "delivered": 12}


async def test_flushed_a_lane_that_lingers_sends_and_lingers_again_afterwards(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(linger=600): sender}) as here:
        await here.accept(2)
        await trio.sleep(1)
        assert sender.attempts == []
        here.forwarder.flush("samsara")
        await trio.sleep(1)
        assert sender.times == [1]
        await here.accept(2)
        await trio.sleep(1000)
        assert sender.times == [1, 602]


async def test_flushed_with_nothing_to_send_the_next_events_linger(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(linger=60): sender}) as here:
        await here.accept(1)
        await trio.sleep(60)
        here.forwarder.flush("samsara")
        await trio.sleep(10)
        await here.accept(1)
        await trio.sleep(100)
        assert sender.times == [60, 130]


async def test_flushed_a_lane_waits_no_longer_for_its_next_attempt(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(503, retry_after="3000"))
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(1)
        await trio.sleep(7)
        here.forwarder.flush("samsara")
        await here.quiet()
        assert sender.times == [0, 7]


async def test_forgotten_an_orphans_events_are_evicted_and_its_ledger_balances(tmp_path, autojump_clock):
    gone = samsara("gone")
    async with site(tmp_path, {samsara(): ScriptedSender(), gone: ScriptedSender(answer(401))}) as here:
        await here.accept(3, 4)
        await here.quiet()
        with pytest.raises(steering.StillConfigured, match="gone is configured"):
            await here.spool.write(partial(steering.forget, upstream="gone"))
    async with site(tmp_path, {samsara(): ScriptedSender()}) as here:
        step = partial(steering.forget, upstream="gone")
        assert await here.spool.write(step) == {"gone/samsara": 7}
        assert await here.spool.write(step) == {}
        assert await here.ledger() == {"accepted": 14, "delivered": 7, "evicted": 7}
        assert await here.batches() == []
        assert await here.query("SELECT count(*) FROM chunk") == [(0,)]
        with pytest.raises(steering.UnknownUpstream, match="no upstream nobody"):
            await here.spool.write(partial(steering.forget, upstream="nobody"))


async def test_buried_the_event_that_is_answered_500_for_ever_is_a_dead_letter_and_the_others_go_on(
    tmp_path, autojump_clock
):
    sender = ScriptedSender(
        otherwise=lambda batch, body: answer(500 if batch.first <= 5 <= batch.last else 202)(batch, body)
    )
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.accept(8)
        bury = partial(steering.bury, upstream="samsara")
        await trio.sleep(5)
        assert await here.spool.write(bury) == {}  # it is not known yet which one it is
        await trio.sleep(20_000)
        assert (await here.lane()).state == "blocked"
        assert await here.spool.write(bury) == {"samsara/samsara": 5}
        here.forwarder.hurry("samsara")
        await trio.sleep(10)
        assert sender.taken["samsara/samsara"] == [0, 1, 2, 3, 4, 6, 7]
        ((position, reason, status),) = await here.dead_letters()
        assert (position, status) == (5, 500)
        assert reason.startswith("given up by command: http 500 Internal Server Error, 10 times")
        assert await here.ledger() == {"accepted": 8, "delivered": 7, "dead": 1}
        assert await here.spool.write(bury) == {}
        with pytest.raises(steering.UnknownUpstream):
            await here.spool.write(partial(steering.bury, upstream="nobody"))


async def test_whoever_gives_an_event_up_is_believed_when_too_much_was_refused_too(tmp_path, autojump_clock):
    sender = ScriptedSender(*[answer(400)] * 99, otherwise=answer(500))
    async with site(tmp_path, {samsara(max_events=1): sender}) as here:
        await here.accept(102)
        await trio.sleep(1_000)
        assert (await here.lane()).state == "blocked"
        assert await here.ledger() == {"accepted": 102, "pending": 3, "dead": 99}
        assert await here.spool.write(partial(steering.bury, upstream="samsara")) == {"samsara/samsara": 99}
        here.forwarder.hurry("samsara")
        await here.quiet()
        assert await here.ledger() == {"accepted": 102, "pending": 2, "dead": 100}


ids = (f"{number:032x}" for number in itertools.count())
trials = partial(try_products, device="kiosk-17", epoch="9d1e", batch_id=lambda: next(ids))


async def trial(upstream, sender, product=""):
    (found,) = await trials(upstream, sender, [product])
    return found


@pytest.mark.parametrize(
    ("step", "verdict", "reason"),
    [
        (answer(202), "delivered", "taken"),
        (answer(401, b"no such key"), "blocked", "http 401 Unauthorized: a body of 11 bytes: no such key"),
        (answer(302), "blocked", "http 302 Found, and redirects are not followed"),
        (answer(503), "retry", "http 503 Service Unavailable"),
        (answer(400, b"empty"), "rejected", "http 400 Bad Request: empty"),
        (no_answer(Failure.CONNECT), "retry", "cannot connect: as told"),
        (no_answer(Failure.TLS), "blocked", "no trust in the connection: as told"),
    ],
)
async def test_a_dry_run_says_what_events_would_meet(autojump_clock, step, verdict, reason):
    found = await trial(samsara(), ScriptedSender(step))
    assert (found.verdict, found.reason, found.good) == (verdict, reason, verdict == "delivered")
    assert found.meaning.endswith(".")


async def test_a_dry_run_is_signed_like_a_batch_and_takes_up_no_position(fake):
    async with sending(url=fake.url) as sender:
        assert (await trial(samsara(), sender)).good
    async with sending(url=fake.url, name="tt", kind="traintracks", signing=None) as sender:
        assert (await trial(traintracks(), sender, product=PRODUCT)).good
        fake.script(Behaviour(status=401))
        assert (await trial(traintracks(), sender, product=PRODUCT)).verdict == "blocked"
    assert [request.content for request in fake.received] == [b"[]"] * 3
    assert fake.book.problems == []
    assert not any(fake.book.taken.values())
    assert fake.received[0].header("Waystation-Batch").endswith("first=0, last=-1")


async def test_an_upstream_that_is_silent_is_told_before_who_asks_gives_up(autojump_clock):
    class Silent:
        async def attempt(self, _batch, _body):
            await trio.sleep_forever()

    products = [f"product-{n}" for n in range(20)]
    began = trio.current_time()
    found = await trials(traintracks(), Silent(), products)
    assert trio.current_time() - began == TRIAL_SECONDS
    assert [(one.product, one.verdict) for one in found] == [(product, "retry") for product in products]
    assert {one.reason for one in found} == {"timed out: no answer within 20 s"}


async def test_a_directory_is_tried_by_writing_and_nothing_stays(tmp_path):
    assert (await try_directory(tmp_path / "not" / "there")).good
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    found = await try_directory(tmp_path / "file")
    assert (found.verdict, found.reason) == ("retry", f"cannot write to {tmp_path / 'file'}: Not a directory")
