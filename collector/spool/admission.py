"""Admission: who may still append as the spool fills.

The quota keeps a reserve that settling may use and admission may not. Where a full spool
rejects, its last tenth is for the lanes that hold less than their share: the room divided by
the lanes that hold data, and by one more where there is a lane that holds none, since
otherwise the only one that does could fill all of it. An upstream may have a bound of its own.

It is lanes that are admitted or not, since one dead upstream must never stop another's
events. A request whose stream several upstreams take is accepted for those that are admitted;
for the others its events end at once, and are counted as evicted. Where none is admitted the
request is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.core.batch import lane_name
from collector.errors import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.spool.retention import Backlog

SETTLING_RESERVE = 8 * 1024 * 1024
"""Bytes of the quota (a quarter of a small one) that settling may use and admission may not."""

CROWDED = 0.9
"""The share of the room that is open to all."""

COUNTED_BYTES = 32 * 1024 * 1024
"""With less than this left of the quota somebody may be refused: twice the largest request."""

Stream = tuple[str, str]
"""Dialect and product."""


@dataclass(frozen=True, slots=True)
class Crowding:
    """Who is not admitted at the moment.

    Attributes:
        lanes: the names of the lanes that are not, by upstream and stream; those with most first.
        largest: the lane that holds most, empty for none.
    """

    lanes: Mapping[tuple[str, Stream], str] = field(default_factory=dict)
    largest: str = ""

    def refuses(self, stream: Stream, takers: Sequence[str]) -> str | None:
        """The lane for which a stream is refused; None where one of its takers is admitted."""
        if not all((taker, stream) in self.lanes for taker in takers):
            return None
        names = (name for (taker, of), name in self.lanes.items() if of == stream and taker in takers)
        return next(names, None)


EMPTY = Crowding()


@dataclass(frozen=True, slots=True)
class Limits:
    """The bytes that the spool may take.

    Attributes:
        quota: database and WAL.
        upstreams: what the lanes of an upstream may hold together, by its name, where that is bounded.
    """

    quota: int
    upstreams: Mapping[str, int] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """The part of the quota that appending may fill; settling keeps the rest."""
        return self.quota - min(SETTLING_RESERVE, self.quota // 4)

    def worth_counting(self, used: int) -> bool:
        """Whether anyone may be refused; counting costs a query a commit."""
        close = used > CROWDED * self.room or used > self.quota - COUNTED_BYTES
        return bool(self.upstreams) or close

    def check(
        self, stream: Stream, takers: Sequence[str], *, used: int, adds: Adds, crowding: Crowding
    ) -> None:
        """Admit a chunk, where a full spool rejects.

        Args:
            stream: its dialect and product.
            takers: the upstreams that take it.
            used: bytes that the spool takes.
            adds: what the chunk adds to that, and those that wait before it.
            crowding: as of the last commit.

        Raises:
            SpoolFull: it is refused.
        """
        lane = crowding.refuses(stream, takers)
        if lane is None and not self.fits(used, adds):
            lane = crowding.largest
        if lane is not None:
            raise SpoolFull(used=used, quota=self.quota, lane=lane)

    def fits(self, used: int, adds: Adds) -> bool:
        """Whether the database stays within the room, and it and the log within the quota."""
        return used + adds.database <= self.room and used + adds.database + adds.log <= self.quota


@dataclass(frozen=True, slots=True)
class Adds:
    """What is about to be added.

    Attributes:
        database: bytes, in the end.
        log: bytes, until the next checkpoint.
    """

    database: int
    log: int = 0


class Gate:
    """Who is admitted within one commit, chunk by chunk, where a full spool rejects.

    Args:
        limits: the bounds.
        backlogs: what the lanes hold before it, those with most first.
        used: bytes that the spool takes before it.
    """

    def __init__(self, limits: Limits, backlogs: Sequence[Backlog], *, used: int) -> None:
        present = [backlog for backlog in backlogs if not backlog.away]
        self._limits = limits
        self._used = used
        self._largest = backlogs[0].name if backlogs else ""
        self._names = {(backlog.upstream, backlog.stream): backlog.name for backlog in present}
        self._held = {(backlog.upstream, backlog.stream): backlog.bytes for backlog in present}
        self._upstreams: dict[str, int] = {}
        for backlog in present:
            self._upstreams[backlog.upstream] = self._upstreams.get(backlog.upstream, 0) + backlog.bytes

    @property
    def share(self) -> float:
        """The fair one."""
        holding = sum(1 for held in self._held.values() if held)
        return self._limits.room / max(1, holding + (holding < len(self._held)))

    def is_over(self, upstream: str, stream: Stream, *, size: int) -> bool:
        """Whether a lane is not admitted with `size` bytes more."""
        bound = self._limits.upstreams.get(upstream)
        held = self._upstreams.get(upstream, 0)
        # What is larger than the bound alone is taken once: it would else be refused for ever.
        if bound is not None and held > 0 and held + size > bound:
            return True
        crowded = self._used > CROWDED * self._limits.room
        return crowded and self._held.get((upstream, stream), 0) > self.share

    def admit(self, stream: Stream, takers: Sequence[str], size: int) -> frozenset[str]:
        """Admit a chunk of `size` stored bytes.

        Returns:
            The upstreams for which it is not kept.

        Raises:
            SpoolFull: it is kept for none.
        """
        over = frozenset(taker for taker in takers if self.is_over(taker, stream, size=size))
        if len(over) == len(takers):
            whose = [(key, name) for key, name in self._names.items() if key[0] in over]
            here = [name for key, name in whose if key[1] == stream]
            # One that its first requests filled, in this very commit, is not among them.
            lane = (here or [name for _, name in whose] or [lane_name(takers[0], *stream)])[0]
            raise SpoolFull(used=self._used, quota=self._limits.quota, lane=lane)
        self._used += size
        for taker in takers:
            if taker not in over:
                self._held[taker, stream] = self._held.get((taker, stream), 0) + size
                self._upstreams[taker] = self._upstreams.get(taker, 0) + size
        return over

    def crowding(self) -> Crowding:
        """Who is not admitted now, with so much as one byte."""
        over = {key: name for key, name in self._names.items() if self.is_over(*key, size=1)}
        return Crowding(over, self._largest)
