"""As much HTTP/1.1 as the demo's app and its upstream need, on loopback, over one stream each."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import httptools
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

OK = 200
READ_BYTES = 256 * 1024


class Broken(Exception):
    """The connection ended, or made no sense, before the whole answer was there."""


@dataclass
class Message:
    """A request or an answer, whole.

    Attributes:
        url: as it stands in a request's first line.
        status: of an answer.
        headers: in order.
    """

    method: str = "GET"
    url: str = "/"
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header's value, empty where it did not come."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


async def connect(address: str) -> Connection:
    """Connect to `host:port`, or to the path of a UNIX socket.

    Raises:
        OSError: nothing listens there.
    """
    if address.startswith("/"):
        return Connection(await trio.open_unix_socket(address))
    host, _, port = address.rpartition(":")
    return Connection(await trio.open_tcp_stream(host, int(port)))


class Connection:
    """A client's kept connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Message:
        """Send a request and wait for its answer.

        Raises:
            Broken: no answer came; what was asked may have been done or not.
        """
        request = Message(method=method, url=path, headers=[("Host", "localhost")], body=body)
        request.headers += list((headers or {}).items())
        try:
            await self._stream.send_all(_written(f"{method} {path} HTTP/1.1", request))
            return await _read_answer(self._stream)
        except trio.BrokenResourceError as error:
            raise Broken(str(error)) from None

    async def aclose(self) -> None:
        """Hang up."""
        await trio.aclose_forcefully(self._stream)


async def serve(stream: trio.abc.Stream, answer: Callable[[Message], Awaitable[Message | None]]) -> None:
    """Answer the requests of one connection until it ends; an answer of None hangs up instead."""
    async with stream:
        try:
            while (request := await _read_request(stream)) is not None:
                reply = await answer(request)
                if reply is None:
                    return
                phrase = HTTPStatus(reply.status).phrase
                await stream.send_all(_written(f"HTTP/1.1 {reply.status} {phrase}", reply))
        except (trio.BrokenResourceError, Broken):
            return


def _written(first_line: str, message: Message) -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in message.headers)]
    lines.append(f"Content-Length: {len(message.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + message.body


class _Reader:
    """Gathers one message from a parser of httptools."""

    def __init__(self) -> None:
        self.message = Message(url="")
        self.complete = False
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self.message.url += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.message.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.message.body = bytes(self._body)
        self.complete = True


async def _read_request(stream: trio.abc.Stream) -> Message | None:
    """Read a request; None where the client hung up before one."""
    reader = _Reader()
    parser = httptools.HttpRequestParser(reader)
    if not await _feed(stream, parser, reader):
        return None
    reader.message.method = parser.get_method().decode("latin-1")
    return reader.message


async def _read_answer(stream: trio.abc.Stream) -> Message:
    reader = _Reader()
    parser = httptools.HttpResponseParser(reader)
    if not await _feed(stream, parser, reader):
        raise Broken("the connection was closed without an answer")
    reader.message.status = parser.get_status_code()
    return reader.message


async def _feed(
    stream: trio.abc.Stream,
    parser: httptools.HttpRequestParser | httptools.HttpResponseParser,
    reader: _Reader,
) -> bool:
    """Read one message whole; False where the other side hung up before it."""
    began = False
    while not reader.complete:
        data = await stream.receive_some(READ_BYTES)
        if not data and not began:
            return False
        if not data:
            raise Broken("the message breaks off")
        began = True
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Broken(f"not HTTP: {error}") from None
    return True
