"""Who brings nothing makes room for others, on a connection's own terms."""

from __future__ import annotations

import trio
from fakes.arrivals import free
from fakes.site import HOST, Waiting, make_site, replies
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from collector.core.limits import (
    ANSWER_TIMEOUT,
    CROWDED_IDLE_TIMEOUT,
    NEWCOMER_GRACE,
    ROOM_GRACE,
    SWEEP_INTERVAL,
    WAITING_GRACE,
)
from collector.listener.capacity import Capacity
from collector.listener.routes import Peer
from collector.listener.seats import Seats
from collector.listener.serve import Server

PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"
WAIT = b"POST /waiting HTTP/1.1\r\n" + HOST + b"\r\n"
LARGE = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 80000\r\n\r\n"


async def client(server, *, peer=None, sends=b""):
    """A client's end of a new connection that has sent something."""
    ours, theirs = memory_stream_pair()
    server.take(theirs, peer or Peer("tcp"))
    if sends:
        await ours.send_all(sends)
    await wait_all_tasks_blocked()
    return ours


async def until_end(stream):
    received = b""
    while data := await stream.receive_some():
        received += data
    return [reply.status for reply in replies(received)]


async def test_a_request_that_trickles_makes_room_with_408_and_a_silent_client_without_a_word(autojump_clock):
    seats = Seats(total=2)
    server = Server([], make_site(), Capacity(seats))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        trickles = await client(server, sends=PLAIN[:-1])
        silent = await client(server)
        await trio.sleep(NEWCOMER_GRACE)
        await free(seats)
        assert await until_end(trickles) == [408]
        third = await client(server, sends=PLAIN)
        assert (await third.receive_some()).startswith(b"HTTP/1.1 200")
        await free(seats)
        assert await until_end(silent) == []
        nursery.cancel_scope.cancel()


async def test_who_is_being_answered_and_who_was_is_not_sent_away(autojump_clock):
    seats = Seats(total=2)
    server = Server([], make_site(waiting=Waiting()), Capacity(seats))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await client(server, sends=WAIT)
        served = await client(server, sends=PLAIN)
        await served.receive_some()
        with trio.move_on_after(3) as patience:
            await free(seats)
        assert patience.cancelled_caught
        assert seats.cleared == 0
        nursery.cancel_scope.cancel()


async def test_beyond_its_share_a_peer_waits_for_its_own_and_others_are_served(autojump_clock):
    waiting = Waiting()
    seats = Seats(per_peer=1)
    server = Server([], make_site(waiting=waiting), Capacity(seats))
    first, other = Peer("unix", uid=7), Peer("unix", uid=8)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        holds = await client(server, peer=first, sends=WAIT)
        waits = await client(server, peer=first, sends=PLAIN)
        served = await client(server, peer=other, sends=PLAIN)
        assert (await served.receive_some()).startswith(b"HTTP/1.1 200")
        waiting.release()
        await holds.receive_some()
        await holds.aclose()
        assert (await waits.receive_some()).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


