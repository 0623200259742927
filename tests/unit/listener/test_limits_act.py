"""Every key of `[limits]` has its row in the documentation, and acts at the value that is configured."""

from __future__ import annotations

import gzip
import re
import socket
from pathlib import Path

import pytest
import trio
from fakes.arrivals import free
from fakes.limited import Scene, end_of, post, until_reset
from fakes.site import replies
from trio.testing import lockstep_stream_pair

from collector.config.model import Config, Limits
from collector.core import limits
from collector.core.dialects import Accepted, samsara
from collector.listener import bind, decode
from collector.listener.ingest import PATH, Ingest
from collector.listener.policy import Policy
from collector.listener.product_keys import ProductKeys

DOCUMENT = (Path(__file__).parents[3] / "docs/protocol.md").read_text()
LIMITS = DOCUMENT.partition("## Limits")[2].partition("\n## ")[0]
KEYED = LIMITS.partition("These numbers are fixed.")[0]
KEYS = Limits.__struct_fields__


def rows(table):
    return {
        key: row
        for row in table.splitlines()
        for key in re.findall(r"`(\w+)`", row.split("|")[1] if row.startswith("|") else "")
    }


def test_every_key_has_a_row_and_every_row_a_key():
    assert rows(KEYED).keys() == set(KEYS)
    assert ACTS.keys() == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_row_says_the_default(key):
    number, unit = re.match(r" ([\d,.]+) ?(KiB|MiB)?", rows(KEYED)[key].split("|")[2]).groups()
    factor = {"KiB": 1024, "MiB": 1024**2, None: 1}[unit]
    assert float(number.replace(",", "")) * factor == getattr(Limits(), key)


@pytest.mark.parametrize("key", KEYS)
async def test_a_limit_acts_at_the_value_that_is_configured(key, autojump_clock):
    """As its row says: with the status that stands there, or by closing, or by letting wait."""
    what_came = await ACTS[key]()
    assert str(what_came) in rows(KEYED)[key].split("|")[3]


def within(seconds):
    """Whether so much time has passed, and no more than a time-out may be late."""
    return seconds <= trio.current_time() <= seconds + limits.SWEEP_INTERVAL


async def refused(data, **limits):
    """The status when `data` is sent; a byte less or one more of the limit is for the caller."""
    async with Scene(**limits) as scene:
        client = await scene.client(data)
        return replies(await client.receive_some())[0].status


def content(body, **limits):
    return samsara.read(
        body, content_type="application/json", published_timestamp="1", limits=Limits(**limits).content
    )


def event(more):
    return b'[{"timestamp":1,"sourceId":"s","eventName":"n","x":' + more + b"}]"


async def max_connections():
    async with Scene(max_connections=2) as scene:
        for _ in range(2):
            await scene.client(post(0, path="/waiting"))
        with trio.move_on_after(20) as patience:
            await free(scene.seats)
        assert patience.cancelled_caught
    return "wait"


async def max_connections_per_peer():
    async with Scene(max_connections_per_peer=1, answer_timeout=7) as scene:
        ours = await scene.client()
        await ours.send_all(post(5) + b"x")
        second = await scene.client()
        assert scene.seats.taken == 2
        await trio.sleep(0.1)
        await ours.send_all(b"xxxx")
        return await end_of(second)


async def listen_backlog():
    backlogs = []

    class Socket(socket.socket):
        def listen(self, backlog):
            backlogs.append(backlog)
            super().listen(backlog)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bind.socket, "socket", Socket)
        for bound in bind.bind("127.0.0.1:0", backlog=Limits(listen_backlog=3).listen_backlog):
            bound.close()
    assert backlogs == [3]
    return "wait"


async def max_head_bytes():
    assert await refused(post(0, headers=b"X-A: " + b"a" * 900 + b"\r\n"), max_head_bytes=1024) == 200
    return await refused(post(0, headers=b"X-A: " + b"a" * 1100 + b"\r\n"), max_head_bytes=1024)


async def max_headers():
    assert await refused(post(0, headers=b"X-A: a\r\n" * 8), max_headers=10) == 200
    return await refused(post(0, headers=b"X-A: a\r\n" * 9), max_headers=10)


async def max_body_bytes():
    assert await refused(post(1024) + b"x" * 1024, max_body_bytes=1024) == 200
    return await refused(post(1025) + b"x" * 1025, max_body_bytes=1024)


async def max_bodies_bytes():
    async with Scene(max_bodies_bytes=2**20, answer_timeout=5) as scene:
        await scene.capacity.hold(2**20 - 100_000)
        fits = await scene.client(post(100_000) + b"x" * 100_000)
        assert replies(await fits.receive_some())[0].status == 200
        status = await end_of(await scene.client(post(100_001)))
        assert within(5)
        return status


class AtOnce:
    """A spool that has everything on disk at once."""

    def submit(self, _chunk):
        return self

    async def committed(self):
        pass


async def max_products():
    body = b'[{"eventType":"tap","clientTimestamp":"2026-01-01T00:00:00.000000+00:00","data":{}}]'
    async with Scene(max_products=2) as scene:
        keys = ProductKeys((), Config(state_dir="/nowhere", limits=scene.config))
        endpoint = Ingest(AtOnce(), Policy(lambda *_: True, {}, keys=keys), wall_ms=lambda: 0)
        scene.server.site.routes[PATH] = {"POST": endpoint}

        async def status(key):
            headers = b"Content-Type: application/json\r\nX-Product-Key: %b\r\n" % key
            client = await scene.client(post(len(body), path=PATH, headers=headers) + body)
            return replies(await client.receive_some())[0].status

        assert [await status(key) for key in (b"one", b"two", b"one")] == [200, 200, 200]
        return await status(b"three")


