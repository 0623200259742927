"""The demo's upstream: it can go away without losing its port, come back, and answer badly."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from collector.demo import stage, wire
from collector.demo.arrived import Arrived
from collector.demo.receiver import Trouble, Troubles, serve

EVENTS = b'[{"n":1.10},{"n":2}]'


@pytest.fixture
def place():
    with stage.directory() as directory:
        yield stage.Stage(Path(directory))


@asynccontextmanager
async def running(place):
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve, place.upstream)
        yield f"127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


def headers(place, *, key="k1", first=0, secret=None):
    secret = place.secret if secret is None else secret
    return {
        "X-Product-Key": place.upstream.product,
        "X-Product-Auth": hashlib.md5(EVENTS + secret.encode()).hexdigest(),
        "Idempotency-Key": f'"{key}"',
        "Waystation-Device": '"d"',
        "Waystation-Batch": f'epoch="e", lane="t/traintracks/p", first={first}, last={first + 1}',
    }


async def ask(address, *arguments):
    connection = await wire.connect(address)
    try:
        with trio.fail_after(5):
            return await connection.ask(*arguments)
    finally:
        await connection.aclose()


async def send(address, place, **options):
    return await ask(address, "POST", "/v1/events", EVENTS, headers(place, **options))


async def tell(place, path, body=b""):
    assert (await ask(place.upstream.control, "POST", path, body)).status == 200


async def arrived(place):
    return msgspec.json.decode((await ask(place.upstream.control, "GET", "/arrived")).body, type=Arrived)


async def test_genuine_batch_is_taken_as_it_came(place):
    async with running(place) as address:
        assert (await send(address, place)).status == 200
        found = await arrived(place)
    (taken,) = found.taken
    assert (taken.lane, taken.positions, taken.events) == (
        "t/traintracks/p",
        [0, 1],
        ['{"n":1.10}', '{"n":2}'],
    )
    assert found.problems == []
    assert found.answers == {"200": 1}


async def test_forged_batch_is_refused_and_noted(place):
    async with running(place) as address:
        assert (await send(address, place, secret="another")).status == 401
        assert (await ask(address, "POST", "/v1/events", b"[]", {})).status == 401
        found = await arrived(place)
    assert found.taken == []
    assert len(found.problems) == 2


async def test_away_it_breaks_connections_and_refuses_new_ones_and_keeps_its_port(place):
    async with running(place) as address:
        kept = await wire.connect(address)
        await kept.ask("POST", "/v1/events", EVENTS, headers(place))
        for _ in range(2):
            await tell(place, "/away")
            with pytest.raises(wire.Broken):
                await kept.ask("POST", "/v1/events", EVENTS, headers(place))
            await kept.aclose()
            with pytest.raises(OSError, match="connect"):
                await wire.connect(address)
            await tell(place, "/back", msgspec.json.encode(Troubles()))
            kept = await wire.connect(address)
            assert (await kept.ask("POST", "/v1/events", EVENTS, headers(place))).status == 200
        await kept.aclose()


async def test_back_it_meets_the_first_requests_with_trouble(place):
    troubles = [Trouble(status=500), Trouble(status=429, retry_after=3), Trouble()]
    async with running(place) as address:
        await tell(place, "/away")
        await tell(place, "/back", msgspec.json.encode(Troubles(traintracks=troubles)))
        first, second = await send(address, place), await send(address, place)
        assert (first.status, second.status, second.header("Retry-After")) == (500, 429, "3")
        assert (await arrived(place)).taken == []
        with pytest.raises(wire.Broken):
            await send(address, place)
        assert (await send(address, place)).status == 200
        found = await arrived(place)
    assert found.answers == {"500": 1, "429": 1, "lost": 1, "200": 1}
    assert [repeat.recognised for repeat in found.repeats] == [True]
    assert found.taken[0].positions == [0, 1]


async def test_unknown_request_to_its_control_is_not_found(place):
    async with running(place):
        assert (await ask(place.upstream.control, "GET", "/")).status == 404
