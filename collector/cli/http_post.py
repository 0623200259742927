"""The least of an HTTP/1.1 client that can post to a daemon on this machine, and ask it.

A connection a request: loopback makes them cheap, and a kept one may be closed by the
other side just as the request leaves, so that nobody knows whether it was taken.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.errors import DaemonUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from io import BufferedReader

MAX_LINE_BYTES = 64 * 1024
MAX_HEADERS = 200
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The largest is a page of dead letters with one event in it, of the 32 MiB that a request may be."""

_OK = 200
_CONTINUE = range(100, 200)
_NO_BODY = {204, 304}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a daemon listens.

    Attributes:
        name: as people know it.
        unix_path: of its socket; None where host and port count.
        host: a name or an IP literal without brackets.
        path: of the URL.
    """

    name: str
    unix_path: str | None = None
    host: str = "localhost"
    port: int = 80
    path: str = "/v1/events"


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, the body in full.

    Attributes:
        place: who answered, as people know it; empty where there was only one to ask.
    """

    status: int
    body: bytes
    place: str = ""


def post(target: Target, body: bytes, headers: Mapping[str, str], *, timeout: float) -> Reply:
    """Post a body and wait for the answer.

    Args:
        target: takes it.
        body: sent as it is.
        headers: beyond Host, Content-Length and Connection.
        timeout: seconds, of each step: the connection, a write, a read.

    Raises:
        DaemonUnavailable: nothing listens there, or what does gives no HTTP answer.
        UsageError: the target's host cannot be a host's name.
    """
    return _exchange("POST", target, body, headers, timeout)


def get(target: Target, *, timeout: float) -> Reply:
    """Ask for the target's path.

    Raises:
        DaemonUnavailable: nothing listens there, or what does gives no HTTP answer.
    """
    return _exchange("GET", target, b"", {}, timeout)


def stream(target: Target, *, timeout: float) -> Reply | tuple[int, Generator[bytes]]:
    """Ask for an answer without an end.

    Args:
        target: asked for its path.
        timeout: seconds, of each step: the connection, and the wait for each line.

    Returns:
        The status and the lines of a success, which end with the connection; the answer where it is none.

    Raises:
        DaemonUnavailable: nothing listens there, or what does gives no HTTP answer; while the lines are
            read, that none came in time.
    """
    connection = _connect(target, timeout)
    reader = connection.makefile("rb")
    try:
        connection.sendall(_head("GET", target, b"", {}))
        status, headers = _read_head(reader)
        if status != _OK or "content-length" in headers:
            body = _read_exactly(reader, _bounded(int(headers.get("content-length", "0"))))
            _close(connection, reader)
            return Reply(status, body)
    except (OSError, ValueError) as error:
        _close(connection, reader)
        raise _silence(target, error) from None
    return status, _lines(target, connection, reader)


def _lines(target: Target, connection: socket.socket, reader: BufferedReader) -> Generator[bytes]:
    try:
        yield from reader
    except OSError as error:
        raise _silence(target, error) from None
    finally:
        _close(connection, reader)


def _close(connection: socket.socket, reader: BufferedReader) -> None:
    reader.close()
    connection.close()


def _silence(target: Target, error: Exception, method: str = "GET") -> DaemonUnavailable:
    reason = "no answer in time" if isinstance(error, TimeoutError) else error
    unknown = "" if method == "GET" else "; the request may have been carried out or not"
    return DaemonUnavailable(f"{target.name}: {reason}{unknown}")


def _exchange(method: str, target: Target, body: bytes, headers: Mapping[str, str], timeout: float) -> Reply:
    connection = _connect(target, timeout)
    with connection, connection.makefile("rb") as reader:
        try:
            connection.sendall(_head(method, target, body, headers) + body)
        except (BrokenPipeError, ConnectionResetError):
            # A body that is refused early is answered before it was read; look for that.
            pass
        except OSError as error:
            raise _silence(target, error, method) from None
        try:
            return _read_reply(reader)
        except (OSError, ValueError) as error:
            raise _silence(target, error, method) from None


def _connect(target: Target, timeout: float) -> socket.socket:
    try:
        if target.unix_path is None:
            return socket.create_connection((target.host, target.port), timeout)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(target.unix_path)
        except BaseException:
            connection.close()
            raise
    except UnicodeError:
        # Names are looked up in IDNA, which has no empty labels and none above 63 characters.
        raise UsageError(f"{target.name}: not the name of a host") from None
    except OSError as error:
        hint = (
            "is this user in the socket's group?" if isinstance(error, PermissionError) else "is it running?"
        )
        raise DaemonUnavailable(f"no daemon at {target.name}: {error.strerror or error} ({hint})") from None
    return connection


def _head(method: str, target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [
        f"{method} {target.path} HTTP/1.1",
        f"Host: {host}" if target.unix_path is not None else f"Host: {host}:{target.port}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _read_reply(reader: BufferedReader) -> Reply:
    """Read one answer, past those that only ask for patience.

    Raises:
        OSError: the connection failed.
        ValueError: what came is not an HTTP answer, or breaks off.
    """
    status, headers = _read_head(reader)
    while status in _CONTINUE:
        status, headers = _read_head(reader)
    if status in _NO_BODY:
        return Reply(status, b"")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Reply(status, _read_chunked(reader))
    length = headers.get("content-length")
    if length is None:
        return Reply(status, reader.read(MAX_ANSWER_BYTES))
    return Reply(status, _read_exactly(reader, _bounded(int(length))))


def _read_head(reader: BufferedReader) -> tuple[int, dict[str, str]]:
    version, _, rest = _read_line(reader).partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ValueError("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = _read_line(reader)
        if not line:
            return int(status), headers
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("the answer has too many headers")


def _read_line(reader: BufferedReader) -> str:
    line = reader.readline(MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise ValueError("the answer breaks off" if line else "the connection was closed without an answer")
    return line.rstrip(b"\r\n").decode("latin-1")


def _read_exactly(reader: BufferedReader, length: int) -> bytes:
    data = reader.read(length)
    if len(data) < length:
        raise ValueError("the answer breaks off")
    return data


def _read_chunked(reader: BufferedReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while size := int(_read_line(reader).partition(";")[0], 16):
        total = _bounded(total + size)
        parts.append(_read_exactly(reader, size))
        _read_line(reader)
    return b"".join(parts)


def _bounded(length: int) -> int:
    if not 0 <= length <= MAX_ANSWER_BYTES:
        raise ValueError("the answer is too long")
    return length
