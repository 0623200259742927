"""The status page's answers, without a browser."""

from __future__ import annotations

import json

import pytest
from fakes.letters import bury
from fakes.spools import accept, chunk, spool_in

from collector.admin.links import Links
from collector.admin.page import Page
from collector.core.days import day_name
from collector.core.http import Answer
from collector.listener.routes import Peer, Request

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Breaker:
    reason = ""


class FakeForwarder:
    def breaker(self, name: str) -> Breaker:
        return Breaker()


def page_of(spool, *origins: str) -> Page:
    secrets = iter(("link-1", "key-1", "link-2", "key-2"))
    return Page(
        spool=spool,
        forwarder=FakeForwarder(),
        links=Links(lambda: 0.0, secrets.__next__),
        origins=lambda: list(origins),
        now_ms=lambda: 1_800_000_100_000,
        uptime=lambda: 5.0,
    )


async def ask(page, path="/", query="", *, body=None, headers=FORM) -> Answer:
    method = "GET" if body is None else "POST"
    endpoint = page.routes()[path][method]
    request = Request(method, path, query, "1.1", dict(headers), Peer("tcp"), body or b"")
    assert endpoint.admit(request) is None
    answer = endpoint.begin(request)
    return answer if isinstance(answer, Answer) else await answer.answer()


def location(answer):
    assert answer.status == 303
    return dict(answer.headers)["Location"]


async def test_a_link_is_made_for_the_first_port(tmp_path):
    async with spool_in(tmp_path) as spool:
        page = page_of(spool, "http://127.0.0.1:9010", "http://[::1]:9010")
        made = json.loads((await ask(page, "/v1/open", body=b"")).body)
        assert made == {"url": "http://127.0.0.1:9010/?link=link-1", "expires_in": 300}
        assert location(await ask(page, "/", "link=link-1")) == "/?key=key-1"
        assert (await ask(page_of(spool), "/v1/open", body=b"")).status == 409


async def test_it_says_nothing_that_a_browser_could_run_or_keep(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        await bury(spool)
        answer = await ask(page_of(spool), "/", "key=%22%3E%3Cscript%3E")
        assert answer.status == 200
        assert b'"><script>' not in answer.body
        headers = dict(answer.headers)
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert b" style=" not in answer.body
        assert b"http" not in answer.body.replace(b"http 400", b"")


async def test_a_letter_is_replayed_and_the_page_says_so(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        await bury(spool)
        page = page_of(spool)
        asked = await ask(page, "/replay", "key=k&id=1")
        assert b"Replay dead letter 1?" in asked.body
        back = location(await ask(page, "/replay", "key=k", body=b"id=1"))
        assert back == "/?key=k&replayed=1&kept=0"
        assert b"1 event waits to be sent once more." in (await ask(page, "/", back[2:])).body
        assert (await ask(page, "/replay", "key=k", body=b"id=1")).status == 303
        assert (await ask(page, "/replay", "id=1")).status == 404


@pytest.mark.parametrize(
    ("query", "body", "headers", "status"),
    [
        ("", None, FORM, 404),
        ("id=99999999999999999999999", None, FORM, 404),
        ("id=-1", None, FORM, 404),
        ("lane=nowhere", None, FORM, 404),
        ("", b"", FORM, 404),
        ("", b"lane=nowhere", FORM, 404),
        ("", b"id=1", {"content-type": "text/plain"}, 415),
        ("", b"\xff\xfe", FORM, 404),
    ],
)
async def test_what_cannot_be_replayed_is_told(tmp_path, query, body, headers, status):
    async with spool_in(tmp_path) as spool:
        assert (await ask(page_of(spool), "/replay", query, body=body, headers=headers)).status == status


async def test_a_day_is_shown_by_lane(tmp_path):
    async with spool_in(tmp_path) as spool:
        await accept(spool, chunk(2))
        ((day,),) = await spool.read(
            lambda connection: connection.execute("SELECT day FROM ledger").fetchall()
        )
        page = page_of(spool)
        shown = await ask(page, "/", f"day={day_name(day)}")
        assert b"main/samsara</th>" in shown.body
        assert b"No events were accepted on 2020-01-01" in (await ask(page, "/", "day=2020-01-01")).body
        assert (await ask(page, "/", "day=yesteryear")).status == 400
