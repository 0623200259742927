"""The next batch is sealed in the commit that settles the one before it, where the lane goes on at once."""

from __future__ import annotations

import pytest
import trio
from bench.counting import statements
from fakes.lanes import samsara, site
from fakes.sender import ScriptedSender, after
from fakes.spools import database_of

from collector.core.verdict import Delivered
from collector.forwarder import settling
from collector.spool import read


def outstanding(here, lane=1):
    return here.spool.read(lambda connection: read.outstanding(connection, read.lane(connection, lane)))


@pytest.fixture
def after_sealing(monkeypatch):
    """Functions to be called, once, within the commit that seals the batch which begins at a position."""
    wanted = {}
    seal = settling.settle.seal

    def sealed(connection, batch, *, now):
        kept = seal(connection, batch, now=now)
        wanted.pop(batch.first, lambda: None)()
        return kept

    monkeypatch.setattr(settling.settle, "seal", sealed)
    return wanted


async def test_a_drain_takes_one_commit_a_batch(tmp_path, autojump_clock):
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {samsara(max_events=10): sender}, run=False) as here:
        await here.accept(*[10] * 20)
        with statements(database_of(here.spool).connection) as seen:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.forwarder.run)
                await trio.sleep(5)
                nursery.cancel_scope.cancel()
        assert len(sender.attempts) == 20
        # Two for the first batch, which has yet to show that attempts are quick, and one before the second.
        assert seen.count("COMMIT") == 22
        assert await here.ledger() == {"accepted": 200, "delivered": 200}
        assert sender.problems == []


async def test_what_was_sealed_ahead_and_not_sent_is_taken_back(tmp_path, autojump_clock, after_sealing):
    # A batch says of late events what is so when it is sealed, and may wait for hours now.
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {samsara(max_events=10): sender}) as here:
        breaker = here.forwarder.breaker("samsara")
        after_sealing[20] = breaker.pause
        await here.accept(40)
        await trio.sleep(5)
        assert sender.ranges == [(0, 9), (10, 19)]
        assert await outstanding(here) is None
        assert await here.ledger() == {"accepted": 40, "delivered": 20, "pending": 20}
        breaker.resume()
        await trio.sleep(5)
        assert sender.ranges == [(0, 9), (10, 19), (20, 29), (30, 39)]
        assert sender.problems == []
        assert await here.ledger() == {"accepted": 40, "delivered": 40}


async def test_a_stop_takes_it_back_too(tmp_path, autojump_clock, after_sealing):
    sender = ScriptedSender(otherwise=after(0.1, Delivered()))
    async with site(tmp_path, {samsara(max_events=10): sender}) as here:
        after_sealing[20] = lambda: here.forwarder.stop(drain_timeout=1)
        await here.accept(40)
        await trio.sleep(5)
        assert sender.ranges == [(0, 9), (10, 19)]
        assert await outstanding(here) is None
    again = ScriptedSender()
    async with site(tmp_path, {samsara(max_events=10): again}) as here:
        await trio.sleep(5)
        assert again.ranges == [(20, 29), (30, 39)]
        assert await here.ledger() == {"accepted": 40, "delivered": 40}
