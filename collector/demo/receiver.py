"""The demo's upstream: a process that takes batches, verifies them, and can be told to misbehave.

    python -m collector.demo.receiver

It reads its settings as one line of JSON from its standard input, answers with one line
`{"port": N}`, and serves on loopback until its standard input ends. It is steered over a
UNIX socket:

    GET  /arrived     what has been taken, and what was wrong with it
    POST /away        refuse connections, and break those there are
    POST /back        accept them again; the body names the troubles to begin with
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from collector.demo import wire
from collector.demo.arrived import LOST, Arrived, Taken
from collector.demo.book import Book, Received
from collector.demo.wire import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BACKLOG = 64
READ_BYTES = 64 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver is told at its start.

    Attributes:
        control: path of the UNIX socket.
        key_id: of the one device that it knows.
        public_key: of that device, PEM.
        product: the key of the one product that it knows.
        secret: of that product.
    """

    control: str
    key_id: str
    public_key: str
    product: str
    secret: str


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """How one request is answered badly.

    Attributes:
        status: nothing is taken. None: the batch is taken, and the answer lost.
        retry_after: seconds, 0 for not saying.
    """

    status: int | None = None
    retry_after: int = 0


class Troubles(msgspec.Struct, frozen=True, kw_only=True):
    """The next requests' troubles, one each, by dialect."""

    samsara: list[Trouble] = []
    traintracks: list[Trouble] = []


class Receiver:
    """Decides on each request; knows no socket."""

    def __init__(self, settings: Settings) -> None:
        key = load_pem_public_key(settings.public_key.encode())
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError("public_key is not that of an ed25519 key")
        self._book = Book({settings.key_id: key}, {settings.product: settings.secret})
        self._troubles: dict[str, list[Trouble]] = {}
        self._refused: list[str] = []
        self._answers: Counter[str] = Counter()

    def trouble(self, troubles: Troubles) -> None:
        """Answer the next requests badly."""
        self._troubles = {"samsara": list(troubles.samsara), "traintracks": list(troubles.traintracks)}

    async def answer(self, message: Message) -> Message | None:
        """Verify a batch, take it, and answer; None for a lost answer."""
        url = f"http://{message.header('Host')}{message.url}"
        request = Received(message.method, url, tuple(message.headers), message.body)
        status, problem = self._book.verify(request)
        if problem:
            self._refused.append(f"answered {status}: {problem}")
            return self._told(Message(status=status, body=problem.encode()))
        dialect = "samsara" if request.header("X-Product-Key") is None else "traintracks"
        waiting = self._troubles.get(dialect)
        trouble = waiting.pop(0) if waiting else None
        if trouble is not None and trouble.status is not None:
            headers = [("Retry-After", str(trouble.retry_after))] if trouble.retry_after else []
            return self._told(Message(status=trouble.status, headers=headers))
        self._book.take(request)
        if trouble is not None:
            self._answers[LOST] += 1
            return None
        return self._told(Message(status=status))

    def _told(self, answer: Message) -> Message:
        self._answers[str(answer.status)] += 1
        return answer

    def arrived(self) -> Arrived:
        """What has come so far."""
        return Arrived(
            taken=[
                Taken(
                    lane=stream.lane,
                    positions=list(events),
                    events=[event.decode() for event in events.values()],
                )
                for stream, events in self._book.taken.items()
            ],
            repeats=self._book.repeats,
            problems=self._refused + self._book.problems,
            answers=dict(self._answers),
        )


async def bind(port: int = 0) -> trio.socket.SocketType:
    """Take a port of 127.0.0.1, on which connections are refused until somebody listens."""
    bound = trio.socket.socket()
    # Connections that this side has closed linger for a minute on the same port.
    bound.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
    await bound.bind(("127.0.0.1", port))
    return bound


class Presence:
    """A port that can stop answering without being given up: nobody else may get it meanwhile.

    Args:
        bound: as `bind` makes it.
        answer: answers a request; None hangs up instead.

    Attributes:
        port: the same, however often it leaves.
    """

    def __init__(
        self, bound: trio.socket.SocketType, answer: Callable[[Message], Awaitable[Message | None]]
    ) -> None:
        self.port: int = bound.getsockname()[1]
        self._bound = bound
        self._answer = answer
        self._serving = trio.CancelScope()
        self._ended = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept connections until `leave`."""
        self._serving, self._ended = trio.CancelScope(), trio.Event()
        self._bound.listen(BACKLOG)
        task_status.started()
        with self._serving:
            await trio.serve_listeners(self._connection, [trio.SocketListener(self._bound)])
        self._ended.set()

    async def _connection(self, stream: trio.SocketStream) -> None:
        await wire.serve(stream, self._answer)

    async def leave(self) -> None:
        """Break all connections, and refuse new ones."""
        self._serving.cancel()
        await self._ended.wait()
        self._bound = await bind(self.port)

    def close(self) -> None:
        """Give the port up."""
        self._bound.close()


class Control:
    """What the receiver can be told.

    Args:
        nursery: where it serves.
    """

    def __init__(self, receiver: Receiver, presence: Presence, nursery: trio.Nursery) -> None:
        self._receiver = receiver
        self._presence = presence
        self._nursery = nursery

    async def answer(self, message: Message) -> Message:
        """Do what a request says."""
        match message.method, message.url:
            case "GET", "/arrived":
                return Message(body=msgspec.json.encode(self._receiver.arrived()))
            case "POST", "/away":
                await self._presence.leave()
            case "POST", "/back":
                self._receiver.trouble(msgspec.json.decode(message.body, type=Troubles))
                await self._nursery.start(self._presence.serve)
            case _:
                return Message(status=404)
        return Message()


async def serve(settings: Settings, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Be a receiver until cancelled; starts with its port."""
    receiver = Receiver(settings)
    presence = Presence(await bind(), receiver.answer)
    control_socket = trio.socket.socket(trio.socket.AF_UNIX)
    await control_socket.bind(settings.control)
    control_socket.listen(BACKLOG)
    with closing(presence), control_socket:
        async with trio.open_nursery() as nursery:
            control = Control(receiver, presence, nursery)

            async def controlled(stream: trio.SocketStream) -> None:
                await wire.serve(stream, control.answer)

            await nursery.start(presence.serve)
            nursery.start_soon(trio.serve_listeners, controlled, [trio.SocketListener(control_socket)])
            task_status.started(presence.port)


async def _main() -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as parent:
        said = b""
        while not said.endswith(b"\n"):
            more = await parent.receive_some(READ_BYTES)
            if not more:
                return
            said += more
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve, msgspec.json.decode(said, type=Settings))
            sys.stdout.write(f'{{"port": {port}}}\n')
            sys.stdout.flush()
            # Whoever started it keeps this open; it closes with them, however they end.
            while await parent.receive_some(READ_BYTES):
                pass
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_main)
