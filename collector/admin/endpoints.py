"""What the admin listener answers by itself: the status, its lanes, and the probes."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from collector import __version__
from collector.admin.answers import UNSAVED, unusable
from collector.admin.status import SpoolView, Status, UpstreamView, healthy_lanes
from collector.core.http import Answer, error_answer
from collector.errors import SpoolUnavailable
from collector.spool.overview import lane_views, overview

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from collector.admin.status import ListenerView
    from collector.forwarder.forwarder import Forwarder
    from collector.listener.routes import Request
    from collector.spool.spool import Spool


class StatusSource:
    """Gathers the status of a running daemon.

    Args:
        listeners: how the listeners are now.
        uptime: seconds since the start.
        labels: the operator's own, as they are now.
        reload_refused: why the last reload was, as `Status` has it.
        directories: by upstream, as it is now, of those that write files.
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
        directories: Callable[[], Mapping[str, str | None]] = dict,
    ) -> None:
        self._spool = spool
        self._forwarder = forwarder
        self._listeners = listeners
        self._uptime = uptime
        self._pid = pid
        self._labels = labels
        self._reload_refused = reload_refused
        self._directories = directories

    async def status(self) -> Status:
        """The status now."""
        spool = self._spool
        view = await spool.read(overview)
        directories = self._directories()
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
                UpstreamView(
                    name=name,
                    waiting=breaker.reason,
                    paused=breaker.paused,
                    directory=directories.get(name),
                )
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
