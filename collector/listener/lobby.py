"""The lobby: connections that were accepted and have no seat yet, each peer's in the order of coming.

Who is let in next is so for us to say. In the kernel's listen queue it would be whoever came first, which
is the crowd.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A connection that wants a seat; nothing of it was read.

    Attributes:
        owner: the peer that it belongs to.
        host: whose it is, so that it can take all of its own back.
        enter: takes the seat.
        turn_away: closes it.
    """

    owner: Hashable
    host: object
    enter: Callable[[], None]
    turn_away: Callable[[], None]


class Lobby:
    """Those who wait for a seat.

    Args:
        places: at most so many.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._count = 0
        self._queues: dict[Hashable, deque[Arrival]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def add(self, arrival: Arrival) -> Arrival | None:
        """Let one wait.

        Returns:
            Who finds no place for it: the newest of the peer that has most, itself or another.
        """
        self._queues.setdefault(arrival.owner, deque()).append(arrival)
        self._count += 1
        if self._count <= self.places:
            return None
        most = max(self._queues, key=lambda owner: len(self._queues[owner]))
        return self._take(most, last=True)

    def first(self, held: Callable[[Hashable], int]) -> Arrival:
        """Take out who is next, of the peer that holds least; somebody must wait."""
        return self._take(min(self._queues, key=held), last=False)

    def least(self, held: Callable[[Hashable], int]) -> int:
        """What the peer holds that holds least of those that wait; somebody must wait."""
        return min(map(held, self._queues))

    def withdraw(self, host: object) -> list[Arrival]:
        """Take out all of one host's, in their order."""
        gone = [arrival for queue in self._queues.values() for arrival in queue if arrival.host is host]
        for owner, queue in tuple(self._queues.items()):
            left = deque(arrival for arrival in queue if arrival.host is not host)
            if left:
                self._queues[owner] = left
            else:
                del self._queues[owner]
        self._count -= len(gone)
        return gone

    def _take(self, owner: Hashable, *, last: bool) -> Arrival:
        queue = self._queues.pop(owner)
        arrival = queue.pop() if last else queue.popleft()
        if queue:
            self._queues[owner] = queue  # behind the other peers
        self._count -= 1
        return arrival
