"""Which connections have something to read, asked of the kernel for all of them at once.

trio's `wait_readable` arms the kernel's notification anew for each wait: a system call and a
dozen objects a request. Here a socket is registered once, edge-triggered, with an epoll of
our own, for which a single task waits; it calls whoever watches. Where the system has no
epoll, connections wait in trio's way.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

AVAILABLE = hasattr(select, "epoll")

AT_ONCE = 64
"""Sockets that are served before other tasks have their turns."""


class Readiness:
    """Calls watchers; `run` must be running.

    A watcher is called once for each time that something comes, not for as long as it is
    there: it must read until nothing is left, or remember that there may be more. It must not raise.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watchers: dict[int, Callable[[bool], None]] = {}

    def watch(self, fd: int, watcher: Callable[[bool], None]) -> None:
        """Call `watcher` from now on; it is told whether the other end has said its last."""
        self._watchers[fd] = watcher
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, fd: int) -> None:
        """Call it no more; before the socket is closed."""
        if self._watchers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        """Call watchers until cancelled."""
        epoll, watchers = self._epoll, self._watchers
        try:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for fd, events in epoll.poll(0, AT_ONCE):
                    watcher = watchers.get(fd)
                    if watcher is not None:
                        watcher(events != select.EPOLLIN)
        finally:
            watchers.clear()
            epoll.close()
