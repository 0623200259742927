"""Thousands of clients that send next to nothing, and bodies that are bombs, beside honest apps."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import resource
import socket
import sys
import threading
import zlib
from pathlib import Path

import pytest
from fakes.daemon import LISTENERS, PATIENCE, Client, connect, until

pytestmark = pytest.mark.system

WANTED = 3000
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
STALLS = [
    b"",
    b"P",
    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    HEAD + b"Content-Length: 1000\r\n\r\n[",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n",
]
"""Where a request may stop: before it, within its head, in its body, in its chunks."""

EVENT = json.dumps([{"timestamp": 1433004485870, "sourceId": "till", "eventName": "sold"}]).encode()
LARGE = b"[" + b",".join([EVENT[1:-1]] * 2000) + b"]"

MIXED = [
    b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
    HEAD + b"Content-Length: 16000000\r\n\r\n[",
    HEAD + b"Content-Length: %d\r\n\r\n" % len(EVENT) + EVENT,
    b"",
]
"""Who asks for more than it reads, announces more than it sends, is answered, and says nothing."""


@pytest.fixture
def descriptors():
    """How many connections this process may open, up to `WANTED`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))
    yield min(WANTED, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd(threading.Thread):
    """Opens connections that say little, and opens each anew once it is closed, until it is told to stop."""

    def __init__(self, places, size, says=STALLS):
        super().__init__()
        self._says = says
        self.opened = 0
        self._places = places
        self._size = size
        self._stopping = threading.Event()

    def run(self):
        with contextlib.ExitStack() as stack:
            open_now = []
            while not self._stopping.is_set():
                while len(open_now) < self._size and not self._stopping.is_set():
                    open_now.append(stack.enter_context(self._stall()))
                open_now = [sock for sock in open_now if not self._is_over(sock)]
                self._stopping.wait(0.05)

    def _stall(self):
        place = self._places[self.opened % len(self._places)]
        sock = socket.socket(socket.AF_INET if isinstance(place, int) else socket.AF_UNIX)
        sock.setblocking(False)  # noqa: FBT003 - its signature
        # A full queue refuses a UNIX client at once and lets a TCP client wait; either is a stall.
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", place) if isinstance(place, int) else str(place))
        with contextlib.suppress(OSError):
            sock.sendall(self._says[self.opened % len(self._says)])
        self.opened += 1
        return sock

    @staticmethod
    def _is_over(sock):
        try:
            over = not sock.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            over = True
        if over:
            sock.close()
        return over

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self.join()


def post(place, body=EVENT, *, timeout=PATIENCE, **headers):
    """One post on a connection of its own."""
    with Client(place, timeout=timeout) as client:
        named = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return client.ask("POST", "/v1/events", body, named).status


def is_taken(client):
    """Whether a post is; on so slow a machine that a request takes its time, it may be cut: again then."""
    try:
        return client.ask("POST", "/v1/events", EVENT, {"Content-Type": "application/json"}).status == 202
    except (OSError, http.client.HTTPException):
        client.close()
        return False


def spaces_of(mebibytes):
    """So many of them, as one gzip member."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b" " * (1 << 20)) for _ in range(mebibytes)]
    return b"".join((*parts, packer.flush()))


def peak_bytes(pid):
    """The most memory that a process has had (Linux alone)."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def test_honest_posts_are_answered_beside_thousands_of_connections_that_stall(make_daemon, descriptors):
    daemon = make_daemon(LISTENERS).start()
    (port,) = daemon.ports()
    with Crowd([port, port, daemon.socket], descriptors) as crowd:
        until(lambda: crowd.opened >= descriptors, "the crowd is there")
        for place in (port, daemon.socket):
            with Client(place) as kept:
                for _ in range(5):
                    until(lambda: is_taken(kept), "a post on a kept connection is taken")
        for place in (port, daemon.socket) * 5:
            with Client(place) as fresh:
                until(lambda: is_taken(fresh), "a post on a new connection is taken")
        assert daemon.status()["healthy"]
    assert sum(row["events"] for row in daemon.status()["received"]) >= 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory from /proc")
def test_a_crowd_of_all_kinds_neither_starves_another_peer_nor_takes_memory(make_daemon, descriptors):
    daemon = make_daemon(LISTENERS).start()
    before = peak_bytes(daemon.pid)
    with Crowd(daemon.ports(), descriptors, MIXED) as crowd:
        until(lambda: crowd.opened >= descriptors, "the crowd is there")
        for _ in range(5):
            with Client(daemon.socket) as fresh:
                until(lambda: is_taken(fresh), "a post of another peer is taken")
    assert peak_bytes(daemon.pid) - before < 200 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory from /proc")
def test_bombs_take_no_memory(make_daemon):
    daemon = make_daemon(LISTENERS).start()
    places = [daemon.ports()[0], daemon.socket]
    assert post(places[0], LARGE) == 202
    before = peak_bytes(daemon.pid)
    spaces = spaces_of(200)
    bombs = [
        spaces,  # 200 MiB in 200 KiB
        gzip.compress(b" " * (10 << 20), 9) * 20,  # in members
        gzip.compress(spaces, 9),  # a bomb within a bomb
        zlib.compress(b" " * (10 << 20)),
    ]
    statuses = []

    def throw(place):
        statuses.extend(post(place, bomb, Content_Encoding="gzip") for bomb in bombs)

    throwers = [threading.Thread(target=throw, args=(place,)) for place in places * 4]
    for thrower in throwers:
        thrower.start()
    for thrower in throwers:
        thrower.join(PATIENCE)
    assert sorted(set(statuses)) == [400, 413]
    assert len(statuses) == len(throwers) * len(bombs)
    # Eight bodies of 200 KiB are in hand, and one of them is decompressed as far as 32 MiB at a time.
    assert peak_bytes(daemon.pid) - before < 120 << 20
    assert post(places[0]) == 202


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's memory from /proc")
def test_memory_stays_bounded_under_a_mix_of_all_that_is_large(make_daemon):
    limits = '[limits]\nmax_bodies_bytes = "32MiB"\nmax_body_bytes = "8MiB"\nanswer_timeout = "5m"\n'
    daemon = make_daemon(LISTENERS + limits).start()
    (port,) = daemon.ports()
    place = [port, daemon.socket]
    before = peak_bytes(daemon.pid)
    deep = b"[" + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"]"
    many = b"[" + b"1," * 3_000_000 + b"1]"
    bodies = [(deep, {}), (many, {}), (gzip.compress(many), {"Content_Encoding": "gzip"}), (LARGE * 20, {})]
    with contextlib.ExitStack() as stack:
        # They hold all the room there is; who waits for some gets it once they turn out to be slow.
        for number in range(16):  # 16 x 8 MiB announced, a third of a MiB of each sent
            sock = stack.enter_context(connect(place[number % 2], timeout=PATIENCE))
            sock.setblocking(False)  # noqa: FBT003 - its signature
            with contextlib.suppress(OSError):
                sock.send(HEAD + b"Content-Length: 8388608\r\n\r\n" + b" " * 300_000)
        for number in range(4):
            body, headers = bodies[number % len(bodies)]
            assert post(place[number % 2], body, timeout=300, **headers) in {202, 400, 413}
        assert post(port, LARGE, timeout=300) == 202
    assert peak_bytes(daemon.pid) - before < 200 << 20
