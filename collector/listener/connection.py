"""One HTTP/1.1 connection: receive, read, answer in order, and know when to stop.

No timer runs for a connection. It says in `deadline` by when its present phase must be over;
the server looks at all of them now and then and calls `expire`. What that means depends on
the phase:

    phase      waits for                     overdue              the listener stops
    IDLE       a request's first byte        close                close, unless one has just come, or the
                                                                  client itself and so is about to ask
    RECEIVING  the rest of a request         408, close           go on
    ANSWERING  an endpoint                   503, close           go on
    SENDING    the client to take answers    close                go on
    LEAVING    the client to go              close                go on
    STREAMING  more to tell                  never                close

Every answer sent while the listener stops ends its connection, unless part of another
request has come already.
"""

from __future__ import annotations

import math
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import trio

from collector.core.http import Answer, error_answer
from collector.core.limits import ANSWERS_BYTES, RECEIVE_BYTES
from collector.listener.reader import INTERNAL, Reader
from collector.listener.stream import SocketStream
from collector.listener.streaming import HEAD, Streamed, until_gone
from collector.listener.turns import BODYLESS, CLOSE, OLD
from collector.listener.wire import CONTINUE, render, render_special

if TYPE_CHECKING:
    from collector.listener.capacity import Capacity
    from collector.listener.routes import Peer, Site

FRESH_SECONDS = 0.5
"""For so long after it was accepted a client is about to ask, and not to be sent away by a stop."""

IDLE, RECEIVING, ANSWERING, SENDING, LEAVING, STREAMING = range(6)

_TOO_SLOW = error_answer(408, "The request took too long to arrive.")
_STALLED = error_answer(503, "This took too long; try again.", headers=(("Retry-After", "5"),))


