"""What the spool says of itself at a glance: the types alone, which whoever asks a daemon reads too."""

from __future__ import annotations

import msgspec


class LaneView(msgspec.Struct, frozen=True, kw_only=True):
    """A lane.

    Attributes:
        state: new, healthy, narrowing, retrying, blocked, paused or orphaned; narrowing is a lane
            that delivers, in small batches, to find what its upstream refuses.
        reason: why it is not healthy.
        since: when it came to that state, ms since 1970; one that narrows has been healthy since then.
        next_attempt_at: ms since 1970, where it waits for that.
        pending_events: how many wait.
        pending_bytes: what the chunks that it still needs take in the spool.
        oldest_received_at: when the oldest event that waits was accepted, ms since 1970.
        dead_letters: how many are kept.
        learned_limit: bytes of a batch, before compression, that the upstream was found to take, where it
            refused larger ones.
    """

    name: str
    upstream: str
    dialect: str
    product: str
    state: str
    reason: str
    since: int
    next_attempt_at: int | None
    pending_events: int
    pending_bytes: int
    oldest_received_at: int | None
    dead_letters: int
    learned_limit: int | None = None

    @property
    def delivers(self) -> bool:
        """Whether nothing keeps it from delivering what it has."""
        return self.state in {"new", "healthy", "narrowing"} or not self.pending_events


ENDS = ("pending", "delivered", "dead", "expired", "evicted", "damaged")
LEDGER = ("accepted", *ENDS, "outcome_unknown")
"""The ledger's columns that count events, in `LedgerRow` and in the spool's table."""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a lane's events of one UTC day of acceptance.

    `accepted` is always the sum of the six behind it.
    """

    lane: str
    day: str
    accepted: int
    pending: int
    delivered: int
    dead: int
    expired: int
    evicted: int
    damaged: int
    outcome_unknown: int


class IntakeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was received, once an event, however many upstreams take it."""

    dialect: str
    product: str
    day: str
    requests: int
    events: int


class SalvageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was saved of a damaged spool.

    Attributes:
        at: ms since 1970.
        reason: what was damaged.
        set_aside: the file that the damaged database is kept in.
        chunks: saved requests; `events` those in them.
        damaged: events that waited and were lost, over all lanes, as far as that is known.
        notes: what else is to be known of it.
    """

    at: int
    reason: str
    set_aside: str
    epoch: str
    chunks: int
    events: int
    damaged: int
    notes: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    lanes: list[LaneView]
    ledger: list[LedgerRow]
    received: list[IntakeRow]
    salvages: list[SalvageRow]
