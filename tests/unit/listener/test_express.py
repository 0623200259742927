"""The usual request on a real socket, served from callbacks, and how the task takes over from them."""

from __future__ import annotations

import contextlib

import pytest
import trio
from fakes.site import HOST, Echo, make_site, replies
from trio.testing import wait_all_tasks_blocked

from collector.core.http import Answer
from collector.core.limits import ConnectionLimits
from collector.listener.bind import bind
from collector.listener.capacity import Capacity
from collector.listener.readiness import AVAILABLE
from collector.listener.routes import Prompt
from collector.listener.seats import Seats
from collector.listener.serve import Server

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="without epoll connections wait in trio's way")

PROMPT = b"POST /prompt HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n[]"
PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"


class Held(Prompt):
    """An answer that is there when the test says so."""

    def __init__(self, *, willing: bool) -> None:
        self.willing = willing
        self.told = None
        self.was_awaited = False
        self.there = trio.Event()

    async def answer(self):
        self.was_awaited = True
        await self.there.wait()
        return Answer(202)

    def then(self, tell):
        if self.willing:
            self.told = tell
        return self.willing

    def settle(self, answer=Answer(202)) -> None:  # noqa: B008 (frozen)
        self.there.set()
        if self.told is not None:
            self.told(answer)


class Holding:
    """Begins requests and keeps what they wait for."""

    def __init__(self, *, willing: bool = True) -> None:
        self.willing = willing
        self.held = []
        self.more = trio.Event()

    def admit(self, head):
        return None

    def begin(self, request):
        self.held.append(Held(willing=self.willing))
        self.more.set()
        return self.held[-1]


@contextlib.asynccontextmanager
async def connected(tmp_path, holding=None, *, limits=None, capacity=None, **endpoints):
    holding = holding or Holding()
    (bound,) = bind(f"unix:{tmp_path}/s")
    server = Server([bound], make_site(prompt=holding, limits=limits, **endpoints), capacity)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with await trio.open_unix_socket(f"{tmp_path}/s") as client:
                yield client, holding, server
            server.stop(trio.current_time() + 10)
    assert server.site.tally.open == 0


async def begun(holding, count: int = 1) -> None:
    while len(holding.held) < count:
        holding.more = trio.Event()
        await holding.more.wait()


async def until_end(client) -> bytes:
    received = b""
    while data := await client.receive_some():
        received += data
    return received


async def statuses(client) -> list[int]:
    return [reply.status for reply in replies(await client.receive_some())]


async def test_a_request_is_answered_when_what_it_waits_for_is_there_and_no_task_waits(tmp_path):
    async with connected(tmp_path) as (client, holding, server):
        for number in range(3):
            await client.send_all(PROMPT)
            await begun(holding, number + 1)
            assert not holding.held[-1].was_awaited
            holding.held[-1].settle()
            assert await statuses(client) == [202]
        assert server.site.tally.answers == {202: 3}


async def test_what_cannot_tell_is_awaited(tmp_path):
    async with connected(tmp_path, Holding(willing=False)) as (client, holding, _):
        await client.send_all(PROMPT)
        await begun(holding)
        holding.held[0].settle()
        assert await statuses(client) == [202]
        assert holding.held[0].was_awaited


async def test_a_request_that_comes_while_another_waits_is_answered_after_it(tmp_path):
    async with connected(tmp_path) as (client, holding, _):
        await client.send_all(PROMPT)
        await begun(holding)
        await client.send_all(PLAIN)
        await wait_all_tasks_blocked()
        holding.held[0].settle()
        received = b""
        while b"plain" not in received.lower():
            received += await client.receive_some()
        assert [reply.status for reply in replies(received)] == [202, 200]


async def test_a_client_that_half_closes_while_its_request_waits_is_answered_before_the_end(tmp_path):
    async with connected(tmp_path) as (client, holding, _):
        await client.send_all(PROMPT)
        await client.send_eof()
        await begun(holding)
        holding.held[0].settle()
        assert [reply.status for reply in replies(await until_end(client))] == [202]


async def test_an_answer_that_comes_after_its_client_left_is_no_fault(tmp_path):
    reports = []
    async with connected(tmp_path, reports=reports) as (client, holding, _):
        await client.send_all(PROMPT)
        await begun(holding)
        await client.aclose()
        holding.held[0].settle()
    assert reports == []


async def test_an_answer_larger_than_the_kernel_takes_at_once_arrives_whole(tmp_path):
    large = Answer(200, b"x" * 5_000_000)
    async with connected(tmp_path) as (client, holding, _):
        for number in range(2):
            await client.send_all(PROMPT)
            await begun(holding, number + 1)
            holding.held[-1].settle(large)
            received = b""
            while not received.endswith(b"x") or len(received) < len(large.body):
                received += await client.receive_some()
            (reply,) = replies(received)
            assert reply.body == large.body