class Connection:
    """Serves one stream until either side ends it.

    Attributes:
        phase: what it waits for, see above.
        deadline: on trio's clock; by then the phase must be over.
    """

    def __init__(self, stream: trio.abc.Stream, peer: Peer, site: Site, capacity: Capacity) -> None:
        self.phase = IDLE
        self.deadline = trio.current_time() + site.limits.idle_timeout
        self._fresh_until = trio.current_time() + FRESH_SECONDS
        self._stream = stream
        self._site = site
        self._capacity = capacity
        self._reader = Reader(site, peer)
        self._scope = trio.CancelScope()
        self._interrupted = False
        self._late_data: bytes | bytearray = b""
        self._began = 0.0
        self._ready: list[bytes] = []
        self._held = 0

    def expire(self) -> None:
        """End the present phase."""
        self.deadline = -math.inf  # until a next phase sets it
        self._interrupted = True
        self._scope.cancel()

    def stop(self) -> None:
        """The listener stops: end if nothing is in hand, nor about to be."""
        if self.phase == STREAMING or (self.phase == IDLE and not self._stays_a_moment()):
            self.expire()

    def _stays_a_moment(self) -> bool:
        if self._fresh_until <= trio.current_time():
            return False
        self.deadline = min(self.deadline, self._fresh_until)
        return True

    async def run(self) -> None:
        """Serve; a client that vanishes is no error. The stream is closed at the end."""
        try:
            await self._serve()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._release()
            self._reader.drop()
            await trio.aclose_forcefully(self._stream)

    async def _serve(self) -> None:
        data: bytes | bytearray = b""
        while True:
            if self._site.stopping and self.phase == IDLE and not data:
                data = self._unread()
                if not data and not self._stays_a_moment():
                    return
            with trio.CancelScope() as self._scope:
                self._interrupted = False
                if await self._converse(data):
                    return
            data, self._late_data = self._late_data, b""
            if not data and not (self.phase == IDLE and self._may_go_on()):
                await self._farewell()
                return

    def _may_go_on(self) -> bool:
        """Whether an interrupted wait for a request need not be the end."""
        return self._site.stopping or self.deadline > trio.current_time()

    async def _converse(self, data: bytes | bytearray) -> bool:
        """Serve until the connection is over: True. False: look again whether it is."""
        receive, reader, limits = self._stream.receive_some, self._reader, self._site.limits
        while True:
            if not data:
                data = await receive(RECEIVE_BYTES)
                if not data:
                    return True
                if self._interrupted:
                    self._late_data = data
                    return False
            now = trio.current_time()
            self._fresh_until = -math.inf
            resumed = reader.open
            reader.feed(data)
            data = b""
            if reader.turns:
                resumed = False
                self.deadline = now + limits.answer_timeout
                await self._answer()
                if reader.finished:
                    if reader.cut_short:
                        await self._linger()
                    return True
            if reader.open:
                await self._await_rest(resumed=resumed)
            else:
                self.phase = IDLE
                self.deadline = now + limits.idle_timeout
                if self._site.stopping:  # since the answer was put into words
                    return False

    async def _answer(self) -> None:
        """Answer all that was begun, in order and in one send."""
        reader, ready, site = self._reader, self._ready, self._site
        turns, counts = reader.turns, site.tally.answers
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
            if answer.close or (site.stopping and not left and not reader.open):
                reader.cut_short = reader.cut_short or not flags & CLOSE
                flags |= CLOSE
            ready.append(_render_turn(answer, flags, extra) if flags or extra else render(answer))
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
        await self._send_ready()

    async def _pour(self, streamed: Streamed, *, head_only: bool) -> None:
        """Send an answer without an end, until either side ends it."""
        counts = self._site.tally.answers
        counts[200] = counts.get(200, 0) + 1
        self._ready.append(HEAD)
        async with aclosing(streamed.parts):
            await self._send_ready()
            if head_only or self._site.stopping:
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pour_parts, streamed, nursery.cancel_scope)
                await until_gone(self._stream)
                nursery.cancel_scope.cancel()

    async def _pour_parts(self, streamed: Streamed, scope: trio.CancelScope) -> None:
        self.phase, self.deadline = STREAMING, math.inf
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            async for part in streamed.parts:
                self.deadline = trio.current_time() + self._site.limits.send_timeout
                await self._stream.send_all(part)
                self.deadline = math.inf
        scope.cancel()

    async def _send_ready(self) -> None:
        ready = self._ready
        self.phase = SENDING
        self.deadline += self._site.limits.send_timeout
        await self._stream.send_all(ready[0] if len(ready) == 1 else b"".join(ready))
        ready.clear()
        if self._held:
            self._release()

    async def _await_rest(self, *, resumed: bool) -> None:
        """Prepare to receive the rest of a request of which the first part has come."""
        reader, limits = self._reader, self._site.limits
        if not resumed:
            self._began = trio.current_time()
        self.deadline = self._began + (limits.head_timeout if reader.in_head else limits.request_timeout)
        claim = 0 if self._held else reader.claim()
        if claim:
            self.phase = ANSWERING  # it is we who keep the client waiting
            await self._capacity.hold(claim)
            self._held = claim
        self.phase = RECEIVING
        if reader.expects_continue:
            reader.expects_continue = False
            await self._stream.send_all(CONTINUE)

    async def _farewell(self) -> None:
        """After an interruption: say why, if the client waits for an answer."""
        if self.phase == RECEIVING:
            last = _TOO_SLOW
        elif self.phase == ANSWERING:
            last = _STALLED
        else:
            return
        counts = self._site.tally.answers
        counts[last.status] = counts.get(last.status, 0) + 1
        words = b"".join((*self._ready, render_special(last, connection="close")))
        with trio.move_on_after(self._site.limits.linger_timeout):
            await self._stream.send_all(words)
            await self._linger()

    async def _linger(self) -> None:
        """Let the client read its answer: a close with unread bytes would reset the connection."""
        self.phase = LEAVING
        limits = self._site.limits
        left = limits.linger_bytes
        with trio.move_on_after(limits.linger_timeout):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while left > 0:
                data = await self._stream.receive_some(RECEIVE_BYTES)
                if not data:
                    return
                left -= len(data)

    def _unread(self) -> bytes:
        return self._stream.receive_nowait(RECEIVE_BYTES) if isinstance(self._stream, SocketStream) else b""

    def _release(self) -> None:
        if self._held:
            self._capacity.release(self._held)
            self._held = 0


def _render_turn(answer: Answer, flags: int, extra: str) -> bytes:
    connection = "close" if flags & CLOSE else "keep-alive" if flags & OLD else ""
    return render_special(answer, extra=extra, connection=connection, head_only=bool(flags & BODYLESS))
