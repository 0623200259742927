"""Admission: who may still append as the spool fills.

The quota keeps a reserve that settling may use and admission may not. Where a full spool
rejects, its last tenth is kept for the lanes that hold less than their share (the room
divided by all lanes): otherwise one dead upstream would stop the events of all others.
Streams are refused, not lanes: a chunk is accepted for all of a stream's lanes or for none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.errors import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.spool.retention import Backlog

SETTLING_RESERVE = 8 * 1024 * 1024
"""Bytes of the quota (a quarter of a small one) that settling may use and admission may not."""

CROWDED = 0.9
"""The share of the room that is open to all."""


@dataclass(frozen=True, slots=True)
class Crowding:
    """Who is not admitted at the moment.

    Attributes:
        streams: by stream (dialect, product), the name of the lane for which it is refused.
        largest: the lane that holds most, empty for none.
    """

    streams: Mapping[tuple[str, str], str] = field(default_factory=dict)
    largest: str = ""


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
        return bool(self.upstreams) or used > CROWDED * self.room

    def crowding(self, backlogs: Sequence[Backlog], *, used: int) -> Crowding:
        """Who is not admitted.

        Args:
            backlogs: those with most first.
            used: bytes that the spool takes.
        """
        present = [backlog for backlog in backlogs if not backlog.away]
        refused: dict[tuple[str, str], str] = {}
        for name, bound in self.upstreams.items():
            lanes = [backlog for backlog in present if backlog.upstream == name]
            if sum(backlog.bytes for backlog in lanes) >= bound:
                refused |= {backlog.stream: lanes[0].name for backlog in lanes}
        if present and used > CROWDED * self.room:
            share = self.room / len(present)
            refused |= {backlog.stream: backlog.name for backlog in present if backlog.bytes > share}
        return Crowding(refused, backlogs[0].name if backlogs else "")

    def check(self, stream: tuple[str, str], *, used: int, wanted: int, crowding: Crowding) -> None:
        """Admit a chunk, where a full spool rejects.

        Args:
            stream: its dialect and product.
            used: bytes that the spool takes.
            wanted: what it would take with the chunk, and those that wait before it.
            crowding: as of the last commit.

        Raises:
            SpoolFull: it is refused.
        """
        lane = crowding.streams.get(stream)
        if lane is None and wanted > self.room:
            lane = crowding.largest
        if lane is not None:
            raise SpoolFull(used=used, quota=self.quota, lane=lane)
