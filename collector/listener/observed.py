"""What one listener answers to those who bring events, counted from outside the endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.core.http import Answer

if TYPE_CHECKING:
    from collector.listener.ingest import Intake, Ticket
    from collector.listener.routes import Endpoint, Pending, Request
    from collector.listener.streaming import Streamed
    from collector.spool.store import NewChunk


@dataclass(slots=True)
class Answered:
    """Requests that were answered alike, and the bytes of their bodies as received."""

    requests: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Observed:
    """The counts.

    Attributes:
        answers: by dialect and status.
        events: that were committed, by dialect.
    """

    answers: dict[tuple[str, int], Answered] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)

    def count(self, request: Request, answer: Answer) -> None:
        """Count one answer."""
        key = "traintracks" if "x-product-key" in request.headers else "samsara", answer.status
        row = self.answers.get(key)
        if row is None:
            row = self.answers[key] = Answered()
        row.requests += 1
        row.bytes += len(request.body)


class ObservedEndpoint:
    """An endpoint whose answers are counted."""

    def __init__(self, inner: Endpoint, counts: Observed) -> None:
        self._inner = inner
        self._counts = counts

    def admit(self, head: Request) -> Answer | None:
        """As the endpoint does; a refusal is counted."""
        refusal = self._inner.admit(head)
        if refusal is not None:
            self._counts.count(head, refusal)
        return refusal

    def begin(self, request: Request) -> Answer | Pending:
        """As the endpoint does."""
        outcome = self._inner.begin(request)
        if isinstance(outcome, Answer):
            self._counts.count(request, outcome)
            return outcome
        return _Pending(outcome, request, self._counts)


class _Pending:
    __slots__ = ("_counts", "_inner", "_request")

    def __init__(self, inner: Pending, request: Request, counts: Observed) -> None:
        self._inner = inner
        self._request = request
        self._counts = counts

    async def answer(self) -> Answer | Streamed:
        answer = await self._inner.answer()
        if isinstance(answer, Answer):
            self._counts.count(self._request, answer)
        return answer


class ObservedIntake:
    """An intake whose committed events are counted."""

    def __init__(self, inner: Intake, counts: Observed) -> None:
        self._inner = inner
        self._counts = counts

    def submit(self, chunk: NewChunk) -> Ticket:
        """As the intake does."""
        return _Ticket(self._inner.submit(chunk), chunk, self._counts)


class _Ticket:
    __slots__ = ("_counts", "_dialect", "_events", "_inner")

    def __init__(self, inner: Ticket, chunk: NewChunk, counts: Observed) -> None:
        self._inner = inner
        self._dialect, self._events = chunk.dialect, chunk.events
        self._counts = counts

    async def committed(self) -> None:
        await self._inner.committed()
        events = self._counts.events
        events[self._dialect] = events.get(self._dialect, 0) + self._events
