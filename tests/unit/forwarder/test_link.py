"""Ways to an upstream: names, addresses, proxies, and how fast; and what an upstream may say back."""

from __future__ import annotations

import base64
import gzip
import socket
import threading

import pytest
import trio
from fakes.forwarding import make_batch, make_body, sending
from fakes.upstream import Behaviour, Upstream

from collector.config.model import Timeouts
from collector.core.verdict import Blocked, Delivered, Retry
from collector.forwarder.names import LOOKUPS_AT_ONCE, Names
from collector.forwarder.pace import MAX_PIECE, MIN_PIECE, Pace
from collector.forwarder.proxy import proxy_for

LOCAL = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@pytest.fixture
def resolver():
    """Names that a test resolves; those of a dead server hang until the test ends."""
    release = threading.Event()
    asked = []

    def look_up(host, port, *_):
        asked.append(host.decode())
        if host == b"dead.example":
            release.wait()
        if not host.endswith(b".example"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(*LOCAL[0][:4], ("127.0.0.1", port))]

    yield Names(look_up), asked
    release.set()


async def test_a_resolver_that_blocks_holds_up_no_other_name(fake, resolver):
    names, asked = resolver
    trio.socket.set_custom_hostname_resolver(names)
    limiter = trio.to_thread.current_default_thread_limiter()
    dead = fake.url.replace("localhost", "dead.example")
    alive = fake.url.replace("localhost", "alive.example")
    verdicts = []
    async with sending(url=dead, timeouts=Timeouts(connect=0.2)) as stuck, sending(url=alive) as sender:

        async def attempt():
            verdicts.append((await stuck.attempt(make_batch(), make_body())).verdict)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(attempt)
            assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
        # And while threads that nobody waits for any more still hang.
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert verdicts == [Retry("timed out: while connecting", breaker=True)] * 20
    assert asked.count("dead.example") <= LOOKUPS_AT_ONCE
    assert limiter.borrowed_tokens == 0


