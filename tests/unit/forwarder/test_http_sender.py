"""One attempt over real loopback sockets: what it means, whatever the upstream does."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import socket

import pytest
import trio
from fakes.forwarding import PRODUCT, WALL, make_batch, make_body, sending
from fakes.tcp import serving
from fakes.upstream import Behaviour
from structlog.testing import capture_logs

from collector import __version__
from collector.config.model import Product, Timeouts, Upstream
from collector.core.verdict import Blocked, Delivered, Rejected, Retry, Split
from collector.errors import UpstreamError
from collector.forwarder.pace import MAX_PIECE
from collector.forwarder.sender import HttpSender


async def outcome_of(fake, *behaviours, events=2, **options):
    fake.script(*behaviours)
    async with sending(url=fake.url, **options) as sender:
        return await sender.attempt(make_batch(events=events), make_body(events))


async def test_a_batch_that_is_taken_is_delivered(fake):
    outcome = await outcome_of(fake)
    assert outcome.verdict == Delivered()
    assert outcome.wrote_body
    assert fake.book.problems == []
    ((stream, taken),) = fake.book.taken.items()
    assert stream == ("kiosk-17", "9d1e", "samsara/samsara")
    assert [json.loads(event)["n"] for event in taken.values()] == [0, 1]


async def test_a_samsara_request_is_what_that_api_expects(fake):
    await outcome_of(fake)
    (request,) = fake.received
    assert (request.method, request.url) == ("POST", fake.url)
    assert gzip.decompress(request.body) == make_body()
    assert dict(request.headers) == {
        "Host": f"localhost:{fake.port}",
        "User-Agent": f"waystation/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "Content-Length": str(len(request.body)),
        "Idempotency-Key": f'"{"5f" * 16}"',
        "Waystation-Device": '"kiosk-17"',
        "Waystation-Batch": 'epoch="9d1e", lane="samsara/samsara", first=0, last=1',
        "X-Samsara-publishedTimestamp": str(int(WALL * 1000)),
    }


async def test_the_same_body_compresses_to_the_same_bytes_without_a_time(fake):
    await outcome_of(fake, wall=lambda: 1.0)
    await outcome_of(fake, wall=lambda: 2e9)
    first, second = fake.received
    assert first.body == second.body
    assert first.body[4:8] == b"\0\0\0\0"


async def test_attempts_share_their_identity_and_publish_afresh(fake):
    times = iter([10.0, 11.0, 20.0, 21.0])
    fake.script(Behaviour(status=503))
    async with sending(url=fake.url, wall=lambda: next(times)) as sender:
        await sender.attempt(make_batch(), make_body())
        await sender.attempt(make_batch(), make_body())
    first, second = fake.received
    for name in ("Idempotency-Key", "Waystation-Batch", "Waystation-Device"):
        assert first.header(name) == second.header(name)
    published = [request.header("X-Samsara-publishedTimestamp") for request in fake.received]
    assert published == ["10000", "20000"]


async def test_a_batch_that_stands_for_another_says_so(fake):
    async with sending(url=fake.url) as sender:
        await sender.attempt(make_batch(replaces="77" * 16), make_body())
    assert fake.received[0].header("Waystation-Replaces") == f'"{"77" * 16}"'


@pytest.mark.parametrize("compress", [None, True])
async def test_traintracks_signs_exactly_the_bytes_that_it_sends(fake, compress):
    batch = make_batch(dialect="traintracks", product=PRODUCT, remote_address="10.1.2.3")
    async with sending(url=fake.url, kind="traintracks", signing=None, compress=compress) as sender:
        outcome = await sender.attempt(batch, make_body())
    assert outcome.verdict == Delivered()
    (request,) = fake.received
    assert request.content == make_body()
    assert (request.body == make_body()) is (compress is None)
    assert request.header("Content-Encoding") == ("gzip" if compress else None)
    assert request.header("X-Product-Key") == PRODUCT
    assert request.header("X-Product-Auth") == hashlib.md5(request.body + b"s3cret").hexdigest()
    assert request.header("Remote-Address") == "10.1.2.3"
    assert request.header("X-Samsara-publishedTimestamp") is None


async def test_an_unknown_remote_address_is_sent_as_the_document_says(fake):
    async with sending(url=fake.url, kind="traintracks") as sender:
        await sender.attempt(make_batch(dialect="traintracks", product=PRODUCT), make_body())
    assert fake.received[0].header("Remote-Address") == "1.2.3.4"


async def test_a_202_is_no_success_for_traintracks(fake):
    fake.script(Behaviour(status=202))
    async with sending(url=fake.url, kind="traintracks") as sender:
        outcome = await sender.attempt(make_batch(dialect="traintracks", product=PRODUCT), make_body())
    assert isinstance(outcome.verdict, Blocked)


async def test_a_captive_portal_is_not_taken_for_the_upstream(fake):
    page = Behaviour(status=202, headers={"Content-Type": "text/html"}, body=b"<html>Welcome</html>")
    verdict = (await outcome_of(fake, page)).verdict
    assert isinstance(verdict, Blocked)
    assert verdict.whole_upstream


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(fake, status):
    outcome = await outcome_of(fake, Behaviour(status=status, headers={"Location": fake.url}))
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert len(fake.received) == 1


@pytest.mark.parametrize("cut", ["answer", "status-line", "headers", "body"])
async def test_an_answer_cut_short_is_retried_though_the_batch_was_taken(fake, cut):
    outcome = await outcome_of(fake, Behaviour(status=202, cut=cut))
    assert isinstance(outcome.verdict, Retry)
    assert not outcome.verdict.breaker
    assert outcome.wrote_body
    assert fake.book.taken


async def test_a_refused_connection_opens_the_breaker_and_wrote_nothing():
    with socket.socket() as unheard:  # bound, and not listening
        unheard.bind(("127.0.0.1", 0))
        async with sending(url=f"http://127.0.0.1:{unheard.getsockname()[1]}/") as sender:
            outcome = await sender.attempt(make_batch(), make_body())
    assert isinstance(outcome.verdict, Retry)
    assert outcome.verdict.breaker
    assert "refused" in outcome.verdict.reason
    assert not outcome.wrote_body


async def test_a_name_that_does_not_resolve_opens_the_breaker_and_wrote_nothing(monkeypatch):
    async def no_such_name(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", no_such_name)
    async with sending(url="http://upstream.invalid/") as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == Retry("cannot connect: Name or service not known", breaker=True)
    assert not outcome.wrote_body


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_told(fake, status):
    verdict = (await outcome_of(fake, Behaviour(status=status, headers={"Retry-After": "77"}))).verdict
    assert isinstance(verdict, Retry)
    assert verdict.after == 77.0
    assert verdict.breaker


async def test_refused_events_are_named(fake):
    body = json.dumps(["OK", "{:eventName missing-required-key}"]).encode()
    verdict = (await outcome_of(fake, Behaviour(status=400, body=body))).verdict
    assert isinstance(verdict, Rejected)
    assert verdict.named == ((1, "{:eventName missing-required-key}"),)


async def test_a_batch_too_large_is_split(fake):
    assert isinstance((await outcome_of(fake, Behaviour(status=413))).verdict, Split)


async def test_configured_statuses_are_heeded(fake):
    outcome = await outcome_of(fake, Behaviour(status=404), retry=(404,))
    assert isinstance(outcome.verdict, Retry)


@pytest.mark.parametrize("behaviour", [Behaviour(hold=True), Behaviour(trickle=True)])
async def test_the_total_deadline_ends_an_attempt_that_never_ends_by_itself(fake, behaviour):
    with trio.fail_after(10):
        outcome = await outcome_of(fake, behaviour, timeouts=Timeouts(total=0.2))
    assert outcome.verdict == Retry("timed out: no whole answer within 0.2 s", breaker=True)
    assert outcome.wrote_body


async def test_a_silent_upstream_is_timed_out_by_the_read_time_out(fake):
    outcome = await outcome_of(fake, Behaviour(hold=True), timeouts=Timeouts(read=0.1, total=30))
    assert outcome.verdict == Retry("timed out: while waiting for the answer", breaker=True)
    assert outcome.wrote_body


async def test_a_cancelled_attempt_ends_at_once(fake):
    fake.script(Behaviour(hold=True))
    async with sending(url=fake.url) as sender:
        with trio.move_on_after(0.1) as scope:
            await sender.attempt(make_batch(), make_body())
        assert scope.cancelled_caught
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()


async def test_a_large_body_goes_out_whole_in_pieces(fake):
    body = json.dumps([{"n": 0, "text": "x" * 3 * MAX_PIECE}, {"n": 1}]).encode()
    async with sending(url=fake.url, compress=False) as sender:
        outcome = await sender.attempt(make_batch(), body)
    assert outcome.verdict == Delivered()
    assert not outcome.cut_short
    assert fake.received[0].body == body


async def test_success_before_the_whole_batch_was_sent_is_not_believed(fake):
    body = b"[" + b" " * 20_000_000 + b"]"
    fake.script(Behaviour(status=202, unread=True))
    async with sending(url=fake.url, compress=False) as sender:
        outcome = await sender.attempt(make_batch(), body)
    assert isinstance(outcome.verdict, Retry)
    assert outcome.wrote_body
    assert outcome.cut_short


async def test_requests_are_made_on_a_thread_unless_told_otherwise(fake):
    upstream = Upstream(name="samsara", kind="samsara", url=fake.url, signing="none")
    sender = HttpSender(upstream, products={}, environ={}, wall=lambda: WALL)
    try:
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await sender.aclose()


async def test_cookies_are_discarded(fake):
    fake.script(Behaviour(headers={"Set-Cookie": "session=1; Path=/"}))
    async with sending(url=fake.url) as sender:
        await sender.attempt(make_batch(), make_body())
        await sender.attempt(make_batch(), make_body())
        assert len(sender._link._line.client.cookies.jar) == 0
    assert [request.header("Cookie") for request in fake.received] == [None, None]


async def test_a_connection_is_used_again(fake):
    async with sending(url=fake.url) as sender:
        for _ in range(3):
            assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
        assert len(fake._server._open) == 1


async def test_the_upstreams_clock_is_told(fake):
    half_an_hour_ahead = "Wed, 14 Oct 2026 18:16:40 GMT"
    fake.script(Behaviour(headers={"Date": half_an_hour_ahead}), Behaviour(headers={"Date": "?"}))
    async with sending(url=fake.url, wall=lambda: 1_792_000_000.5) as sender:
        assert (await sender.attempt(make_batch(), make_body())).server_time_offset == 1799.5
        assert (await sender.attempt(make_batch(), make_body())).server_time_offset is None


async def test_the_clock_of_a_captive_portal_is_not_told(fake):
    headers = {"Content-Type": "text/html", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"}
    assert (await outcome_of(fake, Behaviour(headers=headers))).server_time_offset is None


@pytest.mark.parametrize("configured", [True, False])
async def test_a_proxy_is_used_by_configuration_or_environment(fake, configured):
    proxy = f"http://127.0.0.1:{fake.port}"
    given = {"proxy": proxy} if configured else {"environ": {"HTTP_PROXY": proxy}}
    async with sending(url="http://ingest.example.com/v1/events", **given) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == Delivered()
    assert fake.received[0].url == "http://ingest.example.com/v1/events"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (
            b"HTTP/1.1 407 Who are you\r\n\r\n",
            Blocked("the proxy refuses: 407 Who are you", whole_upstream=True),
        ),
        (
            b"HTTP/1.1 502 Not now\r\nContent-Length: 0\r\n\r\n",
            Retry("the proxy cannot connect: 502 Not now", breaker=True),
        ),
    ],
)
async def test_what_a_proxy_says_to_connect_is_no_answer_of_the_upstream(answer, verdict):
    async def proxy(stream):
        await stream.receive_some()
        await stream.send_all(answer)

    async with serving(proxy) as port:
        environ = {"https_proxy": f"127.0.0.1:{port}"}
        async with sending(url="https://ingest.example.com/v1/events", environ=environ) as sender:
            outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == verdict
    assert not outcome.wrote_body


async def test_a_product_without_a_secret_blocks_its_lane_and_nothing_is_sent(fake):
    async with sending(url=fake.url, kind="traintracks", products={}) as sender:
        outcome = await sender.attempt(make_batch(dialect="traintracks", product=PRODUCT), make_body())
    assert isinstance(outcome.verdict, Blocked)
    assert not outcome.verdict.whole_upstream
    assert PRODUCT in outcome.verdict.reason
    assert not outcome.wrote_body
    assert fake.received == []


async def test_a_rotated_product_secret_signs_the_next_attempt(fake, tmp_path):
    file = tmp_path / "product.secret"
    file.touch(mode=0o600)
    file.write_text("old\n")
    products = {PRODUCT: Product(key=PRODUCT, secret_file=str(file))}
    batch = make_batch(dialect="traintracks", product=PRODUCT)
    async with sending(url=fake.url, kind="traintracks", products=products) as sender:
        assert isinstance((await sender.attempt(batch, make_body())).verdict, Blocked)
        file.write_text("s3cret\n")
        assert (await sender.attempt(batch, make_body())).verdict == Delivered()


async def test_no_secret_is_logged_or_told(fake, caplog):
    caplog.set_level(logging.DEBUG)
    url = fake.url.replace("localhost", "user:hunter2@localhost")
    async with sending(url=url) as sender:
        told = [repr(sender), repr(vars(sender)["_upstream"])]
        for behaviour in (
            Behaviour(),
            Behaviour(status=401),
            Behaviour(cut="headers"),
            Behaviour(status=302),
        ):
            fake.script(behaviour)
            told.append(repr(await sender.attempt(make_batch(), make_body())))
    assert fake.received[0].header("Authorization") is not None
    assert "hunter2" not in " ".join(told) + caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]


@pytest.mark.parametrize("url", ["http://user:hunter2@[::1/", "http://user:hunter2@host:port/"])
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url):
    upstream = Upstream(name="samsara", kind="samsara", url=url, signing="none")
    with pytest.raises(UpstreamError, match="samsara") as caught:
        HttpSender(upstream, products={}, environ={}, wall=lambda: 0.0)
    assert "hunter2" not in str(caught.value)


async def test_an_error_that_nobody_foresaw_blocks_the_lane_and_is_logged(fake):
    async def broken(_work):
        raise RuntimeError("no such luck")

    async with sending(url=fake.url) as sender:
        sender._run = broken
        with capture_logs() as logs:
            outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == Blocked("the request cannot be made: RuntimeError")
    assert [line["event"] for line in logs] == ["attempt_failed"]


@pytest.mark.parametrize("proxy", ["http://user:hunter2@proxy:port/", "socks5://user:hunter2@proxy:1080"])
def test_a_proxy_that_cannot_be_used_is_refused_at_the_start(proxy):
    upstream = Upstream(name="samsara", kind="samsara", url="http://localhost/", signing="none")
    with pytest.raises(UpstreamError, match="proxy") as caught:
        HttpSender(upstream, products={}, environ={"http_proxy": proxy}, wall=lambda: 0.0)
    assert "hunter2" not in str(caught.value)
