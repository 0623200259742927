"""An upstream that takes everything as fast as it comes: `python sink.py` prints its port."""

from __future__ import annotations

import re
import socket
import threading

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def converse(sock: socket.socket) -> None:
    """Answer each request of a connection with 202 as soon as its last byte is there."""
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
            left -= len(sock.recv(min(left, 1 << 20)))
        buffer = buffer[len(buffer) + left :] if left else b""
        sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


def serve() -> None:
    """Serve until killed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            sock, _ = server.accept()
            threading.Thread(target=converse, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    serve()
