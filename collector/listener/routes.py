"""What a listener serves: requests, the endpoints they reach, and who is let in.

An endpoint is asked twice. `admit` sees the head and may refuse before any of the body is
read. `begin` sees the whole request and either answers or gives a `Pending`, whose `answer`
is awaited after all requests that came in the same read have been begun.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from collector.core.limits import ConnectionLimits
from collector.listener.heads import Heads
from collector.listener.wire import Wording

if TYPE_CHECKING:
    from collector.core.http import Answer
    from collector.listener.streaming import Streamed


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Attributes:
        kind: by which sort of socket it came.
        uid: the user id that the kernel names for a UNIX socket; None over TCP.
        gid: likewise, the group id.
        pid: likewise, the process id; None too where the system does not tell.
        groups: likewise, its further groups; empty too where the system does not tell.
        address: over TCP, the IP address that it came from.
    """

    kind: Literal["tcp", "unix"]
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    groups: tuple[int, ...] = ()
    address: str = ""

    @property
    def owner(self) -> Hashable:
        """What it counts as where shares are given out: its user, or its address over TCP.

        All of loopback is one: any process of this machine may call millions of addresses its own.
        """
        local = self.address == "::1" or self.address.startswith(("127.", "::ffff:127."))
        return (self.kind, self.uid, "" if local else self.address)


@dataclass(slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: upper case.
        path: as sent, without the query; not percent-decoded.
        query: what follows the first `?`; empty without one.
        version: `1.0` or `1.1`.
        headers: by lower-case name; repeated ones are joined with `, `.
        peer: who sent it.
        body: after transfer decoding, before Content-Encoding; empty while only the head is known.
    """

    method: str
    path: str
    query: str
    version: str
    headers: dict[str, str]
    peer: Peer
    body: bytes = b""


class Pending(Protocol):
    """An answer that must wait for something."""

    async def answer(self) -> Answer | Streamed:
        """Wait and answer; awaited once. What it raises becomes a 500."""
        ...


class Prompt:
    """A `Pending` that can also say when it is there, so that no task need wait for it."""

    async def answer(self) -> Answer:
        """Wait and answer, see `Pending`."""
        raise NotImplementedError

    def then(self, tell: Callable[[Answer], None]) -> bool:
        """Call `tell` with the answer, once, on the event loop's thread: now, or when it is there.

        Returns:
            Whether it will. If not, `answer` is the only way.
        """
        raise NotImplementedError


class Endpoint(Protocol):
    """One method of one path."""

    def admit(self, head: Request) -> Answer | None:
        """Refuse by the head alone, or return None; must not block."""
        ...

    def begin(self, request: Request) -> Answer | Pending:
        """Act on the whole request; must not block."""
        ...


RouteTable = Mapping[str, Mapping[str, Endpoint]]
"""Path, then method. A path is exact, or has `*` for its last part but one: `/v1/upstreams/*/pause`.

HEAD follows GET, and OPTIONS is the gate's, unless named.
"""


class Gate(Protocol):
    """Who may ask at all, whatever they ask for."""

    def refuse(self, head: Request) -> Answer | None:
        """Refuse by Host, Origin or peer, or return None."""
        ...

    def authorise(self, head: Request) -> Answer | None:
        """Refuse for want of a token, or return None; asked last of what the head alone decides."""
        ...

    def cors(self, origin: str) -> str:
        r"""The header lines, each ending in `\r\n`, that let a page of `origin` read the answer."""
        ...

    def preflight(self, head: Request, methods: str) -> Answer:
        """Answer OPTIONS; `methods` is the path's, as Allow lists them."""
        ...


@dataclass(slots=True)
class Tally:
    """Counts of one listener since it started, for whoever shows them.

    Attributes:
        connections: accepted so far.
        open: connections now.
        answers: by status.
    """

    connections: int = 0
    open: int = 0
    answers: dict[int, int] = field(default_factory=dict)


def _discard(what: str, error: BaseException) -> None:
    """Report nothing."""


@dataclass(slots=True)
class Site:
    """What one listener serves. A reload replaces its fields; requests in hand keep the old ones.

    Attributes:
        routes: what is served.
        gate: to whom.
        limits: within which bounds.
        report: told what failed that no client is to blame for, e.g. an endpoint that raised.
        tally: what was served so far.
        heads: of requests that were read before.
        wall_ms: the time that answers carry, ms since 1970; None for none.
        wording: puts the answers into bytes.
        stopping: set by the server alone; answers then end their connection.
    """

    routes: RouteTable
    gate: Gate
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    report: Callable[[str, BaseException], None] = _discard
    tally: Tally = field(default_factory=Tally)
    heads: Heads = field(default_factory=Heads)
    wall_ms: Callable[[], int] | None = None
    wording: Wording = field(default_factory=Wording)
    stopping: bool = False

    def methods(self, path: str) -> Mapping[str, Endpoint] | None:
        """What is served under a path, None for nothing."""
        methods = self.routes.get(path)
        if methods is None and path.count("/") > 1:
            above, last = path.rsplit("/", 1)
            methods = self.routes.get(f"{above.rpartition('/')[0]}/*/{last}")
        return methods


@dataclass(frozen=True, slots=True)
class Responder:
    """An endpoint that answers from a function at once."""

    function: Callable[[Request], Answer]

    def admit(self, head: Request) -> None:
        """Let everything through."""

    def begin(self, request: Request) -> Answer:
        """Answer from the function."""
        return self.function(request)
