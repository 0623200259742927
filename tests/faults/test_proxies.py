"""Through proxies, over real sockets: tunnels that work, tunnels that are refused, the ledger after each."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager, contextmanager

import pytest
from fakes.capture import Capture
from fakes.certificates import Authority
from fakes.forwarding import sending
from fakes.lanes import balanced, site
from fakes.proxy import Proxy
from fakes.waiting import until

from collector.config.model import Backoff
from collector.forwarder.trust import pin_of

EVENTS = 12
QUICK = Backoff(initial=0.001, max=0.002)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def upstream(authority):
    with Capture(tls=authority.server()) as capture:
        yield capture


@asynccontextmanager
async def forwarding(directory, upstream, authority, **options):
    options = {
        "url": upstream.url,
        "ca_file": str(authority.file),
        "backoff": QUICK,
        "max_events": 8,
        **options,
    }
    async with sending(**options) as sender, site(directory, {sender._upstream: sender}) as here:
        await here.accept(EVENTS)
        yield here


async def assert_delivered(here, upstream):
    async def nothing_pending():
        return "pending" not in await here.ledger()

    await until(nothing_pending, "nothing is pending")
    ledger = await here.ledger()
    assert ledger == {"accepted": EVENTS, "delivered": EVENTS}
    assert balanced(ledger)
    assert upstream.book.problems == []
    ((_, taken),) = upstream.book.taken.items()
    assert list(taken) == list(range(EVENTS))


async def assert_kept(here, upstream, state, told):
    async def so():
        lane = await here.lane()
        return lane.state == state and lane.reason.startswith(told)

    await until(so, f"the lane is {state}: {told}")
    assert await here.ledger() == {"accepted": EVENTS, "pending": EVENTS}
    assert upstream.received == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("by", ["configuration", "environment"])
async def test_a_tunnel_leads_to_the_upstream(tmp_path, authority, upstream, encrypted, by):
    async with Proxy(tls=authority.server() if encrypted else None).serving() as proxy:
        given = {"proxy": proxy.url} if by == "configuration" else {"environ": {"https_proxy": proxy.url}}
        async with forwarding(tmp_path / "spool", upstream, authority, **given) as here:
            await assert_delivered(here, upstream)
    assert proxy.asked == [f"CONNECT localhost:{upstream.port} HTTP/1.1"]
    assert proxy.tunnels == 1
    assert b"Waystation" not in proxy.told


async def test_no_proxy_goes_straight_there(tmp_path, authority, upstream):
    async with Proxy().serving() as proxy:
        environ = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "elsewhere.example,localhost"}
        async with forwarding(tmp_path / "spool", upstream, authority, environ=environ) as here:
            await assert_delivered(here, upstream)
    assert proxy.asked == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["http proxy", "https proxy"])
async def test_a_proxy_is_shown_its_credentials_and_the_upstream_is_not(
    tmp_path, authority, upstream, encrypted
):
    tls = authority.server() if encrypted else None
    async with Proxy(tls=tls, credentials="pat:hunter2").serving() as proxy:
        url = proxy.url.replace("//", "//pat:hunter2@")
        async with forwarding(tmp_path / "spool", upstream, authority, proxy=url) as here:
            await assert_delivered(here, upstream)
    assert proxy.tunnels == 1
    assert {request.header("Proxy-Authorization") for request in upstream.received} == {None}


async def test_wrong_credentials_block_the_lane_until_they_are_right(tmp_path, authority, upstream):
    async with Proxy(credentials="pat:hunter2").serving() as proxy:
        url = proxy.url.replace("//", "//pat:s3same@")
        async with forwarding(tmp_path / "spool", upstream, authority, proxy=url) as here:
            await assert_kept(here, upstream, "blocked", "the proxy refuses: 407 Who are you")
            proxy.credentials = "pat:s3same"
            await assert_delivered(here, upstream)


REFUSALS = {
    "407": (
        b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n",
        "blocked",
        "the proxy refuses: 407 Who are you",
    ),
    "403 with a page": (
        b"HTTP/1.1 403 Not there\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        "blocked",
        "the proxy refuses: 403 Not there",
    ),
    "302 to a login page": (
        b"HTTP/1.1 302 Log in\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n",
        "blocked",
        "the proxy refuses: 302 Log in",
    ),
    "502": (
        b"HTTP/1.1 502 Not now\r\nContent-Length: 0\r\n\r\n",
        "retrying",
        "the proxy cannot connect: 502 Not now",
    ),
    "200 with a page": (PAGE, "retrying", "cannot connect: "),
    "gibberish": (b"SSH-2.0-OpenSSH\r\n\r\n", "retrying", "cannot connect: "),
    "nothing": (b"", "retrying", "cannot connect: "),
}


@pytest.mark.parametrize(("answer", "state", "told"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("encrypted", [False, True], ids=["http proxy", "https proxy"])
async def test_a_refused_tunnel_is_told_and_keeps_every_event(
    tmp_path, authority, upstream, encrypted, answer, state, told
):
    refusals = [answer] * 100_000
    tls = authority.server() if encrypted else None
    async with (
        Proxy(tls=tls, refusals=refusals).serving() as proxy,
        forwarding(tmp_path / "spool", upstream, authority, proxy=proxy.url) as here,
    ):
        await assert_kept(here, upstream, state, told)
        refusals.clear()
        await assert_delivered(here, upstream)


async def test_a_proxy_that_nobody_vouches_for_is_not_spoken_to(tmp_path, authority, upstream):
    stranger = Authority(tmp_path, "stranger")
    async with Proxy(tls=stranger.server()).serving() as proxy:
        async with forwarding(tmp_path / "spool", upstream, authority, proxy=proxy.url) as here:
            await assert_kept(here, upstream, "blocked", "no trust in the connection, unknown issuer: ")
        assert proxy.told == b""


@pytest.mark.parametrize("encrypted", [False, True], ids=["http proxy", "https proxy"])
async def test_pins_are_of_the_upstreams_key_through_a_tunnel_too(tmp_path, authority, upstream, encrypted):
    pin = pin_of(ssl.PEM_cert_to_DER_cert((tmp_path / "localhost.pem").read_text()))
    # The proxy's certificate has another key.
    async with Proxy(tls=authority.server() if encrypted else None).serving() as proxy:
        given = {"proxy": proxy.url, "pinned_keys": (pin,)}
        async with forwarding(tmp_path / "spool", upstream, authority, **given) as here:
            await assert_delivered(here, upstream)
        given = {"proxy": proxy.url, "pinned_keys": (f"sha256//{'A' * 43}=",)}
        upstream.received.clear()
        async with forwarding(tmp_path / "other", upstream, authority, **given) as here:
            told = "no trust in the connection, key that is not pinned: "
            await assert_kept(here, upstream, "blocked", told)


@contextmanager
def demanding(authority):
    with Capture(tls=authority.server(demands_certificate=True)) as capture:
        yield capture


@pytest.mark.parametrize("encrypted", [False, True], ids=["http proxy", "https proxy"])
async def test_a_client_certificate_is_shown_through_a_tunnel(tmp_path, authority, encrypted):
    certificate, key = authority.issue("kiosk-17")
    shown = {"client_cert_file": str(certificate), "client_key_file": str(key)}
    with demanding(authority) as upstream:
        async with Proxy(tls=authority.server() if encrypted else None).serving() as proxy:
            async with forwarding(tmp_path / "a", upstream, authority, proxy=proxy.url) as here:
                told = "no trust in the connection, client certificate missing: "
                await assert_kept(here, upstream, "blocked", told)
            async with forwarding(tmp_path / "b", upstream, authority, proxy=proxy.url, **shown) as here:
                await assert_delivered(here, upstream)
