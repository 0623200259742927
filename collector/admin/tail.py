"""`GET /v1/tail`: events as they are accepted and delivered, as NDJSON without an end.

On the UNIX socket alone, for the daemon's own user and root: these lines hold what is in the events.
An empty line says that watching has begun, and later that the connection still stands. Whoever
reads too slowly misses events, and is told how many: `{"missed":17}`. Nobody waits for a reader.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl

import msgspec
import trio

from collector.core.http import Answer, error_answer
from collector.core.jsontext import split_array
from collector.core.ndjson import in_a_line
from collector.core.tap import Sighting
from collector.listener.streaming import Streamed
from collector.spool.store import unpack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from collector.core.tap import Tap
    from collector.listener.ingest import Intake, Ticket
    from collector.listener.routes import Request
    from collector.spool.store import NewChunk

PATH = "/v1/tail"

MAX_WATCHERS = 4
"""At a time; each holds a connection of the admin listener's 32."""

MAX_WAITING_BYTES = 4 * 1024 * 1024
"""What is kept for one who reads slowly; a single request or batch that is larger alone is kept too."""

MAX_WAITING = 1000
"""Requests and batches that are kept for one who reads slowly."""

PART_BYTES = 64 * 1024
"""Lines that leave together; between two of them others have their turn."""

HEARTBEAT_SECONDS = 15.0

_NOT_YOURS = error_answer(403, "Events are shown over the UNIX socket alone, to the daemon's user and root.")
_CROWDED = error_answer(503, f"{MAX_WATCHERS} others watch already.", headers=(("Retry-After", "5"),))


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is shown of all that passes; what is not given does not matter.

    Attributes:
        what: `accepted` or `delivered`.
        lane: of this lane; so only what was delivered.
        match: text that an event holds, letter for letter.
    """

    what: Literal["accepted", "delivered"] | None = None
    lane: str | None = None
    dialect: Literal["samsara", "traintracks"] | None = None
    product: str | None = None
    match: str = ""

    def takes(self, sighting: Sighting) -> bool:
        """Whether anything of it may be shown."""
        return (
            self.what in {None, sighting.what}
            and self.lane in {None, sighting.lane}
            and self.dialect in {None, sighting.dialect}
            and self.product in {None, sighting.product}
        )


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event that passed; times in ms since 1970."""

    at: int
    what: str
    event: msgspec.Raw
    dialect: str
    product: str = ""
    lane: str = ""
    batch: str = ""
    position: int | None = None
    uid: int | None = None


class Missed(msgspec.Struct, frozen=True):
    """How many events were not kept for this reader."""

    missed: int


class Watcher:
    """One who watches, and what waits for it."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._match = wanted.match.encode()
        self._waiting: deque[Sighting] = deque()
        self._bytes = 0
        self._missed = 0
        self._filled = trio.Event()

    def see(self, sighting: Sighting) -> None:
        """Keep what passes, where there is room for it."""
        if not self._wanted.takes(sighting):
            return
        full = len(self._waiting) >= MAX_WAITING or self._bytes + sighting.size > MAX_WAITING_BYTES
        if self._waiting and full:
            self._missed += sighting.count
        else:
            self._waiting.append(sighting)
            self._bytes += sighting.size
        self._filled.set()

    async def parts(self, tap: Tap) -> AsyncGenerator[bytes]:
        """Watch until closed."""
        tap.watchers.append(self.see)
        try:
            yield b"\n"
            while True:
                with trio.move_on_after(HEARTBEAT_SECONDS):
                    await self._filled.wait()
                if not self._filled.is_set():
                    yield b"\n"
                for part in self._told():
                    yield part
                    await trio.lowlevel.checkpoint()
        finally:
            tap.watchers.remove(self.see)

    def _told(self) -> Iterator[bytes]:
        """All that waits, as lines."""
        self._filled = trio.Event()
        while self._waiting:
            sighting = self._waiting.popleft()
            yield from self._lines(sighting)
            self._bytes -= sighting.size
        if self._missed:
            yield msgspec.json.encode(Missed(self._missed)) + b"\n"
            self._missed = 0

    def _lines(self, sighting: Sighting) -> Iterator[bytes]:
        part = bytearray()
        for index, event in enumerate(sighting.events()):
            if self._match not in event:
                continue
            line = Line(
                at=sighting.at,
                what=sighting.what,
                event=msgspec.Raw(in_a_line(event)),
                dialect=sighting.dialect,
                product=sighting.product,
                lane=sighting.lane,
                batch=sighting.batch,
                position=None if sighting.first is None else sighting.first + index,
                uid=sighting.uid,
            )
            part += msgspec.json.encode(line) + b"\n"
            if len(part) >= PART_BYTES:
                yield bytes(part)
                part.clear()
        if part:
            yield bytes(part)


@dataclass(frozen=True, slots=True)
class TailEndpoint:
    """`GET /v1/tail?what=&lane=&dialect=&product=&match=`.

    Args:
        tap: what is shown.
    """

    tap: Tap

    def admit(self, head: Request) -> Answer | None:
        """403 for all but the owner of the socket, and root."""
        peer = head.peer
        if peer.kind != "unix" or peer.uid not in {None, 0, os.geteuid()} or "origin" in head.headers:
            return _NOT_YOURS
        return _CROWDED if len(self.tap.watchers) >= MAX_WATCHERS else None

    def begin(self, request: Request) -> Answer | _Begun:
        """400 for a query that cannot be understood."""
        try:
            pairs = dict(parse_qsl(request.query, keep_blank_values=True, strict_parsing=bool(request.query)))
            wanted = msgspec.convert(pairs, Wanted)
        except ValueError as error:
            return error_answer(400, f"The query cannot be understood: {error}")
        return _Begun(Watcher(wanted), self.tap)


@dataclass(frozen=True, slots=True)
class _Begun:
    watcher: Watcher
    tap: Tap

    async def answer(self) -> Streamed:
        return Streamed(self.watcher.parts(self.tap))


@dataclass(frozen=True, slots=True)
class WatchedIntake:
    """The spool's intake, of which watchers are told what was committed.

    Attributes:
        intake: takes the chunks.
        now_ms: wall time.
    """

    intake: Intake
    tap: Tap
    now_ms: Callable[[], int]

    def submit(self, chunk: NewChunk) -> Ticket:
        """As the intake does."""
        ticket = self.intake.submit(chunk)
        return _WatchedTicket(ticket, chunk, self) if self.tap.watchers else ticket


@dataclass(frozen=True, slots=True)
class _WatchedTicket:
    ticket: Ticket
    chunk: NewChunk
    by: WatchedIntake

    async def committed(self) -> None:
        await self.ticket.committed()
        self.by.tap.tell(seen_accepted(self.chunk, now_ms=self.by.now_ms()))

    def then(self, tell: Callable[[Exception | None], None]) -> bool:  # noqa: ARG002 (a Ticket's signature)
        """No: who watches is told by who waits."""
        return False


def seen_accepted(chunk: NewChunk, *, now_ms: int) -> Sighting:
    """What watchers are told of an accepted request."""
    return Sighting(
        what="accepted",
        at=now_ms,
        dialect=chunk.dialect,
        product=chunk.product,
        count=chunk.events,
        size=len(chunk.body),
        events=lambda: split_array(unpack(chunk.encoding, chunk.body)),
        uid=chunk.uid,
    )
