"""The service manager's notification socket (sd_notify(3)); silent where there is none."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXTENSION_SECONDS = 60.0
"""How much longer the manager waits, counted from each time that it is asked to."""

EXTEND_EVERY_SECONDS = 10.0

SEND_SECONDS = 1.0
"""How long a manager that does not read is waited for."""

LONGEST_START_SECONDS = 3600.0
"""A start that takes longer than this is taken for one that hangs; no more time is asked for."""


class Notifier:
    """Tells the service manager how the daemon is.

    Args:
        environ: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are looked up.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._is_ready = False
        self.watchdog_seconds = _watchdog_seconds(environ)

    def ready(self) -> None:
        """All listeners are bound and the spool is open."""
        self._is_ready = True
        self._send("READY=1")

    @contextmanager
    def reload(self) -> Iterator[None]:
        """The configuration is read again, until the end of the block."""
        if not self._is_ready:
            yield  # what ends a reload would end the start too
            return
        # The manager tells this reload from an earlier one by its time.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            self.ready()

    def stopping(self, *, within: float) -> None:
        """The daemon has begun to stop, and will take `within` seconds at the most."""
        self._is_ready = False
        self._send(f"STOPPING=1\nSTATUS=stopping\n{_extension(within)}")

    def status(self, line: str) -> None:
        """How it is, for a person."""
        self._send(f"STATUS={' '.join(line.split())}")

    def alive(self) -> None:
        """Work goes on: the watchdog starts counting anew."""
        self._send("WATCHDOG=1")

    @contextmanager
    def starting(self, what: str, *, every: float = EXTEND_EVERY_SECONDS) -> Iterator[None]:
        """Ask for more time, from a thread, while the block may hold up the start.

        Args:
            what: it does, for the status.
            every: seconds.
        """
        self.status(what)
        if not self._address:
            yield
            return
        over = threading.Event()
        times = int(LONGEST_START_SECONDS / every)

        def extend() -> None:
            for _ in range(times):
                self._send(_extension(EXTENSION_SECONDS))
                if over.wait(every):
                    return

        thread = threading.Thread(target=extend, name="start", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A manager that is gone, or does not read, must not take the daemon with it.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(SEND_SECONDS)
            channel.sendto(message.encode(), address)


def _extension(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}"


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Within which time the manager wants to hear; None where it does not, or not from this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    with suppress(ValueError):
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        return microseconds / 1_000_000 if microseconds > 0 else None
    return None
