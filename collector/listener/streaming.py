"""Answers without an end: sent bit by bit, until their source or the connection ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from collector.core.limits import RECEIVE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\n"
    b"Connection: close\r\n\r\n"
)
"""The end of the connection is the end of the body, also for HTTP/1.0."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What an endpoint gives in place of an answer: lines of NDJSON.

    Attributes:
        parts: some whole lines each; it is closed at the end, whatever ends it.
    """

    parts: AsyncGenerator[bytes]


async def until_gone(stream: trio.abc.Stream) -> None:
    """Wait until the client closes its end; what it still sends is thrown away."""
    try:
        while await stream.receive_some(RECEIVE_BYTES):
            pass
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        return
