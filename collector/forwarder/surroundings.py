"""What a lane is given: its upstream, what carries batches there, the spool, time and chance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from collector.core.tap import Tap
from collector.forwarder.splits import Splits
from collector.forwarder.swelling import Swelling
from collector.forwarder.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.config.model import Upstream
    from collector.core.batch import SealedBatch
    from collector.core.verdict import Outcome
    from collector.core.window import Window
    from collector.forwarder.breaker import Breaker
    from collector.forwarder.packing import Body, Packing
    from collector.spool.spool import Spool


class Sender(Protocol):
    """What carries a batch to an upstream."""

    async def attempt(self, batch: SealedBatch, body: Body) -> Outcome:
        """Send a batch once; failures are outcomes, not exceptions.

        What it has not begun to pack itself comes as rendered.
        """

    async def aclose(self) -> None:
        """Let go of what is idle; nothing is sent after it."""


@runtime_checkable
class Packs(Protocol):
    """A sender that may take bodies packed as they were made."""

    @property
    def packs(self) -> bool:
        """Whether it does; else bodies are sent as they are."""

    def packing(self) -> Packing:
        """Begin to pack a body."""


@runtime_checkable
class OpensLanes(Protocol):
    """A sender that has to be told of each lane before the first of its batches."""

    async def open_lane(self, lane_name: str, settled: str | None) -> str:
        """Make ready for a lane.

        Args:
            lane_name: the lane's.
            settled: the marker that its last delivery, or this function, gave.

        Returns:
            The marker as it is now.

        Raises:
            OSError: it cannot be made ready now.
        """


@runtime_checkable
class RotatesKeys(Protocol):
    """A sender whose keys and certificates may be replaced while it is used."""

    def rotated(self) -> bool:
        """Whether one of them was, since the last call."""


@dataclass(frozen=True, slots=True)
class Chances:
    """Time and chance.

    Attributes:
        wall_ms: wall time, ms since 1970.
        chance: a number from 0 up to 1.
        batch_id: 32 hex digits, never the same twice.
        heard: told by how many seconds an upstream's Date was ahead of the wall clock.
    """

    wall_ms: Callable[[], int]
    chance: Callable[[], float]
    batch_id: Callable[[], str]
    heard: Callable[[float], None] = lambda _: None


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What the lanes of one upstream share.

    Attributes:
        window: how large batches may be, by what its link rewards; None where there is no link.
    """

    upstream: Upstream
    sender: Sender
    breaker: Breaker
    spool: Spool
    chances: Chances
    window: Window | None = None
    splits: Splits = field(default_factory=Splits)
    swelling: Swelling = field(default_factory=Swelling)
    tally: Tally = field(default_factory=Tally)
    tap: Tap = field(default_factory=Tap)

    def probe_interval(self) -> float:
        """Seconds until a blocked lane probes.

        Half of `backoff.max` at least, so that probes neither hurry nor fall in step.
        """
        return self.upstream.backoff.max * (0.5 + self.chances.chance() / 2)
