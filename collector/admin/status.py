"""The daemon's status, as the admin listener serves it and `waystation status` shows it: its types.

Who asks a daemon imports this and little else, so nothing here reads a spool or answers a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from collector.spool.views import (  # noqa: TC001 (msgspec reads the annotations)
    IntakeRow,
    LaneView,
    LedgerRow,
    SalvageRow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class ListenerView(msgspec.Struct, frozen=True, kw_only=True):
    """A listener.

    Attributes:
        address: what it is bound to.
        connections: open now.
        requests: answered since the start.
    """

    address: str
    connections: int
    requests: int


class SpoolView(msgspec.Struct, frozen=True, kw_only=True):
    """The spool.

    Attributes:
        healthy: whether the last commit succeeded.
        failed_commits: since the start.
        disk_full: whether nothing is accepted, since the disk has no room.
        refused_requests: since the start, for want of room in the quota.
    """

    path: str
    used_bytes: int
    max_bytes: int
    healthy: bool
    failed_commits: int
    disk_full: bool = False
    refused_requests: int = 0


class UpstreamView(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream.

    Attributes:
        waiting: why its lanes wait for a probe; empty where they do not.
        directory: of an upstream that writes files; None for any other.
    """

    name: str
    waiting: str
    paused: bool = False
    directory: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        running: whether a daemon answered; False where the spool was read without one.
        healthy: whether commits succeed and no lane that has events is retrying, blocked, paused or
            orphaned.
        uptime: seconds.
        clock: how far the wall clock is believed: unknown, plausible or confirmed.
        labels: the operator's own.
        reload_refused: why the last reload was; empty where it was not.
    """

    version: str
    running: bool
    healthy: bool
    device: str
    epoch: str
    uptime: float | None = None
    clock: str | None = None
    pid: int | None = None
    listeners: list[ListenerView] = []
    spool: SpoolView
    upstreams: list[UpstreamView] = []
    lanes: list[LaneView]
    ledger: list[LedgerRow]
    received: list[IntakeRow]
    salvages: list[SalvageRow] = []
    labels: dict[str, str] = {}
    reload_refused: str = ""


def healthy_lanes(lanes: Sequence[LaneView]) -> bool:
    """Whether no lane is kept from delivering what it has."""
    return all(lane.delivers for lane in lanes)
