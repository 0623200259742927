"""An upstream that offers HTTP/2 over TLS: what it is asked comes to a function."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio
from fakes.tcp import serving

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable


@dataclass
class Request:
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


FAULTS = {
    "reset": "the stream is reset",
    "refused": "the stream is reset as never begun",
    "goaway": "the connection ends in good order, before the answer",
    "goaway, none taken": "the same, with no request as the last that counts",
    "hang up": "the connection is closed, before the answer",
    "headers, reset": "the stream is reset behind the answer's headers",
    "headers, hang up": "the connection is closed there",
    "body, reset": "the stream is reset within the answer's body",
    "body, goaway": "the connection ends in good order there, and is closed",
    "body, hang up": "the connection is closed there",
    "short": "the answer ends before it is as long as it says",
    "long": "the answer goes on when it is as long as it says",
}


@dataclass
class Http2Upstream:
    """Answers each request as `answer` says: a status and a body, None for no answer, or one of `FAULTS`.

    Attributes:
        early: over HTTP/2, answer as soon as the headers are there, and reset the stream.
        requests: all that came, whole or not.
        protocols: what was agreed on for each connection that was opened.
    """

    tls: ssl.SSLContext
    answer: Callable[[Request], tuple[int, bytes] | str | None] = lambda _: (202, b"")
    early: bool = False
    requests: list[Request] = field(default_factory=list)
    protocols: list[str | None] = field(default_factory=list)
    url: str = ""
    _hanging_up: bool = False

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[Http2Upstream]:
        self.tls.set_alpn_protocols(["h2", "http/1.1"])
        async with serving(self._connection) as port:
            self.url = f"https://localhost:{port}/v1/events"
            yield self

    async def _connection(self, raw: trio.SocketStream) -> None:
        with contextlib.suppress(
            trio.BrokenResourceError, trio.ClosedResourceError, h2.exceptions.ProtocolError
        ):
            async with trio.SSLStream(raw, self.tls, server_side=True, https_compatible=True) as stream:
                await stream.do_handshake()
                self.protocols.append(stream.selected_alpn_protocol())
                await (self._talk if self.protocols[-1] == "h2" else self._talk_http1)(stream)

    async def _talk(self, stream: trio.SSLStream) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        open_requests: dict[int, Request] = {}
        await stream.send_all(state.data_to_send())
        while data := await stream.receive_some(65536):
            for event in state.receive_data(data):
                match event:
                    case h2.events.RequestReceived():
                        headers = {name.decode(): value.decode() for name, value in event.headers}
                        request = open_requests[event.stream_id] = Request(headers)
                        self.requests.append(request)
                        if self.early:
                            self._reply(state, event.stream_id, request)
                            state.reset_stream(event.stream_id, 0)
                    case h2.events.DataReceived() if not self.early:
                        open_requests[event.stream_id].body += event.data
                        state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    case h2.events.StreamEnded() if not self.early:
                        self._reply(state, event.stream_id, open_requests.pop(event.stream_id))
            await stream.send_all(state.data_to_send())
            if self._hanging_up:
                self._hanging_up = False
                return

    async def _talk_http1(self, stream: trio.SSLStream) -> None:
        data = b""
        while more := await stream.receive_some(65536):
            data += more
            head, end, body = data.partition(b"\r\n\r\n")
            fields = [line.split(": ") for line in head.decode().split("\r\n")[1:]]
            headers = {name.lower(): value for name, value in fields} if end else {}
            if end and len(body) >= int(headers["content-length"]):
                self.requests.append(Request(headers, bytearray(body)))
                status, answer = self.answer(self.requests[-1])
                await stream.send_all(
                    f"HTTP/1.1 {status} So\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer
                )
                data = b""

    def _reply(self, state: h2.connection.H2Connection, stream_id: int, request: Request) -> None:
        match self.answer(request):
            case (status, body):
                state.send_headers(stream_id, [(":status", str(status))])
                state.send_data(stream_id, body, end_stream=True)
            case str(fault):
                self._fail(state, stream_id, fault)

    def _fail(self, state: h2.connection.H2Connection, stream_id: int, fault: str) -> None:
        begins, _, ends = fault.rpartition(", ")
        if begins in {"headers", "body"} or fault in {"short", "long"}:
            state.send_headers(stream_id, [(":status", "202"), ("content-length", "9")])
        if begins == "body":
            state.send_data(stream_id, b'["OK"')
        match ends:
            case "short" | "long":
                state.send_data(stream_id, b'["OK"' if fault == "short" else b'["OK","OK"]', end_stream=True)
            case "reset":
                state.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            case "refused":
                state.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            case "goaway":
                state.close_connection()
                self._hanging_up = begins == "body"
            case "none taken":
                state.close_connection(last_stream_id=0)
            case "hang up":
                self._hanging_up = True
