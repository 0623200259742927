"""A site to serve in tests, and the client's view of the bytes that come back."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from collector.core.http import Answer, error_answer
from collector.core.limits import ConnectionLimits
from collector.listener.routes import Site
from collector.listener.serve import Server

HOST = b"Host: localhost:9000\r\n"
PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"
WAIT = b"POST /waiting HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass
class Reply:
    """One answer as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes


def replies(data: bytes, *, methods: str = "") -> list[Reply]:
    """Cut what came into answers; `methods` names those of the requests, H for HEAD."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"an answer without an end: {head!r}"
        line, *fields = head.decode("latin-1").split("\r\n")
        version, status, _phrase = line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body = b""
        if int(status) >= 200 and methods[len(found) : len(found) + 1] != "H":
            length = int(headers.get("content-length", 0))
            body, data = data[:length], data[length:]
            assert len(body) == length
        found.append(Reply(int(status), headers, body))
    return found


class Echo:
    """Remembers requests and answers with the body it got."""

    def __init__(self, refuse: Answer | None = None) -> None:
        self.refuse = refuse
        self.requests = []

    def admit(self, head):
        return self.refuse

    def begin(self, request):
        self.requests.append(request)
        return Answer(200, request.body, content_type="text/plain")


class Waiting:
    """Answers 202 when told to; `begun` counts, `release` lets all of them go."""

    def __init__(self) -> None:
        self.begun = 0
        self.answered = 0
        self._released = trio.Event()

    def admit(self, head):
        return None

    def begin(self, request):
        self.begun += 1
        return self

    async def answer(self):
        await self._released.wait()
        self.answered += 1
        return Answer(202)

    def release(self):
        self._released.set()


class Broken:
    """An endpoint with a bug; `where` is admit, begin or answer."""

    def __init__(self, where: str) -> None:
        self.where = where

    def admit(self, head):
        return self._perhaps_fail("admit")

    def begin(self, request):
        self._perhaps_fail("begin")
        return self

    async def answer(self):
        self._perhaps_fail("answer")
        return Answer(200)

    def _perhaps_fail(self, where):
        if where == self.where:
            raise RuntimeError(f"a bug in {where}")


@dataclass
class OpenGate:
    """Lets everyone in but a Host of `evil.example`."""

    asked: list[str] = field(default_factory=list)

    def refuse(self, head):
        self.asked.append(head.path)
        return error_answer(403, "no") if head.headers.get("host") == "evil.example" else None

    def authorise(self, head):
        return None

    def cors(self, origin):
        return f"Access-Control-Allow-Origin: {origin}\r\n"

    def preflight(self, head, methods):
        return Answer(204, headers=(("Allow", methods),))


def make_site(*, limits: ConnectionLimits | None = None, gate=None, reports=None, **endpoints) -> Site:
    """A site with POST and GET /echo, and each of `endpoints` as POST of its name."""
    echo = endpoints.pop("echo", None) or Echo()
    routes = {"/echo": {"POST": echo, "GET": echo}}
    routes |= {f"/{name}": {"POST": endpoint} for name, endpoint in endpoints.items()}
    site = Site(routes, gate or OpenGate(), limits or ConnectionLimits())
    if reports is not None:
        site.report = lambda what, error: reports.append((what, repr(error)))
    return site


@asynccontextmanager
async def serving(*bound, site=None, capacity=None, patience=20):
    """Serve a site on sockets for as long as a test needs it, and at most so many seconds."""
    server = Server(bound, site or make_site(), capacity)
    with trio.fail_after(patience):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server
            nursery.cancel_scope.cancel()


async def connect(bound):
    """A client's stream to a socket that is served."""
    sock = trio.socket.socket(bound.sock.family, socket.SOCK_STREAM)
    await sock.connect(bound.sock.getsockname())
    return trio.SocketStream(sock)
