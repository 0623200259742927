"""`POST /v1/events`: both dialects, from the head to the commit.

Whoever sends `X-Product-Key` speaks Traintracks, all others Samsara. The order of refusals is
the order of cost: by the head alone 403 and 415 (413 by Content-Length is the reader's), then
413 after decompression, 401, 400. What is accepted is answered when the spool has committed it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from collector.core.dialects import traintracks
from collector.core.http import Answer, error_answer
from collector.errors import SpoolError, SpoolFull
from collector.listener import examine
from collector.listener.decode import is_gzip, unknown_encoding
from collector.listener.one_at_a_time import OneAtATime
from collector.listener.policy import Counts, Policy, UserCounts, fresh_counts
from collector.listener.routes import Prompt
from collector.spool.store import NewChunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from collector.core.allowance import Allowances
    from collector.core.dialects import Accepted
    from collector.listener.policy import Dialect
    from collector.listener.routes import Pending, Request

    Worker = Callable[[Callable[[], examine.Finding], Hashable], Awaitable[examine.Finding]]

PATH = "/v1/events"

RETRY_AFTER_FULL = 30
"""Seconds: a full spool empties as fast as an upstream takes events."""

RETRY_AFTER_UNAVAILABLE = 5
"""Seconds: a disk that refuses a commit is tried again each few seconds."""

_MAX_KNOWN = 1024
_MAX_KEY = 64

_UNKNOWN_PRODUCT = error_answer(403, "This X-Product-Key is not among the configured products.")
_BAD_PRODUCT = error_answer(403, "This X-Product-Key is not a product key.")
_NOT_YOURS = error_answer(
    403, "Only certain users of this device may send for this product, over a UNIX socket."
)
# Not 403: clients that give up after a 4xx would lose their events, and the operator can make room.
_NO_MORE_PRODUCTS = error_answer(
    503,
    "There are as many product keys as limits.max_products allows; name this one as a [[product]].",
    headers=(("Retry-After", str(RETRY_AFTER_FULL)),),
)
_NO_TAKER = {
    "samsara": error_answer(403, "No upstream takes Samsara events."),
    "traintracks": error_answer(403, "No upstream takes events of this Traintracks product."),
}


class Ticket(Protocol):
    """A chunk's place in a commit."""

    async def committed(self) -> None:
        """Wait until it is on disk.

        Raises:
            SpoolError: it is not, and nothing of it was kept.
        """
        ...

    def then(self, tell: Callable[[Exception | None], None]) -> bool:
        """Call `tell`, once, when it is on disk, or with the reason why it is not.

        Returns:
            Whether it will. If not, `committed` is the only way.
        """
        ...


class Intake(Protocol):
    """Where accepted requests go: the spool."""

    def submit(self, chunk: NewChunk) -> Ticket:
        """Queue a chunk for the next commit; does not block.

        Raises:
            SpoolError: it is known already that there is no room, or no disk.
        """
        ...


