"""One attempt over HTTP: make the request, send it, read the answer, judge it.

This is the one module that imports httpx. An attempt never raises for what the network or
the upstream does: that is a verdict. It keeps no cookies and follows no redirects, so an
answer always speaks of the url that is configured.
"""

from __future__ import annotations

import logging
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import httpx
import structlog
import trio

from collector.core.reply import Reply, excerpt, http_date
from collector.core.verdict import (
    Blocked,
    Delivered,
    Failure,
    Outcome,
    judge,
    judge_failure,
    policy_for,
)
from collector.errors import SecretError, UpstreamError
from collector.forwarder.request import RequestMaker
from collector.forwarder.trust import tls_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from collector.config.model import Secret, Upstream
    from collector.core.batch import SealedBatch
    from collector.forwarder.blocking import Runner

MAX_ANSWER_BYTES = 64 * 1024
"""More of an answer is not read. Verdicts on 1,000 events, "OK" each, take 5 KiB."""

PIECE_BYTES = 64 * 1024
"""A body is written in pieces of this size, so that the write time-out bounds each of
them; as a whole it would end a large batch on a slow link."""

MAX_CONNECTIONS = 32
"""Of one upstream; a lane uses one at a time."""

KEEPALIVE_SECONDS = 5.0
"""An idle connection is dropped no later than the first of the common servers would
(Node.js: 5 s), since a request on one that is just being closed there fails."""

# httpx logs each request's URL at INFO, httpcore all headers at DEBUG; both may hold secrets.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class HttpSender:
    """Sends batches to one upstream of kind `samsara` or `traintracks`.

    Args:
        upstream: where, and how.
        products: secrets of the Traintracks products, by product key.
        environ: of the process, where secrets may be.
        wall: wall time, in seconds since 1970.
        ticks: seconds of a clock that nobody can set.
        run: runs what blocks: reading keys, compressing, hashing.
        trust_env: whether proxies are taken from the environment.
        labels: the operator's own, told the upstream.

    Raises:
        UpstreamError: the url, the ca_file or a proxy in the environment cannot be used.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        products: Mapping[str, Secret],
        environ: Mapping[str, str],
        wall: Callable[[], float],
        ticks: Callable[[], float] = trio.current_time,
        run: Runner = trio.to_thread.run_sync,
        trust_env: bool = True,
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
        limits = upstream.timeouts
        try:
            self._url = httpx.URL(upstream.url or "")
            self._client = httpx.AsyncClient(
                verify=tls_context(upstream=upstream.name, ca_file=upstream.ca_file),
                timeout=httpx.Timeout(
                    connect=limits.connect, read=limits.read, write=limits.write, pool=limits.pool
                ),
                limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=False,
                trust_env=trust_env,
            )
        except (httpx.InvalidURL, ValueError, ImportError):
            # The texts of these errors repeat the URL, and with it what stands before its @.
            reason = "its url, or a proxy's in the environment, cannot be used"
            raise UpstreamError(upstream=upstream.name, reason=reason) from None
        self._requests = RequestMaker(
            upstream,
            url=str(self._url),
            host=self._url.netloc.decode("ascii"),
            products=products,
            environ=environ,
            labels=labels,
        )

    async def aclose(self) -> None:
        """Close the idle connections."""
        await self._client.aclose()

    async def attempt(self, batch: SealedBatch, body: bytes) -> Outcome:
        """Send a batch once.

        A cancelled attempt raises, and says nothing: bytes may have left.

        Args:
            batch: names itself in the headers.
            body: as rendered, before any Content-Encoding.
        """
        stream = _Body()
        total = self._upstream.timeouts.total
        now = self._wall()
        created = self._by_upstream(now)
        try:
            headers, stream.content = await self._run(
                lambda: self._requests.make(batch, body, now=now, created=created)
            )
            request = httpx.Request("POST", self._url, headers=headers, stream=stream)
            with trio.fail_after(total):
                reply = await self._exchange(request)
        except trio.TooSlowError:
            verdict = judge_failure(Failure.TIMEOUT, f"no whole answer within {total:g} s")
            return Outcome(verdict, wrote_body=stream.begun, wire_bytes=stream.size)
        except Exception as error:  # noqa: BLE001 -- an attempt is where errors end
            verdict = judge_failure(*_failure(error, begun=stream.begun))
            return Outcome(verdict, wrote_body=stream.begun, wire_bytes=stream.size)
        wall = self._wall()
        now_ms = int(self._by_upstream(wall) * 1000)
        verdict = judge(reply, policy=self._policy, events=batch.events, now_ms=now_ms)
        if isinstance(verdict, Delivered) and not stream.ended:
            verdict = judge_failure(Failure.BROKEN, "answered before the whole batch was sent")
        offset = None
        date = http_date(reply.date or "")
        # What blocks the whole upstream did not come from it, and its clock is not to be trusted.
        if date is not None and not (isinstance(verdict, Blocked) and verdict.whole_upstream):
            self._base = date - self._ticks()
            offset = date - wall
        return Outcome(verdict, wrote_body=stream.begun, server_time_offset=offset, wire_bytes=stream.size)

    def _by_upstream(self, wall: float) -> float:
        """The time now by the upstream's clock, where it has told, else `wall`; seconds since 1970."""
        return wall if self._base is None else self._base + self._ticks()

    async def _exchange(self, request: httpx.Request) -> Reply:
        """Send a request and read its answer, up to `MAX_ANSWER_BYTES`."""
        response = await self._client.send(request, stream=True)
        answer = bytearray()
        try:
            async for part in response.aiter_raw():
                answer += part
                if len(answer) > MAX_ANSWER_BYTES and not response.is_closed:
                    # Leaving the loop here would leave httpx's generators to the garbage
                    # collector; with the connection closed the next read ends them.
                    await response.aclose()
        except (httpx.HTTPError, httpx.StreamError):
            if len(answer) <= MAX_ANSWER_BYTES:
                raise
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await response.aclose()
        return Reply(
            status=response.status_code,
            content_type=response.headers.get("Content-Type", ""),
            body=bytes(answer[:MAX_ANSWER_BYTES]),
            retry_after=response.headers.get("Retry-After"),
            date=response.headers.get("Date"),
        )


