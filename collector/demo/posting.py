"""The demo's apps: they post, wait for the answer, and post again; their outcomes are kept."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import TYPE_CHECKING

from collector.demo import wire
from collector.demo.payloads import PRODUCT
from collector.demo.report import Post
from collector.errors import DemoFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from collector.demo.daemon import Daemon
    from collector.demo.payloads import Request

UNKNOWN_ADDRESS = "1.2.3.4"
"""What the Traintracks document says to send where the client's address is not known."""

SUCCESS = {"samsara": 202, "traintracks": 200}


class Posting:
    """Posts, and keeps what came of it.

    Args:
        daemon: takes the posts.
        secret: of the Traintracks product.
        now_ms: wall time, ms since 1970.

    Attributes:
        posts: all that were sent; those without an answer may have been taken or not.
        acknowledged: events so far.
        on_acknowledged: called after each success.
    """

    def __init__(self, daemon: Daemon, *, secret: str, now_ms: Callable[[], int]) -> None:
        self.posts: list[Post] = []
        self.acknowledged = 0
        self.on_acknowledged: Callable[[], None] = lambda: None
        self._daemon = daemon
        self._secret = secret
        self._now_ms = now_ms
        self._ticks = count()

    def told(self) -> str:
        """What was acknowledged so far, in words."""
        return f"{self.acknowledged:,} events acknowledged"

    async def post_all(self, requests: Iterable[Request]) -> None:
        """Be an app that posts these one after the other.

        While the daemon is down it waits. A careful app would send again what got no answer;
        this one does not, so that each event is posted once and can be counted.

        Raises:
            DemoFailed: the daemon refused, or hung up without having been killed.
        """
        connection: wire.Connection | None = None
        start = 0
        try:
            for request in requests:
                if connection is None or start != self._daemon.starts or not self._daemon.is_up:
                    if connection is not None:
                        await connection.aclose()
                    connection, start = await self._connect(request)
                await self._post(request, connection, start)
        finally:
            if connection is not None:
                await connection.aclose()

    async def _connect(self, request: Request) -> tuple[wire.Connection, int]:
        """Wait until the daemon is up; returns a connection, and which start of it this is to."""
        while True:
            address = await self._daemon.address(request.way)
            start = self._daemon.starts
            try:
                return await wire.connect(address), start
            except OSError as error:
                self._expect_killed(request, start, str(error))

    def _expect_killed(self, request: Request, start: int, reason: str) -> None:
        if self._daemon.is_up and self._daemon.starts == start:
            raise DemoFailed(
                step=f"{request.dialect} events are posted over {request.way}",
                reason=f"{reason}\n{self._daemon.last_words()}",
            )

    async def _post(self, request: Request, connection: wire.Connection, start: int) -> None:
        begun = next(self._ticks)
        try:
            answer = await connection.ask("POST", "/v1/events", request.content, self._headers(request))
        except wire.Broken as error:
            self._expect_killed(request, start, str(error))
            self.posts.append(Post(request.dialect, request.events, begun, None))
            return
        if answer.status != SUCCESS[request.dialect]:
            raise DemoFailed(
                step=f"{request.dialect} events are posted over {request.way}",
                reason=f"answered {answer.status}: {answer.body.decode(errors='replace')}",
            )
        self.posts.append(Post(request.dialect, request.events, begun, next(self._ticks)))
        self.acknowledged += len(request.events)
        self.on_acknowledged()

    def _headers(self, request: Request) -> dict[str, str]:
        """As the dialect's document says; over the UNIX socket no app needs the product's secret."""
        if request.dialect == "samsara":
            headers = {
                "Content-Type": "application/json",
                "X-Samsara-publishedTimestamp": str(self._now_ms()),
            }
            return headers | ({"Content-Encoding": "gzip"} if request.gzipped else {})
        headers = {
            "Content-Type": "application/json;charset=utf-8",
            "X-Product-Key": PRODUCT,
            "Remote-Address": UNKNOWN_ADDRESS,
        }
        if request.way == "tcp":
            headers["X-Product-Auth"] = hashlib.md5(request.content + self._secret.encode()).hexdigest()
        return headers
