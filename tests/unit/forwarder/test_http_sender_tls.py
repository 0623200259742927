from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest
import trio
from fakes.certificates import Authority, make_certificate
from fakes.forwarding import make_batch, make_body, sending
from fakes.tcp import serving
from fakes.upstream import Behaviour
from fakes.upstream import Upstream as FakeUpstream

from collector.config.model import Timeouts, Upstream
from collector.core.verdict import Blocked, Delivered, Retry, Split
from collector.errors import UpstreamError
from collector.forwarder.trust import Trust, pin_of


async def attempt(url, **options):
    async with sending(url=url, **options) as sender:
        return await sender.attempt(make_batch(), make_body())


async def test_a_self_signed_certificate_blocks_the_upstream_and_nothing_is_sent(tmp_path):
    _, tls = make_certificate(tmp_path)
    with FakeUpstream(tls=tls) as fake:
        outcome = await attempt(fake.url)
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert "self-signed certificate" in outcome.verdict.reason
    assert not outcome.wrote_body
    assert fake.received == []


async def test_a_certificate_of_the_ca_file_is_trusted(tmp_path):
    certificate, tls = make_certificate(tmp_path)
    with FakeUpstream(tls=tls) as fake:
        outcome = await attempt(fake.url, ca_file=str(certificate))
    assert outcome.verdict == Delivered()
    assert fake.received[0].url == fake.url


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


UNTRUSTED = {
    "another host": (
        {"name": "elsewhere.example"},
        {},
        "another host's certificate: Hostname mismatch, certificate is not valid for 'localhost'",
    ),
    "expired": (
        {"days": (-3, -1)},
        {},
        "expired certificate: certificate has expired",
    ),
    "not yet valid": (
        {"days": (1, 3)},
        {},
        "certificate not yet valid: certificate is not yet valid",
    ),
    "unknown authority": (
        {},
        {"ca_file": None},
        "unknown issuer: unable to get local issuer certificate",
    ),
    "another key": (
        {},
        {"pinned_keys": ("sha256//" + "A" * 43 + "=",)},
        "key that is not pinned: the upstream's key is sha256//",
    ),
}


@pytest.mark.parametrize(("server", "options", "told"), UNTRUSTED.values(), ids=UNTRUSTED.keys())
async def test_each_lack_of_trust_blocks_with_a_reason_of_its_own(authority, server, options, told):
    with FakeUpstream(tls=authority.server(**server)) as fake:
        outcome = await attempt(fake.url, **{"ca_file": str(authority.file), **options})
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert outcome.verdict.reason.startswith(f"no trust in the connection, {told}")
    # Where it is a matter of the time, the next thing that is asked is whose.
    assert ("; this machine's clock says 2026-10-14" in outcome.verdict.reason) == ("days" in server)
    assert not outcome.wrote_body
    assert fake.received == []


async def test_a_pinned_key_is_trusted_and_rotated_by_naming_two(authority, tmp_path):
    tls = authority.server()
    pin = pin_of(ssl.PEM_cert_to_DER_cert((tmp_path / "localhost.pem").read_text()))
    with FakeUpstream(tls=tls) as fake:
        pins = ("sha256//" + "A" * 43 + "=", pin)
        outcome = await attempt(fake.url, ca_file=str(authority.file), pinned_keys=pins)
    assert outcome.verdict == Delivered()


def test_a_pin_is_what_openssl_makes_of_the_key(authority, tmp_path):
    certificate, _ = authority.issue("pinned")
    script = (
        f"openssl x509 -in {certificate} -pubkey -noout | openssl pkey -pubin -outform der"
        " | openssl dgst -sha256 -binary | openssl enc -base64"
    )
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    told = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True)
    assert pin_of(ssl.PEM_cert_to_DER_cert(certificate.read_text())) == f"sha256//{told.stdout.strip()}"


async def test_a_client_certificate_is_shown_to_an_upstream_that_demands_one(authority):
    certificate, key = authority.issue("kiosk-17")
    with FakeUpstream(tls=authority.server(demands_certificate=True)) as fake:
        outcome = await attempt(
            fake.url, ca_file=str(authority.file), client_cert_file=str(certificate), client_key_file=str(key)
        )
    assert outcome.verdict == Delivered()


LARGE = b"[" + b" " * 3_000_000 + b"]"


