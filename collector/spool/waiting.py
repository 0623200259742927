"""Waiting for room: requests that a full spool does not refuse at once.

An upstream that takes events makes room all the time, so a moment of patience spares most apps
a refusal. Who waits keeps its place: requests of one stream are admitted in the order in
which they came.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from collector.errors import SpoolFull
from collector.spool.tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.errors import SpoolError
    from collector.spool.store import NewChunk

Stream = tuple[str, str]


class WaitingTicket(Ticket):
    """A place in a commit to come, of a chunk for which there may be no room.

    Args:
        chunk: what waits.
        refusal: why it was not admitted so far.
        deadline: when it is refused, on trio's clock.
        count: told when it is refused for want of room.
    """

    __slots__ = ("_count", "_decided", "_place", "chunk", "deadline", "refusal")

    def __init__(
        self, chunk: NewChunk, refusal: SpoolFull, deadline: float, count: Callable[[SpoolFull], None]
    ) -> None:
        super().__init__()
        self.chunk = chunk
        self.refusal: SpoolError = refusal
        self.deadline = deadline
        self._count = count
        self._decided = trio.Event()
        self._place: Ticket | None = None

    @property
    def stream(self) -> Stream:
        """The chunk's."""
        return self.chunk.dialect, self.chunk.product

    async def committed(self) -> None:
        """Wait until it is admitted, at most until the deadline, and committed.

        Raises:
            SpoolFull: it was not admitted.
            SpoolUnavailable: it was refused; nothing of it was kept.
        """
        with trio.move_on_at(self.deadline):
            await self._decided.wait()
        if self._place is None:
            self._decided.set()
            if isinstance(self.refusal, SpoolFull):
                self._count(self.refusal)
            raise self.refusal
        await self._place.committed()

    def then(self, tell: Callable[[Exception | None], None]) -> bool:  # noqa: ARG002 (the others' signature)
        """It is not known when it is refused but to who waits."""
        return False

    @property
    def given_up(self) -> bool:
        """Whether it is refused, or was."""
        return self._decided.is_set() or trio.current_time() >= self.deadline

    def admit(self, place: Ticket) -> None:
        """It goes into a commit after all."""
        self._place = place
        self._decided.set()

    def refuse(self, refusal: SpoolError) -> None:
        """It is refused before its time."""
        self.refusal = refusal
        self._decided.set()


class WaitingRoom:
    """Those who wait, in order.

    Args:
        patience: seconds that each waits at most.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._waiting: deque[WaitingTicket] = deque()
        self._busy = False

    @property
    def empty(self) -> bool:
        """Whether nobody waits, nor has given up lately."""
        return not self._waiting

    @property
    def bytes(self) -> int:
        """What the bodies take that wait."""
        self._forget()
        return sum(len(ticket.chunk.body) for ticket in self._waiting)

    def holds(self, stream: Stream) -> bool:
        """Whether somebody waits who must come first."""
        self._forget()
        return any(ticket.stream == stream for ticket in self._waiting)

    def _forget(self) -> None:
        if any(ticket.given_up for ticket in self._waiting):
            self._waiting = deque(ticket for ticket in self._waiting if not ticket.given_up)

    def add(self, chunk: NewChunk, refusal: SpoolFull, count: Callable[[SpoolFull], None]) -> WaitingTicket:
        """Have a chunk wait behind the others."""
        ticket = WaitingTicket(chunk, refusal, trio.current_time() + self.patience, count)
        self._waiting.append(ticket)
        return ticket

    @property
    def streams(self) -> set[Stream]:
        """Of whom somebody waits."""
        return {ticket.stream for ticket in self._waiting}

    def refuse_all(self, refusal: SpoolError, *, of: Stream | None = None) -> None:
        """There is nothing to wait for any more; for all, or for one stream's."""
        waiting, self._waiting = self._waiting, deque()
        for ticket in waiting:
            if of in {None, ticket.stream}:
                ticket.refuse(refusal)
            else:
                self._waiting.append(ticket)

    def call(self, admit: Callable[[NewChunk], Ticket | SpoolFull]) -> None:
        """Let in whom there is room for now.

        Args:
            admit: puts a chunk into a commit, or says why not.
        """
        # A commit that is done inline calls again while it is being called.
        if self._busy or not self._waiting:
            return
        self._busy = True
        try:
            self._call(admit)
        finally:
            self._busy = False

    def _call(self, admit: Callable[[NewChunk], Ticket | SpoolFull]) -> None:
        blocked: set[Stream] = set()
        waiting, self._waiting = self._waiting, deque()
        for ticket in waiting:
            if ticket.given_up:
                continue
            if ticket.stream not in blocked:
                place = admit(ticket.chunk)
                if isinstance(place, Ticket):
                    ticket.admit(place)
                    continue
                ticket.refusal = place
                blocked.add(ticket.stream)
            self._waiting.append(ticket)
