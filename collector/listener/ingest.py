"""`POST /v1/events`: both dialects, from the head to the commit.

Whoever sends `X-Product-Key` speaks Traintracks, all others Samsara. The order of refusals is
the order of cost: by the head alone 403 and 415 (413 by Content-Length is the reader's), then
413 after decompression, 401, 400. What is accepted is answered when the spool has committed it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from collector.core.dialects import Accepted, samsara, traintracks
from collector.core.http import Answer, error_answer
from collector.core.signing import traintracks_auth
from collector.errors import SpoolError, SpoolFull
from collector.listener.decode import TOO_LARGE, gunzip, is_gzip, unknown_encoding
from collector.spool.store import NewChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.listener.routes import Pending, Request

PATH = "/v1/events"

RETRY_AFTER_FULL = 30
"""Seconds: a full spool empties as fast as an upstream takes events."""

RETRY_AFTER_UNAVAILABLE = 5
"""Seconds: a disk that refuses a commit is tried again each few seconds."""

_MAX_KNOWN = 1024
_MAX_KEY = 64

_WRONG_AUTH = error_answer(
    401, "X-Product-Auth is not md5hex(body + secret).", headers=(("WWW-Authenticate", "X-Product-Auth"),)
)
_NO_AUTH = error_answer(401, "X-Product-Auth is missing.", headers=(("WWW-Authenticate", "X-Product-Auth"),))
_UNKNOWN_PRODUCT = error_answer(403, "This X-Product-Key is not among the configured products.")
_BAD_PRODUCT = error_answer(403, "This X-Product-Key is not a product key.")
_NO_TAKER = {
    "samsara": error_answer(403, "No upstream takes Samsara events."),
    "traintracks": error_answer(403, "No upstream takes events of this Traintracks product."),
}

Dialect = Literal["samsara", "traintracks"]


class Ticket(Protocol):
    """A chunk's place in a commit."""

    async def committed(self) -> None:
        """Wait until it is on disk.

        Raises:
            SpoolError: it is not, and nothing of it was kept.
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


@dataclass(frozen=True, slots=True)
class Policy:
    """What one listener takes, as the configuration says.

    Attributes:
        takes: whether any upstream takes a dialect and product (empty for Samsara).
        secrets: by product key, all that are valid now. Empty: no product is configured, and
            any key is taken without a look at its signature.
        auth: what a Traintracks request without a signature gets; `off` ignores signatures.
        strict: warnings about Traintracks events are errors.
    """

    takes: Callable[[Dialect, str], bool]
    secrets: Mapping[str, tuple[bytes, ...]]
    auth: Literal["required", "if-present", "off"] = "required"
    strict: bool = False


@dataclass(slots=True)
class Counts:
    """What one dialect brought since the start.

    Attributes:
        requests: committed.
        events: committed.
        warnings: about events that were committed all the same.
        refused: requests answered 4xx after their body was read.
        failed: requests answered 503, since the spool was full or could not commit.
    """

    requests: int = 0
    events: int = 0
    warnings: int = 0
    refused: int = 0
    failed: int = 0


def fresh_counts() -> dict[Dialect, Counts]:
    """Counts at nought; several listeners may share one."""
    return {"samsara": Counts(), "traintracks": Counts()}


class Ingest:
    """The endpoint.

    Args:
        intake: where accepted requests go.
        policy: what is taken; the attribute may be replaced at any time.
        wall_ms: the time of acceptance, in ms since 1970.
        counts: by dialect.
    """

    def __init__(
        self,
        intake: Intake,
        policy: Policy,
        *,
        wall_ms: Callable[[], int],
        counts: dict[Dialect, Counts] | None = None,
    ) -> None:
        self.policy = policy
        self.counts = counts if counts is not None else fresh_counts()
        self._intake = intake
        self._wall_ms = wall_ms
        self._refusals: dict[str | None, Answer | None] = {}
        self._refusals_by = policy

    def admit(self, head: Request) -> Answer | None:
        """403 for events that go nowhere, 415 for an unknown Content-Encoding."""
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
        if refusal is None and "content-encoding" in headers:
            return unknown_encoding(headers["content-encoding"])
        return refusal

    def begin(self, request: Request) -> Answer | Pending:
        """Check the body and hand it to the spool."""
        headers = request.headers
        key = headers.get("x-product-key")
        counts = self.counts["samsara" if key is None else "traintracks"]
        stored = body = request.body
        encoding: Literal["", "gzip"] = ""
        broken = None
        if "content-encoding" in headers and is_gzip(headers["content-encoding"]):
            decoded = gunzip(body)
            if isinstance(decoded, Answer):
                broken = decoded
            else:
                # A body of several members is kept decompressed, so that who reads it later need not care.
                body, members = decoded
                stored, encoding = (stored, "gzip") if members == 1 else (body, "")
        refusal = self._refuse_body(key, request, body, broken)
        if refusal is not None:
            counts.refused += 1
            return refusal
        if key is None:
            read = samsara.read(
                body,
                content_type=headers.get("content-type"),
                published_timestamp=headers.get("x-samsara-publishedtimestamp"),
            )
        else:
            read = traintracks.read(body, content_type=headers.get("content-type"), strict=self.policy.strict)
        if not isinstance(read, Accepted):
            counts.refused += 1
            return read.answer
        if not read.events:
            return read.answer
        chunk = NewChunk(
            dialect="samsara" if key is None else "traintracks",
            product=key or "",
            remote_address="" if key is None else traintracks.remote_address(headers.get("remote-address")),
            received_at=self._wall_ms(),
            published_at=read.published_at,
            events=read.events,
            encoding=encoding,
            body=stored,
            uid=request.peer.uid,
        )
        try:
            ticket = self._intake.submit(chunk)
        except SpoolError as error:
            counts.failed += 1
            return _unavailable(error)
        return _Stored(ticket, read, counts)

    def _refuse(self, key: str | None) -> Answer | None:
        policy = self.policy
        if key is None:
            return None if policy.takes("samsara", "") else _NO_TAKER["samsara"]
        if policy.secrets and key not in policy.secrets:
            return _UNKNOWN_PRODUCT
        if not traintracks.PRODUCT_KEY.fullmatch(key):
            return _BAD_PRODUCT
        return None if policy.takes("traintracks", key) else _NO_TAKER["traintracks"]

    def _refuse_body(
        self, key: str | None, request: Request, body: bytes, broken: Answer | None
    ) -> Answer | None:
        """413, 401 and broken compression, in this order."""
        if broken is TOO_LARGE or key is None:
            return broken
        policy = self.policy
        auth = request.headers.get("x-product-auth")
        if policy.secrets and policy.auth != "off":
            if auth is None:
                if policy.auth == "required":
                    return _NO_AUTH
            elif not _is_signed(auth, policy.secrets[key], request.body, body):
                return _WRONG_AUTH
        return broken


class _Stored:
    """A request that the spool has and has not committed."""

    __slots__ = ("_counts", "_read", "_ticket")

    def __init__(self, ticket: Ticket, read: Accepted, counts: Counts) -> None:
        self._ticket = ticket
        self._read = read
        self._counts = counts

    async def answer(self) -> Answer:
        counts, read = self._counts, self._read
        try:
            await self._ticket.committed()
        except SpoolError as error:
            counts.failed += 1
            return _unavailable(error)
        counts.requests += 1
        counts.events += read.events
        counts.warnings += read.warnings
        return read.answer


def _is_signed(auth: str, secrets: tuple[bytes, ...], received: bytes, decoded: bytes) -> bool:
    """Whether `auth` fits the bytes as they came, or, where they came compressed, the JSON in them."""
    claimed = auth.lower().encode("latin-1")
    bodies = (received,) if received is decoded else (received, decoded)
    return any(
        hmac.compare_digest(traintracks_auth(body, secret).encode("ascii"), claimed)
        for body in bodies
        for secret in secrets
    )


def _unavailable(error: SpoolError) -> Answer:
    wait = RETRY_AFTER_FULL if isinstance(error, SpoolFull) else RETRY_AFTER_UNAVAILABLE
    return error_answer(503, str(error), headers=(("Retry-After", str(wait)),))
