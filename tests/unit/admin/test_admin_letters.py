"""The admin listener's dead letters: pages, replay and purge over HTTP."""

from __future__ import annotations

import json
import sqlite3

import pytest
from fakes.disks import let_fail
from fakes.letters import bury
from fakes.site import HOST, OpenGate
from fakes.spools import accept, change, chunk, database_of, ledger, spool_in

from collector.admin import letters
from collector.core.http import Answer
from collector.listener.reader import Reader
from collector.listener.routes import Peer, Site


@pytest.fixture
async def spool(tmp_path):
    async with spool_in(tmp_path) as opened:
        await accept(opened, chunk(4))
        await bury(opened, 3)
        yield opened


async def ask(spool, method, target, body=b"", *headers):
    reader = Reader(Site(letters.routes(spool), OpenGate()), Peer("unix", uid=0))
    fields = b"".join(header + b"\r\n" for header in headers)
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    reader.feed(b"%b %b HTTP/1.1\r\n" % (method, target) + HOST + fields + length + body)
    ((outcome, _, _),) = reader.turns
    answer = outcome if isinstance(outcome, Answer) else await outcome.answer()
    return answer.status, json.loads(answer.body)


async def get(spool, query=b""):
    return await ask(spool, b"GET", b"/v1/dead-letters" + query)


async def post(spool, what, body, *headers):
    return await ask(spool, b"POST", b"/v1/dead-letters/" + what, body, *headers)


async def test_a_page_is_what_was_asked_for(spool):
    status, page = await get(spool)
    assert status == 200
    assert [letter["id"] for letter in page["letters"]] == [1, 2, 3]
    assert page["next"] is None
    assert "event" not in page["letters"][0]
    _, page = await get(spool, b"?lane=main%2Fsamsara&after=1&limit=1&events=1")
    assert ([letter["id"] for letter in page["letters"]], page["next"]) == ([2], 2)
    assert page["letters"][0]["event"]["eventName"] == "sold"
    _, page = await get(spool, b"?id=3")
    assert [letter["id"] for letter in page["letters"]] == [3]


@pytest.mark.parametrize(
    "query",
    [
        b"?colour=blue",
        b"?limit=0",
        b"?limit=1001",
        b"?after=x",
        b"?after=99999999999999999999",
        b"?id=99999999999999999999",
        b"?id=1&lane=a",
        b"?lane",
        b"?lane=%ff%fe&limit=",
    ],
)
async def test_a_query_that_cannot_be_understood_is_refused(spool, query):
    assert (await get(spool, query))[0] == 400


async def test_an_unknown_lane_is_not_found(spool):
    assert (await get(spool, b"?lane=x"))[0] == 404
    assert (await post(spool, b"replay", b'{"lane":"x"}'))[0] == 404
    assert (await post(spool, b"purge", b'{"lane":"x"}'))[0] == 404


async def test_letters_are_replayed(spool):
    assert await post(spool, b"replay", b'{"ids":[1,3]}') == (
        200,
        {"replayed": 2, "damaged": 0, "away": 0},
    )
    assert await ledger(spool) == {"accepted": 4, "pending": 3, "dead": 1}


async def test_letters_are_purged(spool):
    assert await post(spool, b"purge", b'{"all":true}') == (200, {"purged": 3})
    assert await ledger(spool) == {"accepted": 4, "pending": 1, "dead": 3}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"ids":[1],"all":true}',
        b'{"ids":["1"]}',
        b'{"ids":[9223372036854775808]}',
        b'{"all":true,"colour":"blue"}',
        b"\xff",
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("what", [b"replay", b"purge"])
async def test_a_body_that_cannot_be_understood_changes_nothing(spool, what, body):
    assert (await post(spool, what, body))[0] == 400
    assert await ledger(spool) == {"accepted": 4, "pending": 1, "dead": 3}


@pytest.mark.parametrize("what", [b"replay", b"purge"])
async def test_pages_of_the_web_may_not_touch_them(spool, what):
    assert (await post(spool, what, b'{"all":true}', b"Origin: http://localhost:9010"))[0] == 403
    assert (await ask(spool, b"GET", b"/v1/dead-letters", b"", b"Origin: null"))[0] == 403
    assert await ledger(spool) == {"accepted": 4, "pending": 1, "dead": 3}


async def test_a_disk_that_refuses_is_told(spool):
    database = database_of(spool)
    real = database.connection
    let_fail(database, "COMMIT")
    assert (await post(spool, b"purge", b'{"all":true}'))[0] == 503
    database.connection = real
    assert len((await get(spool))[1]["letters"]) == 3


async def test_what_the_disk_does_not_let_read_is_503(spool, monkeypatch):
    def fail(*_, **__):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(letters.letters, "page", fail)
    status, answer = await get(spool)
    assert status == 503
    assert "disk I/O error" in answer["message"]


async def test_a_ledger_that_does_not_count_them_is_told(spool):
    await change(spool, "UPDATE counts SET dead = 1, pending = 3 WHERE lane > 0")
    status, error = await post(spool, b"replay", b'{"all":true}')
    assert status == 409
    assert "counts fewer than 3 dead" in error["message"]
