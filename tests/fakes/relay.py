"""A link that is as bad as it is told to be, and an upstream behind it, all on trio's clock.

With a clock that jumps (`link_clock`), an outage of an hour takes no time: both ends and the relay are tasks
of one loop, and what one writes to a loopback socket is there for the other at once.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
from fakes.tcp import serving

from collector.demo.book import Book, Received

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

PIECE = 64 * 1024
WINDOW = 8
"""Pieces that are under way in one direction of one connection at most, beyond those that fit the delay."""

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass
class Relay:
    """Passes connections on to a port of loopback.

    Attributes:
        target: that port.
        delay: seconds that a byte takes one way; a new connection takes twice that first.
        jitter: seconds that are added at random, without bytes overtaking each other.
        rate: bytes a second in each direction, of all connections together.
        buffer: bytes that the kernel takes for this side of the link; it grows them as it likes without.
        down: whether nothing passes; what is sent meanwhile is lost with its connection.
        refusing: whether new connections are reset at once.
        passed: bytes that went to the target.
        stalled: seconds of standing still, in all.
    """

    target: int
    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    buffer: int | None = None
    down: bool = False
    refusing: bool = False
    chance: Callable[[], float] = lambda: 0.5
    passed: int = 0
    stalled: float = 0.0
    port: int = 0
    _free_at: dict[str, float] = field(default_factory=lambda: {"out": 0.0, "back": 0.0})
    _open: set[trio.SocketStream] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Relay]:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            if self.buffer is not None:  # which connections get from their listener
                listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
            nursery.start_soon(trio.serve_listeners, self._connection, [listener])
            self.port = listener.socket.getsockname()[1]
            yield self
            nursery.cancel_scope.cancel()

    def stall(self, seconds: float) -> None:
        """Let nothing pass for so long; what is there waits."""
        now = trio.current_time()
        for way, free_at in self._free_at.items():
            self._free_at[way] = max(now, free_at) + seconds
        self.stalled += seconds

    def reset(self) -> None:
        """Reset all connections."""
        for stream in list(self._open):
            _reset(stream)

    async def _connection(self, near: trio.SocketStream) -> None:
        if self.refusing:
            _reset(near)
            return
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            return
        self._open |= {near, far}
        try:
            await trio.sleep(2 * self.delay)
            async with trio.open_nursery() as nursery:
                for source, drain, way in ((near, far, "out"), (far, near, "back")):
                    size = WINDOW if self.rate is None else 10_000
                    send, receive = trio.open_memory_channel[tuple[float, bytes]](size)
                    nursery.start_soon(self._take, source, send, way, nursery.cancel_scope)
                    nursery.start_soon(self._deliver, receive, drain, way, nursery.cancel_scope)
        finally:
            self._open -= {near, far}
            for stream in (near, far):
                stream.socket.close()

    async def _take(
        self,
        source: trio.SocketStream,
        send: trio.MemorySendChannel[tuple[float, bytes]],
        way: str,
        connection: trio.CancelScope,
    ) -> None:
        try:
            async with send:
                while data := await source.receive_some(PIECE):
                    leaves = max(trio.current_time(), self._free_at[way])
                    if self.rate is not None:
                        leaves += len(data) / self.rate
                        self._free_at[way] = leaves
                    await trio.sleep_until(leaves)
                    await send.send((leaves + self.delay + self.jitter * self.chance(), data))
        except _BROKEN:
            connection.cancel()

    async def _deliver(
        self,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        drain: trio.SocketStream,
        way: str,
        connection: trio.CancelScope,
    ) -> None:
        try:
            async for arrives, data in receive:
                await trio.sleep_until(arrives)
                if self.down:
                    # Neither side learns of it: TCP repeats for longer than any time-out here.
                    await trio.sleep_forever()
                await drain.send_all(data)
                self.passed += len(data) if way == "out" else 0
            await drain.send_eof()
        except _BROKEN:
            connection.cancel()


def _reset(stream: trio.SocketStream) -> None:
    with contextlib.suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@dataclass
class BookKeeper:
    """An upstream that takes everything, and says so."""

    book: Book = field(default_factory=lambda: Book({}, {}))
    received: list[Received] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[BookKeeper]:
        async with serving(self._connection) as self.port:
            yield self

    async def _connection(self, stream: trio.SocketStream) -> None:
        data = bytearray()
        with contextlib.suppress(*_BROKEN):
            while more := await stream.receive_some(65536):
                data += more
                if len(request := _whole(data)) == 0:
                    continue
                data.clear()
                self.received.append(request[0])
                self.book.take(request[0])
                await stream.send_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            await stream.aclose()


def _whole(data: bytearray) -> list[Received]:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return []
    lines = data[:end].decode().split("\r\n")
    headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines[1:]))
    size = next(int(value) for name, value in headers if name == "Content-Length")
    body = bytes(data[end + 4 :])
    return [Received("POST", lines[0].split()[1], headers, body)] if len(body) == size else []
