"""Capability URLs: who may see the status page in a browser, where no header and no cookie can say so.

`waystation open` asks for a link over the UNIX socket. A link works once and soon: the browser
that opens it is sent on to an address with a key of its own, so that what stood in a terminal or on a
command line is worth nothing any more. The key works while the page is looked at, and an hour
longer. Both end with the daemon, and neither opens anything but the page.

Nothing is kept of them but their digests, so that looking one up takes no time that tells.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_SECONDS = 300.0
"""From the making of a link to its opening."""

KEY_SECONDS = 3600.0
"""From the last use of a key to its end."""

MAX_LINKS = 16
MAX_KEYS = 64
"""Beyond these the ones that would end first go: as many as screens and people that look at one device."""


class Links:
    """Those that are valid now.

    Args:
        now: seconds on a clock that nobody sets.
        secret: makes a text that nobody guesses, fit for a URL.
    """

    def __init__(self, now: Callable[[], float], secret: Callable[[], str]) -> None:
        self._now = now
        self._secret = secret
        self._links = _Bounded(LINK_SECONDS, MAX_LINKS)
        self._keys = _Bounded(KEY_SECONDS, MAX_KEYS)

    def make(self) -> str:
        """A link's own secret; it works once."""
        return self._made(self._links)

    def has_link(self, link: str) -> bool:
        """Whether a link has yet to be opened."""
        return self._links.holds(_digest(link), self._now())

    def open(self, link: str) -> str | None:
        """Open a link: the key that takes its place, None where the link is no longer one."""
        digest = _digest(link)
        if not self._links.holds(digest, self._now()):
            return None
        self._links.end(digest)
        return self._made(self._keys)

    def has_key(self, key: str) -> bool:
        """Whether a key is valid; it is so for longer then."""
        digest, now = _digest(key), self._now()
        if not self._keys.holds(digest, now):
            return False
        self._keys.add(digest, now)
        return True

    def _made(self, kind: _Bounded) -> str:
        secret = self._secret()
        kind.add(_digest(secret), self._now())
        return secret


class _Bounded:
    """Digests with an end, no more than `count`, in the order of their ends."""

    def __init__(self, seconds: float, count: int) -> None:
        self._seconds = seconds
        self._count = count
        self._ends: dict[bytes, float] = {}

    def add(self, digest: bytes, now: float) -> None:
        self._ends.pop(digest, None)
        self._ends[digest] = now + self._seconds
        while len(self._ends) > self._count:
            del self._ends[next(iter(self._ends))]

    def end(self, digest: bytes) -> None:
        self._ends.pop(digest, None)

    def holds(self, digest: bytes, now: float) -> bool:
        return self._ends.get(digest, -1.0) > now


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def query_value(query: str, name: str) -> str:
    """The value of a query's field, empty where it has none; the last one, where it has several."""
    return dict(parse_qsl(query, keep_blank_values=True)).get(name, "")
