"""What all listeners of a process may hold together: connections, and bodies in memory."""

from __future__ import annotations

from collections import deque

import trio

from collector.core.limits import MAX_BODIES_IN_HAND_BYTES, MAX_CONNECTIONS


class Capacity:
    """Seats for connections and room for bodies; who finds none waits.

    Room is given in the order of asking, and to each request once, for all that it may come
    to hold: so whoever holds some can finish, and two half-read bodies never wait for each other.

    Args:
        connections: at most so many at a time.
        body_bytes: at most so many in hand, save for a single body that is larger alone.
    """

    def __init__(
        self,
        connections: int = MAX_CONNECTIONS,
        body_bytes: int = MAX_BODIES_IN_HAND_BYTES,
    ) -> None:
        self.seats = connections
        self.body_bytes = body_bytes
        self.seated = 0
        self.held_bytes = 0
        self._seat_freed = trio.Event()
        self._waiting: deque[tuple[int, trio.Event]] = deque()

    @property
    def full(self) -> bool:
        """Whether every seat is taken."""
        return self.seated >= self.seats

    async def seat_free(self) -> None:
        """Wait until there is a seat; `sit` must follow before anything else is awaited."""
        while self.full:
            await self._seat_freed.wait()

    def sit(self) -> None:
        """Take a seat."""
        self.seated += 1

    def leave(self) -> None:
        """Give a seat back."""
        self.seated -= 1
        self._seat_freed.set()
        self._seat_freed = trio.Event()

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
