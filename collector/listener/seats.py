"""Seats: how many connections there are, of whom, and who makes room when there are too many.

A connection takes a seat when it is accepted. Of one peer (a user on UNIX sockets, an address over
TCP) only so many are served at a time; its further ones wait in their seats, unread, in the order
in which they came. Who comes when all seats are taken waits in the lobby, and a seat that becomes free is the
first's of that peer there that holds fewest. While somebody waits, those who bring nothing make room: of
the peer that has most seats, first those that have been slow the longest, and then those that have waited
long, behind others of their own or for room for a body. No peer makes room for one that holds more.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

from collector.core.limits import (
    CLEAR_INTERVAL,
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_PEER,
    MAX_WAITING_CONNECTIONS,
)
from collector.listener.lobby import Lobby

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from collector.listener.lobby import Arrival


class Sitter(Protocol):
    """Who has a seat."""

    @property
    def owner(self) -> Hashable:
        """The peer that it belongs to."""

    def outstayed(self, now: float) -> bool:
        """Whether it has waited for long, behind others of its own peer or for room for its body."""

    def idled(self, now: float) -> float:
        """For how many seconds it has brought nothing; 0 while it is worth its seat."""

    def make_room(self) -> None:
        """Leave, soon."""


class Seats:
    """The seats of all listeners that share them.

    Args:
        total: at most so many connections.
        per_peer: of one peer, so many are served at a time.
        waiting: so many may wait for a seat.

    Attributes:
        total: the same.
        per_peer: the same.
        lobby: those who wait for a seat.
        taken: how many connections have one.
        cleared: how many were told to make room, since the start.
    """

    def __init__(
        self,
        total: int = MAX_CONNECTIONS,
        per_peer: int = MAX_CONNECTIONS_PER_PEER,
        waiting: int = MAX_WAITING_CONNECTIONS,
    ) -> None:
        self.total = total
        self.lobby = Lobby(waiting)
        self.per_peer = per_peer
        self.taken = 0
        self.cleared = 0
        self._sitters: dict[Hashable, dict[Sitter, None]] = {}
        self._served: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[trio.Event]] = {}
        self._wanted = trio.Event()
        self._next_clearing = 0.0

    @property
    def full(self) -> bool:
        """Whether every seat is taken."""
        return self.taken >= self.total

    def ask(self, arrival: Arrival) -> Arrival | None:
        """Let one enter, now or when it is its turn.

        Returns:
            Whom to turn away, since the lobby is full.
        """
        if not (self.full or self.lobby):
            arrival.enter()
            return None
        away = self.lobby.add(arrival)
        self._wanted.set()
        return away

    async def keep_clearing(self) -> None:
        """See to it that there are seats for those in the lobby; each server that shares the seats does."""
        while True:
            if not self.lobby:
                self._wanted = trio.Event()
                await self._wanted.wait()
            now = trio.current_time()
            if now >= self._next_clearing:
                self._next_clearing = now + CLEAR_INTERVAL
                self._clear()
            await trio.sleep_until(self._next_clearing)

    def sit(self, sitter: Sitter) -> None:
        """Take a seat."""
        self.taken += 1
        self._sitters.setdefault(sitter.owner, {})[sitter] = None

    def leave(self, sitter: Sitter) -> None:
        """Give the seat back."""
        self.taken -= 1
        sitters = self._sitters[sitter.owner]
        del sitters[sitter]
        if not sitters:
            del self._sitters[sitter.owner]
        while self.lobby and not self.full:
            self.lobby.first(self._held).enter()

    def awaited(self, owner: Hashable) -> bool:
        """Whether its connections are waited for: by others of its own, or by a peer with fewer seats."""
        if self.lobby and self.lobby.least(self._held) < self._held(owner):
            return True
        return bool(self._waiting) and owner in self._waiting

    def _held(self, owner: Hashable) -> int:
        return len(self._sitters.get(owner, ()))

    def serve(self, owner: Hashable) -> bool:
        """Begin to serve one more of a peer's, if it may be; `served` must follow."""
        if self._served.get(owner, 0) >= self.per_peer or owner in self._waiting:
            return False
        self._served[owner] = self._served.get(owner, 0) + 1
        return True

    async def turn(self, owner: Hashable) -> None:
        """Wait until one more of a peer's may be served, and begin; `served` must follow."""
        queue = self._waiting.setdefault(owner, deque())
        turn = trio.Event()
        queue.append(turn)
        try:
            while not turn.is_set():
                if queue[0] is turn:
                    self._clear_of(tuple(self._sitters.get(owner, ())), len(queue))
                with trio.move_on_after(CLEAR_INTERVAL):
                    await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self.served(owner)
            else:
                queue.remove(turn)
                if not queue:
                    del self._waiting[owner]
            raise

    def served(self, owner: Hashable) -> None:
        """One of a peer's is done; the next of its own takes its place."""
        queue = self._waiting.get(owner)
        if queue:
            queue.popleft().set()
            if not queue:
                del self._waiting[owner]
            return
        self._served[owner] -= 1
        if not self._served[owner]:
            del self._served[owner]

    def _clear(self) -> None:
        """Ask some to make room for those in the lobby, first of the peer with most seats."""
        left = len(self.lobby)
        least = self.lobby.least(self._held)
        for sitters in sorted(self._sitters.values(), key=len, reverse=True):
            if left <= 0 or len(sitters) < least:
                return
            left -= self._clear_of(tuple(sitters), left, parked=True)

    def _clear_of(self, sitters: Iterable[Sitter], count: int, *, parked: bool = False) -> int:
        now = trio.current_time()
        idlers = [(sitter.idled(now), sitter) for sitter in sitters]
        found = sorted(
            ((idled, sitter) for idled, sitter in idlers if idled > 0), key=_how_long, reverse=True
        )
        if parked and len(found) < count:
            found += [(0.0, sitter) for _, sitter in idlers if sitter.outstayed(now)]
        del found[count:]
        for _, sitter in found:
            sitter.make_room()
        self.cleared += len(found)
        return len(found)


def _how_long(idler: tuple[float, Sitter]) -> float:
    return idler[0]
