"""Counting what a request costs, without a clock: calls, statements, bytes, thread hops, system calls."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from fakes.daemon import connect, until

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from types import FrameType


class Calls:
    """Calls of functions, by the name of the thread, and of what hands over to another thread.

    Attributes:
        made: by thread.
        hops: from thread to thread. Requests put into a queue, and calls into the event loop's thread by the
            writer's; and what trio has a worker do, which counts twice, as it comes back.
    """

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.hops = 0
        self._on = False

    def profile(self, frame: FrameType, event: str, arg: object) -> None:
        """What `sys.setprofile` calls."""
        if not self._on or event not in {"call", "c_call"}:
            return
        thread = threading.current_thread().name
        self.made[thread] += 1
        if event == "c_call":
            self.hops += getattr(arg, "__qualname__", "") == "SimpleQueue.put"
        elif frame.f_code.co_qualname == "ThreadCache.start_thread_soon":
            self.hops += 2
        elif thread == "spool-writer":
            self.hops += frame.f_code.co_qualname == "TrioToken.run_sync_soon"

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count in this thread, and in those that were started since `watched` began."""
        self._on = True
        sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._on = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Threads that are started now can be counted."""
        threading.setprofile(self.profile)
        try:
            yield
        finally:
            threading.setprofile(None)  # type: ignore[arg-type]


@contextmanager
def statements(connection: sqlite3.Connection) -> Iterator[list[str]]:
    """The statements that a connection runs; one that sets off triggers comes again for each."""
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    try:
        yield seen
    finally:
        connection.set_trace_callback(None)
        seen[:] = [sql for sql, _ in groupby(seen)]


def peak_bytes(once: Callable[[], None], *, times: int = 21) -> float:
    """Bytes that are allocated while something is done once, at their peak; the median of several."""
    tracemalloc.start()
    try:
        peaks = []
        for _ in range(times):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            once()
            _, peak = tracemalloc.get_traced_memory()
            peaks.append(peak - before)
    finally:
        tracemalloc.stop()
    return median(peaks)


def post(address: int | Path, requests: list[bytes]) -> None:
    """Send requests on one connection, each when the one before is answered."""
    with connect(address) as sock:
        for request in requests:
            sock.sendall(request)
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 202"), answer


_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\(")


@contextmanager
def system_calls(pid: int, log: Path) -> Iterator[Counter[str]]:
    """The system calls of a process and its threads, by name; filled in at the end."""
    found: Counter[str] = Counter()
    with subprocess.Popen(
        ["strace", "-f", "-qq", "-s", "0", "-o", str(log), "-p", str(pid)], stderr=subprocess.PIPE
    ) as strace:
        try:
            until(lambda: _traced(pid), "strace is attached")
            yield found
        finally:
            strace.terminate()
            strace.wait()
    for line in log.read_text(errors="replace").splitlines():
        name = _LINE.match(line)
        if name:
            found[name[1]] += 1


def _traced(pid: int) -> bool:
    tasks = list((Path("/proc") / str(pid) / "task").iterdir())
    return all("TracerPid:\t0" not in (task / "status").read_text() for task in tasks)
