"""Bad links, over real sockets and on a clock that jumps: delay, stalls, resets, partitions, flapping."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import trio
from fakes.forwarding import sending
from fakes.lanes import balanced, site
from fakes.load import seeded
from fakes.relay import BookKeeper, Relay
from trio.testing import MockClock

from collector.config.model import Backoff, Timeouts

MBIT = 125_000  # bytes a second
LONG = 7200


@pytest.fixture
def link_clock():
    """Jumps once nothing has happened for long enough that loopback sockets have nothing under way."""
    return MockClock(autojump_threshold=0.01)


@asynccontextmanager
async def linked(directory, *, relay_options=None, **options):
    """A lane, its upstream, and the link between them."""
    async with (
        BookKeeper().serving() as upstream,
        Relay(upstream.port, chance=seeded("link").random, **(relay_options or {})).serving() as relay,
        sending(
            url=f"http://127.0.0.1:{relay.port}/v1/events",
            timeouts=options.pop("timeouts", Timeouts()),
            **options,
        ) as sender,
        site(directory, {sender._upstream: sender}) as here,
    ):
        yield here, relay, upstream


async def drained(here, *, every=1.0):
    """Wait until nothing is pending; how long that took.

    On a busy machine the clock may jump while loopback is late: no further than to when this asks again.
    """
    start = trio.current_time()
    while "pending" in (ledger := await here.ledger()):
        await trio.sleep(every)
        assert trio.current_time() - start < LONG
    assert balanced(ledger)
    return trio.current_time() - start


def assert_taken(upstream, events):
    assert upstream.book.problems == []
    ((_, taken),) = upstream.book.taken.items()
    assert [json.loads(event)["n"] for event in taken.values()] == list(range(events))


async def partition(relay):
    relay.down = True
    await trio.sleep(600)
    relay.down = False


async def flap(relay):
    for _ in range(40):
        relay.down = not relay.down
        await trio.sleep(7)
    relay.down = False


async def reset(relay):
    for _ in range(60):
        await trio.sleep(1)
        relay.reset()


async def refuse(relay):
    relay.refusing = True
    relay.reset()
    await trio.sleep(300)
    relay.refusing = False


async def stall(relay):
    for _ in range(5):
        await trio.sleep(2)
        relay.stall(20)


TROUBLES = [partition, flap, reset, refuse, stall]


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_a_link_does_loses_doubles_and_reorders_nothing(tmp_path, link_clock, trouble):
    relay_options = {"delay": 0.2, "jitter": 0.2, "rate": 2 * MBIT}
    async with linked(tmp_path, relay_options=relay_options, max_events=50) as (here, relay, upstream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trouble, relay)
            for _ in range(20):
                await here.accept(30, pad=200)
                await trio.sleep(3)
        await drained(here)
        assert await here.ledger() == {"accepted": 600, "delivered": 600}
        assert_taken(upstream, 600)


async def test_a_link_that_is_down_is_told_as_such_and_no_event_ends(tmp_path, link_clock):
    async with linked(tmp_path, backoff=Backoff(max=60)) as (here, relay, upstream):
        relay.down = True
        await here.accept(10)
        await trio.sleep(3600)
        lane = await here.lane()
        assert lane.state == "retrying"
        assert lane.reason.startswith("timed out")
        assert await here.ledger() == {"accepted": 10, "pending": 10}
        assert upstream.received == []
        relay.down = False
        await drained(here)
        assert_taken(upstream, 10)


async def test_a_long_and_narrow_link_is_used_to_four_fifths(tmp_path, link_clock):
    relay_options = {"delay": 0.3, "rate": 2 * MBIT}
    limits = {"max_events": 10_000, "max_batch_bytes": 8 * 1024 * 1024}
    async with linked(tmp_path, relay_options=relay_options, **limits) as (here, relay, upstream):
        here.forwarder.breaker("samsara").open("not yet", wait=1, probe=True)
        chance = seeded("pads")
        events = 9_000
        for _ in range(events // 1000):
            # As hexadecimal digits they take up half of their size.
            await here.accept(1000, pad=lambda: chance.randbytes(1200).hex())

        async def stalling():
            for _ in range(3):
                await trio.sleep(5)
                relay.stall(2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalling)
            took = await drained(here, every=0.05)
        allowed = relay.passed / relay.rate
        share = allowed / (took - 1 - relay.stalled)
        print(f"{relay.passed} bytes in {took:.1f} s: {share:.0%} of what the link allows")  # noqa: T201
        assert share >= 0.8
        assert_taken(upstream, events)


async def test_a_rate_limit_leaves_the_rest_of_the_link_to_others(tmp_path, link_clock):
    async with linked(tmp_path, rate_limit=20_000, compress=False) as (here, relay, upstream):
        await here.accept(*[100] * 10, pad=400)
        took = await drained(here, every=0.05)
        assert relay.passed / took <= 20_000 * 1.1
        assert relay.passed / took >= 20_000 * 0.5
        assert_taken(upstream, 1000)


async def test_a_batch_that_takes_longer_than_every_time_out_still_arrives(tmp_path, link_clock):
    """A link of 64 kbit/s, and a batch that takes two minutes on it.

    The kernel would take all of it at once, and the read time-out pass while it is on its way out.
    """
    # A router's buffer is not the device's: what was written is out on the link, or about to be.
    relay_options = {"delay": 0.3, "rate": 8_000, "buffer": 16 * 1024}
    async with linked(tmp_path, relay_options=relay_options, compress=False) as (here, _, upstream):
        await here.accept(1, pad=900_000)
        assert await drained(here) > Timeouts().total > Timeouts().read
        assert_taken(upstream, 1)
