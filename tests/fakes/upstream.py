"""A receiver of batches over real HTTP, as a careful upstream would be.

It checks signatures (RFC 9421 by http-message-signatures' verifier, Traintracks' MD5),
digests and identities, takes each position once, and can be told to behave badly. In a
test:

    with Upstream(keys={"kiosk-17": b"secret"}) as upstream:
        upstream.script(Behaviour(status=503, headers={"Retry-After": "3"}))
        ...                                        # post to upstream.url
        assert upstream.received[0].header("Idempotency-Key")

As a process, `python tests/fakes/upstream.py` prints `{"port": N}` and serves until its
standard input ends; POST /_control takes {"script": [...], "default": {...}}, and GET
/_received and /_taken show what came.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import socket
import struct
import sys
import threading
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from collector.demo.book import Book, Received

if TYPE_CHECKING:
    import ssl

TRICKLE_SECONDS = 0.02


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered.

    Attributes:
        status: None for what the checks come to (200 or 202, 400, 401, 403).
        headers: sent beside Content-Length and Date, or in the place of that Date.
        body: of the answer; base64 in a control message.
        delay: seconds before the answer.
        hold: no answer at all until the upstream is closed.
        cut: where the answer ends early: "answer" (none at all), "status-line", "headers",
            "body", or after so many bytes; the events are taken all the same where the status says so.
        reset: the connection is reset, where `cut` says or at once.
        drip: seconds between two bytes of the answer.
        trickle: the body comes byte by byte, and never ends.
        flood: the body comes as fast as it is read, and never ends.
        missing: how many bytes of the answer's body are promised and do not come.
        chunked: the body comes in chunks of a hundredth of it; without the last where `missing` is set.
        until_closed: the body has no length, and ends with the connection.
        unread: the answer goes out before the request's body is read, and the connection is closed.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    hold: bool = False
    cut: str | int = ""
    reset: bool = False
    drip: float = 0.0
    trickle: bool = False
    flood: bool = False
    missing: int = 0
    chunked: bool = False
    until_closed: bool = False
    unread: bool = False


class Upstream:
    """The receiver; a context manager that serves on loopback from threads.

    Args:
        keys: by key id, an hmac-sha256 secret or an ed25519 public key; with any, requests
            that are not Traintracks' must be signed.
        products: secrets by product key; with any, requests with another key are refused.
        tls: makes it https.
        host: the address to bind; without it that of loopback, which is asked for as localhost.
        port: 0 for a free one.
        listening: whether connections are taken from the start; refused until `listen` otherwise.
    """

    def __init__(
        self,
        *,
        keys: dict[str, bytes | Ed25519PublicKey] | None = None,
        products: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        host: str | None = None,
        port: int = 0,
        listening: bool = True,
    ) -> None:
        self.book = Book(keys or {}, products or {})
        self.received: list[Received] = []
        self.default = Behaviour()
        self.tls = tls
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._script: list[Behaviour] = []
        self._server = _Server((host or "127.0.0.1", port), self)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{host or 'localhost'}:{self.port}/v1/events"
        self._thread: threading.Thread | None = None
        self._listening = listening

    def __enter__(self) -> Self:
        if self._listening:
            self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._stop_serving()
        self._server.hang_up()
        self._server.server_close()
        self._server.keeper.close()

    def listen(self) -> None:
        """Take connections from now on."""
        self._server.server_activate()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def refuse(self) -> None:
        """Break all connections, and refuse further ones until `listen`."""
        self._stop_serving()
        self._server.renew_socket()
        self.hang_up()

    def hang_up(self) -> None:
        """Break all connections."""
        self._server.hang_up()

    def _stop_serving(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None

    def script(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, one each, and those after them by `default`."""
        with self.lock:
            self._script = list(behaviours)

    def next_behaviour(self) -> Behaviour:
        """Of the request that has just come."""
        with self.lock:
            return self._script.pop(0) if self._script else self.default

    def judge(self, request: Received, behaviour: Behaviour) -> tuple[int, bytes]:
        """Check, record and perhaps take a request; the answer's status and body."""
        status, problem = self.book.verify(request)
        if behaviour.status is None:
            body = json.dumps({"status": "ERROR", "message": problem}).encode() if problem else behaviour.body
        else:
            status, body = behaviour.status, behaviour.body
        problems = (problem,) if problem else ()
        with self.lock:
            self.received.append(
                Received(request.method, request.url, request.headers, request.body, problems)
            )
            if status in {200, 202} and not problem and not behaviour.unread:
                self.book.take(request)
        return status, body

    def control(self, message: dict[str, Any]) -> None:
        """Do what a control message says."""
        if "script" in message:
            self.script(*map(_behaviour, message["script"]))
        if "default" in message:
            self.default = _behaviour(message["default"])

    def dump(self, what: str) -> Any:
        """What came, for /_received and /_taken."""
        with self.lock:
            if what == "/_received":
                return [
                    asdict(request) | {"body": base64.b64encode(request.body).decode()}
                    for request in self.received
                ]
            lanes = [
                {
                    "device": device,
                    "epoch": epoch,
                    "lane": lane,
                    "positions": list(events),
                    "events": [json.loads(event) for event in events.values()],
                }
                for (device, epoch, lane), events in self.book.taken.items()
            ]
            return {"lanes": lanes, "problems": self.book.problems, "requests": len(self.received)}


