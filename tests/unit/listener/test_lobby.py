"""Who waits for a seat is accepted, unread, and has it when it is the turn of its peer; real sockets."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio
from fakes.site import HOST, Waiting, make_site, replies

from collector.core.limits import ConnectionLimits
from collector.listener import serve
from collector.listener.bind import bind
from collector.listener.capacity import Capacity
from collector.listener.routes import Peer
from collector.listener.seats import Seats
from collector.listener.serve import Server

PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"
WAIT = b"POST /waiting HTTP/1.1\r\n" + HOST + b"\r\n"
PATIENCE = 30


@contextlib.asynccontextmanager
async def serving(bound, capacity, grace=60):
    limits = ConnectionLimits(newcomer_grace=grace)
    server = Server([bound], make_site(waiting=Waiting(), limits=limits), capacity)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server
            nursery.cancel_scope.cancel()


async def connect(bound):
    sock = trio.socket.socket(bound.sock.family, socket.SOCK_STREAM)
    await sock.connect(bound.sock.getsockname())
    return trio.SocketStream(sock)


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
        async with serving(unix, capacity, grace=1):
            assert replies(await newcomer.receive_some())[0].status == 200
            assert len(capacity.seats.lobby) > 0


async def test_who_finds_the_lobby_full_gets_503_and_later_clients_are_served(unix):
    capacity = Capacity(Seats(total=1, waiting=1))
    first, second, third = [await connect(unix) for _ in range(3)]
    async with first, second, third, serving(unix, capacity):
        assert await statuses(third) == [503]
        await first.aclose()
        await second.send_all(PLAIN)
        assert replies(await second.receive_some())[0].status == 200


async def test_at_a_stop_who_waits_for_a_seat_and_finds_none_gets_503(unix):
    capacity = Capacity(Seats(total=1))
    first, second = [await connect(unix) for _ in range(2)]
    await first.send_all(WAIT)
    async with first, second, serving(unix, capacity) as server:
        while not capacity.seats.lobby:  # noqa: ASYNC110 (the server tells nobody)
            await trio.sleep(0.01)
        server.stop(trio.current_time() + 1)
        assert await statuses(second) == [503]
