"""A request's head: fields to a mapping, the target to path and query, and what llhttp lets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.core.http import Answer, error_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.core.limits import ConnectionLimits

_BAD_VERSION = error_answer(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
_NO_HOST = error_answer(400, "An HTTP/1.1 request needs a Host header.")
_TWO_HOSTS = error_answer(400, "A request has exactly one Host header.")
_BAD_TARGET = error_answer(400, "The request target must be a path that begins with /, and no URL.")
_BAD_CODING = error_answer(501, "Of transfer codings only chunked is known here.")
_OLD_CODING = error_answer(400, "HTTP/1.0 has no Transfer-Encoding.")

HEAD_TOO_LARGE = error_answer(431, "The request's headers are too large or too many.")
_BAD_EXPECTATION = error_answer(417, "Of expectations only 100-continue is known here.")

_TLS = error_answer(400, "This is TLS, and here plain HTTP is spoken; use a url that begins with http://.")
_HTTP2 = error_answer(400, "This is HTTP/2, and here HTTP/1.1 is spoken; set the client to HTTP/1.1.")
_PREFACE = "Pause on PRI"  # llhttp's reason
_TLS_HANDSHAKE = b"\x16\x03"

_SINGLE = frozenset({"host", "content-length"})

_MAX_NAMES = 512
_MAX_NAME = 64
_names: dict[bytes, str] = {}
"""Lower-case names by the bytes sent; decoding each one anew costs as much as the rest of a head."""


class UnreadableError(Exception):
    """The request cannot be read further: say this, and close."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def malformed(data: bytes | bytearray, error: Exception) -> Answer:
    """What to say to bytes that llhttp cannot read as a request.

    Args:
        data: what it was given last.
        error: its reason.
    """
    if data.startswith(_TLS_HANDSHAKE):
        return _TLS
    if str(error).startswith(_PREFACE):
        return _HTTP2
    reason = str(error).replace(", RTSP/ or ICE/", "")
    return error_answer(400, f"This is not a valid HTTP/1.1 request: {reason}.")


def _name(raw: bytes) -> str:
    name = raw.decode("latin-1").lower()
    if len(raw) <= _MAX_NAME and len(_names) < _MAX_NAMES:
        _names[raw] = name
    return name


def read_headers(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header values by lower-case name, repeated ones joined with `, `.

    Raises:
        UnreadableError: two Host headers (llhttp itself refuses a second Content-Length).
    """
    headers: dict[str, str] = {}
    for raw, value in fields:
        name = _names.get(raw) or _name(raw)
        text = value.decode("latin-1").rstrip(" \t")
        if name in headers:
            if name in _SINGLE:
                raise UnreadableError(_TWO_HOSTS)
            text = f"{headers[name]}, {text}"
        headers[name] = text
    return headers


def check_size(target: bytes, fields: Sequence[tuple[bytes, bytes]], limits: ConnectionLimits) -> None:
    """Refuse a head that is larger than it may be.

    Raises:
        UnreadableError: it is.
    """
    size = len(target) + sum(len(name) + len(value) + 4 for name, value in fields)
    if len(fields) > limits.headers or size > limits.head_bytes:
        raise UnreadableError(HEAD_TOO_LARGE)


def expects_continue(expectation: str | None, version: str) -> bool:
    """Whether the client awaits `100 Continue`, by its Expect header.

    Raises:
        UnreadableError: it expects something else.
    """
    if expectation is None or version == "1.0":
        return False
    if expectation.lower() != "100-continue":
        raise UnreadableError(_BAD_EXPECTATION)
    return True


def check_framing(version: str, headers: dict[str, str], *, needs_host: bool) -> None:
    """Refuse what llhttp parses and we do not speak.

    llhttp takes HTTP/0.9 (a bare `GET /`) and 2.0 by their version, a missing Host,
    transfer codings before `chunked`, and chunked bodies in HTTP/1.0.

    Raises:
        UnreadableError: one of these.
    """
    if version != "1.1" and version != "1.0":  # noqa: PLR1714 - a set costs twice the time, on each request
        raise UnreadableError(_BAD_VERSION)
    if needs_host and version == "1.1" and "host" not in headers:
        raise UnreadableError(_NO_HOST)
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if version == "1.0":
            raise UnreadableError(_OLD_CODING)
        if coding.lower() != "chunked":
            raise UnreadableError(_BAD_CODING)


def split_target(target: bytes) -> tuple[str, str]:
    """Path and query of a request target.

    An absolute URL is what clients send to a proxy, which this is not; taking one would mean to
    believe its host rather than the Host header that everything before us has looked at.

    Raises:
        UnreadableError: it is neither a path nor `*`.
    """
    text = target.decode("latin-1")
    if (text[:1] != "/" and text != "*") or "#" in text:
        raise UnreadableError(_BAD_TARGET)
    path, _, query = text.partition("?")
    return path, query
