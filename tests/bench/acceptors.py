"""A sketch, not the product: processes that accept, over one that writes.

    python tests/bench/acceptors.py DIRECTORY PROCESSES

Prints its port, and serves until its input ends. Each acceptor runs the product's listener with an
interpreter lock of its own, and hands what it took in a turn of its loop over a socket pair. The writer
commits what came from all of them, by the product's own committer, and says how many are on disk. Left
out are forwarding, limits that acceptors would share, metrics, and the ballast.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from fakes.spools import spool_in

from collector.config.model import Listener
from collector.core.limits import ConnectionLimits
from collector.host import garbage
from collector.host.clock import Clocks
from collector.host.memory import return_large_blocks
from collector.listener.admission import Admission
from collector.listener.bind import adopt
from collector.listener.ingest import PATH, Ingest
from collector.listener.policy import Policy
from collector.listener.routes import Site
from collector.listener.serve import Server
from collector.spool.items import Append
from collector.spool.store import NewChunk
from collector.spool.tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

QUOTA_BYTES = 8 << 30
BUFFER_BYTES = 4 << 20
_CHUNKS = msgspec.msgpack.Decoder(list[NewChunk])


class Remote:
    """An acceptor's way to the writer: as the spool's entrance, but for the bounds."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._token = trio.lowlevel.current_trio_token()
        self._pending: list[NewChunk] = []
        self._tickets: deque[Ticket] = deque()

    def submit(self, chunk: NewChunk) -> Ticket:
        """Hand a chunk over at the end of the loop's turn."""
        ticket = Ticket()
        self._tickets.append(ticket)
        self._pending.append(chunk)
        if len(self._pending) == 1:
            self._token.run_sync_soon(self._hand_over)
        return ticket

    def _hand_over(self) -> None:
        text = msgspec.msgpack.encode(self._pending)
        self._pending.clear()
        self._wire.setblocking(True)  # noqa: FBT003 (its signature)
        self._wire.sendall(len(text).to_bytes(4, "big") + text)

    async def run(self) -> None:
        """Settle what is on disk."""
        while True:
            await trio.lowlevel.wait_readable(self._wire)
            told = self._wire.recv(4096)
            for at in range(0, len(told), 4):
                for _ in range(int.from_bytes(told[at : at + 4], "big")):
                    self._tickets.popleft().settle(None)


async def accept(listening: socket.socket, wire: socket.socket) -> None:
    """An acceptor's life."""
    admission = Admission.of(Listener(bind="127.0.0.1:0"))
    wall_ms = Clocks().wall_ms
    remote = Remote(wire)
    endpoint = Ingest(remote, Policy(takes=lambda *_: True, secrets={}), wall_ms=wall_ms)
    site = Site({PATH: {"POST": endpoint}}, admission, ConnectionLimits(), wall_ms=wall_ms)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.run)
        await nursery.start(Server([adopt(listening)], site).run)


class Inbox:
    """What one acceptor hands over."""

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self._read = bytearray()

    def fileno(self) -> int:
        """For `select`."""
        return self.wire.fileno()

    def take(self) -> Iterator[NewChunk]:
        """The chunks that are whole."""
        self._read += self.wire.recv(BUFFER_BYTES)
        while len(self._read) >= 4:
            end = 4 + int.from_bytes(self._read[:4], "big")
            if len(self._read) < end:
                return
            yield from _CHUNKS.decode(self._read[4:end])
            del self._read[:end]


async def write(directory: Path, wires: list[socket.socket]) -> None:
    """The writer's life."""
    inboxes = [Inbox(wire) for wire in wires]
    async with spool_in(directory, max_bytes=QUOTA_BYTES) as spool:
        committer: Any = spool._writer._committer
        while True:
            ready, _, _ = select.select([sys.stdin, *inboxes], [], [])
            if sys.stdin in ready:
                return
            brought = [(inbox, list(inbox.take())) for inbox in ready]
            group = [Append(chunk, Ticket()) for _, chunks in brought for chunk in chunks]
            if group:
                committer.commit(group)()
                _insist(group)
            for inbox, chunks in brought:
                if chunks:
                    inbox.wire.sendall(len(chunks).to_bytes(4, "big"))


def _insist(group: list[Append]) -> None:
    """Look at what became of a group before an acceptor is told that it is on disk.

    Raises:
        RuntimeError: some of it is not; the sketch has no answer for that, so that it ends.
    """
    errors: list[Exception | None] = []
    for item in group:
        item.ticket.then(errors.append)  # they are settled
    if len(errors) < len(group) or any(errors):
        raise RuntimeError(f"not on disk: {[error for error in errors if error][:1]}")


def _settle_in() -> None:
    """Set the process up as the daemon does."""
    return_large_blocks()
    garbage.settle_in()


def main(directory: str, processes: str) -> None:
    """Start the acceptors, and write."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    wires, children = [], []
    for _ in range(int(processes)):
        here, there = socket.socketpair()
        for end in (here, there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        child = os.fork()
        if not child:
            try:
                _settle_in()
                trio.run(accept, listening, there)
            finally:
                os._exit(1)
        there.close()
        wires.append(here)
        children.append(child)
    print(listening.getsockname()[1], flush=True)
    try:
        _settle_in()
        trio.run(write, Path(directory), wires)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
