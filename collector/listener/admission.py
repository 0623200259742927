"""Who may ask at all: by user over UNIX sockets, by Host over TCP, by Origin, and by a token.

A page of any web site can make a browser send requests to 127.0.0.1. Two things give it away.
Its Origin is its own site's, and such a request is refused unless the configuration allows that
origin. And where it came through a name of its own that it pointed at us (DNS rebinding), the
Host is that name. A client that is no browser can be told by what the kernel says of it, on a UNIX
socket, or by a token that it knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from collector.config.accounts import group_id, user_id
from collector.config.addresses import UnixAddress
from collector.core.http import Answer, error_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.config.model import Listener
    from collector.listener.routes import Peer, Request
    from collector.listener.token import BearerToken

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""The names by which every machine knows itself."""

PREFLIGHT_MAX_AGE = 600
"""Seconds a browser may remember a preflight. Chromium keeps none longer than two hours; short,
since an origin that is taken off the list should stop soon."""

_FOREIGN_HOST = error_answer(403, "This Host is not served here; see allowed_hosts.")
_BAD_HOST = error_answer(400, "The Host header is not a host's name.", close=True)
_FOREIGN_ORIGIN = error_answer(403, "Pages of this origin may not use this; see allowed_origins.")

_FOREIGN_USER = error_answer(403, "Your user may not use this socket; see allow_users and allow_groups.")
_NO_TOKEN = error_answer(
    401,
    "This needs an Authorization: Bearer header with the token.",
    headers=(("WWW-Authenticate", "Bearer"),),
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")

_HOST = re.compile(r"(?:[!$&'()*+;=0-9A-Za-z._~%-]*|\[[0-9A-Fa-fv:.]+\])(?::[0-9]*)?")
"""RFC 9110, section 7.2, but for the comma: `a, b` is what a proxy makes of two Host headers."""

_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")

_MAX_KNOWN = 64


def host_name(host: str) -> str:
    """A Host header without its port, lower case; an IPv6 address keeps its brackets."""
    host = host.strip(" \t").lower()
    name, colon, port = host.rpartition(":")
    if colon and "]" not in port and (not port or (port.isascii() and port.isdigit())):
        return name
    return host


def may_be_pointed_here(host: str) -> bool:
    """Whether a Host is a name that somebody on a network can point at this machine.

    Addresses are none, nor is a single word, nor a socket's path or file name: such things are what
    clients of UNIX sockets put there.
    """
    name = host_name(host).removesuffix(".")
    if "." not in name or name.startswith("[") or name.endswith((".sock", ".socket")):
        return False
    return not ("/" in name or "%2f" in name or _IPV4.fullmatch(name))


class Admission:
    """The gate of one listener.

    Args:
        hosts: taken in Host over TCP, besides `LOCAL_HOSTS`, whatever their port.
        origins: allowed, as browsers send them: `http://localhost:3000`, or `null`.
        check_host: False for UNIX sockets, whose clients send anything there.
        users: ids of the users that alone may ask over a UNIX socket; with `groups` None too, all may.
        groups: ids of the groups whose members may.
        token: what requests that change something must carry.
    """

    def __init__(
        self,
        *,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        check_host: bool = True,
        users: Iterable[int] = (),
        groups: Iterable[int] = (),
        token: BearerToken | None = None,
    ) -> None:
        self._users = frozenset(users)
        self._groups = frozenset(groups)
        self._check_peer = bool(self._users or self._groups)
        self._token = token
        self._check_host = check_host
        self._hosts = frozenset(host_name(host) for host in (*LOCAL_HOSTS, *hosts))
        self._known: set[str] = set()
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    @classmethod
    def of(cls, listener: Listener, token: BearerToken | None = None) -> Admission:
        """The gate that a listener's configuration asks for.

        An IP address that it is bound to by name is among its hosts: no rebinding goes through one.
        """
        address = listener.address
        if isinstance(address, UnixAddress):
            return cls(
                origins=listener.allowed_origins,
                check_host=False,
                users=map(user_id, listener.allow_users),
                groups=map(group_id, listener.allow_groups),
                token=token,
            )
        own = (f"[{host}]" if ":" in host else host for host in address.hosts)
        return cls(hosts=(*listener.allowed_hosts, *own), origins=listener.allowed_origins, token=token)

    def refuse(self, head: Request) -> Answer | None:
        """403 for a foreign user, Host or Origin, 400 for a Host that is none."""
        headers = head.headers
        if self._check_peer and not self._knows(head.peer):
            return _FOREIGN_USER
        origin = headers.get("origin")
        if self._check_host:
            host = headers.get("host")
            if host is None:
                if origin is not None:  # HTTP/1.0 needs no Host, and no browser speaks it
                    return _FOREIGN_HOST
            elif host not in self._known and not self._learn(host):
                return _FOREIGN_HOST if _HOST.fullmatch(host) else _BAD_HOST
        if origin is not None and origin.lower() not in self._origins:
            return _FOREIGN_ORIGIN
        return None

    def authorise(self, head: Request) -> Answer | None:
        """401 for what changes something and does not carry the token."""
        if self._token is None or head.method in _SAFE:
            return None
        return None if self._token.fits(head.headers.get("authorization")) else _NO_TOKEN

    def cors(self, origin: str) -> str:
        """What lets a page of an allowed origin read an answer."""
        if origin.lower() not in self._origins:
            return ""
        return f"Access-Control-Allow-Origin: {origin}\r\nVary: Origin\r\n"

    def preflight(self, head: Request, methods: str) -> Answer:
        """OPTIONS: the methods, and for a page the headers that it asks for.

        A foreign origin never comes this far: `refuse` precedes it.
        """
        asked = head.headers.get("access-control-request-method")
        if "origin" not in head.headers or asked is None:
            return Answer(204, headers=(("Allow", methods),))
        headers = [("Access-Control-Allow-Methods", methods)]
        wanted = head.headers.get("access-control-request-headers", "")
        if _TOKENS.fullmatch(wanted):
            headers.append(("Access-Control-Allow-Headers", wanted))
        if head.headers.get("access-control-request-private-network") == "true":
            # Chromium before 142 asks for this where it now asks the user.
            headers.append(("Access-Control-Allow-Private-Network", "true"))
        headers.append(("Access-Control-Max-Age", str(PREFLIGHT_MAX_AGE)))
        return Answer(204, headers=tuple(headers))

    def _knows(self, peer: Peer) -> bool:
        """Whether the kernel says that this is one of those who may."""
        if peer.uid is None:
            return False
        return peer.uid in self._users or peer.gid in self._groups or not self._groups.isdisjoint(peer.groups)

    def _learn(self, host: str) -> bool:
        if host_name(host) not in self._hosts:
            return False
        if len(self._known) < _MAX_KNOWN:
            self._known.add(host)
        return True
