"""Looking names up without holding anything else up.

The system's resolver blocks a thread, for half a minute and more where nobody answers it, and a thread
that nobody waits for any more goes on. All of trio's threads share one bound by default: a dead
resolver would so come to stop the work of every lane. Here each name has a bound of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Literal

import trio

LOOKUPS_AT_ONCE = 2
"""Of one name; further ones wait for these, within their connect time-out."""

IPv4 = tuple[Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]]
IPv6 = tuple[
    Literal[socket.AddressFamily.AF_INET6],
    socket.SocketKind,
    int,
    str,
    tuple[str, int, int, int] | tuple[int, bytes],
]
LookUp = Callable[[bytes | None, bytes | str | int | None, int, int, int, int], list[IPv4 | IPv6]]


class Names(trio.abc.HostnameResolver):
    """For `trio.socket.set_custom_hostname_resolver`.

    Args:
        look_up: as `socket.getaddrinfo`.
    """

    def __init__(self, look_up: LookUp = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._limits: dict[bytes | None, trio.CapacityLimiter] = {}

    async def getaddrinfo(  # noqa: D102 -- as trio says
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 -- the name is trio's
        proto: int = 0,
        flags: int = 0,
    ) -> list[IPv4 | IPv6]:
        # As many as the configuration has names: nothing else is looked up.
        limit = self._limits.setdefault(host, trio.CapacityLimiter(LOOKUPS_AT_ONCE))
        return await trio.to_thread.run_sync(
            partial(self._look_up, host, port, family, type, proto, flags),
            abandon_on_cancel=True,
            limiter=limit,
        )

    async def getnameinfo(  # noqa: D102
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        return await trio.to_thread.run_sync(
            partial(socket.getnameinfo, sockaddr, flags), abandon_on_cancel=True
        )
