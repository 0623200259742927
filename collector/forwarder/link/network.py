"""Sockets as the link needs them, beneath httpx and its connections.

What stays with a refusal: an upstream that will not have a batch, for its size or for want of a client
certificate, says so and hangs up while the batch is still being sent. The write fails then, and trio's
TLS would never read again what has come before. Here a write that fails leaves the connection readable.

What is left over: an upstream, or what stands before it, may say more than it was asked. What was read of
that would be taken for the answer to the next request. So a connection with any counts as readable, and
httpcore sends no further request on it.

What stays in the kernel: what it has taken and not yet sent is bounded, so a body that was written has all
but left, and the read time-out may begin. Linux holds writes to that. macOS tells it only to those who
ask whether they may write.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpcore
import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Iterable

    import h11
    import httpx

MAX_UNSENT_BYTES = 16 * 1024
"""`TCP_NOTSENT_LOWAT` of each connection: two seconds on a link that carries 8 KiB/s."""

ASKS_FIRST = sys.platform == "darwin"
"""Whether to ask before each write; elsewhere it would cost a round through the event loop for nothing."""

LAST_WORDS_SECONDS = 1.0
"""What an upstream said before it hung up is there when the write fails, or it never comes."""

_Causes = dict[type[Exception], type[Exception]]
_CONNECTING: _Causes = {
    trio.TooSlowError: httpcore.ConnectTimeout,
    trio.BrokenResourceError: httpcore.ConnectError,
    OSError: httpcore.ConnectError,
}
_READING: _Causes = {
    trio.TooSlowError: httpcore.ReadTimeout,
    trio.BrokenResourceError: httpcore.ReadError,
    trio.ClosedResourceError: httpcore.ReadError,
}
_WRITING: _Causes = {
    trio.TooSlowError: httpcore.WriteTimeout,
    trio.BrokenResourceError: httpcore.WriteError,
    trio.ClosedResourceError: httpcore.WriteError,
}


class Network(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the interface is httpcore's; so below
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host, at the first of its addresses that answers."""
        with _bounded(timeout, _CONNECTING):
            raw = await trio.open_tcp_stream(host, port, local_address=local_address)
        raw.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        for option in socket_options or ():
            raw.setsockopt(*option)
        wire = _Wire(raw)
        return _Connection(wire, wire)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await trio.sleep(seconds)


class _Wire(trio.abc.Stream):
    """A TCP connection whose failed writes are told by `broken`, and not by an error."""

    def __init__(self, raw: trio.SocketStream) -> None:
        self.raw = raw
        self.broken: trio.BrokenResourceError | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            if ASKS_FIRST:
                await self.raw.wait_send_all_might_not_block()
            await self.raw.send_all(data)
        except trio.BrokenResourceError as error:
            self.broken = error

    async def wait_send_all_might_not_block(self) -> None:
        await self.raw.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.raw.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.raw.aclose()


class _Connection(httpcore.AsyncNetworkStream):
    """A connection as httpcore uses it: the wire itself, or TLS over it."""

    def __init__(self, stream: trio.abc.Stream, wire: _Wire) -> None:
        self._stream = stream
        self._wire = wire
        self._heard = b""
        self._parser: h11.Connection | None = None

    def parsed_by(self, parser: h11.Connection) -> None:
        """Know who may still hold what was read here."""
        self._parser = parser

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._heard:
            heard, self._heard = self._heard[:max_bytes], self._heard[max_bytes:]
            return heard
        with _bounded(timeout, _READING):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write all of it.

        Raises:
            httpcore.WriteError: the connection broke; what the other side said before can still be read.
            httpcore.ReadError: it broke, and TLS says why.
        """
        if not buffer:
            return
        with _bounded(timeout, _WRITING):
            await self._stream.send_all(buffer)
        if self._wire.broken is None:
            return
        if self._stream is not self._wire and not self._heard:
            with trio.move_on_after(LAST_WORDS_SECONDS), _bounded(None, _READING):
                self._heard = bytes(await self._stream.receive_some())
        raise httpcore.WriteError(self._wire.broken) from self._wire.broken

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands, over TLS too; without success the connection is closed."""
        secured = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with _bounded(timeout, _CONNECTING):
                await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(self._wire)
            raise
        return _Connection(secured, self._wire)

    def get_extra_info(self, info: str) -> object:
        match info:
            case "ssl_object":  # whose methods the stream has
                return self._stream if isinstance(self._stream, trio.SSLStream) else None
            case "is_readable":
                return self._wire.raw.socket.is_readable() or self._has_left_over()
            case _:
                return None

    def _has_left_over(self) -> bool:
        """Whether anything was read that belongs to no answer; asked of an idle connection alone."""
        if self._heard or (self._parser is not None and self._parser.trailing_data[0]):
            return True
        # What has come and is not decrypted: trio does not tell. A test does if this goes by another name.
        return isinstance(self._stream, trio.SSLStream) and self._stream._incoming.pending > 0  # noqa: SLF001


def watch_leftovers(response: httpx.Response, pool: httpcore.AsyncConnectionPool) -> None:
    """Have the connection of an answer over HTTP/1.1 know of what comes behind it.

    Args:
        response: of which the headers were read.
        pool: that its connection is from.
    """
    stream = response.extensions.get("network_stream")
    if not isinstance(stream, _Connection):
        return
    for connection in pool.connections:
        # httpcore keeps it within what led to it, such as a tunnel; a test tells if these get other names.
        inner: object = connection
        while (within := getattr(inner, "_connection", None)) is not None:
            inner = within
        parser = getattr(inner, "_h11_state", None)
        found: object = getattr(inner, "_network_stream", None)
        if parser is not None and found is stream:
            stream.parsed_by(parser)


@contextmanager
def _bounded(seconds: float | None, errors: _Causes) -> Generator[None]:
    """A step that may take so long, in the errors of httpcore."""
    try:
        with trio.fail_after(float("inf") if seconds is None else seconds):
            yield
    except tuple(errors) as error:
        raised = next(errors[kind] for kind in errors if isinstance(error, kind))
        raise raised(error) from error
