"""One attempt over HTTP: make the request, send it, read the answer, judge it.

An attempt never raises for what the network or the upstream does: that is a verdict. It may be more than
one request: what is refused is sent once more with the time put right, where it is signed and the answer
shows that the clocks differ, and with 401 once more with the other of the two keys that are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import trio

from collector.core.failure import Failure
from collector.core.policy import policy_for
from collector.core.reply import http_date
from collector.core.verdict import (
    REFUSALS,
    UNAUTHORISED,
    Blocked,
    Delivered,
    Outcome,
    Rejected,
    judge,
    judge_failure,
    name_skew,
)
from collector.errors import SecretError, UpstreamError
from collector.forwarder.link.body import Progress
from collector.forwarder.link.connections import Link
from collector.forwarder.link.failures import LinkFailure
from collector.forwarder.pace import Pace
from collector.forwarder.proxy import proxy_for
from collector.forwarder.request import RequestMaker
from collector.forwarder.trust import Trust, fingerprints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collector.config.model import Product, Upstream
    from collector.core.batch import SealedBatch
    from collector.core.reply import Reply
    from collector.forwarder.blocking import Runner
    from collector.forwarder.keys import Which
    from collector.forwarder.packing import Body, Packing
    from collector.forwarder.trust import Contexts

SKEW = 30.0
"""Seconds between two clocks that a refusal is not put down to; receivers allow for a minute and more."""


class HttpSender:
    """Sends batches to one upstream of kind `samsara` or `traintracks`.

    Args:
        upstream: where, and how.
        products: the Traintracks products, by product key.
        environ: of the process, where secrets and proxies may be.
        wall: wall time, in seconds since 1970.
        ticks: seconds of a clock that nobody can set.
        run: runs what blocks: reading keys, compressing, hashing.
        labels: the operator's own, told the upstream.

    Raises:
        UpstreamError: the url, a file for TLS, or a proxy cannot be used.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        products: Mapping[str, Product],
        environ: Mapping[str, str],
        wall: Callable[[], float],
        ticks: Callable[[], float] = trio.current_time,
        run: Runner = trio.to_thread.run_sync,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._upstream = upstream
        self._wall = wall
        self._ticks = ticks
        self._run = run
        # The upstream's time when ticks were 0: unlike an offset it outlasts the wall clock's being set.
        self._base: float | None = None
        self._policy = policy_for(
            upstream.kind,
            success=upstream.success,
            retry=upstream.retry,
            block=upstream.block,
            reject=upstream.reject,
        )
        proxy = proxy_for(upstream.url or "", configured=upstream.proxy, environ=environ)
        self._link = Link(upstream, proxy=proxy, pace=Pace(upstream.rate_limit), wall=wall)
        self._trust = Trust(upstream, environ, proxy=proxy)
        self._requests = RequestMaker(
            upstream,
            url=self._link.url,
            host=self._link.host,
            products=products,
            environ=environ,
            labels=labels,
        )
        self._which: dict[str, Which] = {}
        self._files = self._fingerprints()

    async def aclose(self) -> None:
        """Close the idle connections."""
        await self._link.aclose()

    def rotated(self) -> bool:
        """Whether a file of a secret or certificate was replaced since this was asked last.

        Attempts read them anew by themselves; this tells that a lane need not wait for its next one.
        """
        files, self._files = self._files, self._fingerprints()
        return files != self._files

    def _fingerprints(self) -> tuple[object, ...]:
        return (fingerprints(self._requests.secret_files()), self._trust.files())

    @property
    def packs(self) -> bool:
        """Whether bodies are sent packed."""
        return self._upstream.compresses

    def packing(self) -> Packing:
        """Begin to pack a body that comes in parts."""
        return self._requests.packer.begin(self._run)

    async def attempt(self, batch: SealedBatch, body: Body) -> Outcome:
        """Send a batch once; with other means once more, where it is not authorised.

        A cancelled attempt raises, and says nothing: bytes may have left.

        Args:
            batch: names itself in the headers.
            body: as rendered, before any Content-Encoding, or packed meanwhile.
        """
        which = self._which.get(batch.product, "current")
        tried = await self._request(batch, body, which)
        if tried.is_refused and self._signs_time and abs(tried.skew or 0.0) > SKEW:
            tried = await self._request(batch, body, which)
        if tried.is_unauthorised and self._requests.holds_two(batch):
            other: Which = "next" if which == "current" else "current"
            second = await self._request(batch, body, other)
            if second.answered and not second.is_unauthorised:
                self._which[batch.product] = other
                structlog.get_logger().info("key_changed", upstream=self._upstream.name, key=other)
                tried = second
        return tried.outcome

    @property
    def _signs_time(self) -> bool:
        return self._upstream.signing == "rfc9421"

    async def _request(self, batch: SealedBatch, body: Body, which: Which) -> _Tried:
        """Make one request and judge what comes of it."""
        progress = Progress()
        now = self._wall()
        created = self._by_upstream(now)

        def make() -> tuple[dict[str, str], bytes, Contexts]:
            headers, content = self._requests.make(batch, body, now=now, created=created, which=which)
            return headers, content, self._trust.contexts()

        try:
            headers, content, contexts = await self._run(make)
            reply = await self._link.post(
                headers, content, contexts=contexts, progress=progress, events=batch.events
            )
        except Exception as error:  # noqa: BLE001 -- an attempt is where errors end
            verdict = judge_failure(*_failure(error))
            begun = progress.begun is not None
            return _Tried(
                Outcome(
                    verdict,
                    wrote_body=begun,
                    sent_bytes=progress.sent_bytes,
                    cut_short=begun and not progress.ended,
                )
            )
        return self._judged(reply, batch, progress, created)

    def _judged(self, reply: Reply, batch: SealedBatch, progress: Progress, created: float) -> _Tried:
        wall = self._wall()
        now_ms = int(self._by_upstream(wall) * 1000)
        verdict = judge(reply, policy=self._policy, events=batch.events, now_ms=now_ms)
        if isinstance(verdict, Delivered) and not progress.ended:
            verdict = judge_failure(Failure.BROKEN, "answered before the whole batch was sent")
        offset = skew = None
        date = http_date(reply.date or "")
        # What blocks the whole upstream did not come from it, and its clock is not to be trusted.
        if date is not None and not (isinstance(verdict, Blocked) and verdict.whole_upstream):
            self._base = date - self._ticks()
            offset, skew = date - wall, date - created
            if abs(offset) > SKEW:
                verdict = name_skew(verdict, offset)
        seconds = None if progress.begun is None else trio.current_time() - progress.begun
        if seconds is not None and isinstance(verdict, Delivered):
            self._requests.packer.sent(progress.sent_bytes, seconds)
        outcome = Outcome(
            verdict,
            wrote_body=progress.begun is not None,
            server_time_offset=offset,
            sent_bytes=progress.sent_bytes,
            seconds=seconds,
            cut_short=progress.begun is not None and not progress.ended,
        )
        return _Tried(outcome, answered=True, status=reply.status, skew=skew)

    def _by_upstream(self, wall: float) -> float:
        """The time now by the upstream's clock, where it has told, else `wall`; seconds since 1970."""
        return wall if self._base is None else self._base + self._ticks()


@dataclass(frozen=True, slots=True)
class _Tried:
    """What came of one request.

    Attributes:
        skew: seconds by which the upstream's clock was ahead of the time in the signature.
    """

    outcome: Outcome
    answered: bool = False
    status: int = 0
    skew: float | None = None

    @property
    def is_unauthorised(self) -> bool:
        return self.answered and self.status == UNAUTHORISED

    @property
    def is_refused(self) -> bool:
        """Whether that may be for its signature's time; some verifiers say 400, as if of events."""
        refused = self.status in REFUSALS or isinstance(self.outcome.verdict, Rejected)
        return self.answered and refused


def _failure(error: Exception) -> tuple[Failure, str]:
    """What kind of failure an error is, and how to tell it without any secret."""
    match error:
        case LinkFailure():
            return error.failure, error.detail
        case SecretError() | UpstreamError() | ValueError():
            return Failure.LOCAL, str(error)
        case _:
            structlog.get_logger().error("attempt_failed", exc_info=error)
            return Failure.LOCAL, type(error).__name__
