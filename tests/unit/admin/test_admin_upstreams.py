"""The admin listener's upstreams, over HTTP."""

from __future__ import annotations

import json
import sqlite3
from contextlib import asynccontextmanager

import pytest
from fakes.lanes import PRODUCT, samsara, site, traintracks
from fakes.sender import ScriptedSender, answer
from fakes.site import HOST, OpenGate

from collector.admin import upstreams
from collector.config.model import Config, Product, Upstream
from collector.core.http import Answer
from collector.listener.reader import Reader
from collector.listener.routes import Peer, Site


@asynccontextmanager
async def desk(directory, senders):
    async with site(directory / "spool", senders) as here:
        config = Config(
            state_dir=str(directory),
            upstream=tuple(senders),
            product=(Product(key=PRODUCT, secret_env="S"), Product(key="other", secret_env="S")),
        )
        routes = upstreams.routes(upstreams.Desk(config, here.spool, here.forwarder, here.times.wall_ms))

        async def ask(method, path, *headers):
            reader = Reader(Site(routes, OpenGate()), Peer("unix", uid=0))
            fields = b"".join(header + b"\r\n" for header in headers)
            reader.feed(b"%b %b HTTP/1.1\r\n" % (method, path) + HOST + fields + b"Content-Length: 0\r\n\r\n")
            ((outcome, _, _),) = reader.turns
            found = outcome if isinstance(outcome, Answer) else await outcome.answer()
            return found.status, json.loads(found.body)

        yield here, ask


async def test_commands_act_on_the_upstream_that_the_path_names(tmp_path, autojump_clock):
    sender, other = ScriptedSender(), ScriptedSender(otherwise=answer(401))
    async with desk(tmp_path, {samsara(linger=60): sender, samsara("other"): other}) as (here, ask):
        assert await ask(b"POST", b"/v1/upstreams/samsara/pause") == (200, {"status": "OK"})
        await here.accept(2)
        await here.quiet()
        status, found = await ask(b"GET", b"/v1/upstreams")
        assert status == 200
        assert found == [
            {
                "name": "samsara",
                "configured": True,
                "paused": True,
                "waiting": "",
                "pending_events": 2,
                "stuck": {"samsara/samsara": "paused; `waystation upstream resume` lets it go on"},
            },
            {
                "name": "other",
                "configured": True,
                "paused": False,
                "waiting": "",
                "pending_events": 2,
                "stuck": {"other/samsara": "http 401 Unauthorized"},
            },
        ]
        assert (await ask(b"POST", b"/v1/upstreams/samsara/flush"))[0] == 409
        assert await ask(b"POST", b"/v1/upstreams/samsara/resume") == (200, {"status": "OK"})
        assert await ask(b"POST", b"/v1/upstreams/samsara/bury") == (200, {"buried": {}})
        assert await ask(b"POST", b"/v1/upstreams/samsara/flush") == (200, {"status": "OK"})
        await here.quiet()
        assert sender.ranges == [(0, 1)]


async def test_a_dry_run_is_made_for_each_product_and_for_files_too(tmp_path, autojump_clock):
    files = Upstream(name="file", kind="file", directory=str(tmp_path))
    sender = ScriptedSender(answer(200), answer(403, b"not you"))
    async with desk(tmp_path, {traintracks(): sender, files: ScriptedSender()}) as (_, ask):
        status, found = await ask(b"POST", b"/v1/upstreams/traintracks/test")
        assert status == 200
        assert [(trial["product"], trial["verdict"]) for trial in found["trials"]] == [
            (PRODUCT, "delivered"),
            ("other", "blocked"),
        ]
        _, found = await ask(b"POST", b"/v1/upstreams/file/test")
        assert [trial["verdict"] for trial in found["trials"]] == ["delivered"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        (b"POST", b"/v1/upstreams/nobody/pause", [], 404),
        (b"POST", b"/v1/upstreams/nobody/test", [], 404),
        (b"POST", b"/v1/upstreams/nobody/forget", [], 404),
        (b"POST", b"/v1/upstreams/samsara/forget", [], 409),
        (b"POST", b"/v1/upstreams/samsara/burn", [], 404),
        (b"POST", b"/v1/upstreams/pause", [], 404),
        (b"GET", b"/v1/upstreams/samsara/pause", [], 405),
        (b"POST", b"/v1/upstreams/samsara/pause", [b"Origin: http://localhost:3000"], 403),
    ],
)
async def test_what_cannot_be_done_is_refused(tmp_path, autojump_clock, method, path, headers, status):
    async with desk(tmp_path, {samsara(): ScriptedSender()}) as (here, ask):
        answered, document = await ask(method, path, *headers)
        assert (answered, document["status"]) == (status, "ERROR")
        assert not here.forwarder.breaker("samsara").paused


async def test_a_spool_that_cannot_be_written_or_read_answers_503(tmp_path, autojump_clock, monkeypatch):
    async with desk(tmp_path, {samsara(): ScriptedSender()}) as (here, ask):

        def fail(_connection):
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(upstreams, "overview", fail)
        assert (await ask(b"GET", b"/v1/upstreams"))[0] == 503
        monkeypatch.setattr(upstreams.steering, "set_paused", lambda *_, **__: fail(None))
        assert (await ask(b"POST", b"/v1/upstreams/samsara/pause"))[0] == 503
        assert not here.forwarder.breaker("samsara").paused
