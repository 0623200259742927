"""Where a listener binds: one TCP port on loopback, or a UNIX socket."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "::1")
"""What `localhost` means here, whatever the resolver says."""

DEFAULT_PORT = 9000
"""The port of the Samsara ingestion API's document."""

MAX_UNIX_PATH = 107
"""Bytes of a UNIX socket's path: `sun_path` holds 108 on Linux with the closing NUL."""

_EXPECTED = '"localhost:PORT", "127.0.0.1:PORT", "[::1]:PORT" or "unix:/absolute/path"'
_MAX_PORT = 65535
_PORT_DIGITS = 5


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """One port on one or more addresses.

    Attributes:
        hosts: IP literals without brackets; two for `localhost`.
        port: 0 lets the system choose.
    """

    hosts: tuple[str, ...]
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether no other machine can reach it."""
        return all(ipaddress.ip_address(host).is_loopback for host in self.hosts)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A UNIX socket at an absolute path."""

    path: str


Address = TcpAddress | UnixAddress


def parse_bind(text: str) -> Address:
    """Read a `bind` value.

    Raises:
        ValueError: it is none of the forms; its text says which forms there are.
    """
    if not text.isprintable():
        # A NUL among them is what no path can hold; the others nobody could see in a log.
        raise ValueError(f"{_EXPECTED}, in printable characters")
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError(_EXPECTED)
        if len(path.encode()) > MAX_UNIX_PATH:
            raise ValueError(f"a socket path of at most {MAX_UNIX_PATH} bytes")
        return UnixAddress(path)
    host, separator, digits = text.rpartition(":")
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _PORT_DIGITS
    if not separator or not is_number or int(digits) > _MAX_PORT:
        raise ValueError(_EXPECTED)
    if host == "localhost":
        return TcpAddress(LOOPBACK, int(digits))
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        literal = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if bracketed != (literal.version == 6):  # noqa: PLR2004 - the IP version itself
        raise ValueError(_EXPECTED)
    return TcpAddress((str(literal),), int(digits))
