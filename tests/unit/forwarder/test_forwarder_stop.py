"""Stopping, and being told to hurry."""

from __future__ import annotations

import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import ScriptedSender, after, answer, no_answer

from collector.config.model import Backoff
from collector.core.failure import Failure
from collector.core.verdict import Delivered, Retry

DOWN = no_answer(Failure.CONNECT)


async def ended(here, nursery):
    """Run the forwarder in a nursery; gives an event that says when it ended."""
    end = trio.Event()

    async def run():
        await here.forwarder.run()
        end.set()

    nursery.start_soon(run)
    await here.quiet()
    return end


async def test_a_running_attempt_ends_and_is_settled_and_no_other_begins(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender(after(5, Delivered()))
    async with site(tmp_path, {samsara(max_events=2): sender}, run=False) as here:
        await here.accept(6)
        end = await ended(here, nursery)
        here.forwarder.stop(drain_timeout=10)
        await trio.sleep(4)
        assert not end.is_set()
        await trio.sleep(2)
        assert end.is_set()
        assert sender.ranges == [(0, 1)]
        assert await here.ledger() == {"accepted": 6, "delivered": 2, "pending": 4}


async def test_an_attempt_that_takes_too_long_is_abandoned(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender(after(60, Delivered()))
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(2)
        end = await ended(here, nursery)
        await trio.sleep(5)
        here.forwarder.stop(drain_timeout=10)
        await trio.sleep(9)
        assert not end.is_set()
        await trio.sleep(2)
        assert end.is_set()
        sealed = await here.batches()
    async with site(tmp_path, {samsara(): sender}) as here:
        await here.quiet()
        assert [attempt.batch.id for attempt in sender.attempts] == sealed * 2
        assert await here.ledger() == {"accepted": 2, "delivered": 2}


async def test_lanes_that_wait_end_at_once(tmp_path, autojump_clock, nursery):
    def step(batch, _body):
        return {"idle": Delivered(), "alone": Retry("http 500", 500, after=600)}.get(batch.product, DOWN)

    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {traintracks(): sender}, run=False) as here:
        for product in ("idle", "alone"):
            await here.accept_traintracks(product=product)
        end = await ended(here, nursery)
        for n in range(20):
            await here.accept_traintracks(product=f"waits-{n}")
        await here.quiet()
        assert not end.is_set()
        attempts = len(sender.attempts)
        here.forwarder.stop(drain_timeout=10)
        await here.quiet()
        assert end.is_set()
        assert len(sender.attempts) == attempts


async def test_a_lane_that_waits_for_the_disk_is_abandoned_in_time(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender(Delivered())
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(2)
        end = await ended(here, nursery)
        write = here.spool.write

        async def slow(work):
            await trio.sleep(3600)
            return await write(work)

        here.spool.write = slow
        await here.accept(2)
        await here.quiet()
        here.forwarder.stop(drain_timeout=10)
        await trio.sleep(11)
        assert end.is_set()
        here.spool.write = write
        assert sender.ranges == [(0, 1)]


async def test_a_lane_that_was_preparing_begins_no_attempt(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        end = await ended(here, nursery)
        read = here.spool.read

        async def slow(work):
            await trio.sleep(1)
            return await read(work)

        here.spool.read = slow
        await here.accept(2)
        await trio.sleep(2.5)  # the lane is found and has read its state; it reads what there is to do
        here.forwarder.stop(drain_timeout=10)
        await trio.sleep(5)
        assert end.is_set()
        assert sender.attempts == []
        here.spool.read = read
        assert await here.batches() == []


async def test_a_lane_that_was_sealing_begins_no_attempt(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(2)
        write = here.spool.write

        async def slow(work):
            await trio.sleep(1)
            return await write(work)

        here.spool.write = slow
        end = await ended(here, nursery)
        here.forwarder.stop(drain_timeout=10)
        await trio.sleep(2)
        assert end.is_set()
        assert sender.attempts == []


async def test_lanes_that_are_found_while_it_stops_do_not_begin(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(2)
        read = here.spool.read

        async def slow(work):
            await trio.sleep(1)
            return await read(work)

        here.spool.read = slow
        end = await ended(here, nursery)
        here.forwarder.stop(drain_timeout=10)
        await trio.sleep(2)
        assert end.is_set()
        assert sender.attempts == []


async def test_stopped_before_it_runs_it_does_nothing(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender()
    async with site(tmp_path, {samsara(): sender}, run=False) as here:
        await here.accept(2)
        here.forwarder.stop(drain_timeout=10)
        end = await ended(here, nursery)
        assert end.is_set()
        assert sender.attempts == []


async def test_events_accepted_while_it_stops_wait_for_the_next_start(tmp_path, autojump_clock, nursery):
    sender = ScriptedSender(after(5, Delivered()))
    async with site(tmp_path, {samsara(): sender, traintracks(): sender}, run=False) as here:
        await here.accept(2)
        end = await ended(here, nursery)
        here.forwarder.stop(drain_timeout=10)
        await here.accept(2)
        await here.accept_traintracks(product="new")
        await trio.sleep(6)
        assert end.is_set()
        assert (await here.ledger())["pending"] == 3
    async with site(tmp_path, {samsara(): sender, traintracks(): sender}) as here:
        await here.quiet()
        assert "pending" not in await here.ledger()


async def test_hurried_every_waiting_lane_tries_at_once(tmp_path, autojump_clock):
    def step(batch, body):
        return {"retries": answer(500, retry_after="3600"), "blocked": answer(401)}[batch.product](
            batch, body
        )

    sender = ScriptedSender(otherwise=step)
    async with site(tmp_path, {traintracks(): sender}) as here:
        for product in ("retries", "blocked"):
            await here.accept_traintracks(product=product)
        await trio.sleep(10)
        assert sender.times == [0, 0]
        sender.otherwise = Delivered()
        here.forwarder.hurry()
        await here.quiet()
        assert sender.times == [0, 0, 10, 10]
        assert "pending" not in await here.ledger()


async def test_hurried_an_open_breaker_is_still_probed_by_one_lane(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=DOWN)
    async with site(tmp_path, {traintracks(backoff=Backoff(initial=3600, max=3600)): sender}) as here:
        await here.accept_traintracks(product="first")
        await here.quiet()
        for n in range(20):
            await here.accept_traintracks(product=f"waits-{n}")
        await trio.sleep(10)
        here.forwarder.hurry()
        await here.quiet()
        assert sender.times == [0, 10]


async def test_hurried_during_an_attempt_a_lane_does_not_wait_after_it(tmp_path, autojump_clock):
    """A key was put right while an attempt with the wrong one was under way."""
    for step in (answer(401), answer(302), answer(500), answer(503)):

        async def slowly(batch, body, step=step):
            await trio.sleep(5)
            return await after(0, step(batch, body))(batch, body)

        sender = ScriptedSender(slowly)
        upstream = samsara(backoff=Backoff(initial=3600, max=3600))
        async with site(tmp_path / str(id(step)), {upstream: sender}) as here:
            await here.accept(1)
            began = trio.current_time()
            await trio.sleep(1)
            here.forwarder.hurry()
            await trio.sleep(5)
            assert [attempt.at - began for attempt in sender.attempts] == [0, 5]
            assert "pending" not in await here.ledger()


async def test_a_hurry_is_spent_by_the_attempt_that_it_brought_about(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=answer(401))
    async with site(tmp_path, {samsara(): sender}) as here:
        here.chance = 0.0
        await here.accept(1)
        await trio.sleep(10)
        here.forwarder.hurry()
        await trio.sleep(45)
        assert sender.times == [0, 10, 40]


async def test_one_upstream_can_be_hurried_alone(tmp_path, autojump_clock):
    one, two = ScriptedSender(answer(401)), ScriptedSender(answer(401))
    async with site(tmp_path, {samsara("one"): one, samsara("two"): two}) as here:
        await here.accept(1)
        await trio.sleep(10)
        here.forwarder.hurry("one")
        await here.quiet()
        assert (one.times, two.times) == ([0, 10], [0])
