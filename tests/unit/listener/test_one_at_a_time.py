"""Bodies that take long to look at: one at a time, and each peer in its turn."""

from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from collector.listener.one_at_a_time import OneAtATime
from collector.listener.routes import Peer


async def test_who_brings_one_body_waits_for_one_of_who_brings_many():
    worker, goes_on, order = OneAtATime(), threading.Event(), []
    crowd, other = Peer("tcp", address="127.0.0.1").owner, Peer("unix", uid=7).owner

    async def look(name, owner):
        await worker(lambda: (goes_on.wait(60), order.append(name)), owner)

    async with trio.open_nursery() as nursery:
        for name in ("first", "second", "third"):
            nursery.start_soon(look, name, crowd)
            await wait_all_tasks_blocked()
        nursery.start_soon(look, "other", other)
        await wait_all_tasks_blocked()
        goes_on.set()
    assert order.index("other") <= 2
    assert [name for name in order if name != "other"] == ["first", "second", "third"]


async def test_the_next_has_its_turn_after_one_that_failed_and_one_that_gave_up():
    worker = OneAtATime()
    with pytest.raises(ZeroDivisionError):
        await worker(lambda: 1 // 0, "a")
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker(lambda: None, "a")
    with trio.fail_after(60):
        assert await worker(lambda: "found", "b") == "found"
