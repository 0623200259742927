"""The status page, as the admin listener serves it.

GET  /              the page; `day=2026-11-17` shows that day's ledger by lane
GET  /replay        asks whether to replay the letter `id=17`, or all those of `lane=`
POST /replay        replays them, and goes back to the page
POST /v1/open       makes a link to the page: {"url": "...", "expires_in": 300}

Over TCP the first three want the key that a link was opened with, as `key=` in the query. It is in
each address of the page, which so works without cookies and without scripts.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import msgspec

from collector import __version__
from collector.admin import html
from collector.admin.answers import UNSAVED
from collector.admin.daily import lines_by_lane
from collector.admin.letters import tell
from collector.admin.links import LINK_SECONDS
from collector.admin.view import Moment, letter_line, make_view
from collector.core.days import day_number
from collector.core.http import Answer, error_answer
from collector.errors import SpoolUnavailable
from collector.listener.routes import Responder
from collector.spool import letters, replay
from collector.spool.glance import glance
from collector.spool.letters import Choice, UnknownLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from collector.admin.links import Links
    from collector.forwarder.forwarder import Forwarder
    from collector.listener.routes import Endpoint, Request
    from collector.spool.spool import Spool

ROOT = "/"
REPLAY = "/replay"
OPEN = "/v1/open"
PATHS = frozenset({ROOT, REPLAY})
"""What a key opens."""

_FORM = "application/x-www-form-urlencoded"
_MAX_ID = 2**63 - 1

_NO_PORT = error_answer(
    409,
    "A browser can only reach the page on a loopback port, and there is none:"
    ' add one to admin.bind, such as "127.0.0.1:9010", and reload.',
)


class Opened(msgspec.Struct, frozen=True):
    """A link that was made; `expires_in` seconds."""

    url: str
    expires_in: int


class _Asked(msgspec.Struct, frozen=True):
    """What the query or a form says; all else in it is ignored."""

    key: str = ""
    link: str = ""
    day: str = ""
    id: str = ""
    lane: str = ""
    replayed: str = ""
    kept: str = ""

    @property
    def home(self) -> str:
        return _url(ROOT, key=self.key)

    @property
    def notice(self) -> str:
        """What a replay that has just been asked for came to."""
        replayed, kept = _count(self.replayed), _count(self.kept)
        parts = []
        if self.replayed:
            parts.append(
                f"{replayed:,} {'event waits' if replayed == 1 else 'events wait'} to be sent once more."
            )
        if kept:
            parts.append(f"{kept:,} stayed: damaged, or their upstream does not take them.")
        return " ".join(parts)

    def choice(self) -> Choice | None:
        """The letters that are meant; None where none are."""
        if self.lane:
            return Choice(lane=self.lane)
        return Choice(ids=(number,)) if (number := _count(self.id)) else None


@dataclass(frozen=True, slots=True)
class Page:
    """What the page is made of.

    Attributes:
        links: to the page, and the keys that they were opened with.
        origins: where browsers can reach it, such as `http://127.0.0.1:9010`.
        now_ms: wall time, ms since 1970.
        uptime: seconds.
        labels: the operator's own.
        reload_refused: why the last reload was; empty where it was not.
    """

    spool: Spool
    forwarder: Forwarder
    links: Links
    origins: Callable[[], Sequence[str]]
    now_ms: Callable[[], int]
    uptime: Callable[[], float]
    labels: Callable[[], Mapping[str, str]] = dict
    reload_refused: Callable[[], str] = str

    def routes(self) -> dict[str, Mapping[str, Endpoint]]:
        """The endpoints, by path and method."""
        return {
            ROOT: {"GET": _Endpoint(self._show)},
            REPLAY: {"GET": _Endpoint(self._ask), "POST": _Endpoint(self._replay)},
            OPEN: {"POST": Responder(self._open)},
            **{path: {"GET": Responder(partial(_asset, path))} for path in html.ASSETS},
        }

    def _open(self, _request: Request) -> Answer:
        origins = self.origins()
        if not origins:
            return _NO_PORT
        url = f"{origins[0]}/?{urlencode({'link': self.links.make()})}"
        return Answer(200, msgspec.json.encode(Opened(url, int(LINK_SECONDS))), headers=UNSAVED)

    async def _show(self, request: Request) -> Answer:
        asked = _read(request.query)
        if asked.link:
            # The gate let nobody pass but by a link that is one, or who needs none.
            return _redirect(_url(ROOT, key=self.links.open(asked.link) or asked.key))
        try:
            day = day_number(asked.day) if asked.day else None
        except ValueError as error:
            return await html.message(400, "There is no such day", str(error), back=asked.home)
        found = await self.spool.read(lambda connection: glance(connection, day))
        return await html.html(
            "status.html",
            view=make_view(found, self._moment()),
            key=asked.key,
            home=asked.home,
            again=_url(ROOT, key=asked.key, day=asked.day),
            day=asked.day,
            day_lines=lines_by_lane(found.day),
            day_url=lambda name: _url(ROOT, key=asked.key, day=name),
            notice=asked.notice,
        )

    async def _ask(self, request: Request) -> Answer:
        asked = _read(request.query)
        choice = asked.choice()
        if choice is None:
            return await _nothing(asked)
        page = await self.spool.read(lambda connection: letters.page(connection, choice, limit=1))
        if not page.letters:
            return await _nothing(asked)
        letter, moment = page.letters[0], self._moment()
        one = choice.ids is not None
        return await html.html(
            "confirm.html",
            question=f"Replay dead letter {letter.id}?"
            if one
            else f"Replay all dead letters of {asked.lane}?",
            verb="Replay it" if one else "Replay them all",
            letter=letter_line(letter, moment) if one else None,
            action=_url(REPLAY, key=asked.key),
            field="id" if one else "lane",
            value=letter.id if one else asked.lane,
            back=asked.home,
        )

    async def _replay(self, request: Request) -> Answer:
        asked = _read(request.query)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            return await html.message(
                415, "This is not a form of the page", f"A form is {_FORM}.", back=asked.home
            )
        choice = _read(request.body.decode("latin-1")).choice()
        if choice is None:
            return await _nothing(asked)
        done = await replay.replay(self.spool, choice)
        tell("dead_letters_replayed", request, choice, done.replayed)
        return _redirect(_url(ROOT, key=asked.key, replayed=done.replayed, kept=done.damaged + done.away))

    def _moment(self) -> Moment:
        spool = self.spool
        trouble = ""
        if spool.disk_full:
            trouble = "The disk is full. Make room, and it goes on by itself; what was accepted is safe."
        elif not spool.healthy:
            trouble = "The disk refuses what is written; the log says more. What was accepted is safe."
        return Moment(
            now_ms=self.now_ms(),
            waiting={
                upstream.name: self.forwarder.breaker(upstream.name).reason
                for upstream in spool.options.upstreams
            },
            trouble=trouble,
            used_bytes=spool.used_bytes,
            max_bytes=spool.options.max_bytes,
            uptime=self.uptime(),
            version=__version__,
            device=spool.epoch.device,
            labels=self.labels(),
            reload_refused=self.reload_refused(),
        )


@dataclass(frozen=True, slots=True)
class _Endpoint:
    function: Callable[[Request], Awaitable[Answer]]

    def admit(self, head: Request) -> None:
        """Let everything through; the gate is who decides."""

    def begin(self, request: Request) -> _Answering:
        return _Answering(self.function, request)


@dataclass(frozen=True, slots=True)
class _Answering:
    function: Callable[[Request], Awaitable[Answer]]
    request: Request

    async def answer(self) -> Answer:
        try:
            return await self.function(self.request)
        except UnknownLane as error:
            status, heading, text = 404, "There is no such lane", str(error)
        except replay.LedgerDisagrees as error:
            status, heading, text = 409, "The ledger does not count these letters", str(error)
        except (SpoolUnavailable, sqlite3.Error) as error:
            status, heading, text = 503, "The spool cannot be used now", str(error)
        return await html.message(status, heading, text, back=_read(self.request.query).home)


async def _nothing(asked: _Asked) -> Answer:
    text = "It may have been replayed already, or have ended by age."
    return await html.message(404, "There is no such dead letter", text, back=asked.home)


def _asset(path: str, _request: Request) -> Answer:
    return html.asset(path)


def _read(query: str) -> _Asked:
    return msgspec.convert(dict(parse_qsl(query)), _Asked)


def _count(text: str) -> int:
    """A number as the page itself writes them; 0 for anything else."""
    short = text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_ID))
    return min(int(text), _MAX_ID) if short else 0


def _url(path: str, **values: str | int) -> str:
    named = {name: value for name, value in values.items() if value != ""}
    return f"{path}?{urlencode(named)}" if named else path


def _redirect(where: str) -> Answer:
    return Answer(303, headers=(*html.HEADERS, ("Location", where)))
