"""What all listeners of a process may hold together: connections, and bodies in memory."""

from __future__ import annotations

from collections import deque

import trio

from collector.core.limits import MAX_BODIES_IN_HAND_BYTES, MIN_RATE, ROOM_GRACE
from collector.listener.seats import Seats


class Capacity:
    """Seats for connections and room for bodies; who finds none waits.

    Room is given in the order of asking, and to each request once, for all that it may come
    to hold: so whoever holds some can finish, and two half-read bodies never wait for each other.

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
        self._waiting: deque[tuple[int, trio.Event]] = deque()

    @property
    def contended(self) -> bool:
        """Whether a body waits for room."""
        return bool(self._waiting)

    async def hold(self, size: int) -> None:
        """Wait for room for `size` bytes and take it."""
        if not self._waiting and self._fits(size):
            self.held_bytes += size
            return
        ticket = (size, trio.Event())
        self._waiting.append(ticket)
        try:
            await ticket[1].wait()
        except trio.Cancelled:
            if ticket[1].is_set():
                self.release(size)
            else:
                self._waiting.remove(ticket)
                self._admit()
            raise

    def release(self, size: int) -> None:
        """Give room back."""
        self.held_bytes -= size
        self._admit()

    def _fits(self, size: int) -> bool:
        return self.held_bytes == 0 or self.held_bytes + size <= self.body_bytes

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, granted = self._waiting.popleft()
            self.held_bytes += size
            granted.set()


class Hold:
    """The room that one connection has for a body.

    Attributes:
        size: bytes; 0 while it has none.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.size = 0
        self._capacity = capacity
        self._since = 0.0
        self._received = 0

    async def take(self, size: int, received: int) -> None:
        """Wait for room for a body of which so much was received."""
        await self._capacity.hold(size)
        self.size = size
        self._since, self._received = trio.current_time(), received

    def release(self) -> None:
        """Give the room back, if there is any."""
        if self.size:
            self._capacity.release(self.size)
            self.size = 0

    def hinders(self, now: float, received: int) -> bool:
        """Whether so little has come since that others need the room more."""
        had = now - self._since
        return self.size > 0 and had > ROOM_GRACE and received - self._received < had * MIN_RATE
