"""The fake upstream against the real client: it takes what is right, and tells what is not."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fakes.forwarding import PRODUCT, make_batch, make_body, sending
from fakes.upstream import Behaviour, Upstream

from collector.core.verdict import Blocked, Delivered, Retry, Split

SIGNED = {"signing": "rfc9421", "key_id": "kiosk-17", "secret_env": "UPSTREAM_SECRET"}


def now():
    return datetime.now(UTC).timestamp()


@pytest.fixture
def fake():
    with Upstream(keys={"kiosk-17": b"shared"}, products={PRODUCT: "s3cret"}) as upstream:
        yield upstream


def signing(url, *, secret="shared", **options):
    environ = {"UPSTREAM_SECRET": secret, "PRODUCT_SECRET": secret}
    return sending(url=url, wall=now, environ=environ, **SIGNED, **options)


async def send(url, batch, **options):
    async with signing(url, **options) as sender:
        body = make_body(batch.events, batch.first)
        return (await sender.attempt(batch, body)).verdict


def post_again(request, *, body=None, drop=(), **changes):
    """Send a request as it was received once more, changed."""
    headers = {name: value for name, value in request.headers if name not in drop} | changes
    body = request.body if body is None else body
    headers["Content-Length"] = str(len(body))
    target = urlsplit(request.url)
    connection = http.client.HTTPConnection(target.netloc, timeout=5)
    try:
        connection.request("POST", target.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def test_a_signature_by_another_key_is_refused(fake):
    verdict = await send(fake.url, make_batch(), secret="other")
    assert isinstance(verdict, Blocked)
    assert verdict.status == 401
    assert fake.book.taken == {}
    assert fake.received[0].problems != ()


async def test_a_product_signature_by_another_secret_is_refused(fake):
    batch = make_batch(dialect="traintracks", product=PRODUCT)
    verdict = await send(fake.url, batch, secret="other", kind="traintracks")
    assert isinstance(verdict, Blocked)
    assert fake.book.taken == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"Waystation-Batch": 'epoch="9d1e", lane="samsara/samsara", first=5, last=6'},
        {"Idempotency-Key": '"00"'},
        {"Content-Type": "text/plain"},
        {"drop": ("Signature",)},
        {"drop": ("Signature-Input", "Signature")},
        {"drop": ("Content-Encoding",), "body": make_body()},
        {"body": gzip.compress(make_body(2, 7))},
    ],
)
async def test_a_request_changed_on_its_way_is_refused(fake, changes):
    assert await send(fake.url, make_batch()) == Delivered()
    status, _ = post_again(fake.received[0], **changes)
    assert status == 401
    assert len(fake.book.taken) == 1


async def test_a_repeated_batch_is_taken_once(fake):
    assert await send(fake.url, make_batch()) == Delivered()
    assert await send(fake.url, make_batch()) == Delivered()
    ((_, taken),) = fake.book.taken.items()
    assert list(taken) == [0, 1]
    assert fake.book.problems == []


async def test_the_halves_of_a_batch_whose_answer_was_lost_are_not_taken_twice(fake):
    fake.script(Behaviour(cut="answer"), Behaviour(status=413))
    whole = make_batch(events=2)
    assert isinstance(await send(fake.url, whole), Retry)
    assert isinstance(await send(fake.url, whole), Split)
    assert await send(fake.url, make_batch(first=0, events=1, batch_id="1" * 32)) == Delivered()
    assert await send(fake.url, make_batch(first=1, events=1, batch_id="2" * 32)) == Delivered()
    ((_, taken),) = fake.book.taken.items()
    assert [json.loads(event)["n"] for event in taken.values()] == [0, 1]
    assert fake.book.problems == []


async def test_what_should_never_happen_is_noted(fake):
    await send(fake.url, make_batch(first=4, events=2))
    await send(fake.url, make_batch(first=0, events=1, batch_id="1" * 32))  # out of order
    async with signing(fake.url) as sender:
        await sender.attempt(make_batch(first=4, events=2), make_body(2, 90))  # another body
        await sender.attempt(make_batch(first=6, events=2, batch_id="2" * 32), make_body(1, 6))  # one short
    noted = " | ".join(fake.book.problems)
    for problem in ("0 came after 5", "another body", "4 is another event", "1 events for positions 6 to 7"):
        assert problem in noted


@pytest.fixture
def process(tmp_path):
    script = Path(__file__).with_name("upstream.py")
    command = [sys.executable, str(script), "--hmac", "kiosk-17=shared"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as started:
        yield started
        started.stdin.close()
        assert started.wait(timeout=5) == 0


async def test_as_a_process_it_can_be_told_and_asked(process):
    port = json.loads(process.stdout.readline())["port"]
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    body = base64.b64encode(b"full").decode()
    message = {"script": [{"status": 503, "body": body}, {"cut": "answer"}], "default": {"status": 202}}
    connection.request("POST", "/_control", json.dumps(message))
    assert connection.getresponse().read() == b""
    url = f"http://localhost:{port}/v1/events"
    verdicts = [await send(url, make_batch()) for _ in range(3)]
    assert [type(verdict) for verdict in verdicts] == [Retry, Retry, Delivered]
    connection.request("GET", "/_received")
    received = json.loads(connection.getresponse().read())
    connection.request("GET", "/_taken")
    taken = json.loads(connection.getresponse().read())
    connection.close()
    assert len(received) == 3
    assert base64.b64decode(received[0]["body"])[:2] == b"\x1f\x8b"
    assert taken["problems"] == []
    assert taken["requests"] == 3
    assert [lane["positions"] for lane in taken["lanes"]] == [[0, 1]]
