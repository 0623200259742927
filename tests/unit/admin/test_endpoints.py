from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from fakes.spools import spool_in

from collector.admin.status import Asynchronous, live_endpoint, ready_endpoint
from collector.listener.routes import Peer, Request

if TYPE_CHECKING:
    from collector.core.http import Answer

ASK = Request("GET", "/", "", "1.1", {}, Peer("unix"))


async def test_what_the_disk_does_not_let_read_is_503():
    async def fail() -> Answer:
        raise sqlite3.OperationalError("disk I/O error")

    answer = await Asynchronous(fail).begin(ASK).answer()

    assert answer.status == 503
    assert b"disk I/O error" in answer.body


async def test_it_is_ready_while_commits_succeed(tmp_path):
    async with spool_in(tmp_path) as spool:
        ready = ready_endpoint(spool)
        assert (await ready.begin(ASK).answer()).status == 200
        spool.healthy = False
        assert (await ready.begin(ASK).answer()).status == 503
        assert (await live_endpoint().begin(ASK).answer()).status == 200
