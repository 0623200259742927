"""A connected socket as a trio stream, with as few system calls and task switches as can be.

trio's own `SocketStream` tries to receive before it waits, and gives way to other tasks after
each call that succeeds at once. A server that has just answered knows that there is nothing to
receive yet, and its next receive gives way anyhow.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

import trio

from collector.listener.routes import Peer


class SocketStream(trio.abc.HalfCloseableStream):
    """Owns `sock`, which must be connected; one task at a time may use it.

    `send_all` is no checkpoint when the kernel takes all at once; `receive_some` always is one.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._sock = sock

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; empty at the end.

        Raises:
            OSError: the connection broke.
        """
        size = max_bytes or 65536
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(size)
            except BlockingIOError:
                continue

    def fileno(self) -> int:
        """The socket's, as long as it is open."""
        return self._sock.fileno()

    def receive_now(self, max_bytes: int) -> bytes:
        """What has come already; empty at the end.

        Raises:
            BlockingIOError: nothing has.
            OSError: the connection broke.
        """
        return self._sock.recv(max_bytes)

    def send_now(self, data: bytes) -> int:
        """Send what the kernel takes at once.

        Returns:
            How much that was.

        Raises:
            OSError: the connection broke.
        """
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def receive_nowait(self, max_bytes: int) -> bytes:
        """What has come already; empty when nothing has."""
        try:
            return self._sock.recv(max_bytes)
        except OSError:
            return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it.

        Raises:
            OSError: the connection broke.
        """
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        with memoryview(data) as rest:
            while sent < len(rest):
                await trio.lowlevel.wait_writable(self._sock)
                with contextlib.suppress(BlockingIOError), rest[sent:] as part:
                    sent += self._sock.send(part)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes at least one more byte."""
        await trio.lowlevel.wait_writable(self._sock)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close it; no task may be using it."""
        self._sock.close()

    async def aclose(self) -> None:
        """Close; closing twice is allowed."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        await trio.lowlevel.checkpoint()


def peer_of(sock: socket.socket, address: object) -> Peer:
    """Who is at the other end of an accepted socket, as far as the kernel tells.

    Args:
        sock: as accepted.
        address: as `accept` gave it.
    """
    if sock.family != socket.AF_UNIX:
        return Peer("tcp", address=str(address[0]) if isinstance(address, tuple) else "")
    if sys.platform == "darwin":
        return _darwin_peer(sock)
    if hasattr(socket, "SO_PEERCRED"):
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, gid = _UCRED.unpack(raw)
        return Peer("unix", uid=uid, gid=gid, pid=pid or None, groups=_groups(sock))
    return Peer("unix")


def _groups(sock: socket.socket) -> tuple[int, ...]:
    """The peer's further groups, as they were when it connected; none where the kernel does not tell."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * _GID.size)
    except OSError:
        return ()
    return tuple(gid for (gid,) in _GID.iter_unpack(raw[: len(raw) // _GID.size * _GID.size]))


_UCRED = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid
_GID = struct.Struct("=I")
_SO_PEERGROUPS = 59  # Linux since 4.13; Python has no name for it
_MAX_GROUPS = 256

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # of sys/un.h; Python has no names for all of them
_XUCRED = struct.Struct("=IIhxx16I")  # struct xucred of sys/ucred.h: version, uid, number of groups, groups
_XUCRED_VERSION = 0


def _darwin_peer(sock: socket.socket) -> Peer:
    """Who it is by macOS; nobody, where what it says cannot be read. The first group is the effective one."""
    try:
        version, uid, count, *groups = _XUCRED.unpack(
            sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
        )
    except (OSError, struct.error):
        return Peer("unix")
    if version != _XUCRED_VERSION or not 1 <= count <= len(groups):
        return Peer("unix")
    try:
        pid = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
    except OSError:  # it may have ended since
        pid = 0
    gid, *more = groups[:count]
    return Peer("unix", uid=uid, gid=gid, pid=pid or None, groups=tuple(more))