def _behaviour(said: dict[str, Any]) -> Behaviour:
    return Behaviour(**{**said, "body": base64.b64decode(said.get("body", ""))})


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], upstream: Upstream) -> None:
        self.upstream = upstream
        self._open: set[socket.socket] = set()
        self.resetting: set[socket.socket] = set()
        super().__init__(address, _Handler, bind_and_activate=False)
        self.server_bind()
        # While nobody listens, nobody else is given the port.
        self.keeper = self._bound()

    def renew_socket(self) -> None:
        """Listen no more; the new socket has the port of the old one."""
        self.socket.close()
        self.socket = self._bound()

    def _bound(self) -> socket.socket:
        bound = socket.socket(self.address_family, self.socket_type)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(self.server_address)
        return bound

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.upstream.tls is not None:
            connection = self.upstream.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request in self.resetting:  # a shutdown would end it in good order first
            self.resetting.discard(request)
            request.close()
        else:
            super().shutdown_request(request)

    def hang_up(self) -> None:
        """Break all connections, so that their threads end."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or does not trust us, is what some tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        body = json.dumps(self.server.upstream.dump(self.path)).encode()
        self._answer(200, {"Content-Type": "application/json"}, body)

    def do_POST(self) -> None:
        upstream = self.server.upstream
        if self.path == "/_control":
            upstream.control(json.loads(self._body()))
            self._answer(200, {}, b"")
            return
        behaviour = upstream.next_behaviour()
        scheme = "https" if upstream.tls else "http"
        url = self.path if "://" in self.path else f"{scheme}://{self.headers['Host']}{self.path}"
        body = b"" if behaviour.unread else self._body()
        request = Received("POST", url, tuple(self.headers.items()), body)
        status, answer = upstream.judge(request, behaviour)
        if behaviour.hold:
            upstream.closing.wait()
        upstream.closing.wait(behaviour.delay)
        self._misbehave(status, answer, behaviour)

    def _misbehave(self, status: int, answer: bytes, behaviour: Behaviour) -> None:
        if behaviour.hold:
            self.close_connection = True
        elif behaviour.cut != "" or behaviour.reset:
            self.close_connection = True
            if behaviour.reset:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.server.resetting.add(self.connection)
            whole = f'HTTP/1.1 {status} Cut\r\nContent-Length: 9\r\n\r\n["OK"'.encode()
            end = {"answer": 0, "status-line": 9, "headers": whole.index(b"\r\n") + 10, "body": len(whole)}
            self.wfile.write(
                whole[: behaviour.cut if isinstance(behaviour.cut, int) else end[behaviour.cut or "answer"]]
            )
        elif behaviour.trickle or behaviour.flood:
            self.close_connection = True
            self.wfile.write(f"HTTP/1.1 {status} Endless\r\nContent-Length: 999999999999\r\n\r\n".encode())
            while not self.server.upstream.closing.wait(0 if behaviour.flood else TRICKLE_SECONDS):
                self.wfile.write(b" " * (65536 if behaviour.flood else 1))
        else:
            self.close_connection = self.close_connection or behaviour.unread
            headers = {"Date": self.date_time_string(), **behaviour.headers}
            if behaviour.missing or behaviour.chunked or behaviour.until_closed:
                self._answer_oddly(status, headers, answer, behaviour)
            else:
                self._answer(status, headers, answer, drip=behaviour.drip)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, *, drip: float = 0.0) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if drip:
            self._drip(b"".join(self._headers_buffer) + b"\r\n" + body, drip)
            return
        self.end_headers()
        self.wfile.write(body)

    def _answer_oddly(self, status: int, headers: dict[str, str], body: bytes, behaviour: Behaviour) -> None:
        self.close_connection = bool(behaviour.missing) or behaviour.until_closed
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if behaviour.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not behaviour.until_closed:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not behaviour.chunked:
            self.wfile.write(body[: len(body) - behaviour.missing])
            return
        size = max(1, len(body) // 100)
        for start in range(0, len(body) - behaviour.missing, size):
            piece = body[start : start + size]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if not behaviour.missing:
            self.wfile.write(b"0\r\n\r\n")

    def _drip(self, answer: bytes, seconds: float) -> None:
        self._headers_buffer = []
        for byte in answer:
            self.wfile.write(bytes([byte]))
            self.server.upstream.closing.wait(seconds)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        """Nothing: what came is recorded."""


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def main() -> None:
    """Serve as a process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hmac", action="append", type=_pair, default=[], metavar="KEY_ID=SECRET")
    parser.add_argument("--ed25519", action="append", type=_pair, default=[], metavar="KEY_ID=PUBLIC_PEM")
    parser.add_argument("--product", action="append", type=_pair, default=[], metavar="KEY=SECRET")
    given = parser.parse_args()
    keys: dict[str, bytes | Ed25519PublicKey] = {name: secret.encode() for name, secret in given.hmac}
    for name, path in given.ed25519:
        key = load_pem_public_key(Path(path).read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            parser.error(f"{path}: not an ed25519 public key")
        keys[name] = key
    with Upstream(keys=keys, products=dict(given.product), port=given.port) as upstream:
        print(json.dumps({"port": upstream.port}), flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main()