async def max_decoded_bytes():
    loose = Limits(max_decoded_bytes=5000).content
    assert decode.bound(gzip.compress(b"x" * 5000), loose) == 5000
    found = decode.gunzip(gzip.compress(b"x" * 5001), max_bytes=5000, limits=loose)
    return found.status


async def max_ratio():
    body = b"x" * 400_000
    assert decode.bound(body, Limits(max_ratio=3).content) == 3 * len(body)
    bomb = gzip.compress(b"x" * 3_000_000)
    return decode.gunzip(bomb, max_bytes=decode.bound(bomb, Limits(max_ratio=3).content)).status


async def max_gzip_members():
    content = Limits(max_gzip_members=2).content
    assert decode.gunzip(gzip.compress(b"x") * 2, max_bytes=100, limits=content) == b"xx"
    return decode.gunzip(gzip.compress(b"x") * 3, max_bytes=100, limits=content).status


async def max_events():
    two = event(b"1")[:-1] + b"," + event(b"1")[1:]
    assert isinstance(content(two, max_events=2), Accepted)
    return content(two, max_events=1).answer.status


async def max_depth():
    assert isinstance(content(event(b"[[1]]"), max_depth=3), Accepted)
    return content(event(b"[[[1]]]"), max_depth=3).answer.status


async def max_digits():
    for digits in (20, 33, 100, 999):
        for lead in range(40):
            blank = b" " * lead
            assert isinstance(content(event(blank + b"7" * digits), max_digits=digits), Accepted)
            refusal = content(event(blank + b"7" * (digits + 1)), max_digits=digits)
            assert b"more than %d digits" % digits in refusal.answer.body
    return refusal.answer.status


async def head_timeout():
    async with Scene(head_timeout=3) as scene:
        status = await end_of(await scene.client(post()[:-2]))
        assert within(3)
        return status


async def request_timeout():
    async with Scene(request_timeout=4) as scene:
        status = await end_of(await scene.client(post() + b"x"))
        assert within(4)
        return status


async def answer_timeout():
    async with Scene(answer_timeout=6) as scene:
        status = await end_of(await scene.client(post(0, path="/waiting")))
        assert within(6)
        return status


async def send_timeout():
    async with Scene(send_timeout=7) as scene:
        client = await scene.client(pair=lockstep_stream_pair)
        await client.send_all(post() + b"plain")
        await scene.ended()
        # The answer's own time comes on top of what it had to be there.
        assert 7 <= trio.current_time() <= 7 + Limits().answer_timeout + limits.SWEEP_INTERVAL + 0.1
        return "closed"


async def idle_timeout():
    async with Scene(idle_timeout=8) as scene:
        status = await end_of(await scene.client())
        assert within(8)
        return status


async def crowded_idle_timeout():
    async with Scene(max_connections=1, crowded_idle_timeout=9) as scene:
        client = await scene.client(post() + b"plain")
        await client.receive_some()
        assert await end_of(client) == "closed"
        assert within(9)
    async with Scene(max_connections=1, idle_timeout=2, crowded_idle_timeout=9) as scene:
        started = trio.current_time()
        client = await scene.client(post() + b"plain")
        await client.receive_some()
        await end_of(client)
        assert trio.current_time() - started <= 2 + limits.SWEEP_INTERVAL  # a crowd gives nobody more time
    return "closed"


async def newcomer_grace():
    async with Scene(max_connections=1, newcomer_grace=2) as scene:
        client = await scene.client(post() + b"x")
        await free(scene.seats)
        assert 2 <= trio.current_time() <= 2 + 2 * limits.CLEAR_INTERVAL
        return await end_of(client)


async def waiting_grace():
    async with Scene(max_connections=2, max_connections_per_peer=1, waiting_grace=3) as scene:
        await scene.client(post(0, path="/waiting"))
        second = await scene.client()
        await free(scene.seats)
        assert 3 <= trio.current_time() <= 3 + 2 * limits.CLEAR_INTERVAL
        return await end_of(second)


async def room_grace():
    async with Scene(max_bodies_bytes=2**20, room_grace=4) as scene:
        stalls = await scene.client(post(2**20))
        await scene.client(post(100_000))
        status = await end_of(stalls)
        assert within(4)
        return status


async def min_rate():
    async def trickles(rate):
        async with Scene(max_connections=1, min_rate=rate) as scene:
            client = await scene.client(post(10_000))
            sent = 0
            with trio.move_on_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(free, scene.seats)
                    while scene.server.site.tally.open and not scene.seats.cleared:
                        await client.send_all(b"x" * 100)
                        sent += 100
                        await trio.sleep(0.1)
                    nursery.cancel_scope.cancel()
            return "stays" if not scene.seats.cleared else await end_of(client)

    assert await trickles(500) == "stays"
    return await trickles(2000)


async def linger_timeout():
    async with Scene(linger_timeout=3, max_body_bytes=1024) as scene:
        client = await scene.client(post(100_000))
        assert replies(await client.receive_some())[0].status == 413
        await until_reset(client, b"x", 0.1)
        assert 3 <= trio.current_time() <= 3.2
        return "reset"


async def linger_bytes():
    async with Scene(linger_bytes=200_000, max_body_bytes=1024) as scene:
        client = await scene.client(post(1_000_000))
        assert replies(await client.receive_some())[0].status == 413
        assert await until_reset(client, b"x" * 10_000, 0.001) == 200_000
        return "reset"


ACTS = {key: globals()[key] for key in KEYS if key in globals()}
"""What shows each of them: the status that it leads to, or a word of its row."""
