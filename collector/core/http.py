"""What a listener answers, as a value: no socket, no parser, no framing."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: the HTTP status, 200 or above.
        body: the body's bytes; Content-Length is the listener's work.
        content_type: sent only when there is a body.
        headers: further headers as (name, value), in order; never Content-Length,
            Content-Type or Connection.
        close: close the connection after this answer.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


def error_answer(
    status: int,
    message: str,
    *,
    headers: tuple[tuple[str, str], ...] = (),
    close: bool = False,
) -> Answer:
    """An error as both dialects word it: `{"status":"ERROR","message":...}`."""
    body = msgspec.json.encode({"status": "ERROR", "message": message})
    return Answer(status, body, headers=headers, close=close)
