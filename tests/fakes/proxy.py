"""An HTTP proxy: tunnels by CONNECT, and nothing else, to whatever port of loopback is asked for."""

from __future__ import annotations

import base64
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
from fakes.tcp import serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


@dataclass
class Proxy:
    """Passes tunnels on to loopback, whatever host they are for.

    Attributes:
        tls: makes it an https:// proxy.
        credentials: user and password, joined by a colon, without which it answers 407.
        refusals: what the next requests get in the place of a tunnel, whole answers.
        asked: the request line of each request.
        tunnels: how many were dug.
        told: all that came in the clear, or would have but for its own TLS, tunnels left out.
    """

    tls: ssl.SSLContext | None = None
    credentials: str = ""
    refusals: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tunnels: int = 0
    told: bytes = b""
    port: int = 0

    @property
    def url(self) -> str:
        """Its own, without credentials."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Proxy]:
        async with serving(self._connection) as self.port:
            yield self

    async def _connection(self, raw: trio.SocketStream) -> None:
        near: trio.abc.Stream = raw
        if self.tls is not None:
            near = trio.SSLStream(raw, self.tls, server_side=True, https_compatible=True)
        with contextlib.suppress(*_BROKEN):
            async with near:
                await self._talk(near)

    async def _talk(self, near: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := await near.receive_some(65536)):
                return
            head += more
        self.told += head
        line, *fields = head.decode().split("\r\n\r\n")[0].split("\r\n")
        self.asked.append(line)
        headers = {name.lower(): value for name, value in (text.split(": ") for text in fields)}
        known = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        if self.credentials and headers.get("proxy-authorization") != known:
            await near.send_all(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        elif self.refusals:
            await near.send_all(self.refusals.pop(0))
        elif line.startswith("CONNECT "):
            await self._tunnel(near, int(line.split()[1].rpartition(":")[2]))

    async def _tunnel(self, near: trio.abc.Stream, port: int) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as far:
            self.tunnels += 1
            await near.send_all(b"HTTP/1.1 200 Through\r\n\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, near, far, nursery.cancel_scope)
                nursery.start_soon(_pass_on, far, near, nursery.cancel_scope)


async def _pass_on(source: trio.abc.Stream, drain: trio.abc.Stream, tunnel: trio.CancelScope) -> None:
    with contextlib.suppress(*_BROKEN):
        while data := await source.receive_some(65536):
            await drain.send_all(data)
    tunnel.cancel()
