"""A request's body on its way out, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from collector.forwarder.pace import Pace


@dataclass(slots=True)
class Progress:
    """How far a request has come.

    Attributes:
        begun: when the first byte of its body was asked for, in seconds of trio's clock.
        sent_bytes: of its body.
        ended: whether that was all of it.
    """

    begun: float | None = None
    sent_bytes: int = 0
    ended: bool = False


class Body(httpx.AsyncByteStream):
    """A body in pieces, at the upstream's pace. No generator: one that is left halfway needs closing."""

    def __init__(self, content: bytes, pace: Pace, progress: Progress) -> None:
        self._content = content
        self._pace = pace
        self._progress = progress

    def forget(self) -> None:
        """Let go of the content: httpx's requests and answers hold each other until they are looked for."""
        self._content = b""

    def __aiter__(self) -> AsyncIterator[bytes]:
        progress = self._progress
        progress.sent_bytes, progress.ended = 0, False
        if progress.begun is None:
            progress.begun = trio.current_time()
        return self

    async def __anext__(self) -> bytes:
        progress = self._progress
        piece = self._content[progress.sent_bytes : progress.sent_bytes + self._pace.piece]
        if not piece:
            progress.ended = True
            raise StopAsyncIteration
        await self._pace.spend(len(piece))
        progress.sent_bytes += len(piece)
        return piece
