"""Every form of a valid request that the protocol lists, as bytes."""

from __future__ import annotations

import gzip

EVENT = '{"timestamp":1433004485870,"sourceId":"till","eventName":"🧨 \\/ \\u003c","n":1234567890123456789}'
BODY = f"[{EVENT}]".encode()
PACKED = gzip.compress(BODY, mtime=0)
MEMBERS = gzip.compress(BODY[:20], mtime=0) + gzip.compress(BODY[20:], mtime=0)

_HEAD = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
_TYPE = b"Content-Type: application/json\r\n"


def _sized(more: bytes, body: bytes, head: bytes = _HEAD + _TYPE) -> bytes:
    return head + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _chunks(*parts: bytes) -> bytes:
    return b"".join(b"%X;note=1\r\n%b\r\n" % (len(part), part) for part in parts)


KEPT: dict[str, bytes] = {
    "plain": _sized(b"", BODY),
    "names in any case": _sized(
        b"", BODY, b"POST /v1/events HTTP/1.1\r\nhOST: LOCALHOST:1\r\ncONTENT-tYPE: application/json\r\n"
    ),
    "a query": _sized(b"", BODY, b"POST /v1/events?a=b HTTP/1.1\r\nHost: 127.0.0.1\r\n" + _TYPE),
    "a type of a kind": _sized(b"Content-Type: application/vnd.till+json; charset=UTF-8\r\n", BODY, _HEAD),
    "chunked": _HEAD
    + _TYPE
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + _chunks(BODY[:9], BODY[9:])
    + b"0\r\n\r\n",
    "chunked, with trailers": _HEAD
    + _TYPE
    + b"Transfer-Encoding: Chunked\r\n\r\n"
    + _chunks(BODY)
    + b"0\r\nX: y\r\n\r\n",
    "gzip": _sized(b"Content-Encoding: GZip\r\n", PACKED),
    "gzip in members": _sized(b"Content-Encoding: gzip\r\n", MEMBERS),
    "gzip, chunked": _HEAD
    + _TYPE
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunks(PACKED[:5], PACKED[5:])
    + b"0\r\n\r\n",
    "identity": _sized(b"Content-Encoding: identity\r\n", BODY),
    "empty lines before it": b"\r\n\r\n" + _sized(b"", BODY),
    "an upgrade that is not followed": _sized(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", BODY
    ),
    "HTTP/1.0, kept alive": _sized(
        b"Connection: keep-alive\r\n", BODY, b"POST /v1/events HTTP/1.0\r\n" + _TYPE
    ),
}
"""By name; each stores one event, is answered 202, and leaves the connection open."""

CLOSING: dict[str, bytes] = {
    "asks to close": _sized(b"Connection: close\r\n", BODY),
    "HTTP/1.0": _sized(b"", BODY, b"POST /v1/events HTTP/1.0\r\n" + _TYPE),
    "HTTP/1.0 with Host": _sized(b"Host: localhost\r\n", BODY, b"POST /v1/events HTTP/1.0\r\n" + _TYPE),
}
"""Likewise, and the connection ends with it."""
