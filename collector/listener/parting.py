"""How a connection ends: what is said to a client that is not waited for, and time to hear it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from collector.core.http import error_answer
from collector.core.limits import RECEIVE_BYTES
from collector.listener.phases import ANSWERING, PARKED, RECEIVING

if TYPE_CHECKING:
    from collector.core.limits import ConnectionLimits

LAST_WORDS = {
    RECEIVING: error_answer(408, "The request took too long to arrive."),
    ANSWERING: error_answer(503, "This took too long; try again.", headers=(("Retry-After", "5"),)),
    PARKED: error_answer(
        503,
        "You have too many connections open; close some, or try again.",
        headers=(("Retry-After", "5"),),
    ),
}
"""By the phase that was overdue; without a word in the others."""


async def linger(stream: trio.abc.Stream, limits: ConnectionLimits) -> None:
    """Let the client read its answer: a close with unread bytes would reset the connection."""
    left = limits.linger_bytes
    with trio.move_on_after(limits.linger_timeout):
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        while left > 0:
            data = await stream.receive_some(RECEIVE_BYTES)
            if not data:
                return
            left -= len(data)
