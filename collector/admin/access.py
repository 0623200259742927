"""Who may use the admin listener.

Over the UNIX socket its mode decides, and no page is let in: the socket may be forwarded to a port that
a browser can reach, by ssh or socat. Over TCP any local user and any web page can knock, so
there are three doors, in this order:

1. Host must be a name of loopback, else a page that pointed a name of its own at 127.0.0.1
   would pass for us (DNS rebinding).
2. Nothing that a page of another site caused goes further: a foreign Origin, or a
   Sec-Fetch-Site that says so. The page that this listener serves itself has its own origin.
3. All but `OPEN` needs the token, as `Authorization: Bearer`; the status page alone can be had by
   the key of a link too, see `links`. No cookie is ever set or read: cookies know no ports, so
   any other server on this machine would be sent ours.
"""

from __future__ import annotations

import hmac
import os
import secrets
from typing import TYPE_CHECKING

from collector.admin import html, page
from collector.admin.links import query_value
from collector.config.secret import read_secret_file
from collector.core.http import Answer, error_answer
from collector.listener import api_status, contract
from collector.listener.admission import LOCAL_HOSTS, host_name, may_be_pointed_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from collector.admin.links import Links
    from collector.listener.routes import Request

OPEN = frozenset({"/livez", "/readyz", api_status.PATH, contract.PATH, *html.ASSETS})
"""Paths that need no token."""

TOKEN_FILE = "admin.token"  # noqa: S105 (a file's name)
"""In the state directory, where no token is configured."""

_FOREIGN_HOST = error_answer(403, "This Host is not served here.")
_FOREIGN_PAGE = error_answer(403, "Pages of other sites may not use this.")
_NO_TOKEN = error_answer(
    401,
    "This needs the admin token: Authorization: Bearer TOKEN. Over the UNIX socket it does not.",
    headers=(("WWW-Authenticate", 'Bearer realm="waystation"'),),
)
_NO_LINK = html.bare(
    401,
    "This link has ended",
    "A link to the status page works once, and a page that was closed for an hour."
    " <code>waystation open</code> makes a new one.",
    headers=(("WWW-Authenticate", 'Bearer realm="waystation"'),),
)
_SAME_SITE = frozenset({"same-origin", "none"})


class _NoPages:
    """The part of a gate that tells browsers that their pages may do nothing."""

    def authorise(self, head: Request) -> None:
        """Nothing more: the token was asked for before."""

    def cors(self, origin: str) -> str:  # noqa: ARG002 (a Gate's signature)
        """Nothing: no page but its own may read an answer."""
        return ""

    def preflight(self, head: Request, methods: str) -> Answer:  # noqa: ARG002 (likewise)
        """The methods, and no leave for any page."""
        return Answer(204, headers=(("Allow", methods),))


class SocketAccess(_NoPages):
    """The gate of an admin listener on a UNIX socket."""

    def refuse(self, head: Request) -> Answer | None:
        """403 for what a page caused, and for a Host that a page may have pointed at this machine."""
        headers = head.headers
        if "origin" in headers or headers.get("sec-fetch-site", "none") not in _SAME_SITE:
            return _FOREIGN_PAGE
        return _FOREIGN_HOST if may_be_pointed_here(headers.get("host", "")) else None


class Access(_NoPages):
    """The gate of an admin listener on TCP.

    Args:
        tokens: those that are valid now.
        links: to the status page.
    """

    def __init__(self, tokens: Callable[[], tuple[bytes, ...]], links: Links) -> None:
        self._tokens = tokens
        self._links = links

    def refuse(self, head: Request) -> Answer | None:
        """403 for a foreign Host or page, 401 without the token or, for the status page, a link."""
        headers = head.headers
        host = headers.get("host")
        if host is None or host_name(host) not in LOCAL_HOSTS:
            return _FOREIGN_HOST
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return _FOREIGN_PAGE
        if headers.get("sec-fetch-site", "none") not in _SAME_SITE:
            return _FOREIGN_PAGE
        if head.path in OPEN or self._is_authorized(headers.get("authorization", "")):
            return None
        if head.path not in page.PATHS:
            return _NO_TOKEN
        return None if self._has_link(head) else _NO_LINK

    def _has_link(self, head: Request) -> bool:
        if self._links.has_key(query_value(head.query, "key")):
            return True
        return head.path == page.ROOT and self._links.has_link(query_value(head.query, "link"))

    def _is_authorized(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        claimed = given.strip().encode("latin-1", "replace")
        return any(hmac.compare_digest(claimed, token) for token in self._tokens())


def kept_token(file: Path, environ: Mapping[str, str]) -> bytes:
    """The token that is kept in a file; made, readable by its owner alone, where there is none.

    Raises:
        SecretError: it cannot be read, or others may read it.
        OSError: it cannot be made.
    """
    if not file.exists():
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as new:
            new.write(secrets.token_urlsafe(32).encode() + b"\n")
    return read_secret_file(file, environ)
