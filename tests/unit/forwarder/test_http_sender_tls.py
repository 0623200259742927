from __future__ import annotations

from functools import partial

import pytest
import trio
from fakes.certificates import make_certificate
from fakes.forwarding import make_batch, make_body, sending
from fakes.upstream import Upstream as FakeUpstream

from collector.config.model import Timeouts, Upstream
from collector.core.verdict import Blocked, Delivered, Retry
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


async def test_a_certificate_of_another_name_blocks_the_upstream(tmp_path):
    certificate, tls = make_certificate(tmp_path, name="elsewhere.example")
    with FakeUpstream(tls=tls) as fake:
        outcome = await attempt(fake.url, ca_file=str(certificate))
    assert isinstance(outcome.verdict, Blocked)
    assert outcome.verdict.whole_upstream
    assert not outcome.wrote_body


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
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, server, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        outcome = await attempt(f"https://localhost:{port}/", timeouts=Timeouts(connect=0.3))
        nursery.cancel_scope.cancel()
    assert isinstance(outcome.verdict, Retry)
    assert outcome.verdict.breaker
    assert not outcome.wrote_body


def trust(**options):
    options = {"name": "samsara", "kind": "samsara", "url": "https://localhost/", "signing": "none", **options}
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