async def test_a_name_that_does_not_resolve_says_so(resolver):
    trio.socket.set_custom_hostname_resolver(resolver[0])
    async with sending(url="http://upstream.invalid/") as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == Retry("cannot connect: Name or service not known", breaker=True)
    assert not outcome.wrote_body


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
async def test_an_upstream_at_an_ipv6_address_is_reached():
    received = []

    async def answer(stream):
        data = b""
        while not data.endswith(make_body()):
            data += await stream.receive_some()
        received.append(data)
        await stream.send_all(b"HTTP/1.1 202 Taken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with trio.open_nursery() as nursery:
        try:
            (listener,) = await trio.open_tcp_listeners(0, host="::1")
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        port = listener.socket.getsockname()[1]
        async with sending(url=f"http://[::1]:{port}/v1/events", compress=False) as sender:
            outcome = await sender.attempt(make_batch(), make_body())
        nursery.cancel_scope.cancel()
    assert outcome.verdict == Delivered()
    assert f"Host: [::1]:{port}\r\n".encode() in received[0]


ENVIRON = {
    "http_proxy": "proxy.example:3128",
    "HTTPS_PROXY": "http://secure.example:3128",
    "no_proxy": "localhost,.inside.example,10.0.0.1",
}


@pytest.mark.parametrize(
    ("url", "configured", "environ", "proxy"),
    [
        ("http://a.example/", None, ENVIRON, "http://proxy.example:3128"),
        ("https://a.example/", None, ENVIRON, "http://secure.example:3128"),
        ("https://a.example/", None, {"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ("https://a.example/", None, {"http_proxy": "http://other:1"}, None),
        ("https://a.example/", None, {}, None),
        ("https://localhost:8443/", None, ENVIRON, None),
        ("https://b.inside.example/", None, ENVIRON, None),
        ("http://10.0.0.1:80/", None, ENVIRON, None),
        ("https://a.example/", None, {**ENVIRON, "no_proxy": "*"}, None),
        ("https://a.example/", "http://mine:1", ENVIRON, "http://mine:1"),
        ("https://localhost/", "http://mine:1", ENVIRON, "http://mine:1"),
        ("https://a.example/", "none", ENVIRON, None),
    ],
)
def test_the_proxy_is_the_configured_one_or_the_environments(url, configured, environ, proxy):
    assert proxy_for(url, configured=configured, environ=environ) == proxy


async def test_a_proxys_credentials_are_sent_to_it_and_shown_to_nobody(fake):
    fake.default = Behaviour(status=403, body=b"no entry for pat:hunter2!, cGF0Omh1bnRlcjIh")
    proxy = f"http://pat:hunter2!@127.0.0.1:{fake.port}"
    async with sending(url="http://ingest.example.com/v1/events", proxy=proxy) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
        told = repr(outcome) + repr(sender._upstream)
    assert fake.received[0].header("Proxy-Authorization") == "Basic cGF0Omh1bnRlcjIh"
    assert outcome.verdict.excerpt == "no entry for ***, ***"
    assert "hunter2" not in told


async def test_what_an_upstream_repeats_of_the_urls_secrets_is_blanked(fake):
    basic = base64.b64encode(b"pat:hunter2")
    fake.default = Behaviour(status=401, body=b"pat:hunter2 hunter2 " + basic + b" token=abcdef123")
    url = fake.url.replace("localhost", "pat:hunter2@localhost") + "?token=abcdef123"
    async with sending(url=url) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.excerpt == "*** *** *** token=***"


async def test_a_password_is_blanked_as_it_is_and_as_a_url_spells_it(fake):
    fake.default = Behaviour(status=403, body=b"p%40ss-word p@ss-word")
    url = fake.url.replace("localhost", "pat:p%40ss-word@localhost")
    async with sending(url=url) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict.excerpt == "*** ***"


@pytest.mark.parametrize(
    "page",
    [
        b"<form action=/login method=post>",
        b"\xef\xbb\xbf <!-- portal -->",
        b"<HTML>",
        b"<?xml ?><html/>",
        b"\n" * 5000 + b"<html>",
        "<html>".encode("utf-16"),
        gzip.compress(b"<html>", mtime=0),
    ],
)
async def test_a_login_form_with_200_is_no_delivery(fake, page):
    fake.default = Behaviour(status=202, headers={"Content-Type": "application/json"}, body=page)
    async with sending(url=fake.url) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert "captive portal" in outcome.verdict.reason


async def test_a_rate_limit_is_kept_by_all_attempts_together(autojump_clock):
    pace, done = Pace(10_000), []

    async def body(size):
        while size > 0:
            await pace.spend(min(size, pace.piece))
            size -= pace.piece
        done.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(body, 50_000)
    assert 14.5 < done[-1] <= 15
    # No time is saved up for later.
    await trio.sleep(100)
    start = trio.current_time()
    await body(20_000)
    assert trio.current_time() - start > 1.7


async def test_without_a_limit_nothing_waits(autojump_clock):
    pace = Pace(None)
    for _ in range(100):
        await pace.spend(10_000_000)
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("rate", "piece"), [(None, MAX_PIECE), (1024, MIN_PIECE), (50_000, 5_000), (10**9, MAX_PIECE)]
)
def test_a_slow_pace_is_kept_in_small_pieces(rate, piece):
    assert Pace(rate).piece == piece


async def test_an_outcome_tells_what_was_sent_and_how_long_it_took(fake):
    async with sending(url=fake.url, compress=False) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.sent_bytes == len(make_body())
    assert outcome.seconds > 0


async def test_a_large_batch_on_a_slow_link_has_time_beyond_the_total_deadline():
    with Upstream() as fake:
        timeouts = Timeouts(total=0.5)
        async with sending(url=fake.url, compress=False, rate_limit=64 * 1024, timeouts=timeouts) as sender:
            body = make_body() + b" " * 100_000
            outcome = await sender.attempt(make_batch(), body)
    assert outcome.verdict == Delivered()
    assert outcome.seconds > 1
