"""What all listeners of a process may hold together: connections, and bodies in memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from collector.core.limits import MAX_BODIES_IN_HAND_BYTES
from collector.listener.seats import Seats

if TYPE_CHECKING:
    from collections.abc import Hashable

    from collector.core.limits import ConnectionLimits


class Capacity:
    """Seats for connections and room for bodies; who finds none waits.

    Room is given to one peer after the other, to each peer's requests in the order of asking, and to each
    request once, for all that it may come to hold: so whoever holds some can finish, two half-read bodies
    never wait for each other, and who asks for little at a time does not wait for all that a crowd asked for.

    Args:
        seats: for connections; as by default, if none are given.
        body_bytes: at most so many in hand, save for a single body that is larger alone.
    """

    def __init__(
        self,
        seats: Seats | None = None,
        body_bytes: int = MAX_BODIES_IN_HAND_BYTES,
    ) -> None:
        self.seats = seats or Seats()
        self.body_bytes = body_bytes
        self.held_bytes = 0
        self._waiting: dict[Hashable, deque[tuple[int, trio.Event]]] = {}
        """By peer; the first has the next turn."""

    @property
    def contended(self) -> bool:
        """Whether a body waits for room."""
        return bool(self._waiting)

    async def hold(self, size: int, owner: Hashable = None) -> bool:
        """Wait for room for `size` bytes and take it.

        Args:
            size: of the body.
            owner: the peer that it is of.

        Returns:
            Whether it had to wait.
        """
        if not self._waiting and self._fits(size):
            self.held_bytes += size
            return False
        ticket = (size, trio.Event())
        self._waiting.setdefault(owner, deque()).append(ticket)
        try:
            await ticket[1].wait()
        except trio.Cancelled:
            if ticket[1].is_set():
                self.release(size)
            else:
                queue = self._waiting[owner]
                queue.remove(ticket)
                if not queue:
                    del self._waiting[owner]
                self._admit()
            raise
        return True

    def release(self, size: int) -> None:
        """Give room back."""
        self.held_bytes -= size
        self._admit()

    def _fits(self, size: int) -> bool:
        return self.held_bytes == 0 or self.held_bytes + size <= self.body_bytes

    def _admit(self) -> None:
        while self._waiting:
            owner, queue = next(iter(self._waiting.items()))
            if not self._fits(queue[0][0]):
                return
            size, granted = queue.popleft()
            del self._waiting[owner]
            if queue:
                self._waiting[owner] = queue  # behind the other peers
            self.held_bytes += size
            granted.set()


class Hold:
    """The room that one connection has for a body.

    Attributes:
        size: bytes; 0 while it has none.
    """

    def __init__(self, capacity: Capacity, owner: Hashable) -> None:
        self.size = 0
        self._owner = owner
        self._capacity = capacity
        self._since = 0.0
        self._received = 0

    async def take(self, size: int, received: int) -> bool:
        """Wait for room for a body of which so much was received; whether there was a wait."""
        waited = await self._capacity.hold(size, self._owner)
        self.size = size
        self._since, self._received = trio.current_time(), received
        return waited

    def release(self) -> None:
        """Give the room back, if there is any."""
        if self.size:
            self._capacity.release(self.size)
            self.size = 0

    def hinders(self, now: float, received: int, limits: ConnectionLimits) -> bool:
        """Whether others who wait for the room need it more: little has come since, or it takes long."""
        had = now - self._since
        slow = had > limits.room_grace and received - self._received < had * limits.min_rate
        return self.size > 0 and (slow or had > limits.answer_timeout / 4)
