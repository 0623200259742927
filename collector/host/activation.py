"""Listening sockets that a service manager handed over.

The manager keeps them while the daemon is away, and clients queue there, so none meets a refusal.
systemd passes descriptors from 3 on, with their number and names in the environment
(sd_listen_fds(3)); launchd is asked by name (see `launchd`). Which listener a socket belongs
to is told by its address, not by its name: the configuration alone says where the daemon
listens, and a name could say something else.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from collector.host import launchd

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

FIRST_DESCRIPTOR = 3
MAX_DESCRIPTORS = 64
"""Far more than there are listeners; a larger number is no number of sockets."""

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class Inherited:
    """The sockets, each of which can be taken once.

    Args:
        sockets: with the names that the manager gives them.
    """

    def __init__(self, sockets: Sequence[tuple[str, socket.socket]] = ()) -> None:
        self._sockets = [(name, address_of(sock), sock) for name, sock in sockets]

    def take(self, address: str) -> socket.socket | None:
        """The one at an address, such as `127.0.0.1:9000` or `unix:/path`; None where there is none."""
        wanted = _resolved(address)
        for entry in self._sockets:
            if _resolved(entry[1]) == wanted:
                self._sockets.remove(entry)
                return entry[2]
        return None

    def give_back(self, sock: socket.socket) -> None:
        """Let one be taken again, under its address alone."""
        self._sockets.append(("given up", address_of(sock), sock))

    def close(self) -> list[str]:
        """Close those that nobody took.

        Returns:
            Their names and addresses, for people.
        """
        left = [f"{name} ({address})" for name, address, _ in self._sockets]
        for _, _, sock in self._sockets:
            sock.close()
        self._sockets = []
        return left


def inherited(environ: MutableMapping[str, str]) -> Inherited:
    """Take over what this process was handed.

    Args:
        environ: of the process; what systemd said in it is taken out, since it is not for children.
    """
    said = {name: environ.pop(name, "") for name in _VARIABLES}
    sockets = _from_systemd(said) if said["LISTEN_PID"] == str(os.getpid()) else []
    return Inherited([*sockets, *launchd.activated()])


def _from_systemd(said: dict[str, str]) -> list[tuple[str, socket.socket]]:
    count = int(said["LISTEN_FDS"]) if said["LISTEN_FDS"].isdecimal() else 0
    names = said["LISTEN_FDNAMES"].split(":")
    sockets = []
    for index in range(min(count, MAX_DESCRIPTORS)):
        name = names[index] if index < len(names) and names[index] else "unknown"
        descriptor = FIRST_DESCRIPTOR + index
        try:
            # They come without it, and no child shall keep a port open.
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - its signature
            sockets.append((name, socket.socket(fileno=descriptor)))
        except OSError:
            continue  # stored descriptors that are no sockets come by the same way
    return sockets


def address_of(sock: socket.socket) -> str:
    """Where a socket is bound, as a person would write it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = os.fsdecode(name)
        return f"unix:@{path[1:]}" if path.startswith("\0") else f"unix:{path}"
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        host, port = name[:2]
        return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"
    return str(name)


def _resolved(address: str) -> str:
    """An address whose path goes through no link: /var/run is often one to /run."""
    path = address.removeprefix("unix:")
    return f"unix:{os.path.realpath(path)}" if path != address and path.startswith("/") else address
