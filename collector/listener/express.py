"""The usual request: it comes whole in one read, and its answer leaves in one send.

No task runs for it. The task of its connection sleeps in `Express.serve` while requests are
received, begun and answered from two callbacks: the one of the socket's readiness, and the
one of the commit. Whatever is not usual (a part of a request, several at once, an answer that
the kernel does not take whole, an end, a stop) wakes the task, which goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from collector.core.http import Answer
from collector.core.limits import RECEIVE_BYTES
from collector.listener.phases import ANSWERING, IDLE
from collector.listener.routes import Prompt
from collector.listener.turns import Turn

if TYPE_CHECKING:
    from collector.listener.connection import Connection
    from collector.listener.reader import Reader
    from collector.listener.readiness import Readiness
    from collector.listener.routes import Site
    from collector.listener.stream import SocketStream


class Express:
    """Serves one connection's usual requests while its task sleeps in `serve`.

    Attributes:
        fed: the reader was given what came; what it made of it is the task's to go on with.
        ended: the client has said its last.
        unsent: what the kernel did not take of an answer, the task's to send.
    """

    def __init__(
        self, connection: Connection, stream: SocketStream, reader: Reader, site: Site, readiness: Readiness
    ) -> None:
        self.fed = False
        self.ended = False
        self.unsent = b""
        self._connection = connection
        self._stream = stream
        self._reader = reader
        self._site = site
        self._readiness = readiness
        self._fd = stream.fileno()
        self._task: trio.lowlevel.Task | None = None  # while it sleeps
        self._serving = False
        self._waits = False  # for a commit
        self._more = True  # something may have come that was not read; also before anybody watched
        self._closing = False  # the client will say nothing more, once all is read
        self._error: Exception | None = None
        readiness.watch(self._fd, self._ready)

    def close(self) -> None:
        """Serve nothing more; before the stream is closed."""
        self._serving = self._waits = False
        self._readiness.forget(self._fd)

    async def serve(self) -> None:
        """Serve until there is something for the task, or until others must have their turns.

        Raises:
            OSError: the connection broke.
        """
        self._serving = True
        if self._more or self._closing:
            self._receive()
        if self._serving:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        else:
            await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        self._serving = self._waits = False
        return trio.lowlevel.Abort.SUCCEEDED

    def _hand_over(self) -> None:
        """Let the task go on."""
        self._serving = self._waits = False
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def _ready(self, closing: bool) -> None:
        """The socket has something to read."""
        if closing:
            self._closing = True
        self._more = True
        if self._serving and not self._waits:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._stream.receive_now(RECEIVE_BYTES)
        except BlockingIOError:
            self._more = False
            return
        except OSError as error:
            self._error = error
            self._hand_over()
            return
        self._more = len(data) == RECEIVE_BYTES
        reader, site, connection = self._reader, self._site, self._connection
        self.ended = not data
        if data:
            reader.feed(data)
            turns = reader.turns
            if len(turns) == 1 and not (reader.open or reader.finished or connection.closing):
                outcome, flags, extra = turns[0]
                connection.asked = True
                if flags or extra:
                    pass
                elif isinstance(outcome, Prompt):
                    connection.phase = ANSWERING
                    connection.deadline = trio.current_time() + site.limits.answer_timeout
                    self._waits = True
                    if outcome.then(self._answered):
                        return
                    self._waits = False
                elif isinstance(outcome, Answer) and not outcome.close:
                    self._send(outcome)
                    return
            self.fed = True
        self._hand_over()

    def _answered(self, answer: Answer) -> None:
        """What a request waited for is there."""
        if not self._waits:
            return  # it was interrupted
        self._waits = False
        if self._connection.closing or answer.close:
            self._reader.turns[0] = Turn(answer, 0, "")
            self.fed = True
            self._hand_over()
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        connection, site = self._connection, self._site
        self._reader.turns.clear()
        counts = site.tally.answers
        counts[answer.status] = counts.get(answer.status, 0) + 1
        try:
            words = site.wording.usual(answer)
            sent = self._stream.send_now(words)
        except Exception as error:  # noqa: BLE001 - whoever called us serves others too; the task raises it
            self._error = error
            self._hand_over()
            return
        if sent < len(words):
            self.unsent = words[sent:]
            connection.sends()
            self._hand_over()
            return
        connection.phase = IDLE
        connection.deadline = trio.current_time() + site.limits.idle_timeout
        if self._more or self._closing:
            self._hand_over()  # for the next one; others get their turns first
