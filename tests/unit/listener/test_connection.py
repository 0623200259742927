"""A connection over a memory stream under a mock clock: order, time-outs, farewells."""

from __future__ import annotations

import contextlib

import pytest
import trio
from fakes.site import HOST, Broken, Echo, Waiting, make_site, replies
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from collector.core.http import Answer
from collector.core.limits import ANSWER_TIMEOUT, ANSWERS_BYTES, SWEEP_INTERVAL, ConnectionLimits
from collector.listener.capacity import Capacity
from collector.listener.connection import FRESH_SECONDS
from collector.listener.routes import Peer
from collector.listener.seats import Seats
from collector.listener.serve import Server

PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"
WAIT = b"POST /waiting HTTP/1.1\r\n" + HOST + b"\r\n"
CLOSING = b"POST /echo HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Content-Length: 3\r\n\r\nbye"


@contextlib.asynccontextmanager
async def connected(site=None, capacity=None):
    """The client's end of a connection, and the server."""
    server = Server([], site or make_site(), capacity)
    client, stream = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        server.take(stream, Peer("tcp"))
        await wait_all_tasks_blocked()
        yield client, server
        nursery.cancel_scope.cancel()


async def until_end(client) -> bytes:
    received = b""
    while data := await client.receive_some():
        received += data
    return received


async def test_requests_are_answered_on_one_connection(autojump_clock):
    async with connected() as (client, server):
        for _ in range(3):
            await client.send_all(PLAIN)
            (reply,) = replies(await client.receive_some())
            assert (reply.status, reply.body) == (200, b"plain")
            assert reply.headers == {"content-type": "text/plain", "content-length": "5"}
        assert server.site.tally.answers == {200: 3}
        assert (server.site.tally.connections, server.site.tally.open) == (1, 1)


async def test_pipelined_requests_are_all_begun_and_answered_in_one_send(autojump_clock):
    waiting = Waiting()
    async with connected(make_site(waiting=waiting)) as (client, _):
        await client.send_all(PLAIN + WAIT + WAIT + PLAIN)
        await wait_all_tasks_blocked()
        assert waiting.begun == 2
        waiting.release()
        assert [reply.status for reply in replies(await client.receive_some())] == [200, 202, 202, 200]


