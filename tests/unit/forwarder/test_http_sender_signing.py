"""What HttpSender really sends, checked by another implementation's verifier."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime

import http_sf
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes.forwarding import make_batch, make_body, sending
from fakes.upstream import Upstream

from collector.core.signing import COVERED
from collector.core.verdict import Blocked, Delivered

HMAC = {"signing": "rfc9421", "key_id": "kiosk-17", "secret_env": "UPSTREAM_SECRET"}
ENVIRON = {"UPSTREAM_SECRET": "shared"}


def now():
    return datetime.now(UTC).timestamp()


def private_file(path, content):
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def fake():
    with Upstream(keys={"kiosk-17": b"shared"}) as upstream:
        yield upstream


async def test_an_hmac_signature_is_good_for_its_verifier(fake):
    async with sending(url=fake.url, wall=now, environ=ENVIRON, **HMAC) as sender:
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert fake.received[0].problems == ()


async def test_an_ed25519_signature_is_good_for_its_verifier(tmp_path):
    key = Ed25519PrivateKey.generate()
    file = private_file(tmp_path / "device.pem", pem(key))
    options = {"signing": "rfc9421", "key_id": "kiosk-17", "key_file": str(file)}
    with Upstream(keys={"kiosk-17": key.public_key()}) as fake:
        async with sending(url=fake.url, wall=now, **options) as sender:
            assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert fake.received[0].problems == ()


@pytest.mark.parametrize(
    ("compress", "replaces", "absent"),
    [
        (None, None, {"waystation-replaces"}),
        (False, None, {"content-encoding", "waystation-replaces"}),
        (None, "77" * 16, set()),
    ],
)
@pytest.mark.parametrize("labels", [{}, {"site": "north"}])
async def test_a_signature_covers_all_that_a_batch_is(fake, compress, replaces, absent, labels):
    absent = absent if labels else absent | {"waystation-labels"}
    async with sending(
        url=fake.url, wall=now, environ=ENVIRON, compress=compress, labels=labels, **HMAC
    ) as sender:
        assert (await sender.attempt(make_batch(replaces=replaces), make_body())).verdict == Delivered()
    request = fake.received[0]
    ((label, (components, parameters)),) = http_sf.parse(
        request.header("Signature-Input").encode(), tltype="dictionary"
    ).items()
    assert label == "waystation"
    assert [name for name, _ in components] == [name for name in COVERED if name not in absent]
    assert list(parameters) == ["created", "keyid", "alg"]
    assert (parameters["keyid"], parameters["alg"]) == ("kiosk-17", "hmac-sha256")


async def test_the_digest_is_of_the_bytes_that_are_sent(fake):
    async with sending(url=fake.url, wall=now, environ=ENVIRON, **HMAC) as sender:
        await sender.attempt(make_batch(), make_body())
    request = fake.received[0]
    digest = b64encode(hashlib.sha256(request.body).digest()).decode()
    assert request.header("Content-Digest") == f"sha-256=:{digest}:"


async def test_a_url_with_odd_parts_is_signed_as_it_is_requested(fake):
    url = fake.url.replace("localhost", "user:pass@LOCALHOST") + "?a=%2F&b=ü#part"
    async with sending(url=url, wall=now, environ=ENVIRON, **HMAC) as sender:
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()
    assert fake.received[0].url.endswith("/v1/events?a=%2F&b=%C3%BC")


async def test_a_wrong_clock_is_corrected_by_the_upstreams_date(fake):
    async with sending(url=fake.url, wall=lambda: now() - 10_000_000, environ=ENVIRON, **HMAC) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert outcome.verdict == Delivered()
    assert outcome.server_time_offset == pytest.approx(10_000_000, abs=3)
    refused, taken = fake.received
    assert "age" in refused.problems[0]
    assert taken.header("Idempotency-Key") == refused.header("Idempotency-Key")


async def test_a_clock_that_is_set_between_two_attempts_leaves_the_signatures_time_right(fake):
    wrong = iter([0, 0, 315_000_000, 315_000_000])
    async with sending(url=fake.url, wall=lambda: now() - next(wrong), environ=ENVIRON, **HMAC) as sender:
        for _ in range(2):
            assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()


async def test_a_rotated_key_signs_the_next_attempt(fake, tmp_path):
    file = private_file(tmp_path / "shared.secret", b"old\n")
    options = {"signing": "rfc9421", "key_id": "kiosk-17", "secret_file": str(file)}
    async with sending(url=fake.url, wall=now, **options) as sender:
        assert isinstance((await sender.attempt(make_batch(), make_body())).verdict, Blocked)
        file.write_bytes(b"shared\n")
        assert (await sender.attempt(make_batch(), make_body())).verdict == Delivered()


async def test_a_key_is_parsed_once_for_as_long_as_its_file_stays_the_same(tmp_path):
    file = private_file(tmp_path / "device.pem", pem(Ed25519PrivateKey.generate()))
    async with sending(url="http://localhost/", key_id="kiosk-17", key_file=str(file)) as sender:
        first = sender._requests._keys.read()
        assert sender._requests._keys.read() is first
        file.write_bytes(pem(Ed25519PrivateKey.generate()))
        assert sender._requests._keys.read() is not first


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (b"nothing like a key", 0o600, "not a private key"),
        (pem(Ed25519PrivateKey.generate()), 0o644, "key_file: found a file of mode 0644, open to others"),
        (None, 0, "key_file: found a file that cannot be read (No such file"),
    ],
)
async def test_a_key_that_cannot_be_used_blocks_the_lane_and_says_why(fake, tmp_path, content, mode, told):
    file = tmp_path / "device.pem"
    if content is not None:
        private_file(file, content).chmod(mode)
    options = {"signing": "rfc9421", "key_id": "kiosk-17", "key_file": str(file)}
    async with sending(url=fake.url, **options) as sender:
        outcome = await sender.attempt(make_batch(), make_body())
    assert isinstance(outcome.verdict, Blocked)
    assert told in outcome.verdict.reason
    assert not outcome.wrote_body
    assert fake.received == []
