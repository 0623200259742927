"""How a connection ends: what is said to a client that is not waited for, and time to hear it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from collector.core.http import error_answer
from collector.core.limits import RECEIVE_BYTES
from collector.listener.phases import ANSWERING, PARKED, RECEIVING, WAITING

if TYPE_CHECKING:
    from collector.core.http import Answer
    from collector.core.limits import ConnectionLimits
    from collector.listener.routes import Site
    from collector.listener.stream import SocketStream

RETRY_AFTER = 5
"""Seconds that a client shall wait where the daemon is busy."""

_LATER = (("Retry-After", str(RETRY_AFTER)),)

_CROWDED = error_answer(503, "There are too many connections; try again.", headers=_LATER)

LAST_WORDS = {
    RECEIVING: error_answer(408, "The request took too long to arrive."),
    ANSWERING: error_answer(503, "This took too long; try again.", headers=_LATER),
    PARKED: error_answer(
        503,
        "You have too many connections open; close some, or try again.",
        headers=_LATER,
    ),
    WAITING: error_answer(
        503, "There was no room for so large a body; try again, or send fewer events.", headers=_LATER
    ),
}
"""By the phase that was overdue; without a word in the others."""


async def say(last: Answer, ready: list[bytes], stream: trio.abc.Stream, site: Site) -> bool:
    """Send the last words of a connection.

    Args:
        last: what to say.
        ready: the answers before it that were not sent yet.
        stream: to the client.
        site: what the connection was served.

    Returns:
        Whether the client took them in time.
    """
    counts = site.tally.answers
    counts[last.status] = counts.get(last.status, 0) + 1
    words = b"".join((*ready, site.wording.special(last, connection="close")))
    with trio.move_on_after(site.limits.linger_timeout):
        await stream.send_all(words)
        return True
    return False


def turn_away(stream: SocketStream, site: Site) -> None:
    """Close a connection that finds no place, of which nothing was read; it is told so if it can hear it."""
    counts = site.tally.answers
    counts[_CROWDED.status] = counts.get(_CROWDED.status, 0) + 1
    with suppress(OSError):
        stream.send_now(site.wording.special(_CROWDED, connection="close"))
    stream.close()


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