async def test_a_peer_that_waits_too_long_for_its_own_gets_503(autojump_clock):
    server = Server([], make_site(waiting=Waiting()), Capacity(Seats(per_peer=1)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await client(server, sends=PLAIN + WAIT)
        waits = await client(server, sends=PLAIN)
        assert await until_end(waits) == [503]
        assert trio.current_time() >= ANSWER_TIMEOUT
        nursery.cancel_scope.cancel()


async def test_who_waits_behind_its_own_makes_room_for_another_peer_only_after_a_while(autojump_clock):
    seats = Seats(total=2, per_peer=1)
    server = Server([], make_site(waiting=Waiting()), Capacity(seats))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await client(server, sends=PLAIN + WAIT)
        waits = await client(server, sends=PLAIN)
        await free(seats)
        assert await until_end(waits) == [503]
        assert WAITING_GRACE < trio.current_time() <= WAITING_GRACE + 2 * NEWCOMER_GRACE
        nursery.cancel_scope.cancel()


async def test_a_body_that_stalls_gives_its_room_to_who_waits_for_it(autojump_clock):
    capacity = Capacity(body_bytes=100_000)
    server = Server([], make_site(), capacity)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        stalls = await client(server, sends=LARGE + b"x")
        await trio.sleep(10 * ROOM_GRACE)  # nobody minds as long as nobody waits
        assert capacity.held_bytes == 80_000
        waits = await client(server, sends=LARGE)
        started = trio.current_time()
        assert await until_end(stalls) == [408]
        assert trio.current_time() - started <= ROOM_GRACE + SWEEP_INTERVAL
        await waits.send_all(b"y" * 80_000)
        assert (await waits.receive_some()).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


async def test_all_of_loopback_is_one_peer(autojump_clock):
    """A process of this machine may connect from any address in 127.0.0.0/8."""
    seats = Seats(per_peer=1)
    server = Server([], make_site(waiting=Waiting()), Capacity(seats))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await client(server, peer=Peer("tcp", address="127.0.0.1"), sends=WAIT)
        for address in ("127.0.0.2", "127.255.1.1", "::1", "::ffff:127.0.0.3"):
            stream = await client(server, peer=Peer("tcp", address=address), sends=PLAIN)
            with trio.move_on_after(1) as patience:
                await stream.receive_some()
            assert patience.cancelled_caught
        served = await client(server, peer=Peer("tcp", address="192.0.2.1"), sends=PLAIN)
        assert (await served.receive_some()).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


async def test_who_is_idle_while_others_of_its_peer_wait_makes_room_for_them(autojump_clock):
    """Also where there are seats left, which are for other peers."""
    server = Server([], make_site(), Capacity(Seats(total=9, per_peer=1)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        idle = await client(server, sends=PLAIN)
        await idle.receive_some()
        waits = await client(server, sends=PLAIN)
        assert (await waits.receive_some()).startswith(b"HTTP/1.1 200")
        assert trio.current_time() <= CROWDED_IDLE_TIMEOUT + SWEEP_INTERVAL + NEWCOMER_GRACE
        assert await until_end(idle) == []
        nursery.cancel_scope.cancel()


async def test_the_answer_of_a_busy_connection_ends_it_while_others_of_its_peer_wait(autojump_clock):
    server = Server([], make_site(), Capacity(Seats(total=9, per_peer=1)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        busy = await client(server, sends=PLAIN)
        assert "connection" not in replies(await busy.receive_some())[0].headers
        waits = await client(server, sends=PLAIN)
        other = await client(server, peer=Peer("unix", uid=8), sends=PLAIN)
        assert "connection" not in replies(await other.receive_some())[0].headers
        await busy.send_all(PLAIN)
        last = replies(await busy.receive_some())[0]
        assert (last.status, last.headers["connection"]) == (200, "close")
        assert await until_end(busy) == []
        await busy.aclose()
        assert (await waits.receive_some()).startswith(b"HTTP/1.1 200")
        assert trio.current_time() < CROWDED_IDLE_TIMEOUT
        nursery.cancel_scope.cancel()


async def test_who_takes_no_answer_makes_room_after_a_while(autojump_clock):
    seats = Seats(total=9, per_peer=1)
    server = Server([], make_site(), Capacity(seats))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        ours, theirs = lockstep_stream_pair()  # each byte sent is one received
        server.take(theirs, Peer("tcp"))
        await ours.send_all(PLAIN)
        await trio.sleep(2 * WAITING_GRACE)  # nobody minds as long as nobody waits
        assert server.site.tally.open == 1
        waits = await client(server, sends=PLAIN)
        assert (await waits.receive_some()).startswith(b"HTTP/1.1 200")
        assert trio.current_time() <= 2 * WAITING_GRACE + NEWCOMER_GRACE
        nursery.cancel_scope.cancel()
