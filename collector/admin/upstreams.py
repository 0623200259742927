"""`/v1/upstreams`: the upstreams, as the admin listener shows and steers them.

GET  /v1/upstreams                  each with its backlog and what it waits for
POST /v1/upstreams/NAME/pause       attempt nothing more until it is resumed; kept across restarts
POST /v1/upstreams/NAME/resume      go on, at once
POST /v1/upstreams/NAME/flush       try at once, and let nothing linger
POST /v1/upstreams/NAME/test        send one signed batch of no events
POST /v1/upstreams/NAME/bury        dead-letter the events that hold its lanes up with a 500 for ever
POST /v1/upstreams/NAME/forget      evict what one that left the configuration still holds

Bodies are empty.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from collector.admin.answers import UNSAVED, unusable
from collector.core.http import Answer, error_answer
from collector.errors import SpoolUnavailable
from collector.spool import steering
from collector.spool.overview import overview

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from collector.config.model import Config
    from collector.forwarder.forwarder import Forwarder
    from collector.forwarder.trial import Trial
    from collector.listener.routes import Endpoint, Request
    from collector.spool.spool import Spool

PATH = "/v1/upstreams"

_NOT_FOR_PAGES = error_answer(403, "Web pages may not touch upstreams.")


class UpstreamState(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream.

    Attributes:
        configured: False where it left the configuration and still has lanes.
        paused: whether it was paused.
        waiting: why its lanes wait for a probe, empty where they do not.
        pending_events: how many wait, over all its lanes.
        stuck: why lanes that have events do not deliver, by lane name.
    """

    name: str
    configured: bool
    paused: bool
    waiting: str
    pending_events: int
    stuck: dict[str, str]


class Evicted(msgspec.Struct, frozen=True):
    """What was forgotten, by lane name."""

    evicted: dict[str, int]


class Buried(msgspec.Struct, frozen=True):
    """The positions of the events that were given up, by lane name."""

    buried: dict[str, int]


class Tried(msgspec.Struct, frozen=True):
    """What a dry run came to; one trial a product with `traintracks`."""

    trials: list[Trial]


class _Done(msgspec.Struct, frozen=True):
    status: str = "OK"


class _Refusal(Exception):
    """`status` and `str()` answer it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the commands are carried out.

    Attributes:
        config: the running one.
    """

    config: Callable[[], Config]
    spool: Spool
    forwarder: Forwarder
    now_ms: Callable[[], int]

    async def show(self, _name: str) -> object:
        """All upstreams."""
        view = await self.spool.read(overview)
        paused = await self.spool.read(steering.paused)
        configured = [upstream.name for upstream in self.config().upstream]
        left = {lane.upstream for lane in view.lanes} - set(configured)
        return [
            UpstreamState(
                name=name,
                configured=name in configured,
                paused=name in paused,
                waiting=self.forwarder.breaker(name).reason if name in configured else "",
                pending_events=sum(lane.pending_events for lane in view.lanes if lane.upstream == name),
                stuck={
                    lane.name: lane.reason or lane.state
                    for lane in view.lanes
                    if lane.upstream == name and not lane.delivers
                },
            )
            for name in [*configured, *sorted(left)]
        ]

    async def pause(self, name: str) -> object:
        """Attempt nothing more."""
        self._configured(name)
        now = self.now_ms()
        await self.spool.write(lambda connection: steering.set_paused(connection, name, at=now))
        self.forwarder.breaker(name).pause()
        return _Done()

    async def resume(self, name: str) -> object:
        """Go on."""
        self._configured(name)
        await self.spool.write(lambda connection: steering.set_paused(connection, name, at=None))
        self.forwarder.breaker(name).resume()
        self.forwarder.hurry(name)
        return _Done()

    async def flush(self, name: str) -> object:
        """Send what lingers, and try what waits."""
        self._configured(name)
        if self.forwarder.breaker(name).paused:
            raise _Refusal(409, f"upstream {name} is paused; resume it")
        self.forwarder.flush(name)
        return _Done()

    async def test(self, name: str) -> object:
        """Make a dry run."""
        self._configured(name)
        upstream = next(known for known in self.config().upstream if known.name == name)
        if upstream.kind == "file":
            directory = upstream.files_below(self.config().state_dir)
            return Tried(await self.forwarder.try_directory(directory))
        products = (
            [product.key for product in self.config().product] if upstream.kind == "traintracks" else [""]
        )
        return Tried(await self.forwarder.try_out(name, products))

    async def bury(self, name: str) -> object:
        """Give up what is answered 500 for ever."""
        self._configured(name)
        buried = await self.spool.write(lambda connection: steering.bury(connection, name))
        self.forwarder.hurry(name)
        return Buried(buried)

    async def forget(self, name: str) -> object:
        """Give up what an orphan holds."""
        evicted: dict[str, int] = {}
        while step := await self.spool.write(lambda connection: steering.forget(connection, name)):
            self.spool.counters.add("evicted", step)
            for lane, events in step.items():
                evicted[lane] = evicted.get(lane, 0) + events
        return Evicted(evicted)

    def _configured(self, name: str) -> None:
        if all(upstream.name != name for upstream in self.config().upstream):
            raise _Refusal(404, f"there is no upstream {name} in the configuration")


def routes(desk: Desk) -> dict[str, Mapping[str, Endpoint]]:
    """The endpoints, by path and method."""
    commands = {
        "pause": desk.pause,
        "resume": desk.resume,
        "flush": desk.flush,
        "test": desk.test,
        "bury": desk.bury,
        "forget": desk.forget,
    }
    return {
        PATH: {"GET": _Endpoint(desk.show, "")},
        **{f"{PATH}/*/{what}": {"POST": _Endpoint(command, what)} for what, command in commands.items()},
    }


@dataclass(frozen=True, slots=True)
class _Endpoint:
    command: Callable[[str], Awaitable[object]]
    what: str

    def admit(self, head: Request) -> Answer | None:
        return _NOT_FOR_PAGES if "origin" in head.headers else None

    def begin(self, request: Request) -> _Answering:
        return _Answering(self, request)


@dataclass(frozen=True, slots=True)
class _Answering:
    endpoint: _Endpoint
    request: Request

    async def answer(self) -> Answer:
        name = self.request.path.removeprefix(PATH).strip("/").partition("/")[0]
        try:
            found = await self.endpoint.command(name)
        except _Refusal as error:
            return error_answer(error.status, str(error))
        except steering.UnknownUpstream as error:
            return error_answer(404, str(error))
        except steering.StillConfigured as error:
            return error_answer(409, str(error))
        except (SpoolUnavailable, sqlite3.Error) as error:
            return unusable(error)
        if self.endpoint.what:
            log = structlog.get_logger()
            log.info("upstream_steered", upstream=name, what=self.endpoint.what, uid=self.request.peer.uid)
        return Answer(200, msgspec.json.encode(found), headers=UNSAVED)
