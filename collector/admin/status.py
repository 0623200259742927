"""The daemon's status, as the admin listener serves it and `waystation status` shows it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from collector import __version__
from collector.admin.answers import UNSAVED, unusable
from collector.core.http import Answer, error_answer
from collector.errors import SpoolUnavailable
from collector.spool.overview import IntakeRow, LaneView, LedgerRow, SalvageRow, lane_views, overview

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from collector.forwarder.forwarder import Forwarder
    from collector.listener.routes import Request
    from collector.spool.spool import Spool


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
    """An upstream; `waiting` says why its lanes wait for a probe, empty where they do not."""

    name: str
    waiting: str
    paused: bool = False


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


class StatusSource:
    """Gathers the status of a running daemon.

    Args:
        listeners: how the listeners are now.
        uptime: seconds since the start.
        labels: the operator's own, as they are now.
        reload_refused: why the last reload was, as `Status` has it.
    """

    def __init__(
        self,
        spool: Spool,
        forwarder: Forwarder,
        *,
        listeners: Callable[[], list[ListenerView]],
        uptime: Callable[[], float],
        pid: int,
        labels: Callable[[], dict[str, str]] = dict,
        reload_refused: Callable[[], str] = str,
    ) -> None:
        self._spool = spool
        self._forwarder = forwarder
        self._listeners = listeners
        self._uptime = uptime
        self._pid = pid
        self._labels = labels
        self._reload_refused = reload_refused

    async def status(self) -> Status:
        """The status now."""
        spool = self._spool
        view = await spool.read(overview)
        return Status(
            version=__version__,
            running=True,
            healthy=spool.ready and healthy_lanes(view.lanes),
            device=spool.epoch.device,
            epoch=spool.epoch.name,
            uptime=round(self._uptime(), 3),
            clock=spool.clock_trust.name.lower(),
            pid=self._pid,
            listeners=self._listeners(),
            spool=SpoolView(
                path=str(spool.options.directory),
                used_bytes=spool.used_bytes,
                max_bytes=spool.options.max_bytes,
                healthy=spool.healthy,
                failed_commits=spool.counters.failed_commits,
                disk_full=spool.disk_full,
                refused_requests=sum(spool.counters.refused.values()),
            ),
            upstreams=[
                UpstreamView(name=name, waiting=breaker.reason, paused=breaker.paused)
                for name, breaker in (
                    (upstream.name, self._forwarder.breaker(upstream.name))
                    for upstream in spool.options.upstreams
                )
            ],
            lanes=view.lanes,
            ledger=view.ledger,
            received=view.received,
            salvages=view.salvages,
            labels=self._labels(),
            reload_refused=self._reload_refused(),
        )


class Asynchronous:
    """An endpoint that answers from a coroutine function."""

    def __init__(self, function: Callable[[], Awaitable[Answer]]) -> None:
        self._function = function

    def admit(self, head: Request) -> None:
        """Let everything through; the admin listener's gate is who decides."""

    def begin(self, request: Request) -> Asynchronous:  # noqa: ARG002 - an Endpoint's signature
        """Answer when the function has."""
        return self

    async def answer(self) -> Answer:
        """The function's answer; 503 where the spool cannot be read."""
        try:
            return await self._function()
        except (SpoolUnavailable, sqlite3.Error) as error:
            return unusable(error)


def status_endpoint(source: StatusSource) -> Asynchronous:
    """`GET /v1/status`."""

    async def answer() -> Answer:
        return Answer(200, msgspec.json.encode(await source.status()), headers=UNSAVED)

    return Asynchronous(answer)


def live_endpoint() -> Asynchronous:
    """`GET /livez`: the loop turns."""

    async def answer() -> Answer:
        return Answer(200, b'{"status":"OK"}')

    return Asynchronous(answer)


def unready(spool: Spool, forwarder: Forwarder) -> str:
    """Why the daemon is not ready; empty where commits succeed and lanes make progress.

    An upstream that is down or refuses keeps nobody from handing over events: that is no reason.
    """
    if spool.disk_full:
        return "the disk is full"
    if not spool.healthy:
        return "the spool cannot commit"
    stuck = forwarder.stuck()
    return "; ".join(f"lane {name}: {reason}" for name, reason in stuck.items())


def ready_endpoint(why_not: Callable[[], str]) -> Asynchronous:
    """`GET /readyz`: 503 with the reason where there is one."""

    async def answer() -> Answer:
        reason = why_not()
        return error_answer(503, reason) if reason else Answer(200, b'{"status":"OK"}')

    return Asynchronous(answer)


def lanes_endpoint(spool: Spool) -> Asynchronous:
    """`GET /v1/lanes`."""

    async def answer() -> Answer:
        lanes = await spool.read(lane_views)
        return Answer(200, msgspec.json.encode({"lanes": lanes}), headers=UNSAVED)

    return Asynchronous(answer)
