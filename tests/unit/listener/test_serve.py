"""Real sockets: accepting, being full, running out, and stopping without a lost request."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
import sys

import pytest
import trio
from fakes.site import PLAIN, WAIT, Echo, Waiting, connect, make_site, replies, serving
from trio.testing import wait_all_tasks_blocked

from collector.core.http import Answer
from collector.core.limits import MAX_BODY_BYTES
from collector.listener.bind import BoundSocket, adopt, bind
from collector.listener.capacity import Capacity
from collector.listener.seats import Seats
from collector.listener.serve import Server


async def ask(client, request=PLAIN):
    await client.send_all(request)
    return replies(await client.receive_some())


async def until_end(client) -> bytes:
    received = b""
    while data := await client.receive_some():
        received += data
    return received


@pytest.fixture
def unix(tmp_path):
    (bound,) = bind(f"unix:{tmp_path}/s.sock")
    yield bound
    bound.close()


@pytest.fixture
def tcp():
    (bound,) = bind("127.0.0.1:0")
    yield bound
    bound.close()


async def test_localhost_is_served_on_every_address_it_has():
    both = bind("localhost:0")
    async with serving(*both):
        for bound in both:
            async with await connect(bound) as client:
                assert (await ask(client))[0].body == b"plain"


async def test_tcp_clients_are_answered_without_delay(tcp):
    async with serving(tcp) as server, await connect(tcp) as client:
        await ask(client)
        (connection,) = server._connections
        assert connection._stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_unix_peer_is_named_by_the_kernel_and_a_tcp_peer_is_not(unix, tcp):
    echo = Echo()
    async with serving(unix, tcp, site=make_site(echo=echo)):
        for bound in (unix, tcp):
            async with await connect(bound) as client:
                await ask(client)
    local, remote = (request.peer for request in echo.requests)
    assert (local.kind, local.uid, local.gid, local.pid) == ("unix", os.getuid(), os.getgid(), os.getpid())
    assert (remote.kind, remote.uid, remote.pid) == ("tcp", None, None)


async def test_large_bodies_and_answers_go_through(unix):
    body = os.urandom(3_000_000)
    async with serving(unix), await connect(unix) as client, trio.open_nursery() as nursery:
        head = b"POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        nursery.start_soon(client.send_all, head + body)
        (reply,) = replies(await until_end(client))
        assert reply.body == body


async def test_a_client_that_sends_all_of_a_body_that_is_too_large_still_reads_413(tcp):
    def upload():
        client = http.client.HTTPConnection(*tcp.sock.getsockname(), timeout=20)
        with contextlib.closing(client):
            client.request("POST", "/echo", body=b"x" * (2 * MAX_BODY_BYTES))
            answer = client.getresponse()
            return answer.status, answer.read()

    async with serving(tcp):
        status, body = await trio.to_thread.run_sync(upload)
        assert (status, b"too large" in body) == (413, True), body


async def test_who_finds_no_seat_waits_for_one(unix):
    capacity = Capacity(Seats(total=2))
    first, second, third = [await connect(unix) for _ in range(3)]
    async with serving(unix, capacity=capacity), first, second, third:
        await ask(first)
        await ask(second)
        await third.send_all(PLAIN)
        await wait_all_tasks_blocked()
        assert capacity.seats.taken == 2
        await first.aclose()
        assert replies(await third.receive_some())[0].status == 200
    assert capacity.seats.taken == 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_running_out_of_descriptors_is_reported_once_and_survived(number, tmp_path, autojump_clock):
    class Exhausted(socket.socket):
        failures = 0

        def accept(self):
            if self.failures < 5:
                self.failures += 1
                raise OSError(number, os.strerror(number))
            return super().accept()

    sock = Exhausted(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    sock.settimeout(0)
    reports = []
    bound = BoundSocket(sock, "unix:s", "unix")
    async with serving(bound, site=make_site(reports=reports)), await connect(bound) as client:
        assert (await ask(client))[0].status == 200
    assert sock.failures == 5
    assert [what for what, _ in reports] == ["no connection can be accepted for now"]
    assert trio.current_time() == pytest.approx(0.5)


async def test_a_client_that_left_the_queue_is_no_error(tmp_path):
    class Aborted(socket.socket):
        failures = 0

        def accept(self):
            if not self.failures:
                self.failures = 1
                raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
            return super().accept()

    sock = Aborted(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    sock.settimeout(0)
    bound = BoundSocket(sock, "unix:s", "unix")
    async with serving(bound), await connect(bound) as client:
        assert (await ask(client))[0].status == 200


async def test_a_stop_answers_those_who_wait_in_the_queue(tmp_path):
    (bound,) = bind(f"unix:{tmp_path}/s")
    queued = [await connect(bound) for _ in range(20)]
    for client in queued:
        await client.send_all(PLAIN)
    silent = await connect(bound)
    server = Server([bound], make_site())
    with trio.fail_after(20):
        server.stop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            for client in queued:
                (reply,) = replies(await until_end(client))
                assert (reply.status, reply.headers["connection"]) == (200, "close")
                await client.aclose()
            assert await until_end(silent) == b""
    assert not (tmp_path / "s").exists()
    with pytest.raises(FileNotFoundError):
        await connect_path(tmp_path / "s")
    await silent.aclose()


async def connect_path(path):
    await trio.open_unix_socket(path)


async def test_a_stop_leaves_the_queue_of_an_inherited_socket_to_the_next_process(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        site = make_site()
        server = Server([adopt(listening.dup())], site)
        server.stop()
        client = await trio.open_unix_socket(tmp_path / "s")
        await client.send_all(PLAIN)
        with trio.fail_after(20):
            await server.run()
        assert site.tally.connections == 0
        assert (tmp_path / "s").exists()
        async with serving(adopt(listening.dup())):
            assert replies(await client.receive_some())[0].status == 200
        await client.aclose()


async def test_a_stop_sees_a_request_that_has_come_and_was_not_yet_read(unix):
    async with serving(unix) as server, await connect(unix) as client:
        await ask(client)
        await wait_all_tasks_blocked()
        with socket.socket(fileno=os.dup(client.socket.fileno())) as raw:
            raw.sendall(PLAIN)  # in the kernel, and the connection's task is still asleep
        server.stop()
        (reply,) = replies(await until_end(client))
        assert (reply.status, reply.headers["connection"]) == (200, "close")


async def test_the_sockets_are_closed_when_the_server_is_cancelled(unix):
    async with serving(unix):
        pass
    assert unix.sock.fileno() == -1


async def test_a_pending_answer_survives_a_client_that_leaves(unix):
    class Begun(Waiting):
        def begin(self, request):
            begun.set()
            return super().begin(request)

        async def answer(self):
            answer = await super().answer()
            answered.set()
            return answer

    begun, answered = trio.Event(), trio.Event()
    waiting = Begun()
    async with serving(unix, site=make_site(waiting=waiting)) as server:
        async with await connect(unix) as client:
            await client.send_all(WAIT)
            await begun.wait()
        waiting.release()
        await answered.wait()
        await wait_all_tasks_blocked()
        assert server.site.tally.open == 0


async def test_a_slow_reader_gets_all_of_a_large_answer(unix):
    class Large(Echo):
        def begin(self, request):
            return Answer(200, b"x" * 5_000_000)

    async with serving(unix, site=make_site(echo=Large())), await connect(unix) as client:
        await client.send_all(b"GET /echo HTTP/1.0\r\n\r\n")
        await wait_all_tasks_blocked()
        (reply,) = replies(await until_end(client))
        assert len(reply.body) == 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells more groups than one at any time")
async def test_a_unix_peers_further_groups_are_the_kernels_word_too(unix):
    echo = Echo()
    async with serving(unix, site=make_site(echo=echo)), await connect(unix) as client:
        await ask(client)
    (peer,) = (request.peer for request in echo.requests)
    assert set(peer.groups) == set(os.getgroups())


async def test_a_tcp_peer_is_its_address(tcp):
    echo = Echo()
    async with serving(tcp, site=make_site(echo=echo)), await connect(tcp) as client:
        await ask(client)
    assert echo.requests[0].peer.address in {"127.0.0.1", "::1"}
