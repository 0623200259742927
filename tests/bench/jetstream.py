"""A side: NATS JetStream with `sync_interval: always`, and a client that keeps 50 messages in flight."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IN_FLIGHT = 50


def configuration(directory: Path, port: int) -> str:
    """Of the server: it syncs before it acknowledges."""
    return (
        f'listen: "127.0.0.1:{port}"\n'
        f'jetstream {{ store_dir: "{directory}", sync_interval: always, max_file_store: 4GB }}\n'
    )


class Client:
    """Speaks as much of the protocol as publishing needs."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line()
        self._sock.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB answers 1\r\nPING\r\n')
        while self._line() != b"PONG":
            pass

    _buffer = b""

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            part = self._sock.recv(65536)
            if not part:
                raise ConnectionError("the server has gone")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def make_stream(self) -> None:
        """Make the stream that keeps what is published."""
        wish = json.dumps({"name": "BENCH", "subjects": ["bench"], "storage": "file"}).encode()
        self._sock.sendall(b"PUB $JS.API.STREAM.CREATE.BENCH answers %d\r\n%b\r\n" % (len(wish), wish))
        self._line()
        answer = json.loads(self._line())
        if "error" in answer:
            raise RuntimeError(answer["error"])

    def rate(self, payloads: list[bytes], seconds: float) -> float:
        """Messages acknowledged a second."""
        messages = [b"PUB bench answers %d\r\n%b\r\n" % (len(payload), payload) for payload in payloads]
        sent = IN_FLIGHT
        self._sock.sendall(b"".join(messages[:IN_FLIGHT]))
        acknowledged = 0
        began = time.monotonic()
        tail = b""
        while time.monotonic() - began < seconds:
            part = tail + self._sock.recv(65536)
            # Each acknowledgement is one MSG whose body holds the sequence number.
            count = part.count(b'"seq":')
            tail = part[-5:]  # less than what is counted, so that nothing counts twice
            if b'"error"' in part:
                raise RuntimeError(part.decode())
            acknowledged += count
            batch = [messages[(sent + index) % len(messages)] for index in range(count)]
            sent += count
            if batch:
                self._sock.sendall(b"".join(batch))
        return acknowledged / (time.monotonic() - began)

    def close(self) -> None:
        """Leave."""
        self._sock.close()
