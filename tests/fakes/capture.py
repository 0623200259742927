"""An upstream that fails in every way there is, and keeps the book of what it took."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fakes.upstream import Behaviour, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collector.demo.book import Received

ANSWER = b'HTTP/1.1 202 Cut\r\nContent-Length: 9\r\n\r\n["OK"'
"""What `Behaviour.cut` cuts, as far as it goes."""

FORM = b"<form method=post action=/login><input name=room></form>"
LOGIN = Behaviour(status=302, headers={"Location": "http://portal.example/login"})
PORTAL = Behaviour(status=200, headers={"Content-Type": "text/html; charset=utf-8"}, body=FORM)
LOST = Behaviour(cut="answer")
TAKEN = frozenset({200, 202})
ABOUT_EVENTS = frozenset({400, 413, 422})
STATUSES = tuple(status for status in range(200, 600) if status not in TAKEN | ABOUT_EVENTS)


def cuts() -> Iterator[Behaviour]:
    """The answer, cut at each of its bytes."""
    return (Behaviour(cut=size) for size in range(len(ANSWER) + 1))


class Capture(Upstream):
    """Beside what it is told to do, it refuses what is too large and what is poison.

    Attributes:
        largest: bytes of a decoded body; larger ones get 413.
        is_poison: of an event; a batch with one gets 400.
        names: whether that answer says which.
    """

    largest: int | None = None
    is_poison: Callable[[dict], bool] = staticmethod(lambda _: False)
    names = True

    def judge(self, request: Received, behaviour: Behaviour) -> tuple[int, bytes]:
        """As the receiver does, once neither size nor poison stands against it.

        What it is told to answer it answers, and takes nothing: a portal does not either.
        """
        if behaviour.status is not None:
            return self._refused(request, behaviour.status, behaviour.body)
        if not behaviour.unread:
            if self.largest is not None and len(request.content) > self.largest:
                return self._refused(request, 413, b"")
            said = ["bad" if self.is_poison(json.loads(event)) else "OK" for event in request.events]
            if "bad" in said:
                return self._refused(request, 400, json.dumps(said).encode() if self.names else b"")
        return super().judge(request, behaviour)

    def _refused(self, request: Received, status: int, body: bytes) -> tuple[int, bytes]:
        with self.lock:
            self.received.append(request)
        return status, body
