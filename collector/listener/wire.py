"""Answers as the bytes of HTTP/1.1."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.core.http import Answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_WITHOUT_LENGTH = frozenset({204, 304})

_MAX_STOCK = 256
_MAX_STOCK_BODY = 1024
_stock: dict[Answer, bytes] = {}
"""Rendered answers. Nearly all answers of a day are one of three; rendering costs ten times a look-up."""


def render(answer: Answer) -> bytes:
    """An answer after which an HTTP/1.1 connection is kept."""
    wire = _stock.get(answer)
    if wire is None:
        wire = render_special(answer)
        if len(answer.body) <= _MAX_STOCK_BODY:
            if len(_stock) >= _MAX_STOCK:
                _stock.clear()
            _stock[answer] = wire
    return wire


def render_special(
    answer: Answer,
    *,
    extra: str = "",
    connection: str = "",
    head_only: bool = False,
) -> bytes:
    r"""An answer that differs from the usual.

    Args:
        answer: what to say.
        extra: more header lines, each ending in `\r\n`.
        connection: the value of a Connection header, if one is needed.
        head_only: it answers HEAD: the body is measured and not sent.

    Raises:
        ValueError: a header of the answer would break out of its line.
    """
    body = answer.body
    lines = [_STATUS_LINES.get(answer.status) or f"HTTP/1.1 {answer.status} \r\n"]
    if body:
        lines.append(f"Content-Type: {answer.content_type}\r\n")
    for name, value in answer.headers:
        if not (name + value).isprintable():
            raise ValueError(f"not fit for a header: {name!r}: {value!r}")
        lines.append(f"{name}: {value}\r\n")
    if extra:
        lines.append(extra)
    if answer.status not in _WITHOUT_LENGTH:
        lines.append(f"Content-Length: {len(body)}\r\n")
    if connection:
        lines.append(f"Connection: {connection}\r\n")
    lines.append("\r\n")
    head = "".join(lines).encode("latin-1")
    return head if head_only else head + body