@pytest.mark.parametrize("body", [make_body(), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("http2", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_upstream_that_misses_a_client_certificate_blocks_with_that_reason(
    authority, version, http2, body
):
    """In TLS 1.3 it says so, and hangs up, while the batch is being sent."""
    tls = authority.server(demands_certificate=True)
    tls.minimum_version = tls.maximum_version = version
    with FakeUpstream(tls=tls) as fake:
        options = {"ca_file": str(authority.file), "http2": http2, "compress": False}
        async with sending(url=fake.url, **options) as sender:
            outcome = await sender.attempt(make_batch(), body)
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert outcome.verdict.reason.startswith("no trust in the connection, client certificate missing: ")
    assert fake.received == []


@pytest.mark.parametrize("encrypted", [True, False])
async def test_an_answer_is_heard_that_came_before_the_upstream_hung_up_on_the_batch(authority, encrypted):
    with FakeUpstream(tls=authority.server() if encrypted else None) as fake:
        fake.script(Behaviour(status=413, unread=True))
        async with sending(url=fake.url, ca_file=str(authority.file), compress=False) as sender:
            outcome = await sender.attempt(make_batch(), LARGE)
    assert isinstance(outcome.verdict, Split)
    assert outcome.sent_bytes < len(LARGE)


async def test_a_page_of_nginx_about_certificates_dooms_no_event(fake):
    page = b"<html><head><title>400 No required SSL certificate was sent</title></head></html>"
    fake.script(Behaviour(status=400, headers={"Content-Type": "text/html"}, body=page))
    outcome = await attempt(fake.url)
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert "client certificate" in outcome.verdict.reason


async def test_a_certificate_that_is_replaced_on_disk_is_shown_by_the_next_attempt(authority, tmp_path):
    stranger = Authority(tmp_path, "stranger")
    certificate, key = stranger.issue("kiosk-17")
    options = {"client_cert_file": str(certificate), "client_key_file": str(key)}
    with FakeUpstream(tls=authority.server(demands_certificate=True)) as fake:
        async with sending(url=fake.url, ca_file=str(authority.file), **options) as sender:
            assert not sender.rotated()
            assert not isinstance((await sender.attempt(make_batch(), make_body())).verdict, Delivered)
            authority.issue("kiosk-17")
            assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
            assert sender.rotated()
            assert not sender.rotated()


async def test_plaintext_where_tls_is_expected_blocks_the_upstream(fake):
    outcome = await attempt(fake.url.replace("http:", "https:"))
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert not outcome.wrote_body


async def dropped(stream):
    await stream.receive_some()


async def silent(stream):
    await stream.receive_some()
    await trio.sleep_forever()


@pytest.mark.parametrize("server", [dropped, silent])
async def test_a_handshake_that_comes_to_no_end_is_a_failed_connection(server):
    async with serving(server) as port:
        outcome = await attempt(f"https://localhost:{port}/", timeouts=Timeouts(connect=0.3))
    assert isinstance(outcome.verdict, Retry)
    assert outcome.verdict.breaker
    assert not outcome.wrote_body


async def test_an_attempt_that_is_given_up_within_the_handshake_leaves_no_connection_open():
    begun, ended = trio.Event(), trio.Event()

    async def server(stream):
        while await stream.receive_some():
            begun.set()
        ended.set()

    async with serving(server) as port:
        async with sending(url=f"https://localhost:{port}/") as sender, trio.open_nursery() as attempts:
            attempts.start_soon(sender.attempt, make_batch(), make_body())
            await begun.wait()
            attempts.cancel_scope.cancel()
        with trio.fail_after(60):
            await ended.wait()


def trust(**options):
    options = {
        "name": "samsara",
        "kind": "samsara",
        "url": "https://localhost/",
        "signing": "none",
        **options,
    }
    return Trust(Upstream(**options), {}, proxy=None)


def test_the_system_is_trusted_with_or_without_a_ca_file(tmp_path):
    certificate, _ = make_certificate(tmp_path)
    alone = trust().contexts().upstream
    beside = trust(ca_file=str(certificate)).contexts().upstream
    assert beside.cert_store_stats()["x509"] == alone.cert_store_stats()["x509"] + 1
    assert alone.check_hostname


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), (b"no certificate", "no certificates")]
)
def test_a_ca_file_that_cannot_be_used_says_why(tmp_path, content, told):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UpstreamError, match=told):
        trust(ca_file=str(file))


@pytest.mark.parametrize("mode", [0o644, None])
def test_a_client_key_that_is_open_to_others_or_not_there_is_refused(authority, mode):
    certificate, key = authority.issue("kiosk-17")
    key.unlink() if mode is None else key.chmod(mode)
    with pytest.raises(UpstreamError, match="key of client_cert_file"):
        trust(client_cert_file=str(certificate), client_key_file=str(key))


def test_a_certificate_and_another_ones_key_are_refused(authority):
    certificate, _ = authority.issue("kiosk-17")
    _, key = authority.issue("kiosk-18")
    with pytest.raises(UpstreamError, match="no certificate that goes with its key"):
        trust(client_cert_file=str(certificate), client_key_file=str(key))
