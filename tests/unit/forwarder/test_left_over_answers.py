"""Answers that nobody asked for, behind one that somebody did: none is taken for the next request's."""

from __future__ import annotations

import contextlib
from contextlib import asynccontextmanager

import pytest
import trio
from fakes.certificates import Authority
from fakes.forwarding import make_batch, make_body, sending
from fakes.proxy import Proxy
from fakes.tcp import serving

from collector.core.verdict import Delivered, Retry

TAKEN = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
LATER = b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"

BEHIND = {"a success": TAKEN, "a refusal": REFUSED, "a blank line": b"\r\n", "noise": b"\0" * 100}


class Held(trio.abc.Stream):
    """Sends what it is given in one go, when it is told to."""

    def __init__(self, raw):
        self._raw = raw
        self._waiting = b""
        self.holding = False

    async def send_all(self, data):
        self._waiting += data
        if not self.holding:
            waiting, self._waiting = self._waiting, b""
            await self._raw.send_all(waiting)

    async def wait_send_all_might_not_block(self):
        await self._raw.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self._raw.receive_some(max_bytes)

    async def aclose(self):
        await self._raw.aclose()


class Talkative:
    """Answers its first request, adds something that it was not asked, and takes what comes then.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, first, behind, *, tls=None):
        self._first = first
        self._behind = behind
        self._tls = tls
        self.connections = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self):
        async with serving(self._serve) as self.port:
            yield self

    @property
    def url(self):
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}/v1/events"

    async def _serve(self, raw):
        self.connections += 1
        wire = Held(raw)
        stream = (
            trio.SSLStream(wire, self._tls, server_side=True, https_compatible=True) if self._tls else wire
        )
        async with raw:
            await self._request(stream)
            wire.holding = True
            if self.connections > 1:
                await stream.send_all(TAKEN)
            else:
                await stream.send_all(self._first)
                await stream.send_all(self._behind)  # with TLS a record of its own
            wire.holding = False
            await wire.send_all(b"")
            # Whatever comes on the first connection now is never answered.
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.receive_some()

    async def _request(self, stream):
        came = b""
        while b"\r\n\r\n" not in came or not came.endswith(b"]"):
            came += await stream.receive_some()


async def second_verdict(talkative, **options):
    """What is made of a second batch."""
    async with talkative.serving(), sending(url=talkative.url, compress=False, **options) as sender:
        await sender.attempt(make_batch(), make_body())
        return (await sender.attempt(make_batch(first=2), make_body(first=2))).verdict


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize("first", [TAKEN, LATER], ids=["taken", "later"])
async def test_what_comes_behind_an_answer_is_no_answer(first, behind):
    talkative = Talkative(first, behind)
    assert await second_verdict(talkative) == Delivered()
    assert talkative.connections == 2


@pytest.mark.parametrize("apart", [True, False], ids=["in a record of its own", "in the same record"])
async def test_nor_is_it_over_tls(tmp_path, apart):
    authority = Authority(tmp_path)
    first, behind = (TAKEN, TAKEN) if apart else (TAKEN + TAKEN, b"")
    talkative = Talkative(first, behind, tls=authority.server())
    assert await second_verdict(talkative, ca_file=str(authority.file)) == Delivered()
    assert talkative.connections == 2


async def test_nor_is_it_through_a_tunnel(tmp_path):
    authority = Authority(tmp_path)
    talkative = Talkative(TAKEN + TAKEN, b"", tls=authority.server())
    async with Proxy().serving() as proxy:
        verdict = await second_verdict(talkative, ca_file=str(authority.file), proxy=proxy.url)
    assert verdict == Delivered()
    assert talkative.connections == 2


async def test_without_anything_left_over_a_connection_is_used_again(tmp_path):
    authority = Authority(tmp_path)
    for tls in (None, authority.server()):
        talkative = Talkative(TAKEN, b"", tls=tls)
        verdict = await second_verdict(talkative, ca_file=str(authority.file))
        # It hangs up on the second request.
        assert isinstance(verdict, Retry)
        assert talkative.connections == 1