async def test_it_closes_when_asked_to(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(CLOSING)
        (reply,) = replies(await until_end(client))
        assert (reply.body, reply.headers["connection"]) == (b"bye", "close")
        assert trio.current_time() == 0


async def test_http_1_0_is_told_that_its_connection_is_kept(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        (reply,) = replies(await client.receive_some())
        assert reply.headers["connection"] == "keep-alive"


async def test_head_gets_the_length_and_no_body(autojump_clock):
    class Long(Echo):
        def begin(self, request):
            return Answer(200, b"long")

    async with connected(make_site(echo=Long())) as (client, _):
        await client.send_all(b"HEAD /echo HTTP/1.1\r\n" + HOST + b"\r\n" + PLAIN)
        head, full = replies(await client.receive_some(), methods="HP")
        assert head.headers == full.headers
        assert full.body == b"long"


async def test_a_client_that_sends_its_last_request_and_half_closes_is_answered(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(PLAIN)
        await client.send_eof()
        (reply,) = replies(await until_end(client))
        assert reply.status == 200


async def test_continue_is_sent_when_the_body_is_awaited(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(
            PLAIN + b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        plain, interim = replies(await client.receive_some() + await client.receive_some())
        assert (plain.status, interim.status) == (200, 100)
        await client.send_all(b"ok")
        (reply,) = replies(await client.receive_some())
        assert reply.body == b"ok"


async def test_a_refusal_is_sent_instead_of_continue(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(
            b"POST /nothing HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        (reply,) = replies(await until_end(client))
        assert (reply.status, reply.headers["connection"]) == (404, "close")


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        pytest.param(b"", 75, id="nothing"),
        pytest.param(PLAIN, 75, id="a whole request"),
        pytest.param(b"\r\n", 75, id="an empty line"),
    ],
)
async def test_an_idle_connection_is_closed(sent, seconds, autojump_clock):
    async with connected() as (client, _):
        if sent:
            await client.send_all(sent)
        received = await until_end(client)
        assert received.startswith(b"HTTP/1.1 200") == (sent == PLAIN)
        assert seconds <= trio.current_time() <= seconds + 1


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        pytest.param(b"P", 10, id="the first byte"),
        pytest.param(b"POST /echo HTTP/1.1\r\nHost: local", 10, id="half a head"),
        pytest.param(PLAIN[:-1], 60, id="all but the last byte"),
        pytest.param(PLAIN + PLAIN[:-1], 60, id="the same behind another request"),
    ],
)
async def test_a_request_that_does_not_end_gets_408(sent, seconds, autojump_clock):
    async with connected() as (client, _):
        await client.send_all(sent)
        reply = replies(await until_end(client))[-1]
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        # The client has not closed its side, so the connection also lingers.
        assert seconds <= trio.current_time() <= seconds + 1 + 2


async def test_each_request_has_its_own_time(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(PLAIN[:-1])
        await trio.sleep(30)
        await client.send_all(PLAIN[-1:] + PLAIN[:-1])
        done, late = replies(await until_end(client))
        assert (done.status, late.status) == (200, 408)
        assert 30 + 60 <= trio.current_time() <= 30 + 60 + 1 + 2


async def test_a_request_that_comes_as_the_connection_is_closed_for_idling_is_served(autojump_clock):
    waiting = Waiting()
    async with connected(make_site(waiting=waiting)) as (client, server):
        (connection,) = server._connections
        await client.send_all(WAIT)  # wakes the connection's task, which has not run yet
        connection.expire()
        await wait_all_tasks_blocked()
        assert waiting.begun == 1
        waiting.release()
        (reply,) = replies(await client.receive_some())
        assert reply.status == 202
        await client.send_all(PLAIN)
        (reply,) = replies(await client.receive_some())
        assert reply.status == 200


async def test_a_request_that_trickles_in_has_no_more_time_than_one_that_stalls(autojump_clock):
    async def trickle():
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in PLAIN * 10:
                await client.send_all(bytes([byte]))
                await trio.sleep(1)

    async with connected() as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        (reply,) = replies(await until_end(client))
        assert reply.status == 408
        assert 10 <= trio.current_time() <= 14
        nursery.cancel_scope.cancel()


async def test_an_answer_that_takes_too_long_becomes_503(autojump_clock):
    async with connected(make_site(waiting=Waiting())) as (client, server):
        await client.send_all(PLAIN + WAIT + PLAIN)
        done, stalled = replies(await until_end(client))
        assert (done.status, stalled.status) == (200, 503)
        assert stalled.headers["retry-after"] == "5"
        assert stalled.headers["connection"] == "close"
        assert 30 <= trio.current_time() <= 31 + 2
        assert server.site.tally.answers == {200: 1, 503: 1}


async def test_a_client_that_does_not_read_is_dropped(autojump_clock):
    async def never(_data):
        await trio.sleep_forever()

    async with connected() as (client, server):
        (connection,) = server._connections
        connection._stream.send_stream.send_all = never
        await client.send_all(PLAIN)
        assert await until_end(client) == b""
        assert 60 <= trio.current_time() <= 61


async def test_a_refused_client_may_go_on_sending_for_a_while_and_reads_the_answer(autojump_clock):
    async with connected() as (client, _):
        await client.send_all(b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 900000\r\n\r\n")
        (reply,) = replies(await client.receive_some())
        assert reply.status == 404
        assert await client.receive_some() == b""  # the other side sends nothing more
        for _ in range(9):
            await client.send_all(b"x" * 100_000)
        await trio.sleep(1.9)
        await client.send_all(b"x")
        await trio.sleep(0.2)
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")


async def test_it_does_not_swallow_more_than_a_bound(autojump_clock):
    async with connected(make_site(limits=ConnectionLimits(linger_bytes=1000))) as (client, _):
        await client.send_all(b"nonsense\r\n\r\n")
        await client.send_all(b"x" * 1001)
        (reply,) = replies(await until_end(client))
        assert reply.status == 400
        await wait_all_tasks_blocked()
        assert trio.current_time() == 0
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")


async def test_a_bug_in_an_answer_is_500_and_the_connection_stays(autojump_clock):
    reports = []
    async with connected(make_site(broken=Broken("answer"), reports=reports)) as (client, _):
        await client.send_all(b"POST /broken HTTP/1.1\r\n" + HOST + b"\r\n" + PLAIN)
        assert [reply.status for reply in replies(await client.receive_some())] == [500, 200]
        assert reports == [("an answer failed", "RuntimeError('a bug in answer')")]


async def test_a_large_body_waits_for_room_and_is_then_read(autojump_clock):
    capacity = Capacity(body_bytes=100_000)
    async with connected(capacity=capacity) as (client, _):
        await capacity.hold(50_000)
        head = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 80000\r\n\r\n"
        await client.send_all(head + b"x" * 60_000)
        await wait_all_tasks_blocked()
        assert capacity.held_bytes == 50_000
        await trio.sleep(20)
        capacity.release(50_000)
        await wait_all_tasks_blocked()
        assert capacity.held_bytes == 80_000
        await client.send_all(b"x" * 20_000)
        (reply,) = replies(await client.receive_some())
        assert len(reply.body) == 80_000
        assert capacity.held_bytes == 0


async def test_a_body_that_finds_no_room_in_time_gets_503(autojump_clock):
    capacity = Capacity(body_bytes=100_000)
    async with connected(capacity=capacity) as (client, _):
        await capacity.hold(50_000)
        await client.send_all(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 80000\r\n\r\nx")
        (reply,) = replies(await until_end(client))
        assert reply.status == 503
        assert b"room" in reply.body
        assert ANSWER_TIMEOUT <= trio.current_time() <= ANSWER_TIMEOUT + SWEEP_INTERVAL
    assert capacity.held_bytes == 50_000


async def test_room_is_given_back_when_the_client_vanishes(autojump_clock):
    capacity = Capacity()
    async with connected(capacity=capacity) as (client, _):
        await client.send_all(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 80000\r\n\r\nx")
        await wait_all_tasks_blocked()
        assert capacity.held_bytes == 80_000
        await client.aclose()
        await wait_all_tasks_blocked()
        assert (capacity.held_bytes, capacity.seats.taken) == (0, 0)


# Stopping.


async def test_a_stop_closes_idle_connections_at_once(autojump_clock):
    async with connected() as (client, server):
        await client.send_all(PLAIN)
        await client.receive_some()
        server.stop(trio.current_time() + 10)
        assert await until_end(client) == b""
        assert trio.current_time() == 0


async def test_a_stop_waits_a_moment_for_a_client_that_has_just_come(autojump_clock):
    async with connected() as (client, server):
        server.stop(trio.current_time() + 10)
        await trio.sleep(FRESH_SECONDS / 2)
        await client.send_all(PLAIN)
        (reply,) = replies(await until_end(client))
        assert (reply.status, reply.headers["connection"]) == (200, "close")


async def test_a_client_that_has_just_come_and_says_nothing_does_not_hold_up_a_stop(autojump_clock):
    async with connected() as (client, server):
        server.stop(trio.current_time() + 10)
        assert await until_end(client) == b""
        assert trio.current_time() < FRESH_SECONDS + 2 * SWEEP_INTERVAL


async def test_a_stop_lets_begun_requests_be_answered_and_says_that_it_closes(autojump_clock):
    waiting = Waiting()
    async with connected(make_site(waiting=waiting)) as (client, server):
        await client.send_all(WAIT + WAIT)
        await wait_all_tasks_blocked()
        server.stop(trio.current_time() + 10)
        await trio.sleep(5)
        waiting.release()
        first, second = replies(await until_end(client))
        assert first.headers == {"content-length": "0"}
        assert second.headers == {"content-length": "0", "connection": "close"}


async def test_a_stop_closes_a_connection_that_is_still_sending_its_answer(autojump_clock):
    async def slowly(data):
        await trio.sleep(3)
        await send(data)

    async with connected() as (client, server):
        (connection,) = server._connections
        send = connection._stream.send_stream.send_all
        connection._stream.send_stream.send_all = slowly
        await client.send_all(PLAIN)
        await trio.sleep(1)
        server.stop(trio.current_time() + 10)
        assert replies(await until_end(client))[0].status == 200
        assert trio.current_time() == 3


async def test_a_stop_lets_a_request_of_which_the_first_byte_has_come_be_served(autojump_clock):
    waiting = Waiting()
    async with connected(make_site(waiting=waiting)) as (client, server):
        await client.send_all(WAIT + PLAIN[:1])
        await wait_all_tasks_blocked()
        server.stop(trio.current_time() + 10)
        waiting.release()
        (first,) = replies(await client.receive_some())
        assert "connection" not in first.headers
        await client.send_all(PLAIN[1:])
        (second,) = replies(await until_end(client))
        assert (second.body, second.headers["connection"]) == (b"plain", "close")


async def test_at_the_deadline_those_who_wait_are_told(autojump_clock):
    waiting = Waiting()
    server = Server([], make_site(waiting=waiting))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        clients = []
        for sent in (WAIT, PLAIN[:20]):
            client, stream = memory_stream_pair()
            server.take(stream, Peer("tcp"))
            await client.send_all(sent)
            clients.append(client)
        await wait_all_tasks_blocked()
        server.stop(5)
        assert [replies(await until_end(client))[0].status for client in clients] == [503, 408]
    assert trio.current_time() <= 5 + 0.5
    assert waiting.answered == 0


async def test_an_earlier_deadline_may_be_set_while_stopping(autojump_clock):
    server = Server([], make_site(waiting=Waiting(), limits=ConnectionLimits(answer_timeout=1000)))
    client, stream = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        server.take(stream, Peer("tcp"))
        await client.send_all(WAIT)
        await wait_all_tasks_blocked()
        server.stop()
        await trio.sleep(100)
        server.stop(101)
        server.stop(200)
        nursery.start_soon(until_end, client)
    assert 101 <= trio.current_time() <= 101.5


async def test_run_returns_when_all_is_answered(autojump_clock):
    server = Server([], make_site())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        server.stop()
    assert trio.current_time() == 0


async def test_a_cancelled_server_drops_everything_at_once(autojump_clock):
    waiting = Waiting()
    async with connected(make_site(waiting=waiting)) as (client, server):
        await client.send_all(WAIT)
        await wait_all_tasks_blocked()
    assert await until_end(client) == b""
    assert server.site.tally.open == 0


async def test_while_no_seat_is_free_idle_connections_close_sooner(autojump_clock):
    async with connected(capacity=Capacity(Seats(total=1))) as (client, _):
        await client.send_all(PLAIN)
        await client.receive_some()
        assert await until_end(client) == b""
        assert 5 <= trio.current_time() <= 6


async def test_a_fault_in_a_connection_ends_that_connection_only(autojump_clock):
    class Odd(Echo):
        def begin(self, request):
            return Answer(200, headers=(("X", "broken\r\nout"),))

    reports = []
    async with connected(make_site(echo=Odd(), reports=reports)) as (client, server):
        await client.send_all(PLAIN)
        assert await until_end(client) == b""
        await wait_all_tasks_blocked()
        assert [what for what, _ in reports] == ["a connection failed"]
        again, stream = memory_stream_pair()
        server.site.routes = make_site().routes
        server.take(stream, Peer("tcp"))
        await again.send_all(CLOSING)
        assert replies(await until_end(again))[0].status == 200


async def test_pipelined_compressed_requests_are_begun_one_at_a_time_and_others_get_their_turn(
    autojump_clock,
):
    order = []

    class Noting(Echo):
        def begin(self, request):
            order.append(request.body.decode())
            return super().begin(request)

    packed = b"POST /echo HTTP/1.1\r\nContent-Encoding: gzip\r\n" + HOST + b"Content-Length: 2\r\n\r\n"
    last = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\np4"
    server = Server([], make_site(echo=Noting()))
    streams = [memory_stream_pair() for _ in range(2)]
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        (first, first_end), (second, second_end) = streams
        server.take(first_end, Peer("tcp"))
        server.take(second_end, Peer("tcp"))
        await wait_all_tasks_blocked()
        await first.send_all(packed + b"p1" + packed + b"p2" + packed + b"p3" + last)
        await second.send_all(PLAIN)
        answered = replies(await first.receive_some())
        await second.receive_some()
        nursery.cancel_scope.cancel()
    assert [reply.body for reply in answered] == [b"p1", b"p2", b"p3", b"p4"]
    assert [name for name in order if name != "plain"] == ["p1", "p2", "p3", "p4"]
    assert order.index("plain") < order.index("p4")


async def test_large_answers_of_a_pipeline_leave_as_they_come(autojump_clock):
    class Long(Echo):
        def begin(self, request):
            return Answer(200, b"x" * ANSWERS_BYTES)

    async with connected(make_site(echo=Long())) as (client, _):
        await client.send_all(PLAIN * 3)
        received = await client.receive_some()
        assert len(replies(received)) == 1
        while len(replies(received)) < 3:
            received += await client.receive_some()
