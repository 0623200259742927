"""A connection as the server and the seats see it: until when it may go on so, and what it is worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from collector.listener.capacity import Hold
from collector.listener.phases import IDLE, PARKED, RECEIVING, SENDING, WAITING

if TYPE_CHECKING:
    from collector.core.limits import ConnectionLimits
    from collector.listener.capacity import Capacity
    from collector.listener.reader import Reader
    from collector.listener.routes import Peer, Site


class Pace:
    """How fast a client brings its request, measured from when it could begin to send.

    Attributes:
        since: that moment, on trio's clock.
    """

    __slots__ = ("_had", "since")

    def __init__(self) -> None:
        self.restart()

    def restart(self, received: int = 0) -> None:
        """Measure from now on.

        Args:
            received: bytes that came before, and do not count.
        """
        self.since = trio.current_time()
        self._had = received

    def lag(self, now: float, received: int, limits: ConnectionLimits) -> float:
        """For how many seconds it has been slower than it may be while others wait; 0 if it is not."""
        took = now - self.since
        slow = took > limits.newcomer_grace and received - self._had < took * limits.min_rate
        return took if slow else 0.0


class Guest:
    """The part of a connection that decides when it ends before its time.

    Attributes:
        phase: what it waits for, see `phases`.
        deadline: on trio's clock; by then the phase must be over.
        asked: it has brought a whole request.
        owner: the peer that it belongs to.
    """

    def __init__(self, peer: Peer, site: Site, capacity: Capacity, reader: Reader) -> None:
        self.phase = IDLE
        self.deadline = trio.current_time() + site.limits.idle_timeout
        self.asked = False
        self.owner = peer.owner
        self._site = site
        self._reader = reader
        self._seats = capacity.seats
        self._room = Hold(capacity, self.owner)
        self._pace = Pace()
        self._waits_since = math.inf  # for a turn, for room, or to send what room is kept for
        self._scope = trio.CancelScope()  # of what it waits for
        self._interrupted = False
        self._leaving = False  # somebody else needs the seat

    @property
    def closing(self) -> bool:
        """Whether its next answer is its last: the listener stops, or others of its own peer wait."""
        return self._site.stopping or self._seats.awaited(self.owner)

    def expire(self) -> None:
        """End the present phase."""
        self.deadline = -math.inf  # until a next phase sets it
        self._interrupted = True
        self._scope.cancel()

    def make_room(self) -> None:
        """Leave, for somebody else needs the seat."""
        if not self._leaving:
            self._leaving = True
            self.expire()

    def outstayed(self, now: float) -> bool:
        """Whether it has waited for others to be done for so long that its seat is another peer's."""
        return self.phase in {PARKED, WAITING} and now - self._waits_since > self._site.limits.waiting_grace

    def idled(self, now: float) -> float:
        """For how long it has brought no whole request, or less of one than others need it to; else 0.

        So counts also who takes none of its answers.
        """
        limits = self._site.limits
        if self.phase == RECEIVING or (self.phase == IDLE and not self.asked):
            return self._pace.lag(now, self._reader.received, limits)
        if self.phase == SENDING and now - self._waits_since > limits.waiting_grace:
            return now - self._waits_since
        return 0.0

    def hinders(self, now: float) -> bool:
        """Whether it keeps room that others wait for: it brings little of its body, or takes no answer."""
        if self.phase == SENDING:
            return self._room.size > 0 and now - self._waits_since > self._site.limits.room_grace
        return self.phase == RECEIVING and self._room.hinders(now, self._reader.received, self._site.limits)

    def sends(self) -> None:
        """Its client is to take answers from now on."""
        self.phase = SENDING
        self._waits_since = trio.current_time()

    def _wait(self, phase: int) -> None:
        """Begin to wait for others, and no longer than for an answer."""
        self.phase = phase
        self._waits_since = trio.current_time()
        self.deadline = self._waits_since + self._site.limits.answer_timeout
