"""Seats and room are bounded, given in order, and never lost."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from collector.listener.capacity import Capacity


async def test_room_is_given_in_the_order_of_asking(autojump_clock):
    capacity = Capacity(body_bytes=100)
    given = {}

    async def body(size):
        await capacity.hold(size)
        given[size] = trio.current_time()
        await trio.sleep(1)
        capacity.release(size)

    async with trio.open_nursery() as nursery:
        for size in (60, 50, 70, 10):
            nursery.start_soon(body, size)
            await wait_all_tasks_blocked()
    assert given == {60: 0, 50: 1, 70: 2, 10: 2}  # 10 would have fitted at once, but others came first
    assert capacity.held_bytes == 0


async def test_a_body_larger_than_all_room_is_let_in_alone(autojump_clock):
    capacity = Capacity(body_bytes=100)
    await capacity.hold(500)
    with trio.move_on_after(1) as patience:
        await capacity.hold(1)
    assert patience.cancelled_caught
    capacity.release(500)
    await capacity.hold(1)
    assert capacity.held_bytes == 1


async def test_who_stops_waiting_does_not_keep_others_waiting(autojump_clock):
    capacity = Capacity(body_bytes=100)
    await capacity.hold(50)
    async with trio.open_nursery() as nursery:
        impatient = trio.CancelScope()

        @nursery.start_soon
        async def large():
            with impatient:
                await capacity.hold(80)

        await wait_all_tasks_blocked()
        nursery.start_soon(capacity.hold, 40)
        await wait_all_tasks_blocked()
        assert capacity.held_bytes == 50
        impatient.cancel()
    assert capacity.held_bytes == 90


async def test_room_granted_to_one_who_has_just_given_up_is_given_back(autojump_clock):
    capacity = Capacity(body_bytes=100)
    await capacity.hold(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(capacity.hold, 70)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        capacity.release(100)  # the task has been cancelled, and has not run since
    assert capacity.held_bytes == 0
