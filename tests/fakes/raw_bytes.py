"""A connection to the events endpoint, fed raw bytes: what fuzzers drive."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

import trio
from fakes.site import HOST
from fakes.smuggling import SMUGGLING

from collector.core.limits import RECEIVE_BYTES, ConnectionLimits
from collector.listener.admission import Admission
from collector.listener.api_status import PATH as STATUS_PATH
from collector.listener.api_status import ApiStatus
from collector.listener.capacity import Capacity
from collector.listener.ingest import PATH, Ingest
from collector.listener.policy import Policy
from collector.listener.routes import Peer, Site
from collector.listener.serve import Server

MAX_HELD = 4 * RECEIVE_BYTES
"""Bytes of a client that a connection may keep after all it was sent was read, for bodies this small."""

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")

POST = b"POST /v1/events HTTP/1.1\r\n" + HOST
EVENT = b'{"timestamp":1,"sourceId":"s","eventName":"e"}'
PLAY = b'{"eventType":"e","clientTimestamp":"2012-03-14T02:33:42.416587+00:00","data":{}}'
JSON = b"Content-Type: application/json\r\n"

TABLES = [
    POST + JSON + b"Content-Length: %d\r\n\r\n[%b]" % (len(EVENT) + 2, EVENT),
    POST + JSON + b"X-Product-Key: p\r\nContent-Length: %d\r\n\r\n[%b]" % (len(PLAY) + 2, PLAY),
    POST + JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    POST + JSON + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    POST + JSON + b"Content-Encoding: gzip\r\nContent-Length: 22\r\n\r\n",
    POST + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
    b"GET /v1/api-status HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /v1/api-status HTTP/1.0\r\n\r\n",
    b"OPTIONS /v1/events HTTP/1.1\r\n" + HOST + b"Origin: http://page\r\n\r\n",
    b"PUT /v1/api-status HTTP/1.1\r\n" + HOST + b'Content-Length: 19\r\n\r\n{"status":"online"}',
    *(data for data, _ in SMUGGLING.values()),
    *b"POST GET /v1/events HTTP/1.1 Host: Content-Length: 5 18446744073709551616 chunked h2c".split(),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b":",
        b",",
        b"0\r\n\r\n",
        b"\x80\xff",
        b"[[[[",
        b"Upgrade: ",
        b"]",
        b'"',
        b"\\ud800",
    ),
]
"""Whole requests and parts of them, good and bad."""


class _Committed:
    async def committed(self):
        await trio.lowlevel.checkpoint()


class _Intake:
    def submit(self, _chunk):
        return _Committed()


@dataclass
class Seen:
    """What came of a connection.

    Attributes:
        statuses: of the answers that its client read.
        reports: what the listener reported as its own fault.
        ended: it was over once the client had left.
        held: the most bytes of the client's that were kept.
    """

    statuses: list[int] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    ended: bool = False
    held: int = 0


def _held(reader):
    parts = (*reader._body, reader._target, *(part for pair in reader._fields for part in pair))
    return sum(map(len, parts)) + sum(sys.getsizeof(turn) for turn in reader.turns)


async def converse(pieces):
    """Send the pieces, say that this was all, and read to the end; to be run under a mock clock."""
    seen = Seen()
    ingest = Ingest(_Intake(), Policy(lambda *_: True, {}), wall_ms=lambda: 1_800_000_000_000)
    site = Site(
        {PATH: {"POST": ingest}, STATUS_PATH: ApiStatus().methods(settable=True)},
        Admission(origins=["http://page"]),
        ConnectionLimits(),
        report=lambda what, error: seen.reports.append(f"{what}: {error!r}"),
        wall_ms=lambda: 1_800_000_000_000,
    )
    server = Server([], site, Capacity())
    client, ours = trio.testing.memory_stream_pair()
    received = bytearray()

    async def read():
        async for data in client:
            received.extend(data)

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        server.take(ours, Peer("tcp"))
        (connection,) = server._connections
        nursery.start_soon(read)
        for piece in pieces:
            try:
                await client.send_all(piece)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            await trio.testing.wait_all_tasks_blocked()
            seen.held = max(seen.held, _held(connection._reader))
        await client.send_eof()
        with trio.move_on_after(200):
            await server._until_empty()
        seen.ended = not server._connections
        nursery.cancel_scope.cancel()
    seen.statuses = [int(status) for status in _STATUS.findall(received)]
    return seen
