"""Accepting connections, and stopping.

A stop goes in this order; the nesting of the nurseries in `Server.run` is the same:

1. No more connections are accepted. Those that wait for a seat, or in the queue of a socket of our
   own, are taken in first, as far as there are seats, since closing it would reset them; an
   inherited socket stays open, and its queue is the next process's.
2. Idle connections close. Requests of which the first byte has come are read and answered.
3. At the deadline, what is still open is told so (408, 503) and closed.
"""

from __future__ import annotations

import errno
import math
import socket
from functools import partial
from typing import TYPE_CHECKING

import trio

from collector.core.limits import (
    ACCEPT_AT_ONCE,
    ACCEPT_RETRY,
    LAST_WORDS_TIMEOUT,
    SWEEP_INTERVAL,
    TURN_AWAY_INTERVAL,
)
from collector.listener.capacity import Capacity
from collector.listener.connection import Connection
from collector.listener.lobby import Arrival
from collector.listener.parting import turn_away
from collector.listener.phases import IDLE
from collector.listener.readiness import AVAILABLE, Readiness
from collector.listener.stream import SocketStream, peer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.listener.bind import BoundSocket
    from collector.listener.routes import Peer, Site

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_CLOSED = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})


class Server:
    """Serves one site on its sockets.

    `run` serves until `stop` is called and the last answer has left, or until it is cancelled,
    which ends all connections at once. The sockets are closed by then either way.

    Args:
        sockets: listening; one `Site` may be served on several.
        site: what is served; its `stopping` is this server's to set.
        capacity: shared by servers that shall be bounded together.
    """

    def __init__(self, sockets: Sequence[BoundSocket], site: Site, capacity: Capacity | None = None) -> None:
        self.site = site
        self._sockets = tuple(sockets)
        self._capacity = capacity or Capacity()
        self._seats = self._capacity.seats
        self._conversations: trio.Nursery
        self._readiness: Readiness | None = None
        self._connections: set[Connection] = set()
        self._occupied = trio.Event()
        self._emptied = trio.Event()
        self._stopped = trio.Event()
        self._deadline = math.inf
        self._patience = trio.CancelScope()
        self._starved = False
        self._refused = 0

    def stop(self, deadline: float = math.inf) -> None:
        """Stop; what is in hand is answered until `deadline`, on trio's clock. May be called again."""
        self._deadline = self._patience.deadline = min(self._deadline, deadline)
        self.site.stopping = True
        self._stopped.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve; see the class."""
        try:
            async with trio.open_nursery() as conversations:
                self._conversations = conversations
                conversations.start_soon(self._sweep)
                conversations.start_soon(self._seats.keep_clearing)
                if AVAILABLE and self._sockets:
                    self._readiness = Readiness()
                    conversations.start_soon(self._readiness.run)
                try:
                    async with trio.open_nursery() as intake:
                        for bound in self._sockets:
                            intake.start_soon(self._accept, bound.sock)
                        task_status.started()
                        await self._stopped.wait()
                        intake.cancel_scope.cancel()
                    self._take_queued()
                finally:
                    self._empty_lobby()
                await self._finish()
                conversations.cancel_scope.cancel()
        finally:
            for bound in self._sockets:
                bound.close()

    def take(self, stream: trio.abc.Stream, peer: Peer) -> None:
        """Serve a connection, as one of those that `run` has accepted; `run` must be running."""
        self._tell_time()
        tally = self.site.tally
        tally.connections += 1
        tally.open += 1
        connection = Connection(stream, peer, self.site, self._capacity, self._readiness)
        self._seats.sit(connection)
        self._connections.add(connection)
        self._occupied.set()
        self._conversations.start_soon(self._run, connection)

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one connection, not the daemon
            self.site.report("a connection failed", error)
        finally:
            self._connections.discard(connection)
            self._seats.leave(connection)
            self.site.tally.open -= 1
            if not self._connections:
                self._emptied.set()

    async def _accept(self, sock: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            refused = self._refused
            error = self._take_waiting(sock)
            if error is not None:
                if not self._starved:
                    self._starved = True
                    self.site.report("no connection can be accepted for now", error)
                await trio.sleep(ACCEPT_RETRY)
            else:
                self._starved = False
            if self._refused > refused:
                await trio.sleep(TURN_AWAY_INTERVAL)

    def _take_waiting(self, sock: socket.socket, at_most: int = ACCEPT_AT_ONCE) -> OSError | None:
        """Accept some of those who wait in a socket's queue.

        Returns:
            The error, where the process or the system ran out of something.

        Raises:
            OSError: the socket does not listen.
        """
        for _ in range(at_most):
            try:
                client, address = sock.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return error
                if error.errno in _CLOSED:
                    raise
                continue  # the client went away while it waited
            try:
                if client.family != socket.AF_UNIX:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = peer_of(client, address)
            except OSError:
                client.close()
                continue
            self._welcome(SocketStream(client), peer)
        return None

    def _welcome(self, stream: SocketStream, peer: Peer) -> None:
        enter, leave = partial(self.take, stream, peer), partial(turn_away, stream, self.site)
        away = self._seats.ask(Arrival(peer.owner, self, enter, leave))
        if away is not None:
            self._refused += 1
            away.turn_away()

    def _empty_lobby(self) -> None:
        for arrival in self._seats.lobby.withdraw(self):
            if self._seats.full:
                arrival.turn_away()
            else:
                arrival.enter()

    def _take_queued(self) -> None:
        """At a stop: answer those who came in time; closing the socket would reset them."""
        for bound in self._sockets:
            if not bound.inherited:
                error = self._take_waiting(bound.sock, self._seats.total)
                if error is not None:
                    self.site.report("clients in the queue could not be accepted", error)
            bound.close()

    async def _sweep(self) -> None:
        """End overdue phases; asleep while there are no connections."""
        while True:
            if not self._connections:
                self._occupied = trio.Event()
                await self._occupied.wait()
            await trio.sleep(SWEEP_INTERVAL / 4 if self._capacity.contended else SWEEP_INTERVAL)
            self._tell_time()
            now = trio.current_time()
            crowded = self._starved or self._seats.full
            contended = self._capacity.contended
            limits = self.site.limits
            spared = max(0.0, limits.idle_timeout - limits.crowded_idle_timeout)
            for connection in tuple(self._connections):
                due = connection.deadline
                if connection.phase == IDLE and (crowded or self._seats.awaited(connection.owner)):
                    due -= spared
                if due <= now or (contended and connection.hinders(now)):
                    connection.expire()

    def _tell_time(self) -> None:
        if self.site.wall_ms is not None:
            self.site.wording.tell_time(self.site.wall_ms())

    async def _finish(self) -> None:
        for connection in tuple(self._connections):
            connection.stop()
        with self._patience:
            await self._until_empty()
        if self._connections:
            for connection in tuple(self._connections):
                connection.expire()
            with trio.move_on_after(LAST_WORDS_TIMEOUT):
                await self._until_empty()

    async def _until_empty(self) -> None:
        while self._connections:
            self._emptied = trio.Event()
            await self._emptied.wait()
