"""What a lane may have to do next, and what is asked to find out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.core.window import LARGEST
from collector.forwarder.splits import Splits
from collector.forwarder.swelling import Swelling

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

    from collector.config.model import Upstream
    from collector.core.batch import Run, SealedBatch
    from collector.core.choosing import Bounds
    from collector.forwarder.packing import Body
    from collector.spool.passage import Passage
    from collector.spool.read import Lane
    from collector.spool.settle import DeadLetter


@dataclass(frozen=True, slots=True)
class Replaced:
    """A sealed batch that cannot be made again as it was: its events are sealed anew."""

    batch: SealedBatch
    reason: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A batch to send.

    Attributes:
        body: before any Content-Encoding; of one that came in parts only what it was packed to, and the
            run is without the bytes of its events then.
        fresh: whether this is the first that is made of it.
        replaced: the batch that it stands for, where it is fresh for that reason.
        sealed: whether a fresh one was sealed already, as the one before it was settled.
    """

    lane: Lane
    batch: SealedBatch
    run: Run
    body: Body
    fresh: bool
    replaced: Replaced | None = None
    sealed: bool = False

    @property
    def leaves_suspects(self) -> bool:
        """Whether there are events behind the batch that may be at fault for what was refused before."""
        end = self.lane.suspect_end
        return end is not None and self.batch.last + 1 < end


@dataclass(frozen=True, slots=True)
class Idle:
    """No event is to be sent now.

    Attributes:
        linger: seconds until the events that do wait are sent even so, None for no event.
    """

    lane: Lane
    linger: float | None = None


@dataclass(frozen=True, slots=True)
class Bury:
    """What stands at the cursor is dead-lettered unsent: an answer named it, or it is damaged."""

    lane: Lane
    letter: DeadLetter
    passage: Passage
    damaged: bool
    replaced: Replaced | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A large batch of which a part was read and rendered, and that may go on behind it.

    Attributes:
        lane: as it stands where the batch begins.
        batch: as far as is known; its end and digest are not.
        run: what was drawn so far, without the bytes of the events.
        part: the last part of the body, from the bracket or comma before its first event on; empty where
            there was no more.
        size: bytes of all parts so far.
        digest: of them.
        bounds: of the whole batch.
        fresh: whether this is the first that is made of it.
        replaced: the batch that it stands for, where it is fresh for that reason.
    """

    lane: Lane
    batch: SealedBatch
    run: Run
    part: bytes
    size: int
    digest: Digest
    bounds: Bounds
    fresh: bool
    replaced: Replaced | None = None


Task = Ready | Idle | Bury


class InconsistentError(Exception):
    """The spool's rows contradict each other; `str()` says how. The lane cannot go on."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the reading side needs to know beside the spool.

    Attributes:
        batch_id: for a batch that is to be sealed.
        now: ms since 1970.
        healthy: whether the lane is known to deliver.
        flush: whether nothing lingers.
        body_bytes: what the link rewards in one batch, before compression; None where there is none.
        wire_bytes: the same after it.
        in_parts: whether a large batch may come in parts.
        splits: the chunks that the upstream's lanes stand in, cut apart.
        swelling: by how much their events grow when they are rendered.
    """

    lane: int
    upstream: Upstream
    batch_id: str
    now: int
    healthy: bool
    flush: bool = False
    body_bytes: int | None = None
    wire_bytes: int = LARGEST
    in_parts: bool = False
    splits: Splits = field(default_factory=Splits)
    swelling: Swelling = field(default_factory=Swelling)
