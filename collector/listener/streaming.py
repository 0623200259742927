"""Answers without an end: sent bit by bit, until their source or the connection ends."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from collector.core.limits import RECEIVE_BYTES
from collector.listener.phases import STREAMING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from collector.core.limits import ConnectionLimits
    from collector.listener.connection import Connection

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


async def pour(
    streamed: Streamed, connection: Connection, stream: trio.abc.Stream, limits: ConnectionLimits
) -> None:
    """Send the parts until they end, the client is gone, or it takes too long over one.

    Args:
        streamed: the parts.
        connection: whose phase this is.
        stream: to its client.
        limits: of it.
    """
    connection.phase, connection.deadline = STREAMING, math.inf
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_parts, streamed, connection, stream, limits, nursery.cancel_scope)
        await _until_gone(stream)
        nursery.cancel_scope.cancel()


async def _send_parts(
    streamed: Streamed,
    connection: Connection,
    stream: trio.abc.Stream,
    limits: ConnectionLimits,
    scope: trio.CancelScope,
) -> None:
    with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        async for part in streamed.parts:
            connection.deadline = trio.current_time() + limits.send_timeout
            await stream.send_all(part)
            connection.deadline = math.inf
    scope.cancel()


async def _until_gone(stream: trio.abc.Stream) -> None:
    """Wait until the client closes its end; what it still sends is thrown away."""
    try:
        while await stream.receive_some(RECEIVE_BYTES):
            pass
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        return
