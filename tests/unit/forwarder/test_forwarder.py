from __future__ import annotations

import sqlite3

import pytest
import trio
from fakes.lanes import PRODUCT, samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, no_answer
from structlog.testing import capture_logs

from collector.config.model import Backoff, Upstream
from collector.core.failure import Failure
from collector.core.verdict import Delivered
from collector.forwarder.breaker import LANES_AT_ONCE
from collector.forwarder.forwarder import _paused_and_lanes
from collector.spool import read

DOWN = no_answer(Failure.CONNECT)
PRODUCTS = [f"product-{n:02}" for n in range(20)]


async def accept_all(here, products=PRODUCTS):
    for product in products:
        await here.accept_traintracks(product=product)


async def test_each_upstream_gets_every_event_of_its_dialect(tmp_path, autojump_clock):
    one, two, other, file = (ScriptedSender() for _ in range(4))
    senders = {
        samsara("one"): one,
        samsara("two"): two,
        traintracks(): other,
        Upstream(name="file", kind="file"): file,
    }
    async with site(tmp_path, senders) as here:
        await here.accept(2)
        await here.accept_traintracks(3)
        await here.quiet()
        assert one.taken == {"one/samsara": [0, 1]}
        assert two.taken == {"two/samsara": [0, 1]}
        assert list(other.taken.values()) == [[0, 1, 2]]
        assert file.taken == {"file/samsara": [0, 1], f"file/traintracks/{PRODUCT}": [0, 1, 2]}
        assert await here.ledger() == {"accepted": 12, "delivered": 12}


async def test_one_upstream_that_is_down_holds_no_other_up(tmp_path, autojump_clock):
    down, fine = ScriptedSender(otherwise=DOWN), ScriptedSender()
    async with site(tmp_path, {samsara("down"): down, samsara("fine"): fine}) as here:
        for _ in range(3):
            await here.accept(1)
            await here.quiet()
        assert fine.taken["fine/samsara"] == [0, 1, 2]
        assert (await here.ledger())["pending"] == 3


async def test_an_upstream_that_is_down_is_probed_by_one_lane_for_all(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=DOWN)
    async with site(tmp_path, {traintracks(backoff=Backoff(max=8)): sender}) as here:
        await here.accept_traintracks(product=PRODUCTS[0])
        await here.quiet()
        await accept_all(here)
        assert here.forwarder.breaker("traintracks").reason == "cannot connect: as told"
        await trio.sleep(31)
        # Each probe is a lane's first failure, and the upstream's second, third...
        assert sender.times == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5]
        assert len({attempt.batch.product for attempt in sender.attempts}) > 5
        states = {lane.state for lane in await here.spool.read(read.lanes)}
        assert states == {"new", "retrying"}


async def test_when_it_is_back_all_lanes_drain_at_once(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=DOWN)
    async with site(tmp_path, {traintracks(backoff=Backoff(max=64)): sender}) as here:
        await here.accept_traintracks(product=PRODUCTS[0])
        await here.quiet()
        await accept_all(here)
        await trio.sleep(1000)
        tries = len(sender.attempts)
        sender.otherwise = Delivered()
        await trio.sleep(33)
        assert {attempt.at for attempt in sender.attempts[tries:]} == {sender.attempts[tries].at}
        assert len(sender.taken) == len(PRODUCTS)
        assert not here.forwarder.breaker("traintracks").is_open
        assert await here.ledger() == {"accepted": 21, "delivered": 21}


async def test_a_retry_after_holds_all_lanes_of_the_upstream(tmp_path, autojump_clock):
    sender = ScriptedSender(answer(429, retry_after="120"))
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks(product="a")
        await here.quiet()
        await accept_all(here)
        await trio.sleep(149)
        assert sender.times == [0]
        await trio.sleep(2)
        assert set(sender.times) == {0, 150}
        assert len(sender.taken) == 1 + len(PRODUCTS)


@pytest.mark.parametrize("step", [answer(302), answer(511), no_answer(Failure.TLS)])
async def test_what_blocks_the_whole_upstream_is_probed_by_one_lane(tmp_path, autojump_clock, step):
    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {traintracks(backoff=Backoff(max=60)): sender}) as here:
        here.chance = 0.0
        await here.accept_traintracks(product="a")
        await here.quiet()
        await accept_all(here)
        await trio.sleep(100)
        assert sender.times == [0, 30, 60, 90]


async def test_what_concerns_one_lane_leaves_the_others_alone(tmp_path, autojump_clock):
    def step(batch, body):
        return answer(401 if batch.product == PRODUCTS[0] else 200)(batch, body)

    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {traintracks(): sender}) as here:
        await accept_all(here)
        await here.quiet()
        assert len(sender.taken) == len(PRODUCTS) - 1


@pytest.mark.parametrize("status", [401, 500, 400, 413])
async def test_any_answer_for_one_lane_closes_the_breaker_since_someone_answers(
    tmp_path, autojump_clock, status
):
    sender = ScriptedSender(DOWN, otherwise=answer(status))
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks(2)
        await here.quiet()
        assert here.forwarder.breaker("traintracks").is_open
        await trio.sleep(0.6)
        assert not here.forwarder.breaker("traintracks").is_open