async def test_an_answer_that_cannot_be_put_into_words_costs_one_connection(tmp_path):
    reports = []
    async with connected(tmp_path, reports=reports) as (client, holding, _):
        await client.send_all(PROMPT)
        await begun(holding)
        holding.held[0].settle(Answer(202, headers=(("Bad", "a\r\nb"),)))
        assert await until_end(client) == b""
    assert [what for what, _ in reports] == ["a connection failed"]


async def test_an_answer_may_close_the_connection(tmp_path):
    async with connected(tmp_path) as (client, holding, _):
        await client.send_all(PROMPT)
        await begun(holding)
        holding.held[0].settle(Answer(503, close=True))
        (reply,) = replies(await until_end(client))
        assert (reply.status, reply.headers["connection"]) == (503, "close")


async def test_a_stop_lets_what_waits_be_answered_and_says_that_it_was_the_last(tmp_path):
    async with connected(tmp_path) as (client, holding, server):
        await client.send_all(PROMPT)
        await begun(holding)
        server.stop()
        await wait_all_tasks_blocked()
        holding.held[0].settle()
        (reply,) = replies(await until_end(client))
        assert (reply.status, reply.headers["connection"]) == (202, "close")


async def test_what_waits_too_long_gets_503_and_what_is_told_then_is_not_heard(tmp_path):
    limits = ConnectionLimits(answer_timeout=0.01)
    async with connected(tmp_path, limits=limits) as (client, holding, _):
        await client.send_all(PROMPT)
        (reply,) = replies(await until_end(client))
        assert (reply.status, reply.headers["connection"]) == (503, "close")
        holding.held[0].settle()


async def test_a_request_in_pieces_and_two_at_once_go_the_long_way(tmp_path):
    echo = Echo()
    async with connected(tmp_path, echo=echo) as (client, _, _server):
        await client.send_all(PLAIN[:20])
        await wait_all_tasks_blocked()
        await client.send_all(PLAIN[20:])
        assert await statuses(client) == [200]
        await client.send_all(PLAIN + PLAIN)
        assert await statuses(client) == [200, 200]
        await client.send_all(PLAIN)
        assert await statuses(client) == [200]
    assert len(echo.requests) == 4


async def test_more_than_one_read_holds_is_read_to_its_end(tmp_path):
    body = b"y" * 200_000
    async with connected(tmp_path) as (client, _, _server):
        request = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        for _ in range(2):
            await client.send_all(request)
            received = b""
            while len(received) < len(body):
                received += await client.receive_some()
            (reply,) = replies(received)
            assert reply.body == body


async def test_an_idle_connection_is_closed_in_time(tmp_path):
    async with connected(tmp_path, limits=ConnectionLimits(idle_timeout=0.01)) as (client, _, _server):
        await client.send_all(PLAIN)
        assert b"plain" in await until_end(client)


async def test_who_was_answered_is_not_taken_for_one_who_brings_nothing(tmp_path):
    async with connected(tmp_path) as (client, holding, server):
        await wait_all_tasks_blocked()
        (connection,) = server._connections
        much_later = trio.current_time() + 1_000_000
        assert connection.idled(much_later) > 0
        await client.send_all(PROMPT)
        await begun(holding)
        assert connection.idled(much_later) == 0
        holding.held[0].settle()
        assert await statuses(client) == [202]
        assert connection.idled(much_later) == 0


async def test_who_is_behind_others_of_its_peer_is_not_read_until_their_turn_is_over(tmp_path):
    capacity = Capacity(Seats(total=10, per_peer=1))
    async with connected(tmp_path, capacity=capacity) as (client, holding, server):
        await client.send_all(PROMPT)
        await begun(holding)
        async with await trio.open_unix_socket(f"{tmp_path}/s") as second:
            await second.send_all(PROMPT)
            while server.site.tally.open < 2:
                await trio.lowlevel.checkpoint()
            holding.held[0].settle()
            assert await statuses(client) == [202]
            assert len(holding.held) == 1
            await client.aclose()
            await begun(holding, 2)
            holding.held[1].settle()
            assert await statuses(second) == [202]


async def test_many_clients_are_served_side_by_side(tmp_path):
    (bound,) = bind(f"unix:{tmp_path}/s")
    server = Server([bound], make_site())

    async def talk() -> None:
        async with await trio.open_unix_socket(f"{tmp_path}/s") as client:
            for _ in range(10):
                await client.send_all(PLAIN)
                assert await statuses(client) == [200]

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with trio.open_nursery() as clients:
                for _ in range(100):
                    clients.start_soon(talk)
            nursery.cancel_scope.cancel()
    assert server.site.tally.answers == {200: 1000}
    assert server.site.tally.open == 0
