"""Each time-out of a link, over real sockets, with a reason of its own."""

from __future__ import annotations

import trio
from fakes.forwarding import make_batch, make_body, sending
from fakes.upstream import Behaviour

from collector.config.model import Timeouts
from collector.core.verdict import Retry
from collector.forwarder.link.connections import MAX_CONNECTIONS

LARGE = b"[" + b" " * 30_000_000 + b"]"


async def test_an_upstream_that_stops_reading_is_timed_out_by_the_write_time_out(fake):
    fake.script(Behaviour(unread=True, hold=True))
    timeouts = Timeouts(connect=600, read=600, write=0.2, pool=600, total=600)
    async with sending(url=fake.url, compress=False, timeouts=timeouts) as sender:
        outcome = await sender.attempt(make_batch(), LARGE)
    assert outcome.verdict == Retry("timed out: while sending", breaker=True)
    assert 0 < outcome.sent_bytes < len(LARGE)
    assert outcome.cut_short


async def test_a_connection_that_nobody_answers_is_timed_out_by_the_connect_time_out(monkeypatch):
    async def silent(*_args, **_kwargs):
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", silent)
    timeouts = Timeouts(connect=0.2, read=600, write=600, pool=600, total=600)
    async with sending(url="http://localhost/", timeouts=timeouts) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == Retry("timed out: while connecting", breaker=True)
    assert not outcome.wrote_body


async def test_an_attempt_beyond_all_connections_is_timed_out_by_the_pool_time_out(fake):
    fake.default = Behaviour(hold=True)
    timeouts = Timeouts(connect=600, read=600, write=600, pool=0.2, total=600)
    async with sending(url=fake.url, timeouts=timeouts) as sender, trio.open_nursery() as nursery:
        for _ in range(MAX_CONNECTIONS):
            nursery.start_soon(sender.attempt, make_batch(), make_body())
        with trio.fail_after(60):
            while len(fake.received) < MAX_CONNECTIONS:  # noqa: ASYNC110 -- of threads
                await trio.sleep(0.01)
        outcome = await sender.attempt(make_batch(), make_body())
        nursery.cancel_scope.cancel()
    assert outcome.verdict == Retry("all connections to this upstream are in use")
    assert not outcome.wrote_body
