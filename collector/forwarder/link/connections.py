"""The link to one upstream: connections, and one request over them.

Whatever the network does here becomes a `LinkFailure`.
It keeps no cookies and follows no redirects, so an answer always speaks of the url that is configured.

Connections belong to a line. A request that fails ends its line: what stands idle may be as dead as the
connection that failed, and HTTP/2 would go on using one of which only a deadline shows that it is dead.
The next request opens another line; those that are under way end on the old one.
"""

from __future__ import annotations

import base64
import logging
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import httpx
import trio

from collector.core.failure import Failure
from collector.errors import UpstreamError
from collector.forwarder.link.answer import CLOSING_SECONDS, read_answer
from collector.forwarder.link.body import Body
from collector.forwarder.link.failures import LinkFailure, failure_of, is_misunderstood
from collector.forwarder.link.network import Network, watch_leftovers
from collector.forwarder.pace import patience

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    import httpcore

    from collector.config.model import Upstream
    from collector.core.reply import Reply
    from collector.forwarder.link.body import Progress
    from collector.forwarder.pace import Pace
    from collector.forwarder.trust import Contexts

MAX_CONNECTIONS = 32
"""Of one upstream; a lane uses one at a time."""

KEEPALIVE_SECONDS = 5.0
"""An idle connection is dropped no later than the first of the common servers would
(Node.js: 5 s), since a request on one that is just being closed there fails."""

MIN_HIDDEN = 6
"""Characters. What is shorter, in the query of a url, is no secret worth blanking an answer for."""

# httpx logs each request's URL at INFO, httpcore all headers at DEBUG; both may hold secrets.
for _name in ("httpx", "httpcore", "hpack"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Link:
    """Where one upstream is, and how it is reached.

    Args:
        upstream: as configured.
        proxy: URL of the proxy on the way, if there is one.
        pace: how fast bodies may go.
        wall: wall time, in seconds since 1970.

    Raises:
        UpstreamError: the url or the proxy cannot be used.
    """

    def __init__(
        self, upstream: Upstream, *, proxy: str | None, pace: Pace, wall: Callable[[], float]
    ) -> None:
        self._upstream = upstream
        self._pace = pace
        self._wall = wall
        try:
            self._url = httpx.URL(upstream.url or "")
            self._proxy = None if proxy is None else _proxy_url(proxy)
        except (httpx.InvalidURL, ValueError):
            # The texts of these errors repeat the URL, and with it what stands before its @.
            reason = "its url, or that of the proxy on the way there, cannot be used"
            raise UpstreamError(upstream=upstream.name, reason=reason) from None
        self._hidden = tuple(_secrets_of(self._url, self._proxy))
        self._line: _Line | None = None
        self._http2 = upstream.http2

    @property
    def url(self) -> str:
        """Encoded, as it is requested."""
        return str(self._url)

    @property
    def host(self) -> str:
        """The value of the Host header."""
        return self._url.netloc.decode("ascii")

    async def aclose(self) -> None:
        """Close the idle connections."""
        if self._line is not None:
            await self._retire(self._line)

    async def post(
        self,
        headers: dict[str, str],
        content: bytes,
        *,
        contexts: Contexts,
        progress: Progress,
        events: int = 1,
    ) -> Reply:
        """Send a request and read its answer to its end.

        A cancelled request raises, and says nothing: bytes may have left.

        Args:
            headers: all that are sent, but the Authorization that the url may hold.
            content: the body.
            contexts: for TLS; the same ones for as long as nothing has changed.
            progress: kept up to date.
            events: in the body; the more, the longer may the answer be.

        Raises:
            LinkFailure: no whole answer came.
        """
        body = Body(content, self._pace, progress)
        request = httpx.Request("POST", self._url, headers=headers, stream=body)
        limit = patience(self._upstream, len(content))
        try:
            async with self._connected(contexts, progress) as line:
                with trio.fail_after(limit):
                    response = await line.client.send(request, stream=True)
                    watch_leftovers(response, line.pool)
                    return await read_answer(response, self._blanked, events=events)
        except trio.TooSlowError:
            detail = f"no whole answer within {round(limit, 1):g} s"
            raise LinkFailure(Failure.TIMEOUT, detail) from None
        except LinkFailure:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, no answer came
            begun = progress.begun is not None
            certified = self._upstream.client_cert_file is not None
            raise failure_of(
                error, begun=begun, certified=certified, blanked=self._blanked, wall=self._wall
            ) from None
        finally:
            body.forget()

    @asynccontextmanager
    async def _connected(self, contexts: Contexts, progress: Progress) -> AsyncGenerator[_Line]:
        line = self._line
        if line is None or line.contexts is not contexts:
            stale, line = line, self._open(contexts)
            self._line = line
            if stale is not None:
                await self._retire(stale)
        line.users += 1
        sound = False
        try:
            yield line
            sound = True
        except httpx.HTTPError as error:
            if line.http2 and is_misunderstood(error, progress):
                self._http2 = False  # for one line
            raise
        finally:
            line.users -= 1
            if not sound or line.retired:
                with trio.move_on_after(CLOSING_SECONDS, shield=True):
                    await self._retire(line)

    async def _retire(self, line: _Line) -> None:
        """Use a line no more; it is closed once nobody does."""
        line.retired = True
        if self._line is line:
            self._line = None
        if not line.users:
            await line.client.aclose()

    def _open(self, contexts: Contexts) -> _Line:
        limits = self._upstream.timeouts
        http2, self._http2 = self._http2, self._upstream.http2
        transport = httpx.AsyncHTTPTransport(
            verify=contexts.upstream,
            http2=http2,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
            proxy=None if self._proxy is None else httpx.Proxy(self._proxy, ssl_context=contexts.proxy),
        )
        # httpx hands everything on to httpcore but this; a test tells if it ever goes by another name.
        pool: httpcore.AsyncConnectionPool = transport._pool  # noqa: SLF001
        pool._network_backend = Network()  # noqa: SLF001
        client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(
                connect=limits.connect, read=limits.read, write=limits.write, pool=limits.pool
            ),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
        )
        return _Line(client, pool, contexts, http2=http2)

    def _blanked(self, text: bytes) -> bytes:
        """A text without the url's secrets, which an upstream may well repeat."""
        for secret in self._hidden:
            text = text.replace(secret, b"***")
        return text


class _Line:
    """Connections that live and die together.

    Attributes:
        users: requests that are under way on it.
        retired: whether no further request will be.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        pool: httpcore.AsyncConnectionPool,
        contexts: Contexts,
        *,
        http2: bool,
    ) -> None:
        self.client = client
        self.pool = pool
        self.contexts = contexts
        self.http2 = http2
        self.users = 0
        self.retired = False


def _proxy_url(proxy: str) -> httpx.URL:
    url = httpx.URL(proxy)
    if url.scheme not in {"http", "https"}:
        raise ValueError("SOCKS, and whatever else there may be, is not spoken here")
    return url


def _secrets_of(*urls: httpx.URL | None) -> Iterator[bytes]:
    """What of URLs may not be shown, as it may come back in an answer."""
    for url in urls:
        if url is None:
            continue
        if url.userinfo:
            yield base64.b64encode(f"{url.username}:{url.password}".encode())
            spelt = url.userinfo.decode()
            yield from (text.encode() for text in (spelt, spelt.partition(":")[2], url.password) if text)
        yield from (value.encode() for value in url.params.values() if len(value) >= MIN_HIDDEN)
