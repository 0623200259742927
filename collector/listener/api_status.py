"""`/v1/api-status`: a word that operators set and load balancers read.

It changes nothing else: while it says `offline`, events are still taken. It is not kept over
a restart. The client listeners and the admin listener share one `ApiStatus`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from collector.core.http import Answer, error_answer
from collector.listener.routes import Responder
from collector.listener.routing import NOT_FOUND

if TYPE_CHECKING:
    from collector.listener.routes import Endpoint, Request

PATH = "/v1/api-status"

_ONLINE = Answer(200, b'{"status":"online"}', headers=(("Cache-Control", "no-store"),))
_OFFLINE = Answer(503, b'{"status":"offline"}', headers=(("Cache-Control", "no-store"),))
_SET = Answer(200)
_NOT_FOR_PAGES = error_answer(403, "Web pages may not set the status.")
_INVALID = error_answer(400, 'The body must be {"status":"online"} or {"status":"offline"}.')
_PLAIN_ONLY = error_answer(
    415, "The status is sent without Content-Encoding.", headers=(("Accept-Encoding", "identity"),)
)


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    status: Literal["online", "offline"]


_WANTED = msgspec.json.Decoder(_Wanted)


class ApiStatus:
    """The word itself.

    Attributes:
        online: what it says.
    """

    def __init__(self) -> None:
        self.online = True

    def methods(self, *, settable: bool) -> dict[str, Endpoint]:
        """The endpoints of `PATH`; where it is not settable, PUT answers 404 as if it were not there."""
        setter: Endpoint = _Setter(self) if settable else Responder(lambda _request: NOT_FOUND)
        return {"GET": Responder(self._show), "PUT": setter}

    def _show(self, _request: Request) -> Answer:
        return _ONLINE if self.online else _OFFLINE


class _Setter:
    def __init__(self, status: ApiStatus) -> None:
        self._status = status

    def admit(self, head: Request) -> Answer | None:
        if "origin" in head.headers:
            return _NOT_FOR_PAGES
        if head.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
            return _PLAIN_ONLY
        return None

    def begin(self, request: Request) -> Answer:
        try:
            wanted = _WANTED.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _INVALID
        self._status.online = wanted.status == "online"
        return _SET
