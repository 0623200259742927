"""Heads that were read before: the same bytes mean the same request.

A client sends the same head again and again; only a few values differ, and nothing of how it is
read depends on them. So a head is remembered without those values, once llhttp and every check
have taken it, and when it comes again as the head of one whole request, it is not parsed
anew. Whatever is not remembered goes the long way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collector.core.limits import ConnectionLimits
    from collector.listener.routes import Request

MAX_HEADS = 256
"""Remembered at most, by each listener; all are forgotten when there are more."""

MAX_HEAD_BYTES = 2048
"""Longer heads are not remembered."""

_END = b"\r\n\r\n"
_LENGTH = "content-length"
_LENGTH_DIGITS = 9

_SPECIAL = frozenset({"connection", "expect", "origin", "proxy-connection", "transfer-encoding", "upgrade"})
"""Headers that decide more than one request's answer: heads with one of them are read each time."""

_VARYING = re.compile(
    rb"\r\n([Cc]ontent-[Ll]ength|[Xx]-[Ss]amsara-[Pp]ublishedTimestamp|[Xx]-[Pp]roduct-[Aa]uth)"
    rb": ([0-9A-Fa-f]{1,32})(?=\r\n)"
)
"""Headers whose value is the request's own. It is left out of what is remembered, so it may hold
nothing but digits and letters: no value of these can change how a head is read."""


class Head(NamedTuple):
    """What a remembered head means; the varying headers are not among `headers`."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


class Whole(NamedTuple):
    """A whole request: its head, all of its headers, and its body."""

    head: Head
    headers: dict[str, str]
    body: bytes


class Heads:
    """The heads that one listener has read."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, ...], Head] = {}
        self._limits: ConnectionLimits | None = None

    def recall(self, data: bytes | bytearray, limits: ConnectionLimits) -> Whole | None:
        """What `data` is, if that is one whole request with a remembered head.

        Args:
            data: what was read.
            limits: heads must keep to; what was remembered under others is forgotten.
        """
        if limits is not self._limits:
            self._limits = limits
            self._heads.clear()
        end = data.find(_END, 0, MAX_HEAD_BYTES)
        if end < 0 or end + len(_END) > limits.head_bytes:
            return None
        parts = _VARYING.split(data[: end + 2])
        values = parts[2::3]
        del parts[2::3]
        head = self._heads.get(tuple(parts))
        if head is None:
            return None
        headers = head.headers.copy()
        for name, value in zip(parts[1::2], values, strict=True):
            headers[_NAMES[name]] = value.decode("ascii")
        length = headers[_LENGTH]
        if len(length) > _LENGTH_DIGITS or not length.isdigit() or int(length) != len(data) - end - 4:
            return None
        return Whole(head, headers, bytes(data[end + 4 :]))

    def learn(self, data: bytes | bytearray, request: Request) -> None:
        """Remember the head of `data`, unless something special is about it.

        Args:
            data: one whole request, of which nothing but its own bytes decided how it was read.
            request: what it was read as.
        """
        headers, body_bytes = request.headers, len(request.body)
        if request.version != "1.1" or request.method == "HEAD" or not _SPECIAL.isdisjoint(headers):
            return
        end = data.find(_END, 0, MAX_HEAD_BYTES)
        if end < 0 or len(data) != end + 4 + body_bytes or headers.get(_LENGTH) != str(body_bytes):
            return
        parts = _VARYING.split(data[: end + 2])
        values = parts[2::3]
        del parts[2::3]
        names = [_NAMES.setdefault(name, name.decode("ascii").lower()) for name in parts[1::2]]
        # Each of them once, and in no other spelling beside.
        if _LENGTH not in names or len(set(names)) != len(names):
            return
        constant = dict(headers)
        if any(
            constant.pop(name) != value.decode("ascii") for name, value in zip(names, values, strict=True)
        ):
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        self._heads[tuple(parts)] = Head(request.method, request.path, request.query, constant)


_NAMES: dict[bytes, str] = {}
"""Lower-case names of varying headers, as they were spelled."""
