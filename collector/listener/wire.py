"""Answers as the bytes of HTTP/1.1."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from collector.core.timekeeping import EARLIEST_GOOD_MS

if TYPE_CHECKING:
    from collector.core.http import Answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_WITHOUT_LENGTH = frozenset({204, 304})

_MAX_STOCK = 256
_MAX_STOCK_BODY = 1024


class Wording:
    """Puts the answers of one listener into bytes, and remembers those of this second.

    Nearly all answers of a day are one of three; to word one costs ten times a look-up.
    """

    def __init__(self) -> None:
        self._stock: dict[Answer, bytes] = {}
        self._second = -1
        self._date = ""

    def tell_time(self, wall_ms: int) -> None:
        """Answers carry this time, in ms since 1970, as their Date until another is told.

        Before the first time, and while the clock is plainly wrong, they carry none: RFC 9110,
        section 6.6.1 asks that of a server without a clock.
        """
        second = wall_ms // 1000
        if second != self._second:
            self._second = second
            self._date = f"Date: {formatdate(second, usegmt=True)}\r\n" if wall_ms >= EARLIEST_GOOD_MS else ""
            self._stock.clear()

    def usual(self, answer: Answer) -> bytes:
        """An answer after which an HTTP/1.1 connection is kept."""
        wire = self._stock.get(answer)
        if wire is None:
            wire = self.special(answer)
            if len(answer.body) <= _MAX_STOCK_BODY:
                if len(self._stock) >= _MAX_STOCK:
                    self._stock.clear()
                self._stock[answer] = wire
        return wire

    def special(
        self,
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
        lines = [_STATUS_LINES.get(answer.status) or f"HTTP/1.1 {answer.status} \r\n", self._date]
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
