"""Apps that post events without a pause, and remember which of them were acknowledged."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import secrets
import threading
import time
from random import Random  # noqa: TID251 - seeded here alone
from typing import TYPE_CHECKING, Self

from fakes.daemon import Client
from fakes.delivery import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fakes.daemon import Reply

PAUSE = 0.008
"""Seconds between an answer and the next request: it is the daemon that is tested, not this process."""

ODD = r"""
"price":10.10,"big":123456789012345678901234567890,"tiny":1E-400,"minus":-0.0
"path":"a\/b","tag":"\u003cb\u003e","quote":"\"},{\"","emoji":"🧨 \ud83e\udde8"
"deep":{"a":[[],{},[{"b":[null,true,false]}]]},"spaced" : [ 1 ,	2 ]
"note":"receivedAt","empty":"","nul":"\u0000"
""".strip().splitlines()
"""Members that are JSON, and that do not survive being parsed and written again."""


def drawn_seed(variable: str) -> str:
    """A seed, told so that the variable of that name in the environment gives the same again."""
    seed = os.environ.get(variable) or secrets.token_hex(4)
    print(f"{variable}={seed} gives the same again")  # noqa: T201 - pytest shows it where a test failed
    return seed


def seeded(*parts: object) -> Random:
    """Chance that comes the same again for the same parts."""
    return Random(repr(parts))  # noqa: S311 - for a test's moments and sizes


def padded(first: int, count: int, *, size: int) -> list[Sent]:
    """Events numbered from `first` on, of some `size` bytes each, that do not compress to less than half."""
    return [
        Sent(
            f'{{"timestamp":1433004485870,"sourceId":"till","eventName":"sold","n":{number},'
            f'"p":"{os.urandom(size // 2).hex()}"}}',
            "till",
            number,
        )
        for number in range(first, first + count)
    ]


def post(address: int | Path, events: Sequence[Sent]) -> Reply:
    """Post events in one request, as an app that has no thread of its own."""
    body = f"[{','.join(event.text for event in events)}]".encode()
    with Client(address) as client:
        return client.ask("POST", "/v1/events", body, {"Content-Type": "application/json"})


class App(threading.Thread):
    """One app: it posts its events in order, over one connection as long as that lasts.

    Each event is sent once, whatever becomes of it.

    Args:
        address: where the daemon listens now.
        source: the app's name.
        product: a Traintracks product with its secret; None speaks Samsara.
        chance: decides sizes and forms of requests.
        pause: seconds between an answer and the next request.

    Attributes:
        sent: all events that may have reached the daemon.
        acknowledged: those that it answered with success.
        refusals: its other answers.
        breaks: connections that could not be made or ended, but by its own doing.
    """

    def __init__(
        self,
        address: Callable[[], int | Path],
        source: str,
        *,
        product: tuple[str, str] | None = None,
        chance: Random,
        pause: float = PAUSE,
    ) -> None:
        super().__init__(name=source)
        self.sent: list[Sent] = []
        self.acknowledged: list[Sent] = []
        self.refusals: list[Reply] = []
        self.breaks: list[Exception] = []
        self._address = address
        self._product = product
        self._chance = chance
        self._pause = pause
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.join()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                with Client(self._address()) as client:
                    client.connect()
                    self._talk(client)
            except (OSError, http.client.HTTPException) as error:
                self.breaks.append(error)
                self._stopping.wait(PAUSE)

    def _talk(self, client: Client) -> None:
        while not self._stopping.wait(self._pause):
            first = len(self.sent)
            events = [self._event(number) for number in range(first, first + self._chance.randint(1, 12))]
            body = b"[ %b]" % " ,\n".join(event.text for event in events).encode()
            self.sent += events
            reply = self._post(client, body)
            if reply.status == (202 if self._product is None else 200):
                self.acknowledged += events
            else:
                self.refusals.append(reply)

    def _event(self, number: int) -> Sent:
        name, odd = f'"{self.name}"', self._chance.choice(ODD)
        if self._product is None:
            text = f'{{"timestamp":1433004485870, "sourceId":{name},"eventName":"a.b","n":{number},{odd}}}'
        else:
            text = (
                f'{{"build":"1","clientTimestamp":"2012-03-14T02:33:42.416587-07:00","device":{name},'
                f'"eventType":"load","userId":"u","userName":"n","sessionId":"s",'
                f'"data":{{"n":{number},{odd}}} }}'
            )
        json.loads(text)
        return Sent(text, self.name, number)

    def _post(self, client: Client, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self._chance.random() < 0.3:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        if self._product is None:
            headers["X-Samsara-publishedTimestamp"] = str(time.time_ns() // 1_000_000)
        else:
            key, secret = self._product
            headers["X-Product-Key"] = key
            headers["X-Product-Auth"] = hashlib.md5(body + secret.encode()).hexdigest()
            # A batch upstream has one address, so this ends batches.
            headers["Remote-Address"] = f"203.0.113.{self._chance.randint(1, 3)}"
        return client.ask("POST", "/v1/events", body, headers)