class Ingest:
    """The endpoint.

    Args:
        intake: where accepted requests go.
        policy: what is taken; the attribute may be replaced at any time.
        wall_ms: the time of acceptance, in ms since 1970.
        counts: what came in, by dialect.
        users: what came in, by user.
        allowances: the bytes that each user may hand over; None for no such bound.
        worker: runs what takes long for a peer on another thread, and gives back what comes of it.
    """

    def __init__(
        self,
        intake: Intake,
        policy: Policy,
        *,
        wall_ms: Callable[[], int],
        counts: dict[Dialect, Counts] | None = None,
        users: UserCounts | None = None,
        allowances: Allowances | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.policy = policy
        self.counts = counts if counts is not None else fresh_counts()
        self.users = users if users is not None else UserCounts()
        self._intake = intake
        self._wall_ms = wall_ms
        self._allowances = allowances
        self._worker = worker or OneAtATime()
        self._refusals: dict[str | None, Answer | None] = {}
        self._refusals_by = policy

    def admit(self, head: Request) -> Answer | None:
        """403 for events that go nowhere or are another's to send, 415 for an unknown Content-Encoding."""
        headers = head.headers
        key = headers.get("x-product-key")
        if self._refusals_by is not self.policy:
            self._refusals.clear()
            self._refusals_by = self.policy
        if key in self._refusals:
            refusal = self._refusals[key]
        else:
            refusal = self._refuse(key)
            if len(self._refusals) < _MAX_KNOWN and len(key or "") <= _MAX_KEY:
                self._refusals[key] = refusal
        users = self.policy.users
        if refusal is None and users and key is not None and key in users and head.peer.uid not in users[key]:
            refusal = _NOT_YOURS
        if refusal is None and "content-encoding" in headers:
            refusal = unknown_encoding(headers["content-encoding"])
        if refusal is not None:
            for counts in self._counts_of(head):
                counts.answered(refusal.status, size=0)
        return refusal

    def begin(self, request: Request) -> Answer | Pending:
        """Check the body and hand it to the spool."""
        finding = examine.quickly(request, self.policy)
        if finding is None:
            return _Examined(self, request)
        return self.settle(request, finding)

    async def look_closely(self, request: Request) -> Answer | _Stored:
        """As `begin`, for what takes long."""
        policy = self.policy
        finding = await self._worker(lambda: examine.thoroughly(request, policy), request.peer.owner)
        return self.settle(request, finding)

    def settle(self, request: Request, finding: examine.Finding) -> Answer | _Stored:
        """Act on what was found."""
        if isinstance(finding, Answer):
            return self._refused(request, finding)
        headers, body, uid = request.headers, request.body, request.peer.uid
        if not finding.events:
            for counts in self._counts_of(request):
                counts.answered(finding.answer.status, size=len(body))
            return finding.answer
        stored = _Stored(finding, self._counts_of(request), len(body))
        key = headers.get("x-product-key")
        if key is not None and not self.policy.keys.admits(key):
            return stored.turned_away(_NO_MORE_PRODUCTS)
        if self._allowances is not None:
            wait = self._allowances.take(uid, len(body), trio.current_time())
            if wait:
                return self._refused(request, _over_quota(wait))
        chunk = NewChunk(
            dialect="samsara" if key is None else "traintracks",
            product=key or "",
            remote_address="" if key is None else traintracks.remote_address(headers.get("remote-address")),
            received_at=self._wall_ms(),
            published_at=finding.published_at,
            events=finding.events,
            encoding="gzip" if "content-encoding" in headers and is_gzip(headers["content-encoding"]) else "",
            body=body,
            uid=uid,
        )
        try:
            stored.ticket = self._intake.submit(chunk)
        except SpoolError as error:
            return stored.failed(error)
        if key is not None:
            self.policy.keys.enter(key)
        return stored

    def _counts_of(self, request: Request) -> tuple[Counts, Counts]:
        dialect: Dialect = "traintracks" if "x-product-key" in request.headers else "samsara"
        return self.counts[dialect], self.users.of(request.peer.uid)

    def _refused(self, request: Request, answer: Answer) -> Answer:
        for counts in self._counts_of(request):
            counts.refused += 1
            counts.answered(answer.status, size=len(request.body))
        return answer

    def _refuse(self, key: str | None) -> Answer | None:
        policy = self.policy
        if key is None:
            return None if policy.takes("samsara", "") else _NO_TAKER["samsara"]
        if policy.secrets and key not in policy.secrets:
            return _UNKNOWN_PRODUCT
        if not traintracks.PRODUCT_KEY.fullmatch(key):
            return _BAD_PRODUCT
        return None if policy.takes("traintracks", key) else _NO_TAKER["traintracks"]


class _Examined:
    """A request that takes long to look at."""

    __slots__ = ("_ingest", "_request")

    def __init__(self, ingest: Ingest, request: Request) -> None:
        self._ingest = ingest
        self._request = request

    async def answer(self) -> Answer:
        outcome = await self._ingest.look_closely(self._request)
        return outcome if isinstance(outcome, Answer) else await outcome.answer()


class _Stored(Prompt):
    """A request that the spool has and has not committed."""

    __slots__ = ("_counts", "_read", "_size", "_tell", "ticket")

    ticket: Ticket

    def __init__(self, read: Accepted, counts: tuple[Counts, Counts], size: int) -> None:
        self._read = read
        self._counts = counts
        self._size = size
        self._tell: Callable[[Answer], None]

    async def answer(self) -> Answer:
        try:
            await self.ticket.committed()
        except SpoolError as error:
            return self.failed(error)
        return self._conclude()

    def then(self, tell: Callable[[Answer], None]) -> bool:
        self._tell = tell
        return self.ticket.then(self._settled)

    def _settled(self, error: Exception | None) -> None:
        self._tell(self._conclude() if error is None else self.failed(error))

    def _conclude(self) -> Answer:
        read, size = self._read, self._size
        for counts in self._counts:
            counts.answered(read.answer.status, size=size, events=read.events)
            counts.requests += 1
            counts.events += read.events
            counts.warnings += read.warnings
        return read.answer

    def failed(self, error: Exception) -> Answer:
        """The answer to a request that the spool did not take."""
        wait = RETRY_AFTER_FULL if isinstance(error, SpoolFull) else RETRY_AFTER_UNAVAILABLE
        return self.turned_away(error_answer(503, str(error), headers=(("Retry-After", str(wait)),)))

    def turned_away(self, answer: Answer) -> Answer:
        """An answer that asks to try again."""
        for counts in self._counts:
            counts.failed += 1
            counts.answered(answer.status, size=self._size, events=self._read.events)
        return answer


def _over_quota(wait: float) -> Answer:
    seconds = str(math.ceil(wait))
    return error_answer(
        429, f"This user's quota is used up; try again in {seconds} s.", headers=(("Retry-After", seconds),)
    )
