"""What a batch is stays the same, whatever happens between two attempts."""

from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime

import pytest
from fakes.forwarding import make_batch, make_body, sending
from fakes.upstream import Behaviour
from zlib_ng import zlib_ng

from collector.core.verdict import Delivered, Retry
from collector.forwarder import packing

SECRET = "a secret of 32 bytes, or longer!!"
SIGNED = {"signing": "rfc9421", "key_id": "kiosk-17", "secret_env": "DEVICE_SECRET"}
IDENTITY = ("Idempotency-Key", "Waystation-Device", "Waystation-Batch")


async def attempt(fake, *, wall):
    """One attempt at a batch, as after a start of its own."""
    environ = {"DEVICE_SECRET": SECRET}
    async with sending(url=fake.url, wall=lambda: wall, environ=environ, **SIGNED) as sender:
        return await sender.attempt(make_batch(events=300), make_body(300))


@pytest.mark.parametrize("later", [zlib, zlib_ng])
async def test_another_zlib_after_a_restart_changes_bytes_and_digest_and_not_the_batch(
    fake, monkeypatch, later
):
    fake.book.keys["kiosk-17"] = SECRET.encode()
    fake.script(Behaviour(cut="answer"))  # taken, and the answer is lost
    now = datetime.now(UTC).timestamp()
    assert isinstance((await attempt(fake, wall=now - 60)).verdict, Retry)
    monkeypatch.setattr(packing, "zlib", later)
    assert (await attempt(fake, wall=now)).verdict == Delivered()
    first, last = fake.received
    assert fake.book.problems == []
    assert (first.problems, last.problems) == ((), ())
    assert [first.header(name) for name in IDENTITY] == [last.header(name) for name in IDENTITY]
    assert first.content == last.content
    assert (first.body == last.body) is (later is zlib)
    assert (first.header("Content-Digest") == last.header("Content-Digest")) is (later is zlib)
    # Each attempt says when it was made.
    for name in ("X-Samsara-publishedTimestamp", "Signature-Input"):
        assert first.header(name) != last.header(name)
    (taken,) = fake.book.taken.values()
    assert list(taken) == list(range(300))
    (repeat,) = fake.book.repeats
    assert repeat.recognised


@pytest.mark.parametrize("writer", [zlib, zlib_ng])
@pytest.mark.parametrize("reader", [zlib, zlib_ng])
def test_what_one_zlib_stored_another_reads(writer, reader):
    body = b'[{"timestamp":1,"sourceId":"s","eventName":"e"}]' * 100
    assert reader.decompress(writer.compress(body, 1)) == body
    packer = writer.compressobj(6, zlib.DEFLATED, 31)
    assert gzip.decompress(packer.compress(body) + packer.flush()) == body
