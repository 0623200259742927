"""Turns: what each request of a connection came to, in the order of the requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import trio

from collector.core.http import Answer

if TYPE_CHECKING:
    from collector.listener.routes import Endpoint, Pending, Request
    from collector.listener.streaming import Streamed

CLOSE, BODYLESS, OLD = 1, 2, 4
"""How a turn's answer differs: the connection ends with it, it answers HEAD, or HTTP/1.0 kept alive."""


class Turn(NamedTuple):
    """One request's answer in the order of requests.

    Attributes:
        outcome: the answer, or what it waits for.
        flags: of CLOSE, BODYLESS and OLD.
        extra: further header lines, see `Gate.cors`.
    """

    outcome: Answer | Pending
    flags: int
    extra: str


class Deferred:
    """A request that is begun when its turn to be answered has come."""

    __slots__ = ("_endpoint", "_request")

    def __init__(self, endpoint: Endpoint, request: Request) -> None:
        self._endpoint = endpoint
        self._request = request

    async def answer(self) -> Answer | Streamed:
        """Let others go first, then begin it, and wait for what it waits for."""
        await trio.lowlevel.checkpoint()
        outcome = self._endpoint.begin(self._request)
        return outcome if isinstance(outcome, Answer) else await outcome.answer()