async def test_a_fault_of_our_own_neither_opens_nor_closes_the_breaker(tmp_path, autojump_clock):
    was_open = []

    def step(batch, _body):
        if batch.product.startswith("keyless"):
            return no_answer(Failure.LOCAL)
        was_open.append(here.forwarder.breaker("traintracks").is_open)
        return DOWN

    sender = ScriptedSender(otherwise=step)
    upstream = traintracks(backoff=Backoff(initial=3600, max=3600))
    async with site(tmp_path, {upstream: sender}) as here:
        await here.accept_traintracks(product="keyless")
        await here.quiet()
        assert not here.forwarder.breaker("traintracks").is_open
        await here.accept_traintracks(product="other")
        await here.quiet()
        await accept_all(here, [f"keyless-{n}" for n in range(7)])
        for _ in range(3):
            here.forwarder.hurry()
            await here.quiet()
        assert was_open == [False, True, True, True]


async def test_the_success_of_one_lane_frees_those_that_failed(tmp_path, autojump_clock):
    def step(batch, body):
        return after(5, Delivered())(batch, body) if batch.product == "slow" else DOWN

    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {traintracks(backoff=Backoff(initial=3600, max=3600)): sender}) as here:
        await here.accept_traintracks(product="slow")
        await here.quiet()
        await here.accept_traintracks(product="other")
        await here.quiet()
        sender.otherwise = Delivered()
        await trio.sleep(6)
        assert [(attempt.at, attempt.batch.product) for attempt in sender.attempts] == [
            (0, "slow"),
            (0, "other"),
            (5, "other"),
        ]


async def test_while_the_breaker_is_open_no_lane_is_known_to_deliver(tmp_path, autojump_clock):
    sender = ScriptedSender(Delivered(), otherwise=DOWN)
    async with site(tmp_path, {traintracks(): sender}) as here:
        await here.accept_traintracks(product="healthy")
        await here.quiet()
        await here.accept_traintracks(product="other")
        await here.quiet()
        await here.accept_traintracks(product="healthy")
        await trio.sleep(10_000)  # the two lanes probe in any order
        body = next(a.body for a in sender.attempts[1:] if a.batch.product == "healthy")
        assert b"serverTimestamp" in body


async def test_only_so_many_lanes_are_at_work_at_once(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=after(1, Delivered()))
    async with site(tmp_path, {traintracks(): sender}) as here:
        await accept_all(here)
        await trio.sleep(0.5)
        assert len(sender.under_way) == LANES_AT_ONCE
        await trio.sleep(5)
        assert len(sender.taken) == len(PRODUCTS)


async def test_a_thousand_idle_lanes_cost_no_wakeups(tmp_path, autojump_clock):
    sender = ScriptedSender()
    async with site(tmp_path, {traintracks(): sender}, run=False) as here:
        await accept_all(here, [f"product-{n:04}" for n in range(1000)])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await here.quiet()
            assert len(sender.taken) == 1000
            woken = []

            class Count(trio.abc.Instrument):
                def before_task_step(self, task):
                    woken.append(task.name)

            count = Count()
            trio.lowlevel.add_instrument(count)
            await trio.sleep(86_400)
            trio.lowlevel.remove_instrument(count)
            assert len(woken) <= 2
            await here.accept_traintracks(product="product-0500")
            await here.quiet()
            assert sender.last.batch.product == "product-0500"
            here.forwarder.stop(drain_timeout=1)


async def test_a_lane_that_is_made_later_is_found(tmp_path, autojump_clock):
    """A stream may be known by one upstream's lane, and get another's with its next events."""
    old, new = ScriptedSender(), ScriptedSender()
    async with site(tmp_path, {samsara("old"): old}) as here:
        await here.accept(2)
        await here.quiet()
    async with site(tmp_path, {samsara("old"): old, samsara("new"): new}) as here:
        await here.quiet()
        await here.accept(2)
        await here.quiet()
        assert old.taken == {"old/samsara": [0, 1, 2, 3]}
        assert new.taken == {"new/samsara": [2, 3]}
        await here.accept(1)
        await here.quiet()
        assert new.taken == {"new/samsara": [2, 3, 4]}


async def test_an_upstream_that_left_and_returned_goes_on_in_order(tmp_path, autojump_clock):
    gone, stays = ScriptedSender(DOWN), ScriptedSender()
    senders = {samsara("gone"): gone, samsara("stays"): stays}
    async with site(tmp_path, senders) as here:
        await here.accept(2)
        await here.quiet()
    async with site(tmp_path, {samsara("stays"): stays}) as here:
        await here.accept(2)
        await here.quiet()
    async with site(tmp_path, senders) as here:
        await here.accept(2)
        await trio.sleep(60)
        assert stays.taken == {"stays/samsara": [0, 1, 2, 3, 4, 5]}
        assert gone.taken == {"gone/samsara": [0, 1, 4, 5]}


async def test_lanes_that_cannot_be_listed_are_listed_when_they_can(tmp_path, autojump_clock):
    sender = ScriptedSender()
    with capture_logs() as logs:
        async with site(tmp_path, {samsara(): sender}) as here:
            list_lanes, failures = here.spool.read, 3

            async def failing(work):
                nonlocal failures
                if work is _paused_and_lanes and failures:
                    failures -= 1
                    raise sqlite3.OperationalError("disk I/O error")
                return await list_lanes(work)

            here.spool.read = failing
            await here.accept(2)
            await trio.sleep(10)
            assert sender.taken == {"samsara/samsara": [0, 1]}
    assert [line["event"] for line in logs] == ["lanes_unreadable", "lane_healthy"]
