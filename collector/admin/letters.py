"""`/v1/dead-letters`: what upstreams refused, as the admin listener shows and moves it.

GET  /v1/dead-letters?lane=&id=&after=&limit=&events=1     a page of them, the oldest first
POST /v1/dead-letters/replay    {"ids": [...]}, {"lane": "..."} or {"all": true}
POST /v1/dead-letters/purge     likewise
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec
import structlog

from collector.admin.answers import UNSAVED, unusable
from collector.core.http import Answer, error_answer
from collector.errors import SpoolUnavailable
from collector.spool import letters, replay
from collector.spool.letters import Choice, UnknownLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from collector.listener.routes import Endpoint, Request
    from collector.spool.spool import Spool

PATH = "/v1/dead-letters"

_NOT_FOR_PAGES = error_answer(403, "Web pages may not touch dead letters.")
_PLAIN_ONLY = error_answer(415, "This is sent without Content-Encoding.")


class Refusal(Exception):
    """The request is not one that can be answered; `str()` says why."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page that is asked for, as the query says.

    Attributes:
        lane: of which lane; None for all.
        id: which one alone.
        after: the id that they follow.
        limit: how many at most.
        events: whether with their events.
    """

    lane: str | None = None
    id: int | None = None
    after: int = 0
    limit: int = 100
    events: bool = False


class Purged(msgspec.Struct, frozen=True):
    """What a purge came to."""

    purged: int


_CHOICE = msgspec.json.Decoder(Choice)


def read_query(query: str) -> Asked:
    """The page that a query asks for.

    Raises:
        Refusal: the query cannot be understood.
    """
    try:
        asked = msgspec.convert(
            dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))), Asked, strict=False
        )
    except ValueError as error:
        raise Refusal(f"The query cannot be understood: {error}") from None
    if not 1 <= asked.limit <= letters.MAX_PAGE:
        raise Refusal(f"limit must be 1 to {letters.MAX_PAGE}.")
    if abs(asked.after) >> 63 or abs(asked.id or 0) >> 63:
        raise Refusal("There is no such number.")
    if asked.id is not None and asked.lane is not None:
        raise Refusal("Give id or lane.")
    return asked


def read_choice(body: bytes) -> Choice:
    """The letters that a body names.

    Raises:
        Refusal: the body cannot be understood.
    """
    try:
        choice = _CHOICE.decode(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"The body cannot be understood: {error}") from None
    if any(abs(number) >> 63 for number in choice.ids or ()):
        raise Refusal("There is no such number.")
    return choice


def routes(spool: Spool) -> dict[str, Mapping[str, Endpoint]]:
    """The endpoints, by path and method."""

    async def show(request: Request) -> object:
        asked = read_query(request.query)
        if asked.id is not None:
            choice = Choice(ids=(asked.id,))
        else:
            choice = Choice(lane=asked.lane, all=asked.lane is None)
        return await spool.read(
            lambda connection: letters.page(
                connection, choice, after=asked.after, limit=asked.limit, events=asked.events
            )
        )

    async def replay_them(request: Request) -> object:
        choice = read_choice(request.body)
        done = await replay.replay(spool, choice)
        tell("dead_letters_replayed", request, choice, done.replayed)
        return done

    async def purge_them(request: Request) -> object:
        choice = read_choice(request.body)
        purged = await replay.purge(spool, choice)
        tell("dead_letters_purged", request, choice, purged)
        return Purged(purged)

    return {
        PATH: {"GET": _Endpoint(show)},
        f"{PATH}/replay": {"POST": _Endpoint(replay_them)},
        f"{PATH}/purge": {"POST": _Endpoint(purge_them)},
    }


def tell(what: str, request: Request, choice: Choice, count: int) -> None:
    """Log what somebody did to letters."""
    if count:
        structlog.get_logger().info(what, letters=count, lane=choice.lane, uid=request.peer.uid)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    function: Callable[[Request], Awaitable[object]]

    def admit(self, head: Request) -> Answer | None:
        if "origin" in head.headers:
            return _NOT_FOR_PAGES
        if head.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
            return _PLAIN_ONLY
        return None

    def begin(self, request: Request) -> _Answering:
        return _Answering(self.function, request)


@dataclass(frozen=True, slots=True)
class _Answering:
    function: Callable[[Request], Awaitable[object]]
    request: Request

    async def answer(self) -> Answer:
        try:
            found = await self.function(self.request)
        except Refusal as error:
            return error_answer(400, str(error))
        except UnknownLane as error:
            return error_answer(404, str(error))
        except replay.LedgerDisagrees as error:
            return error_answer(409, str(error))
        except (SpoolUnavailable, sqlite3.Error) as error:
            return unusable(error)
        return Answer(200, msgspec.json.encode(found), headers=UNSAVED)
