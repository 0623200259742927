"""Who waits for a seat is accepted, unread, and has it when it is the turn of its peer; real sockets."""

from __future__ import annotations

import contextlib

import pytest
import trio
from fakes.site import PLAIN, WAIT, Waiting, connect, make_site, replies, serving

from collector.core.limits import ConnectionLimits
from collector.listener import serve
from collector.listener.bind import bind
from collector.listener.capacity import Capacity
from collector.listener.routes import Peer
from collector.listener.seats import Seats

PATIENCE = 30


def greeting(bound, capacity, grace=60):
    site = make_site(waiting=Waiting(), limits=ConnectionLimits(newcomer_grace=grace))
    return serving(bound, site=site, capacity=capacity, patience=PATIENCE)


async def statuses(client):
    received = b""
    while data := await client.receive_some():
        received += data
    return [reply.status for reply in replies(received)]


@pytest.fixture
def unix(tmp_path):
    (bound,) = bind(f"unix:{tmp_path}/s.sock")
    yield bound
    bound.close()


async def test_who_stands_behind_a_crowd_in_the_listen_queue_is_the_first_of_its_own_peer(unix, monkeypatch):
    uids = iter([1] * 20 + [2])
    monkeypatch.setattr(serve, "peer_of", lambda *_: Peer("unix", uid=next(uids)))
    crowd = [await connect(unix) for _ in range(20)]
    newcomer = await connect(unix)
    capacity = Capacity(Seats(total=2))
    async with contextlib.AsyncExitStack() as stack:
        for stream in (*crowd, newcomer):
            await stack.enter_async_context(stream)
        for stream in crowd[:2]:
            await stream.send_all(PLAIN[:-1])  # they make room, for one each
        for stream in crowd[2:]:
            await stream.send_all(WAIT)  # these never would
        await newcomer.send_all(PLAIN)
        async with greeting(unix, capacity, grace=1):
            assert replies(await newcomer.receive_some())[0].status == 200
            assert len(capacity.seats.lobby) > 0


async def test_who_finds_the_lobby_full_gets_503_and_later_clients_are_served(unix):
    capacity = Capacity(Seats(total=1, waiting=1))
    first, second, third = [await connect(unix) for _ in range(3)]
    async with first, second, third, greeting(unix, capacity):
        assert await statuses(third) == [503]
        await first.aclose()
        await second.send_all(PLAIN)
        assert replies(await second.receive_some())[0].status == 200


async def test_at_a_stop_who_waits_for_a_seat_and_finds_none_gets_503(unix):
    capacity = Capacity(Seats(total=1))
    first, second = [await connect(unix) for _ in range(2)]
    await first.send_all(WAIT)
    async with first, second, greeting(unix, capacity) as server:
        while not capacity.seats.lobby:  # noqa: ASYNC110 (the server tells nobody)
            await trio.sleep(0.01)
        server.stop(trio.current_time() + 1)
        assert await statuses(second) == [503]
