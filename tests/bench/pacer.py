"""A load at a constant rate, whose latency counts from the moment that each request was due.

    python pacer.py PORT FILE RATE SECONDS

FILE holds requests as `bodies.write` makes them. One process, one thread, no garbage
collection: it waits with `select`, whose time-out is exact where epoll's is of milliseconds.
A request that is due while all connections wait for answers leaves when one is free, and
that time is in its latency. Prints one JSON object; times are in milliseconds.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path

CONNECTIONS = 64
SETTLING = 0.5
"""Seconds at the beginning that do not count."""


def read_requests(path: Path) -> list[bytes]:
    """The requests of a file that `bodies.write` made."""
    found = []
    with path.open("rb") as file:
        while size := file.readline():
            found.append(file.read(int(size)))
    return found


def connect(port: int) -> socket.socket:
    """A connection; it is read only when something has come."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def load(port: int, requests: list[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Post at this rate for so long."""
    clock = time.perf_counter
    free = deque(connect(port) for _ in range(CONNECTIONS))
    due_at: dict[socket.socket, float] = {}
    latencies: list[float] = []
    late: list[float] = []
    failed = 0
    total = int(rate * (seconds + SETTLING))
    began = clock() + 0.01
    counted_from = began + SETTLING
    sent = 0
    while sent < total or due_at:
        now = clock()
        while sent < total and free and (due := began + sent / rate) <= now:
            sock = free.popleft()
            sock.sendall(requests[sent % len(requests)])
            due_at[sock] = due
            late.append(clock() - due)
            sent += 1
        wait = began + sent / rate - clock() if sent < total and free else 1.0
        ready, _, _ = select.select(list(due_at), (), (), max(0.0, wait))
        for sock in ready:
            answer = sock.recv(65536)
            done = clock()
            due = due_at.pop(sock)
            if due >= counted_from:
                latencies.append(done - due)
            if not answer.startswith(b"HTTP/1.1 202"):
                failed += 1
            free.append(sock)
    ended = clock()
    latencies.sort()
    late.sort()

    def at(values: list[float], share: float) -> float:
        return round(1000 * values[min(len(values) - 1, int(len(values) * share))], 3)

    return {
        "rate": sent / (ended - began),
        "requests": sent,
        "failed": failed,
        "p50": at(latencies, 0.5),
        "p99": at(latencies, 0.99),
        "p999": at(latencies, 0.999),
        "max": at(latencies, 1.0),
        "sent_late_p99": at(late, 0.99),
    }


if __name__ == "__main__":
    target, file_name, per_second, duration = sys.argv[1:]
    wholes = read_requests(Path(file_name))
    gc.freeze()
    gc.disable()
    print(json.dumps(load(int(target), wholes, float(per_second), float(duration))))