class _Body(httpx.AsyncByteStream):
    """A body in pieces, which knows whether they were asked for."""

    def __init__(self) -> None:
        self.content = b""
        self._offset = 0
        self.begun = False
        self.ended = False

    @property
    def size(self) -> int | None:
        """Bytes of it; None while there is none."""
        return len(self.content) or None

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._offset = 0
        return self

    async def __anext__(self) -> bytes:
        self.begun = True
        piece = self.content[self._offset : self._offset + PIECE_BYTES]
        if not piece:
            self.ended = True
            raise StopAsyncIteration
        self._offset += len(piece)
        return piece


def _failure(error: Exception, *, begun: bool) -> tuple[Failure, str]:
    """What kind of failure an error of httpx is, and how to tell it."""
    match error:
        case httpx.PoolTimeout():
            return Failure.BUSY, ""
        case httpx.TimeoutException():
            waited = {"ConnectTimeout": "connecting", "WriteTimeout": "sending"}
            return Failure.TIMEOUT, f"while {waited.get(type(error).__name__, 'waiting for the answer')}"
        case httpx.ProxyError():
            answer = excerpt(str(error).encode())
            refused = answer[:1] in {"3", "4"} or answer.startswith(("511", "Invalid username"))
            return Failure.PROXY_REFUSED if refused else Failure.PROXY, answer
        case httpx.NetworkError() | httpx.RemoteProtocolError() | OSError():
            return _broken(error, begun=begun)
        case SecretError() | ValueError():
            return Failure.LOCAL, str(error)
        case _:
            if not isinstance(error, httpx.HTTPError):
                structlog.get_logger().error("attempt_failed", exc_info=error)
            # Such texts may repeat a header's value.
            return Failure.LOCAL, type(error).__name__


def _broken(error: Exception, *, begun: bool) -> tuple[Failure, str]:
    told = ""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failure.TLS, cause.verify_message
        # An end of file within TLS is a broken connection like any other.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return Failure.TLS, cause.reason or ""
        if isinstance(cause, OSError):
            told = cause.strerror or told
    detail = excerpt((told or str(error) or type(error).__name__).encode())
    return Failure.BROKEN if begun else Failure.CONNECT, detail


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it, the first cause last but the members of groups."""
    while True:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _causes(member)
        cause = error.__cause__ or error.__context__
        if cause is None:
            return
        error = cause
