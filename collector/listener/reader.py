"""From the bytes of one connection to begun requests; knows no socket and waits for nothing.

    feed --> llhttp --> head: bounded, routed, admitted --> body --> endpoint.begin --> `turns`
                          |                                                               ^
                          +-- refused: a small body is passed over -----------------------+

`feed` never raises. A request that cannot be read further (malformed, too large, refused
ahead of a body not worth reading) leaves its answer as the last turn and sets `finished`:
the connection sends what it has and closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from collector.core.http import Answer, error_answer
from collector.core.limits import INLINE_BYTES, RECEIVE_BYTES, SMALL_BODY_BYTES
from collector.listener.gather import gather
from collector.listener.head import (
    HEAD_TOO_LARGE,
    UnreadableError,
    check_framing,
    check_size,
    expects_continue,
    malformed,
    read_headers,
    split_target,
)
from collector.listener.routes import Request
from collector.listener.routing import route
from collector.listener.turns import BODYLESS, CLOSE, OLD, Deferred, Turn
from collector.listener.upgrade import framing_alone, second_parser

if TYPE_CHECKING:
    from collector.listener.routes import Endpoint, Peer, Pending, Site

_TOO_LARGE = error_answer(413, "The body is too large; send fewer events in a request.")
INTERNAL = error_answer(500, "Internal error; the log says more.")


class Reader:
    """Reads the requests of one connection.

    Attributes:
        turns: requests begun or refused and not yet answered; the caller empties it.
        open: a request's first byte has come and its last has not.
        in_head: its headers have not ended yet.
        finished: nothing more will be read.
        cut_short: finished while the client may still be sending.
        expects_continue: the client awaits `100 Continue`; the caller clears it.
    """

    def __init__(self, site: Site, peer: Peer) -> None:
        self.turns: list[Turn] = []
        self.open = False
        self.in_head = False
        self.finished = False
        self.cut_short = False
        self.expects_continue = False
        self._site = site
        self._peer = peer
        self._needs_host = peer.kind == "tcp"
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._endpoint: Endpoint | None = None
        self._refusal: Answer | None = None
        self._body: list[bytes | bytearray] = []
        self._size = 0  # of the body so far
        self._room = 0  # for the body
        self._step = 0  # bytes of this read
        self._stray = 0  # bytes since the request's first, or since the last one of its body
        self._flags = 0
        self._extra = ""
        self._deferring = False
        self._heads = site.heads
        self._begun: Request | None = None  # the last of this read
        # Why a callback stopped llhttp. The error that comes out of llhttp is no witness: its context is
        # whatever exception was being handled around `feed`, if there was one.
        self._unreadable: Answer | None = None
        self._upgrade = b""  # a head for the rest of a request that asked for another protocol

    def feed(self, data: bytes | bytearray) -> None:
        """Read on; at most `RECEIVE_BYTES` at a time. Nothing may be fed once `finished`."""
        fresh = not (self.open or self.turns)
        if fresh and self._recall(data):
            return
        size = self._size
        self._step = len(data)
        if self.open:
            self._stray += self._step
        rest = data
        while rest:
            rest = self._parse(rest)
        if self.open:
            self._bound_partial(progress=self._size != size)
        elif fresh and self._begun is not None and len(self.turns) == 1 and not self.turns[0].flags:
            self._heads.learn(data, self._begun)
        self._begun = None  # it has a body

    def _recall(self, data: bytes | bytearray) -> bool:
        """Take a whole request whose head was read before, without llhttp, which is between two requests.

        What one read holds is small: a refusal leaves nothing of it unread.
        """
        whole = self._heads.recall(data, self._site.limits)
        if whole is None:
            return False
        head, headers, body = whole
        if self._needs_host and "host" not in headers:
            return False
        request = Request(head.method, head.path, head.query, "1.1", headers, self._peer)
        outcome: Answer | Pending | None = self._refuse(request, len(body))
        if outcome is None and self._endpoint is not None:
            request.body = body
            outcome = self._begin(self._endpoint, request)
        outcome = outcome or INTERNAL
        if isinstance(outcome, Answer) and outcome.close:
            self.finished = self.cut_short = True
        self.turns.append(Turn(outcome, CLOSE if self.finished else 0, ""))
        return True

    def _parse(self, data: bytes | bytearray) -> bytes | bytearray:
        """Let llhttp read; what it returns is to be read by a new parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as reached:
            rest = data[reached.args[0] :]
        except httptools.HttpParserError as error:
            # Data after a request that asked to close is not this connection's business.
            if not self.finished:
                self._give_up(self._unreadable or malformed(data, error))
            return b""
        else:
            return b""
        self._ignore_upgrade()
        return b"" if self.finished else rest

    @property
    def received(self) -> int:
        """Bytes of the present request's body so far."""
        return 0 if self.in_head else self._size

    def drop(self) -> None:
        """Let go of the parser, so that the garbage collector need not find the cycle."""
        del self._parser

    def claim(self) -> int:
        """Bytes that the request being received may come to hold, if that is more than a small body."""
        request = self._request
        if not self.open or self.in_head or self._refusal is not None or request is None:
            return 0
        length = request.headers.get("content-length")
        if length is not None:
            return int(length) if int(length) > SMALL_BODY_BYTES else 0
        return self._room if self._size > SMALL_BODY_BYTES else 0

    # What llhttp calls. An exception here stops it for good.

    def on_message_begin(self) -> None:
        """Start a request."""
        self.open = self.in_head = True
        self._stray = self._step
        self._target = b""
        self._fields = []

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or, after the body, a trailer, which is bounded and not looked at."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide by the head whether to read the body."""
        try:
            self._take_head()
        except UnreadableError as stop:
            self._unreadable = stop.answer
            raise

    def _take_head(self) -> None:
        self.in_head = False
        self._body = []
        self._size = self._flags = 0
        self._extra = ""
        self._request = self._refusal = None
        site, fields, parser = self._site, self._fields, self._parser
        limits = site.limits
        self._fields = []
        if len(fields) > limits.headers or self._stray > limits.head_bytes:
            check_size(self._target, fields, limits)
        headers = read_headers(fields)
        version = parser.get_http_version()
        check_framing(version, headers, needs_host=self._needs_host)
        path, query = split_target(self._target)
        method = parser.get_method().decode()
        head = self._request = Request(method, path, query, version, headers, self._peer)
        if not parser.should_keep_alive():
            self._flags = CLOSE
        elif version == "1.0":
            self._flags = OLD
        origin = headers.get("origin")
        if origin is not None:
            self._extra = site.gate.cors(origin)
        if method == "HEAD":
            self._flags |= BODYLESS
        if "upgrade" in headers and parser.should_upgrade():
            self._upgrade = framing_alone(headers, close=not parser.should_keep_alive())
        self.expects_continue = expects_continue(headers.get("expect"), version)
        length = int(headers.get("content-length", 0))
        refusal = self._refuse(head, length)
        if refusal is None:
            self._room = limits.body_bytes
            return
        if self.expects_continue or length > SMALL_BODY_BYTES or method == "CONNECT":
            raise UnreadableError(refusal)
        self._refusal = refusal
        self._room = SMALL_BODY_BYTES

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._size += len(part)
        if self._size > self._room:
            self._unreadable = self._refusal or _TOO_LARGE
            raise UnreadableError(self._unreadable)
        gather(self._body, part)

    def on_message_complete(self) -> None:
        """Begin the request, or let its refusal have its turn."""
        if self._upgrade:  # llhttp ends the request before its body
            return
        self.open = self.expects_continue = False
        outcome: Answer | Pending | None = self._refusal
        request, endpoint, body = self._request, self._endpoint, self._body
        if outcome is None and request is not None and endpoint is not None:
            request.body = b"".join(body)
            if self._defers(request):
                outcome = Deferred(endpoint, request)
            else:
                self._begun = request
                outcome = self._begin(endpoint, request)
        flags, outcome = self._flags, outcome or INTERNAL
        self._body = []
        self._request = None
        if isinstance(outcome, Answer) and outcome.close:
            self.finished = self.cut_short = True
            self.turns.append(Turn(outcome, flags | CLOSE, self._extra))
            raise UnreadableError(outcome)
        self.finished = flags & CLOSE != 0
        self.turns.append(Turn(outcome, flags, self._extra))

    # What the callbacks need.

    def _begin(self, endpoint: Endpoint, request: Request) -> Answer | Pending:
        try:
            return endpoint.begin(request)
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one request, not the daemon
            return self._fault(error)

    def _defers(self, request: Request) -> bool:
        """Whether a pipelined request waits for the answers before it, and so do all behind it.

        A read's plain bodies are small together; compressed ones may each be a long day's work, and
        other connections must get their turns in between. What is looked at on another thread is not
        overtaken by what came behind it.
        """
        compressed = "content-encoding" in request.headers
        if not self.turns:
            self._deferring = compressed or len(request.body) > INLINE_BYTES
            return False
        self._deferring = self._deferring or compressed
        return self._deferring

    def _refuse(self, head: Request, length: int) -> Answer | None:
        """Find the endpoint, and refuse by the head alone; the order of refusals is the dialects'."""
        site = self._site
        try:
            self._endpoint, refusal = route(site, head)
            if refusal is None:
                refusal = _TOO_LARGE if length > site.limits.body_bytes else site.gate.authorise(head)
        except Exception as error:  # noqa: BLE001 - as for `_begin`
            return self._fault(error)
        return refusal

    def _bound_partial(self, *, progress: bool) -> None:
        """Bound what is gathered without reaching a callback: one long header, trailer or chunk line."""
        if progress and not self.in_head:
            self._stray = 0
            self.expects_continue = False
        limits = self._site.limits
        # Up to one read before the request's first byte is in the count.
        if self._stray > limits.head_bytes + RECEIVE_BYTES or len(self._fields) > limits.headers:
            self._give_up(HEAD_TOO_LARGE)

    def _ignore_upgrade(self) -> None:
        """Go on with a request that asked for another protocol as if it had not.

        RFC 9110, section 7.8 allows this. Java's client asks for h2c on each first request.
        """
        head, self._upgrade = self._upgrade, b""
        self._parser = second_parser(self)
        self._parse(head)

    def _give_up(self, answer: Answer) -> None:
        self.finished = self.cut_short = True
        self.open = self.expects_continue = False
        self._body = []
        # Where the fault is in the head, nothing is known of what was asked.
        flags, extra = (0, "") if self._request is None else (self._flags, self._extra)
        self.turns.append(Turn(answer, flags | CLOSE, extra))

    def _fault(self, error: Exception) -> Answer:
        self._site.report("an endpoint failed", error)
        return INTERNAL
