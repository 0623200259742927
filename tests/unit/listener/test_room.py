"""Room for bodies: who waits for it loses none of its own time, and nobody is starved of it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import trio
from fakes.arrivals import free
from fakes.site import HOST, make_site, replies
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from collector.core.limits import (
    ANSWER_TIMEOUT,
    CLEAR_INTERVAL,
    MIN_RATE,
    ROOM_GRACE,
    SWEEP_INTERVAL,
    WAITING_GRACE,
    ConnectionLimits,
)
from collector.listener.capacity import Capacity
from collector.listener.lobby import Arrival
from collector.listener.routes import Peer
from collector.listener.seats import Seats
from collector.listener.serve import Server

PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"
LARGE = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 80000\r\n\r\n"
BODY = b"y" * 80_000
ROOM = 100_000  # for one of them


class Door:
    """Where connections come in: each has a seat, or waits in the lobby."""

    def __init__(self, server, seats):
        self._server = server
        self._seats = seats

    def knock(self, peer):
        ours, theirs = memory_stream_pair()
        enter = partial(self._server.take, theirs, peer)
        assert self._seats.ask(Arrival(peer.owner, self, enter, list)) is None
        return ours


async def ask(stream, data):
    """The status of the one answer to what is sent; None if there is none."""
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, stream, data)
        while not received.endswith(data[-5:]) and (part := await stream.receive_some()):
            received += part
        nursery.cancel_scope.cancel()
    return replies(received)[0].status if received else None


async def send(stream, data):
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def test_a_client_that_waited_for_room_has_all_of_its_own_time_still(autojump_clock):
    limits = ConnectionLimits(request_timeout=10)
    seats = Seats(total=1)
    capacity = Capacity(seats, ROOM)
    server = Server([], make_site(limits=limits), capacity)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await capacity.hold(50_000)
        ours, theirs = memory_stream_pair()
        server.take(theirs, Peer("tcp"))
        await ours.send_all(LARGE)
        await trio.sleep(20)
        capacity.release(50_000)
        await wait_all_tasks_blocked()
        with trio.move_on_after(limits.newcomer_grace / 2):
            await free(seats)  # nor does it look as if it had dawdled
        assert seats.cleared == 0
        await trio.sleep(8)
        assert await ask(ours, BODY) == 200
        nursery.cancel_scope.cancel()


async def test_a_client_that_had_its_room_at_once_has_no_more_time_than_others(autojump_clock):
    limits = ConnectionLimits(request_timeout=10)
    server = Server([], make_site(limits=limits))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        ours, theirs = memory_stream_pair()
        server.take(theirs, Peer("tcp"))
        await ours.send_all(LARGE)
        assert replies(await ours.receive_some())[0].status == 408
        assert 10 <= trio.current_time() <= 10 + SWEEP_INTERVAL
        nursery.cancel_scope.cancel()


async def test_peers_have_room_in_turns(autojump_clock):
    capacity = Capacity(body_bytes=100)
    given = []

    async def body(owner):
        await capacity.hold(100, owner)
        given.append(owner)
        await trio.sleep(1)
        capacity.release(100)

    async with trio.open_nursery() as nursery:
        for owner in ("crowd", "crowd", "crowd", "crowd", "one", "two", "one"):
            nursery.start_soon(body, owner)
            await wait_all_tasks_blocked()
    assert given == ["crowd", "crowd", "one", "two", "crowd", "one", "crowd"]
    assert capacity.held_bytes == 0


async def test_who_waits_for_room_does_not_keep_other_peers_from_a_seat(autojump_clock):
    seats = Seats(total=4, per_peer=4)
    capacity = Capacity(seats, ROOM)
    server = Server([], make_site(), capacity)
    door = Door(server, seats)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await capacity.hold(ROOM)
        for _ in range(4):
            nursery.start_soon(ask, door.knock(Peer("unix", uid=1)), LARGE)
        await wait_all_tasks_blocked()
        assert await ask(door.knock(Peer("unix", uid=2)), PLAIN) == 200
        assert WAITING_GRACE < trio.current_time() <= WAITING_GRACE + 2 * CLEAR_INTERVAL
        nursery.cancel_scope.cancel()


async def test_a_body_that_comes_just_fast_enough_gives_its_room_to_others_in_time(autojump_clock):
    body_bytes = 4 * 1024 * 1024
    capacity = Capacity(body_bytes=body_bytes)
    server = Server([], make_site(), capacity)
    head = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % body_bytes
    statuses = []

    async def trickle(ours):
        with suppress(trio.BrokenResourceError):
            while True:
                await ours.send_all(b"x" * (MIN_RATE // 4))
                await trio.sleep(0.2)

    async def hoard(uid):
        while True:
            ours, theirs = memory_stream_pair()
            server.take(theirs, Peer("unix", uid=uid))
            await ours.send_all(head)
            async with trio.open_nursery() as trickling:
                trickling.start_soon(trickle, ours)
                statuses.append(replies(await ours.receive_some())[0].status)
                trickling.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        for uid in (1, 1, 1, 2):
            nursery.start_soon(hoard, uid)
        await trio.sleep(1)
        for _ in range(3):
            ours, theirs = memory_stream_pair()
            server.take(theirs, Peer("unix", uid=3))
            assert await ask(ours, LARGE + BODY) == 200
        assert set(statuses) <= {408, 503}
        nursery.cancel_scope.cancel()


async def test_who_does_not_take_its_answer_gives_its_room_to_who_waits_for_it(autojump_clock):
    capacity = Capacity(body_bytes=ROOM)
    server = Server([], make_site(), capacity)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        ours, theirs = lockstep_stream_pair()
        server.take(theirs, Peer("tcp"))
        await ours.send_all(LARGE)
        await ours.send_all(BODY)
        await trio.sleep(10 * ROOM_GRACE)  # nobody minds as long as nobody waits
        assert capacity.held_bytes == len(BODY)
        started = trio.current_time()
        other, theirs = memory_stream_pair()
        server.take(theirs, Peer("tcp"))
        assert await ask(other, LARGE + BODY) == 200
        assert trio.current_time() - started <= ROOM_GRACE + SWEEP_INTERVAL
        nursery.cancel_scope.cancel()


async def test_who_hoards_seats_and_room_at_once_starves_nobody(autojump_clock):
    """Two peers hold every seat with bodies that never come, and come again as soon as they are sent away."""
    seats = Seats(total=8, per_peer=6)
    capacity = Capacity(seats, ROOM)
    server = Server([], make_site(), capacity)
    door = Door(server, seats)
    statuses = []

    async def hoard(peer):
        while True:
            statuses.append(await ask(door.knock(peer), LARGE + b"x"))

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        for uid in (1, 2):
            for _ in range(6):
                nursery.start_soon(hoard, Peer("unix", uid=uid))
        await trio.sleep(2 * ANSWER_TIMEOUT)
        assert seats.full
        assert capacity.contended
        # Who comes is the next, as those inside are sent away.
        patience = 2 * (WAITING_GRACE + CLEAR_INTERVAL)
        a_turn = ROOM_GRACE + SWEEP_INTERVAL
        for turn in range(10):
            started = trio.current_time()
            small = await ask(door.knock(Peer("unix", uid=3)), PLAIN)
            assert small == 200
            assert trio.current_time() - started <= patience
            started = trio.current_time()
            assert await ask(door.knock(Peer("unix", uid=3)), LARGE + BODY) == 200, turn
            assert trio.current_time() - started <= patience + 3 * a_turn
        assert set(statuses) <= {408, 503}
        nursery.cancel_scope.cancel()
    assert (capacity.held_bytes, seats.taken) == (0, 0)
