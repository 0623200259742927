"""Watching events pass: who may, what is shown, and what one who reads slowly holds up."""

from __future__ import annotations

import gzip
import json
import os
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
from fakes.lanes import samsara, site
from fakes.sender import ScriptedSender, answer
from fakes.site import HOST, make_site
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from collector.admin import tail
from collector.admin.tail import TailEndpoint, Wanted, WatchedIntake, Watcher, seen_accepted
from collector.core.limits import ConnectionLimits
from collector.core.tap import Sighting, Tap
from collector.errors import SpoolUnavailable
from collector.listener.routes import Peer, Request
from collector.listener.serve import Server
from collector.spool.store import NewChunk

ME = Peer("unix", uid=os.geteuid())
EVENT = b'{"sourceId":"till-4","n":%d}'


def chunk(*events: bytes, product: str = "", encoding: str = "") -> NewChunk:
    body = b"[" + b",".join(events) + b"]"
    return NewChunk(
        dialect="traintracks" if product else "samsara",
        product=product,
        remote_address="",
        received_at=5,
        published_at=None,
        events=len(events),
        encoding=encoding,
        body=gzip.compress(body) if encoding else body,
        uid=1000,
    )


def accepted(*events: bytes, **given) -> Sighting:
    return seen_accepted(chunk(*events, **given), now_ms=7)


def delivered(*events: bytes, lane: str = "main/samsara", first: int = 0) -> Sighting:
    return Sighting("delivered", 9, "samsara", "", len(events), 10, lambda: events, lane, "5f" * 16, first)


class Watch:
    """What one watcher reads, a line at a time."""

    def __init__(self, parts) -> None:
        self._parts = parts
        self._lines = []

    async def next(self):
        while not self._lines:
            part = await anext(self._parts)
            self._lines = [json.loads(line) for line in part.splitlines() if line]
        return self._lines.pop(0)


@asynccontextmanager
async def watching(tap, **wanted):
    async with aclosing(Watcher(Wanted(**wanted)).parts(tap)) as parts:
        assert await anext(parts) == b"\n"
        yield Watch(parts)


async def test_what_passes_is_a_line_an_event(autojump_clock):
    tap = Tap()
    async with watching(tap) as watch:
        tap.tell(accepted(EVENT % 1, b'{\n"n": 2}'))
        tap.tell(delivered(EVENT % 1, first=41))
        event = {"sourceId": "till-4", "n": 1}
        assert await watch.next() == {
            "at": 7, "what": "accepted", "event": event, "dialect": "samsara", "uid": 1000,
        }  # fmt: skip
        assert (await watch.next())["event"] == {"n": 2}
        line = await watch.next()
        assert (line["lane"], line["position"], line["batch"]) == ("main/samsara", 41, "5f" * 16)
    assert tap.watchers == []


async def test_compressed_requests_are_shown_as_they_were_meant(autojump_clock):
    tap = Tap()
    async with watching(tap) as watch:
        tap.tell(accepted(EVENT % 1, encoding="gzip"))
        assert (await watch.next())["event"]["n"] == 1


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"what": "delivered"}, [3]),
        ({"what": "accepted"}, [1, 2]),
        ({"lane": "main/samsara"}, [3]),
        ({"lane": "other/samsara"}, []),
        ({"dialect": "traintracks"}, [2]),
        ({"product": "p"}, [2]),
        ({"match": '"n":2'}, [2]),
    ],
)
async def test_filters_leave_the_rest_out(autojump_clock, wanted, shown):
    tap = Tap()
    found = []
    async with watching(tap, **wanted) as watch:
        tap.tell(accepted(EVENT % 1))
        tap.tell(accepted(EVENT % 2, product="p"))
        tap.tell(delivered(EVENT % 3))
        with trio.move_on_after(1):
            while True:
                found.append((await watch.next())["event"]["n"])
    assert found == shown


async def test_one_who_reads_slowly_misses_events_and_is_told_how_many(autojump_clock, monkeypatch):
    monkeypatch.setattr(tail, "MAX_WAITING", 2)
    tap = Tap()
    async with watching(tap) as watch:
        for number in range(5):
            tap.tell(accepted(EVENT % number, EVENT % number))
        seen = [(await watch.next())["event"]["n"] for _ in range(4)]
        assert seen == [0, 0, 1, 1]
        assert await watch.next() == {"missed": 6}
        tap.tell(accepted(EVENT % 7))
        assert (await watch.next())["event"]["n"] == 7


async def test_what_waits_is_bounded_in_bytes_too(autojump_clock, monkeypatch):
    monkeypatch.setattr(tail, "MAX_WAITING_BYTES", 50)
    tap = Tap()
    async with watching(tap) as watch:
        tap.tell(accepted(EVENT % 1, EVENT % 2))  # too large alone, and yet shown
        tap.tell(accepted(EVENT % 3))
        assert [(await watch.next())["event"]["n"] for _ in range(2)] == [1, 2]
        assert await watch.next() == {"missed": 1}


async def test_what_was_read_makes_room(autojump_clock, monkeypatch):
    monkeypatch.setattr(tail, "MAX_WAITING_BYTES", 100)
    tap = Tap()
    async with watching(tap) as watch:
        for _ in range(3):
            tap.tell(accepted(EVENT % 1))
            tap.tell(accepted(EVENT % 2))
            assert [(await watch.next())["event"]["n"] for _ in range(2)] == [1, 2]


