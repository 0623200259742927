"""What a commit came to, and who is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from collector.spool import admission

if TYPE_CHECKING:
    from collections.abc import Collection

    from collector.errors import SpoolDamaged


@dataclass(slots=True)
class Committed:
    """What a commit came to.

    Attributes:
        grown: streams (dialect, product) that have more events.
        evicted: events that quota ended, by lane name.
        refused: requests for which there was no room, by the lane that is in the way.
        crowding: who is not admitted now.
        used: bytes that the spool takes now.
        healthy: whether the disk can be relied upon.
        short: whether the disk is full.
        over: whether more must be evicted, and can be.
        failed: whether the disk refused a part of it.
        requests: how many it held.
        seconds: what the transaction took, and the COMMIT at its end alone.
    """

    grown: Collection[tuple[str, str]] = ()
    evicted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    crowding: admission.Crowding = admission.EMPTY
    used: int = 0
    healthy: bool = True
    short: bool = False
    over: bool = False
    failed: bool = False
    requests: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)


class Observer(Protocol):
    """Who is told, on the event loop's thread, what a commit came to."""

    @property
    def in_flight(self) -> frozenset[int]:
        """Lanes whose batch retention must spare; read on the writer's thread."""

    def committed(self, result: Committed, *, dequeued: int) -> None:
        """A group is on disk, of which `dequeued` bytes of bodies had waited."""

    def refused(self, *, dequeued: int) -> None:
        """The disk refused a group."""

    def damaged(self, error: SpoolDamaged) -> None:
        """What is on disk is not what was written."""
