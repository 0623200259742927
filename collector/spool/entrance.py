"""The entrance: whether a request is queued for a commit, waits for room, or is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.errors import NotTaken, SpoolFull
from collector.spool import admission
from collector.spool.items import Append
from collector.spool.tickets import Ticket
from collector.spool.waiting import WaitingRoom
from collector.spool.worker import GROUP_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.errors import SpoolError
    from collector.spool.options import Counters, SpoolOptions
    from collector.spool.store import NewChunk

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Bodies that may wait for a commit; more is refused rather than held in memory."""


class Entrance:
    """Used from the event loop's thread.

    Args:
        options: how the spool is opened.
        takers: the upstreams that take a dialect and product.
        counters: where refusals are counted.
        put: has a chunk committed.
    """

    def __init__(
        self,
        options: SpoolOptions,
        takers: Callable[[str, str], Sequence[str]],
        counters: Counters,
        put: Callable[[Append], None],
    ) -> None:
        self._limits = options.limits
        self._room = options.limits.room
        self._rejects = options.when_full == "reject"
        self._find_takers = takers
        self._counters = counters
        self._put_item = put
        self._takers: dict[admission.Stream, Sequence[str]] = {}
        self._used = 0
        self._crowding = admission.EMPTY
        self._queued_bytes = 0
        self._waiting = WaitingRoom(options.patience)

    def submit(self, chunk: NewChunk) -> Ticket:
        """Queue a chunk, or have it wait; raises as `Spool.submit` does."""
        stream = (chunk.dialect, chunk.product)
        if not self._takers_of(stream):
            raise NotTaken(dialect=chunk.dialect, product=chunk.product)
        size = len(chunk.body)
        # The usual case, on each of 20,000 requests a second: nobody waits, and there is room in plenty.
        if self._waiting.empty and not self._crowding.lanes and self._ample(size):
            return self._put(chunk)
        if self._queued_bytes + self._waiting.bytes + size > MAX_QUEUED_BYTES:
            raise SpoolFull(used=self._queued_bytes + self._waiting.bytes, quota=MAX_QUEUED_BYTES)
        try:
            self._check(stream, size)
        except SpoolFull as refusal:
            if not self._waiting.patience or size > self._limits.room:
                self._count(refusal)
                raise
            return self._waiting.add(chunk, refusal, self._count)
        if self._waiting.holds(stream):
            # Behind those who came before it; they are let in now if there is room for them too.
            place = self._waiting.add(chunk, self._full(), self._count)
            self._waiting.call(self._admit)
            return place
        return self._put(chunk)

    def _ample(self, size: int) -> bool:
        """Whether no bound is near with `size` bytes more; if not, `_check` looks closer."""
        queued = self._queued_bytes + size
        # All that is queued comes into the database, and at most all of it is in the log too.
        return queued <= MAX_QUEUED_BYTES and self._used + 2 * queued <= self._room

    def committed(self, *, used: int, crowding: admission.Crowding, dequeued: int) -> None:
        """A group is on disk, of which `dequeued` bytes of bodies had waited."""
        self._used = used
        self._crowding = crowding
        self._queued_bytes -= dequeued
        self._waiting.call(self._admit)

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""
        self._queued_bytes -= dequeued

    def refuse_waiting(self, refusal: SpoolError) -> None:
        """There is nothing to wait for any more."""
        self._waiting.refuse_all(refusal)

    def change(self, options: SpoolOptions, takers: Callable[[str, str], Sequence[str]]) -> None:
        """Admit by other options from now on; what waits and is taken by nobody any more is refused."""
        self._limits = options.limits
        self._room = options.limits.room
        self._rejects = options.when_full == "reject"
        self._find_takers = takers
        self._takers.clear()
        for stream in self._waiting.streams:
            if not self._takers_of(stream):
                self._waiting.refuse_all(NotTaken(dialect=stream[0], product=stream[1]), of=stream)

    def _takers_of(self, stream: admission.Stream) -> Sequence[str]:
        takers = self._takers.get(stream)
        if takers is None:
            takers = self._find_takers(*stream)
            if takers:  # any client can name streams that nobody takes
                self._takers[stream] = takers
        return takers

    def _check(self, stream: admission.Stream, size: int) -> None:
        """Refuse what there is no room for."""
        if self._rejects:
            queued = self._queued_bytes + size
            # Of all that is queued, one group at a time comes to be in the log too.
            adds = admission.Adds(database=queued, log=min(queued, max(GROUP_BYTES, size)))
            self._limits.check(
                stream, self._takers_of(stream), used=self._used, adds=adds, crowding=self._crowding
            )
        elif size > self._limits.room:
            raise self._full()

    def _full(self) -> SpoolFull:
        return SpoolFull(used=self._used, quota=self._limits.quota, lane=self._crowding.largest)

    def _admit(self, chunk: NewChunk) -> Ticket | SpoolFull:
        try:
            self._check((chunk.dialect, chunk.product), len(chunk.body))
        except SpoolFull as refusal:
            return refusal
        return self._put(chunk)

    def _put(self, chunk: NewChunk) -> Ticket:
        self._queued_bytes += len(chunk.body)
        ticket = Ticket()
        self._put_item(Append(chunk, ticket))
        return ticket

    def _count(self, refusal: SpoolFull) -> None:
        self._counters.add_refused({refusal.lane: 1})
