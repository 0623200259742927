"""One HTTP/1.1 connection: receive, read, answer in order, and know when to stop.

No timer runs for a connection. It says in `deadline` by when its present phase must be over;
the server looks at all of them now and then and calls `expire`; `phases` says what that means.
A client that has only just come is about to ask: a stop gives it a moment.

Every answer sent while the listener stops ends its connection, unless part of another
request has come already.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import trio

from collector.core.http import Answer
from collector.core.limits import ANSWERS_BYTES, RECEIVE_BYTES
from collector.listener.express import Express
from collector.listener.guest import Guest
from collector.listener.parting import LAST_WORDS, linger, say
from collector.listener.phases import ANSWERING, IDLE, LEAVING, PARKED, RECEIVING, STREAMING, WAITING
from collector.listener.reader import INTERNAL, Reader
from collector.listener.stream import SocketStream
from collector.listener.streaming import HEAD, Streamed, pour
from collector.listener.turns import BODYLESS, CLOSE, OLD
from collector.listener.wire import CONTINUE

if TYPE_CHECKING:
    from collector.listener.capacity import Capacity
    from collector.listener.readiness import Readiness
    from collector.listener.routes import Peer, Site

FRESH_SECONDS = 0.5
"""For so long after it was accepted a client is about to ask, and not to be sent away by a stop."""


class Connection(Guest):
    """Serves one stream until either side ends it."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        peer: Peer,
        site: Site,
        capacity: Capacity,
        readiness: Readiness | None = None,
    ) -> None:
        super().__init__(peer, site, capacity, Reader(site, peer))
        self._fresh_until = trio.current_time() + FRESH_SECONDS
        self._stream = stream
        self._late_data: bytes | bytearray = b""
        self._ready: list[bytes] = []
        self._express: Express | None = None
        if readiness is not None and isinstance(stream, SocketStream):
            self._express = Express(self, stream, self._reader, site, readiness)

    def stop(self) -> None:
        """The listener stops: end if nothing is in hand, nor about to be."""
        if self.phase == STREAMING or (self.phase == IDLE and not self._stays_a_moment()):
            self.expire()

    def _stays_a_moment(self) -> bool:
        if self.asked or self._fresh_until <= trio.current_time():
            return False
        self.deadline = min(self.deadline, self._fresh_until)
        return True

    async def run(self) -> None:
        """Serve; a client that vanishes is no error. The stream is closed at the end."""
        seats = self._seats
        try:
            if seats.serve(self.owner) or await self._wait_for_turn():
                try:
                    await self._serve()
                finally:
                    seats.served(self.owner)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._room.release()
            self._reader.drop()
            if self._express is not None:
                self._express.close()
            await trio.aclose_forcefully(self._stream)

    async def _wait_for_turn(self) -> bool:
        """Wait, unread, until one of the same peer's connections ends; whether it did in time."""
        with trio.CancelScope() as self._scope:
            self._wait(PARKED)
            await self._seats.turn(self.owner)
            self.phase = IDLE
            self._pace.restart()
            self.deadline = self._pace.since + self._site.limits.idle_timeout
            return True
        await self._farewell()
        return False

    async def _serve(self) -> None:
        data: bytes | bytearray = b""
        while True:
            if self._site.stopping and self.phase == IDLE and not data and not self._fed:
                data = self._unread()
                if not data and not self._stays_a_moment():
                    return
            with trio.CancelScope() as self._scope:
                self._interrupted = False
                if await self._converse(data):
                    return
            data, self._late_data = self._late_data, b""
            self._leaving = self._leaving and not (data or self._fed)
            if not data and not self._fed and not (self.phase == IDLE and self._may_go_on()):
                await self._farewell()
                return

    def _may_go_on(self) -> bool:
        """Whether an interrupted wait for a request need not be the end."""
        return self._site.stopping or self.deadline > trio.current_time()

    async def _converse(self, data: bytes | bytearray) -> bool:
        """Serve until the connection is over: True. False: look again whether it is."""
        reader, limits = self._reader, self._site.limits
        while True:
            resumed = reader.open
            if not data and not self._fed:
                came = await self._next()
                if came is None:
                    continue
                if isinstance(came, bool):
                    return came
                data = came
            now = trio.current_time()
            self._feed(data)
            data = b""
            if reader.turns:
                resumed = False
                self.asked = True
                self.deadline = now + limits.answer_timeout
                await self._answer()
                if reader.finished:
                    return True
            if reader.open:
                await self._await_rest(resumed=resumed)
            else:
                self.phase = IDLE
                self.deadline = now + limits.idle_timeout
                if self._site.stopping:  # since the answer was put into words
                    return False

    def _feed(self, data: bytes | bytearray) -> None:
        if data:
            self._reader.feed(data)
        elif self._express is not None:
            self._express.fed = False

    async def _next(self) -> bytes | bool | None:
        """Bytes that came (none if the reader has had them), what `_converse` returns, or None: again."""
        express = self._express
        if express is None or self._reader.open:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if data and self._interrupted:
                self._late_data = data
            return bytes(data) if data and not self._interrupted else not data
        await express.serve()
        if express.unsent:
            await self._send_rest(express)
        if express.ended:
            return True
        if self._interrupted:
            return False
        return b"" if express.fed else None

    @property
    def _fed(self) -> bool:
        """Whether the reader was given what came, and nothing was done about it yet."""
        return self._express is not None and self._express.fed

    async def _send_rest(self, express: Express) -> None:
        self.deadline = trio.current_time()
        self._ready.append(express.unsent)
        express.unsent = b""
        await self._send_ready()
        self.phase = IDLE
        self.deadline = trio.current_time() + self._site.limits.idle_timeout

    async def _answer(self) -> None:
        """Answer all that was begun, in order and in one send."""
        reader, ready, site = self._reader, self._ready, self._site
        turns, counts, usual = reader.turns, site.tally.answers, site.wording.usual
        self.phase = ANSWERING
        left = len(turns)
        size = 0
        for outcome, turn_flags, extra in turns:
            left -= 1
            flags = turn_flags
            answer: Answer | Streamed
            if isinstance(outcome, Answer):
                answer = outcome
            else:
                try:
                    answer = await outcome.answer()
                except Exception as error:  # noqa: BLE001 - a fault of ours costs one request, not the daemon
                    site.report("an answer failed", error)
                    answer = INTERNAL
            if isinstance(answer, Streamed):
                await self._pour(answer, head_only=bool(flags & BODYLESS))
                reader.finished = True
                break
            if answer.close or (not left and not reader.open and self.closing):
                reader.cut_short = reader.cut_short or not flags & CLOSE
                flags |= CLOSE
            ready.append(self._special(answer, flags, extra) if flags or extra else usual(answer))
            size += len(ready[-1])
            if size > ANSWERS_BYTES and left:
                size = 0
                await self._send_ready()
                self.phase = ANSWERING
                self.deadline = trio.current_time() + site.limits.answer_timeout
            counts[answer.status] = counts.get(answer.status, 0) + 1
            if flags & CLOSE:
                reader.finished = True
                break
        turns.clear()
        del outcome  # and so the body
        await self._send_ready()
        if reader.finished and reader.cut_short:
            await self._linger()

    async def _pour(self, streamed: Streamed, *, head_only: bool) -> None:
        """Send an answer without an end, until either side ends it."""
        counts = self._site.tally.answers
        counts[200] = counts.get(200, 0) + 1
        self._ready.append(HEAD)
        async with aclosing(streamed.parts):
            await self._send_ready()
            if not (head_only or self._site.stopping):
                await pour(streamed, self, self._stream, self._site.limits)

    async def _send_ready(self) -> None:
        ready = self._ready
        self.sends()
        self.deadline += self._site.limits.send_timeout
        words = b"".join(ready)
        ready.clear()  # not kept twice for a client who takes its time
        await self._stream.send_all(words)
        self._room.release()

    async def _await_rest(self, *, resumed: bool) -> None:
        """Prepare to receive the rest of a request of which the first part has come."""
        reader, limits = self._reader, self._site.limits
        if not resumed:
            self._pace.restart()
        claim = 0 if self._room.size else reader.claim()
        if claim:
            self._wait(WAITING)
            if await self._room.take(claim, reader.received):
                self._pace.restart(reader.received)  # it was we who kept the client waiting
        self.deadline = self._pace.since + (limits.head_timeout if reader.in_head else limits.request_timeout)
        self.phase = RECEIVING
        if reader.expects_continue:
            reader.expects_continue = False
            await self._stream.send_all(CONTINUE)

    async def _farewell(self) -> None:
        """After an interruption: say why, if the client waits for an answer."""
        last = LAST_WORDS.get(self.phase)
        if last is not None and await say(last, self._ready, self._stream, self._site) and not self._leaving:
            await self._linger()

    async def _linger(self) -> None:
        self.phase = LEAVING
        await linger(self._stream, self._site.limits)

    def _unread(self) -> bytes:
        return self._stream.receive_nowait(RECEIVE_BYTES) if isinstance(self._stream, SocketStream) else b""

    def _special(self, answer: Answer, flags: int, extra: str) -> bytes:
        connection = "close" if flags & CLOSE else "keep-alive" if flags & OLD else ""
        return self._site.wording.special(
            answer, extra=extra, connection=connection, head_only=bool(flags & BODYLESS)
        )
