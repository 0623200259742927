"""Listening sockets from the configuration's `bind` values.

A UNIX socket's file outlives its process. One that a dead process left is replaced; one that
somebody answers on is never taken. The check, the removal and the bind happen under a lock on
the directory, so that of two processes that start together one gets the socket and the other
an error.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from collector.config.addresses import TcpAddress, UnixAddress, parse_bind
from collector.core.limits import LISTEN_BACKLOG
from collector.errors import BindError
from collector.host.activation import Inherited, address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_UNIX_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes of a socket's path: `sun_path` holds 104 on macOS and 108 on Linux, with the closing NUL."""

_LOCK_TRIES = 100
_LOCK_PAUSE = 0.01  # seconds

_NO_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


@dataclass(slots=True)
class BoundSocket:
    """A socket that listens.

    Attributes:
        sock: non-blocking.
        address: as a person would write it: `127.0.0.1:9000`, `[::1]:9000`, `unix:/path`.
        kind: the sort of peers it brings.
        inherited: it was handed to us (socket activation): its file and queue are not ours.
    """

    sock: socket.socket
    address: str
    kind: Literal["tcp", "unix"]
    inherited: bool = False
    _file: tuple[str, int, int] | None = field(default=None, repr=False)

    def restrict(self, *, mode: int, group: str | None) -> None:
        """Set mode and group of the file made here, as `bind` does; of any other nothing is changed.

        Raises:
            OSError: the file is gone, or not ours.
            BindError: there is no such group, or the file may not be given to it.
        """
        if self._file is not None:
            path, _, _ = self._file
            gid = _group_id(self.address, group)
            _give(path, os.getgid() if gid is None else gid, self.address)
            Path(path).chmod(mode)

    def close(self) -> None:
        """Close it, and remove its file if that is still the one made here; more than once is allowed."""
        made, self._file = self._file, None
        if made is not None:
            path, device, inode = made
            # While the socket is open its inode cannot be another file's.
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == (device, inode):
                    Path(path).unlink()
        self.sock.close()


def adopt(sock: socket.socket) -> BoundSocket:
    """A listening socket that the service manager handed over.

    Raises:
        BindError: it is neither TCP nor UNIX, or no stream socket.
    """
    address = address_of(sock)
    if sock.type != socket.SOCK_STREAM or sock.family not in {
        socket.AF_INET,
        socket.AF_INET6,
        socket.AF_UNIX,
    }:
        raise BindError(address=address, reason="the inherited socket is not a TCP or UNIX stream socket")
    sock.settimeout(0)
    kind: Literal["tcp", "unix"] = "unix" if sock.family == socket.AF_UNIX else "tcp"
    return BoundSocket(sock, address, kind, inherited=True)


def bind(
    text: str,
    *,
    mode: int = 0o660,
    group: str | None = None,
    inherited: Inherited | None = None,
    backlog: int = LISTEN_BACKLOG,
) -> list[BoundSocket]:
    """Bind and listen, or take over what listens there for us already.

    Args:
        text: `localhost:9000` for 127.0.0.1 and, where there is IPv6, ::1; an IP literal and a
            port (0: the system chooses); or `unix:/absolute/path`.
        mode: of a UNIX socket's file.
        group: of a UNIX socket's file, by name; None leaves the process's.
        inherited: sockets that the service manager made; their mode, group and queue are its own affair.
        backlog: clients that the kernel lets wait.

    Raises:
        BindError: in one line, what is in the way.
    """
    try:
        address = parse_bind(text)
    except ValueError as error:
        raise BindError(address=text, reason=f"expected {error}") from None
    handed = inherited or Inherited()
    if isinstance(address, UnixAddress):
        sock = handed.take(f"unix:{address.path}")
        if sock is not None:
            return [adopt(sock)]
        return [_bind_unix(address.path, mode=mode, group=group, backlog=backlog)]
    return _bind_tcp(address, handed, backlog)


