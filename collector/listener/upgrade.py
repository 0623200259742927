"""Going on after llhttp has stopped for a protocol that we do not speak.

llhttp ends a request that asks for an upgrade at its head, and takes all behind it for the
other protocol. The body is read by a second parser, to which a made-up head tells where it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httptools

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Callbacks(Protocol):
    """What llhttp calls for a request."""

    def on_message_begin(self) -> None: ...
    def on_url(self, part: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, part: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class _Resumed:
    """Passes a second parser's callbacks on, but for the head that was made up for it."""

    def __init__(self, reader: _Callbacks) -> None:
        self._reader = reader
        self._made_up = True
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete

    def on_message_begin(self) -> None:
        if not self._made_up:
            self._reader.on_message_begin()

    def on_url(self, part: bytes) -> None:
        if not self._made_up:
            self._reader.on_url(part)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._made_up:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._made_up:
            self._reader.on_headers_complete()
        self._made_up = False


def second_parser(reader: _Callbacks) -> httptools.HttpRequestParser:
    """A parser that reads a made-up head first, unseen by `reader`, and then the connection's rest."""
    return httptools.HttpRequestParser(_Resumed(reader))


def framing_alone(headers: Mapping[str, str], *, close: bool) -> bytes:
    """A head that says of a request only where its body ends, and whether another one follows."""
    framing = "".join(
        f"{name}: {headers[name]}\r\n" for name in ("content-length", "transfer-encoding") if name in headers
    )
    connection = "connection: close\r\n" if close else ""
    return f"POST / HTTP/1.1\r\n{framing}{connection}\r\n".encode("latin-1")
