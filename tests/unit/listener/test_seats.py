"""Seats are for those who bring something; nobody waits for ever behind those who do not."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from collector.core.limits import NEWCOMER_GRACE
from collector.listener.seats import Seats


class Guest:
    """Sits; `idle` is for how long it has brought nothing."""

    def __init__(self, seats, owner="tcp", *, idle=0.0, parked=False):
        self.seats = seats
        self.owner = owner
        self.idle = idle
        self.parked = parked
        self.asked = False
        seats.sit(self)

    def idled(self, now):
        return self.idle

    def outstayed(self, now):
        return self.parked

    def make_room(self):
        self.asked = True
        self.seats.leave(self)


@pytest.mark.parametrize("waiters", [1, 5])
async def test_seats_are_waited_for(waiters, autojump_clock):
    seats = Seats(total=1)
    seen = []

    async def guest(name):
        await seats.free()
        sitter = Guest(seats)
        seen.append(name)
        assert seats.full
        await trio.sleep(1)
        seats.leave(sitter)

    async with trio.open_nursery() as nursery:
        for name in range(waiters):
            nursery.start_soon(guest, name)
    assert sorted(seen) == list(range(waiters))
    assert seats.taken == 0
    assert trio.current_time() == waiters


async def test_the_slowest_of_the_largest_peer_makes_room(autojump_clock):
    seats = Seats(total=5)
    other = Guest(seats, "other", idle=99)
    busy, slow, slowest = (Guest(seats, idle=idle) for idle in (0, 1, 2))
    Guest(seats)
    await seats.free()
    assert slowest.asked
    assert [slow.asked, busy.asked, other.asked] == [False] * 3
    assert seats.cleared == 1


async def test_who_waits_long_behind_their_own_make_room_for_others(autojump_clock):
    seats = Seats(total=3)
    parked = Guest(seats, parked=True)
    Guest(seats)
    Guest(seats, "other")
    await seats.free()
    assert parked.asked


async def test_where_all_are_busy_the_newcomer_waits(autojump_clock):
    seats = Seats(total=2)
    first, _ = Guest(seats), Guest(seats)
    with trio.move_on_after(10):
        await seats.free()
        pytest.fail("there was no seat")
    first.idle = 1
    start = trio.current_time()
    await seats.free()
    assert first.asked
    assert trio.current_time() - start <= NEWCOMER_GRACE


async def test_of_one_peer_so_many_are_served_and_the_others_in_their_order(autojump_clock):
    seats = Seats(per_peer=2)
    order = []

    async def wait(name):
        await seats.turn("tcp")
        order.append(name)

    assert seats.serve("tcp")
    assert seats.serve("tcp")
    assert not seats.serve("tcp")
    assert seats.serve("other")
    async with trio.open_nursery() as nursery:
        for name in range(3):
            nursery.start_soon(wait, name)
            await wait_all_tasks_blocked()
        for name in range(3):
            assert len(order) == name
            assert not seats.serve("tcp")  # not past those who wait
            seats.served("tcp")
            await wait_all_tasks_blocked()
    assert order == [0, 1, 2]
    for _ in range(2):
        seats.served("tcp")
    assert seats.serve("tcp")


async def test_who_waits_for_a_turn_moves_the_slow_ones_of_its_peer(autojump_clock):
    seats = Seats(per_peer=1)
    slow, other = Guest(seats, idle=5), Guest(seats, "other", idle=9)
    assert seats.serve("tcp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seats.turn, "tcp")
        await wait_all_tasks_blocked()
        assert slow.asked
        assert not other.asked
        seats.served("tcp")


async def test_a_turn_that_is_not_waited_for_any_more_is_the_next_ones(autojump_clock):
    seats = Seats(per_peer=1)
    assert seats.serve("tcp")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seats.turn, "tcp")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seats.turn, "tcp")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        seats.served("tcp")  # the task has been cancelled, and has not run since
    assert seats.serve("tcp")