def _bind_tcp(address: TcpAddress, handed: Inherited, backlog: int) -> list[BoundSocket]:
    bound: list[BoundSocket] = []
    port = address.port
    for host in address.hosts:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        given = handed.take(where)
        if given is not None:
            bound.append(adopt(given))
            continue
        try:
            sock = _listen_tcp(host, port, backlog)
        except OSError as error:
            if bound and error.errno in _NO_FAMILY:
                continue  # a machine without IPv6 has one localhost
            for other in bound:
                other.close()
            raise BindError(address=where, reason=_why(error)) from None
        port = sock.getsockname()[1]  # for port 0: the same on both
        bound.append(BoundSocket(sock, address_of(sock), "tcp"))
    return bound


def _listen_tcp(host: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.settimeout(0)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, *, mode: int, group: str | None, backlog: int) -> BoundSocket:
    where = f"unix:{path}"
    length = len(os.fsencode(path))
    if length > MAX_UNIX_PATH:
        reason = f"the path has {length} bytes, and a socket's path may have {MAX_UNIX_PATH}"
        raise BindError(address=where, reason=reason)
    gid = _group_id(where, group)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        parent = Path(path).parent
        _make_parent(parent, gid, where)
        with _locked(parent, where):
            _clear(path, where)
            made = _bind_closed(sock, path)
            try:
                if gid is not None:
                    _give(path, gid, where)
                Path(path).chmod(mode)
                sock.listen(backlog)
            except (OSError, BindError):
                Path(path).unlink()
                raise
        sock.settimeout(0)
    except OSError as error:
        sock.close()
        raise BindError(address=where, reason=_why(error)) from None
    except BindError:
        sock.close()
        raise
    return BoundSocket(sock, where, "unix", _file=(path, made.st_dev, made.st_ino))


def _group_id(where: str, group: str | None) -> int | None:
    if group is None:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise BindError(address=where, reason=f"there is no group {group!r}") from None


def _give(path: str, gid: int, where: str) -> None:
    """Have a file belong to a group; where it does already nothing is asked, for a service may not even ask.

    Raises:
        BindError: that is not allowed.
    """
    if os.lstat(path).st_gid == gid:
        return
    try:
        os.chown(path, -1, gid)
    except OSError as error:
        reason = (
            f"`group` may not have it ({error.strerror}): the daemon can give it to groups of its own, "
            "and under its systemd unit to that unit's Group= alone; "
            "for another one let a socket unit listen there, with SocketGroup="
        )
        raise BindError(address=where, reason=reason) from None


def _make_parent(parent: Path, gid: int | None, where: str) -> None:
    """Make a missing directory that nobody but the owner, and the socket's group, may enter."""
    if parent.is_dir():
        return
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BindError(address=where, reason=f"{parent} is not a directory") from None
    if gid is not None:
        _give(str(parent), gid, where)
        parent.chmod(0o710)


@contextlib.contextmanager
def _locked(directory: Path, where: str) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE)
        else:
            raise BindError(address=where, reason=f"another process holds a lock on {directory}")
        yield
    finally:
        os.close(handle)


def _clear(path: str, where: str) -> None:
    """Remove the socket of a dead process; refuse anything else that is in the way."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(address=where, reason="a file that is not a socket is in the way; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        refused = probe.connect_ex(path)
    if refused == errno.ECONNREFUSED:
        Path(path).unlink()
    elif refused != errno.ENOENT:
        # EAGAIN is a full queue: alive too. Where we may not even ask, it is not ours to remove.
        alive = refused in {0, errno.EAGAIN, errno.EINPROGRESS}
        reason = (
            "another process listens there"
            if alive
            else f"cannot tell whether it is in use: {os.strerror(refused)}"
        )
        raise BindError(address=where, reason=reason)


def _bind_closed(sock: socket.socket, path: str) -> os.stat_result:
    """Bind so that nobody else may connect before owner, group and mode are set."""
    before = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(before)
    return os.lstat(path)


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another process"
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 and foreign directories need more rights"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or str(error)
