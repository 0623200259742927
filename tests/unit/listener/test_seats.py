"""Seats are for those who bring something; nobody waits for ever behind those who do not."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from fakes.arrivals import free
from trio.testing import wait_all_tasks_blocked

from collector.core.limits import CLEAR_INTERVAL, NEWCOMER_GRACE
from collector.listener.lobby import Arrival
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


def arrive(seats, owner, order):
    """Somebody comes who stays; `order` has the peer of each that has a seat."""

    def enter():
        Guest(seats, owner)
        order.append(owner)

    return seats.ask(Arrival(owner, seats, enter, list))


def test_who_comes_first_is_the_first_of_its_peer():
    seats = Seats(total=2)
    guests = [Guest(seats), Guest(seats)]
    order = []

    def enter(name):
        Guest(seats)
        order.append(name)

    for name in "abc":
        assert seats.ask(Arrival("tcp", seats, partial(enter, name), list)) is None
    assert order == []
    for guest in guests:
        seats.leave(guest)
    assert order == ["a", "b"]
    assert (seats.taken, len(seats.lobby)) == (2, 1)


def test_a_seat_is_the_peers_that_holds_fewest_whoever_came_first():
    seats = Seats(total=4)
    guests = [Guest(seats) for _ in range(3)]
    Guest(seats, "second")
    order = []
    for owner in ["tcp"] * 5 + ["second"] * 2 + ["third"]:
        arrive(seats, owner, order)
    for guest in guests:
        seats.leave(guest)
    assert order == ["third", "tcp", "second"]


def test_while_a_peer_with_fewer_seats_waits_the_answers_to_one_with_more_are_their_last():
    seats = Seats(total=3)
    for owner in ("crowd", "crowd", "small"):
        Guest(seats, owner)
    arrive(seats, "crowd", [])
    owners = ("crowd", "small", "new")
    assert not any(seats.awaited(owner) for owner in owners)
    arrive(seats, "new", [])
    assert [seats.awaited(owner) for owner in owners] == [True, True, False]


def test_beyond_the_lobby_the_newest_of_the_largest_peer_is_turned_away():
    seats = Seats(total=1, waiting=3)
    Guest(seats)
    order = []
    assert [arrive(seats, "crowd", order) for _ in range(3)] == [None] * 3
    assert arrive(seats, "crowd", order).owner == "crowd"
    assert arrive(seats, "new", order).owner == "crowd"
    assert sorted(arrival.owner for arrival in seats.lobby.withdraw(seats)) == ["crowd", "crowd", "new"]
    assert len(seats.lobby) == 0
    assert order == []


async def test_all_that_bring_nothing_make_room_at_once_for_as_many_as_wait(autojump_clock):
    seats = Seats(total=16)
    for _ in range(16):
        Guest(seats, "crowd", idle=1)
    order = []
    for _ in range(3):
        arrive(seats, "new", order)
    with trio.move_on_after(CLEAR_INTERVAL / 2):
        await seats.keep_clearing()
    assert order == ["new"] * 3
    assert seats.cleared == 3


async def test_no_peer_makes_room_for_one_that_holds_more(autojump_clock):
    seats = Seats(total=3)
    Guest(seats, "crowd")
    Guest(seats, "crowd")
    slow = Guest(seats, "small", idle=1)
    arrive(seats, "crowd", [])
    with trio.move_on_after(10 * CLEAR_INTERVAL):
        await seats.keep_clearing()
    assert not slow.asked
    arrive(seats, "new", [])
    with trio.move_on_after(CLEAR_INTERVAL):
        await seats.keep_clearing()
    assert slow.asked


async def test_the_slowest_of_the_largest_peer_makes_room(autojump_clock):
    seats = Seats(total=5)
    other = Guest(seats, "other", idle=99)
    busy, slow, slowest = (Guest(seats, idle=idle) for idle in (0, 1, 2))
    Guest(seats)
    await free(seats)
    assert slowest.asked
    assert [slow.asked, busy.asked, other.asked] == [False] * 3
    assert seats.cleared == 1


async def test_who_waits_long_behind_their_own_make_room_for_others(autojump_clock):
    seats = Seats(total=3)
    parked = Guest(seats, parked=True)
    Guest(seats)
    Guest(seats, "other")
    await free(seats)
    assert parked.asked


async def test_where_all_are_busy_the_newcomer_waits(autojump_clock):
    seats = Seats(total=2)
    first, _ = Guest(seats), Guest(seats)
    with trio.move_on_after(10):
        await free(seats)
        pytest.fail("there was no seat")
    first.idle = 1
    start = trio.current_time()
    await free(seats)
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