async def test_empty_lines_say_that_it_still_watches(autojump_clock):
    async with aclosing(Watcher(Wanted()).parts(Tap())) as parts:
        assert await anext(parts) == b"\n"
        began = trio.current_time()
        assert await anext(parts) == b"\n"
        assert trio.current_time() - began == tail.HEARTBEAT_SECONDS


class Refusing:
    """An intake whose disk refuses."""

    def submit(self, chunk):
        return self

    async def committed(self):
        raise SpoolUnavailable("the disk")


class Taking(Refusing):
    async def committed(self):
        await trio.lowlevel.checkpoint()


async def test_only_what_was_committed_is_shown(autojump_clock):
    tap = Tap()
    seen = []
    tap.watchers.append(seen.append)
    with pytest.raises(SpoolUnavailable):
        await WatchedIntake(Refusing(), tap, lambda: 7).submit(chunk(EVENT % 1)).committed()
    assert seen == []
    await WatchedIntake(Taking(), tap, lambda: 7).submit(chunk(EVENT % 1)).committed()
    assert [(sighting.what, sighting.count) for sighting in seen] == [("accepted", 1)]


async def test_while_nobody_watches_requests_pass_as_they_are():
    intake = Taking()
    assert WatchedIntake(intake, Tap(), lambda: 7).submit(chunk(EVENT % 1)) is intake


async def test_a_delivered_batch_is_shown_with_its_lane_and_positions(tmp_path, autojump_clock):
    async with site(tmp_path, {samsara(): ScriptedSender(answer(202), answer(202))}) as here:
        seen = []
        here.forwarder.tap.watchers.append(seen.append)
        await here.accept(3)
        await here.quiet()
        await here.accept(2)
        await here.quiet()
    assert [(sighting.what, sighting.first, sighting.count) for sighting in seen] == [
        ("delivered", 0, 3),
        ("delivered", 3, 2),
    ]
    assert [len(sighting.events()) for sighting in seen] == [3, 2]


def head(peer=ME, query: str = "", **headers: str) -> Request:
    return Request("GET", tail.PATH, query, "1.1", headers, peer)


@pytest.mark.parametrize(
    "request_", [head(Peer("tcp")), head(Peer("unix", uid=os.geteuid() + 1)), head(origin="http://localhost")]
)
def test_events_are_shown_to_the_owner_of_the_socket_alone(request_):
    refusal = TailEndpoint(Tap()).admit(request_)
    assert refusal is not None
    assert refusal.status == 403


def test_owner_and_root_may_watch():
    assert TailEndpoint(Tap()).admit(head()) is None
    assert TailEndpoint(Tap()).admit(head(Peer("unix", uid=0))) is None


def test_only_so_many_may_watch():
    refusal = TailEndpoint(Tap([print] * tail.MAX_WATCHERS)).admit(head())
    assert refusal is not None
    assert refusal.status == 503


@pytest.mark.parametrize("query", ["what=nonsense", "colour=red", "lane"])
def test_a_query_that_cannot_be_understood_is_400(query):
    assert TailEndpoint(Tap()).begin(head(query=query)).status == 400


ASK = b"GET /tail HTTP/1.1\r\n" + HOST + b"\r\n"


@asynccontextmanager
async def connected(tap, *, limits=None):
    """A client that watches over a connection, and the server."""
    served = make_site(limits=limits)
    served.routes = {"/tail": {"GET": TailEndpoint(tap)}}
    server = Server([], served)
    client, stream = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        server.take(stream, ME)
        await client.send_all(ASK)
        await wait_all_tasks_blocked()
        yield client, server
        nursery.cancel_scope.cancel()


async def test_over_a_connection_lines_come_as_events_pass(autojump_clock):
    tap = Tap()
    async with connected(tap) as (client, _):
        assert (await client.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        tap.tell(accepted(EVENT % 1))
        received = b""
        while b"till-4" not in received:
            received += await client.receive_some()
        await trio.sleep(1000)  # no time-out ends it
        assert len(tap.watchers) == 1
        await client.aclose()
        await wait_all_tasks_blocked()
        assert tap.watchers == []


async def test_a_stop_ends_it_at_once(autojump_clock):
    tap = Tap()
    async with connected(tap) as (client, server):
        server.stop(trio.current_time() + 60)
        received = b""
        while part := await client.receive_some():
            received += part
        assert received.endswith(b"\r\n\r\n\n")
        assert tap.watchers == []
        assert trio.current_time() == 0


async def test_one_who_reads_nothing_is_let_go(autojump_clock):
    tap = Tap()
    async with connected(tap, limits=ConnectionLimits(send_timeout=5)) as (client, server):

        async def stuck(_data):
            await trio.sleep_forever()

        (connection,) = server._connections
        connection._stream.send_all = stuck
        tap.tell(accepted(EVENT % 1))
        await trio.sleep(10)
        assert tap.watchers == []
        assert server.site.tally.open == 0
        await client.aclose()


async def test_head_gets_no_lines(autojump_clock):
    tap = Tap()
    served = make_site()
    served.routes = {"/tail": {"GET": TailEndpoint(tap)}}
    client, stream = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        server = Server([], served)
        await nursery.start(server.run)
        server.take(stream, ME)
        await client.send_all(ASK.replace(b"GET", b"HEAD"))
        received = b""
        while part := await client.receive_some():
            received += part
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert received.endswith(b"\r\n\r\n")
        nursery.cancel_scope.cancel()
