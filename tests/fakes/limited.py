"""A server with some limits as they are configured, and the clients that run into them."""

from __future__ import annotations

from contextlib import suppress

import trio
from fakes.site import HOST, Waiting, make_site, replies
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from collector.config.model import Limits
from collector.listener.capacity import Capacity
from collector.listener.routes import Peer
from collector.listener.seats import Seats
from collector.listener.serve import Server


def post(length=5, *, path="/echo", headers=b""):
    """A request's head."""
    return b"POST %b HTTP/1.1\r\n" % path.encode() + HOST + headers + b"Content-Length: %d\r\n\r\n" % length


class Scene:
    """A server with some limits; clients come with what they send."""

    def __init__(self, **limits):
        self.config = Limits(**limits)
        self.waiting = Waiting()
        self.seats = Seats(self.config.max_connections, self.config.max_connections_per_peer)
        self.capacity = Capacity(self.seats, self.config.max_bodies_bytes)
        site = make_site(limits=self.config.connection, waiting=self.waiting)
        self.server = Server([], site, self.capacity)

    async def __aenter__(self):
        self._nurseries = trio.open_nursery()
        self._nursery = await self._nurseries.__aenter__()
        await self._nursery.start(self.server.run)
        return self

    async def __aexit__(self, *exc):
        self._nursery.cancel_scope.cancel()
        return await self._nurseries.__aexit__(*exc)

    async def client(self, data=b"", *, uid=1, pair=memory_stream_pair):
        """The client's end of a new connection that has sent something."""
        ours, theirs = pair()
        self.server.take(theirs, Peer("unix", uid=uid))
        if data:
            await ours.send_all(data)
        await wait_all_tasks_blocked()
        return ours

    async def ended(self):
        """Wait until no connection is open."""
        with trio.fail_after(100):
            while self.server.site.tally.open:  # noqa: ASYNC110 (the server tells nobody)
                await trio.sleep(0.1)


async def until_reset(stream, data, pause):
    """How many bytes are taken, so much at a time, before the connection breaks."""
    sent = 0
    with trio.fail_after(100), suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(data)
            sent += len(data)
            await trio.sleep(pause)
    return sent


async def end_of(stream):
    """The last status, or `closed`."""
    received = b""
    while part := await stream.receive_some():
        received += part
    return replies(received)[-1].status if received else "closed"
