from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest
from fakes.spools import accept, chunk, spool_in

from collector.admin.endpoints import Asynchronous, lanes_endpoint, live_endpoint, ready_endpoint, unready
from collector.errors import SpoolDamaged
from collector.listener.routes import Peer, Request

if TYPE_CHECKING:
    from collector.core.http import Answer

ASK = Request("GET", "/", "", "1.1", {}, Peer("unix"))


@pytest.mark.parametrize(
    "error",
    [sqlite3.OperationalError("disk I/O error"), SpoolDamaged("disk I/O error")],
    ids=["read", "damage"],
)
async def test_what_the_disk_does_not_let_read_is_503(error):
    async def fail() -> Answer:
        raise error

    answer = await Asynchronous(fail).begin(ASK).answer()

    assert answer.status == 503
    assert b"disk I/O error" in answer.body


class FakeForwarder:
    def __init__(self, **stuck: str) -> None:
        self._stuck = stuck

    def stuck(self) -> dict[str, str]:
        return self._stuck


async def test_it_is_ready_while_commits_succeed(tmp_path):
    async with spool_in(tmp_path) as spool:
        ready = ready_endpoint(lambda: unready(spool, FakeForwarder()))
        assert (await ready.begin(ASK).answer()).status == 200
        spool.healthy = False
        assert (await ready.begin(ASK).answer()).status == 503
        assert (await live_endpoint().begin(ASK).answer()).status == 200


async def test_it_is_not_ready_while_a_lane_is_stuck(tmp_path):
    async with spool_in(tmp_path) as spool:
        ready = ready_endpoint(lambda: unready(spool, FakeForwarder(slow="at work for 900 s")))
        answer = await ready.begin(ASK).answer()
        assert answer.status == 503
        assert b"lane slow: at work for 900 s" in answer.body


async def test_lanes_are_listed(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(4))
        answer = await lanes_endpoint(spool).begin(ASK).answer()
        (lane,) = json.loads(answer.body)["lanes"]
        assert (lane["name"], lane["pending_events"]) == ("main/samsara", 4)
