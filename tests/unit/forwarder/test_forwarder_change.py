"""Taking up another configuration while lanes run."""

from __future__ import annotations

import dataclasses

import pytest
import trio
from fakes.lanes import samsara, site, traintracks
from fakes.sender import ScriptedSender, after, no_answer

from collector.config.model import Backoff, Upstream
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


async def test_what_was_prepared_for_an_upstream_of_another_kind_is_not_sealed_once_it_is_this_one(
    tmp_path, autojump_clock
):
    old, new = ScriptedSender(), ScriptedSender()
    async with site(tmp_path, {Upstream(name="samsara", kind="file"): old}, run=False) as here:
        await here.accept(2)
        write, wanted = here.spool.write, here.spool.options.upstreams[0]
        options = dataclasses.replace(
            here.spool.options, upstreams=[dataclasses.replace(wanted, kind="samsara")]
        )

        async def behind_the_change(work):
            here.spool.write = write
            await here.spool.change(options)
            kept = await write(work)
            here.forwarder.change([samsara()], {"samsara": new}, drain_timeout=10)
            return kept

        here.spool.write = behind_the_change
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.forwarder.run)
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert [attempt.numbers for attempt in new.attempts] == [[0, 1]]
        assert old.attempts == []
        assert await here.ledger() == {"accepted": 2, "delivered": 2}


class SlowDisk:
    """In place of a spool's `write`: what is put there is done, in its turn, though nobody waits for it."""

    def __init__(self, spool, nursery) -> None:
        self._write = spool.write
        self._nursery = nursery
        self._turn = trio.StrictFIFOLock()
        self.seconds = 0.0

    async def __call__(self, work):
        done, came = trio.Event(), []
        self._nursery.start_soon(self._commit, work, came, done, self.seconds)
        await done.wait()
        (result,) = came
        if isinstance(result, Exception):
            raise result
        return result

    async def _commit(self, work, came, done, seconds):
        async with self._turn:
            await trio.sleep(seconds)
            try:
                came.append(await self._write(work))
            except Exception as error:  # noqa: BLE001 (it is for who waits)
                came.append(error)
        done.set()


@pytest.mark.parametrize(("slow_from", "drain_timeout"), [(0, 1), (2, 1), (2, 6)])
async def test_a_lane_that_was_cut_off_within_a_commit_goes_on_behind_it(
    tmp_path, autojump_clock, slow_from, drain_timeout
):
    """Where that is the commit that seals, that settles, or that ends what nobody was sent."""
    old, new = ScriptedSender(otherwise=after(0.1, Delivered())), ScriptedSender(after(30, Delivered()))
    upstream = samsara(max_events=10)
    async with site(tmp_path, {upstream: old}, run=False) as here, trio.open_nursery() as disk:
        slow = SlowDisk(here.spool, disk)
        here.spool.write = slow
        await here.accept(*[10] * 6)
        deliver = old.otherwise

        async def meanwhile(batch, body):
            slow.seconds = 5.0 if len(old.attempts) == slow_from else 0.0
            return await deliver(batch, body)

        old.otherwise = meanwhile
        slow.seconds = 0.0 if slow_from else 5.0
        disk.start_soon(here.forwarder.run)
        await trio.sleep(0.25)
        here.forwarder.change([samsara(max_events=7)], {"samsara": new}, drain_timeout=drain_timeout)
        await trio.sleep(drain_timeout + 1)
        slow.seconds = 0.0
        await trio.sleep(200)
        lane = await here.lane()
        assert (lane.state, lane.cursor_position) == ("healthy", 60)
        assert await here.ledger() == {"accepted": 60, "delivered": 60}
        keys: dict[int, str] = {}
        for attempt in (*old.attempts, *new.attempts):
            for position in attempt.positions:
                assert keys.setdefault(position, attempt.batch.id) == attempt.batch.id
        assert new.times[0] < 20  # and not after a probe's interval, as one that a defect stopped
        del here.spool.write
        disk.cancel_scope.cancel()
