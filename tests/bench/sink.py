"""An upstream that takes everything as fast as it comes: `python sink.py` prints its port."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def converse(sock: socket.socket, took: Callable[[], object] = lambda: None) -> None:
    """Answer each request of a connection with 202 as soon as its last byte is there.

    `took` is called before each answer.
    """
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            part = sock.recv(1 << 20)
            if not part:
                return
            buffer += part
        length = _LENGTH.search(buffer, 0, end + 2)
        left = int(length[1] if length else 0) - (len(buffer) - end - 4)
        while left > 0:
            part = sock.recv(min(left, 1 << 20))
            if not part:
                return
            left -= len(part)
        buffer = buffer[len(buffer) + left :] if left else b""
        took()
        sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def listening(took: Callable[[], object]) -> Iterator[int]:
    """Serve one connection on a thread of this process; gives the port."""

    def accept() -> None:
        sock, _ = server.accept()
        with sock:
            converse(sock, took)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            with suppress(OSError):  # where nobody has come
                socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def serve() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            sock, _ = server.accept()
            threading.Thread(target=converse, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    serve()
