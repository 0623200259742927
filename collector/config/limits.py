"""The `[limits]` table; the reasons for its defaults stand in `collector.core.limits`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from collector.config.fields import DAY, GIB, HOUR, MINUTE, Duration, Size
from collector.core import limits


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients may make the daemon hold, read or wait for, on all listeners together.

    Attributes:
        max_connections: on all listeners together; further clients wait, unread, until one ends.
        max_connections_per_peer: of one user on UNIX sockets, of one address over TCP, or of all of
            loopback, that are served at a time; its further ones wait, and get 503 after `answer_timeout`.
        max_head_bytes: request line and headers of a request; more gets 431.
        max_headers: headers of a request; more get 431.
        max_body_bytes: a body as it is sent; more gets 413.
        max_decoded_bytes: a body once decompressed; more gets 413.
        max_ratio: to how many times its size a body of more than 1 MiB may decompress; more gets 413.
        max_gzip_members: streams, one behind the other, that make up a compressed body; more get 413.
        max_depth: levels of nesting in one event; more get 400.
        max_digits: digits in a row of one number; more get 400.
        max_events: events in one request; more get 413.
        max_products: product keys that may bring events while no `[[product]]` is configured; requests of
            further ones get 503. Those that brought some before count, and stay welcome.
        max_bodies_bytes: bodies over 64 KiB that are received or wait for their commit, together;
            further ones wait, and get 503 after `answer_timeout`.
        head_timeout: from a request's first byte to the end of its headers; then 408.
        request_timeout: from a request's first byte to its last; then 408.
        answer_timeout: from a whole request to its answer; then 503.
        send_timeout: for a client to take an answer; then its connection is closed.
        idle_timeout: for which a connection without a request is kept.
        crowded_idle_timeout: the same while no connection is free, or others of the same peer wait.
        linger_timeout: for a client whose request was cut short to read why; then its connection is reset.
        linger_bytes: that such a client may still send meanwhile, which are thrown away.
        newcomer_grace: for a connection to bring a request while no connection is free; then it makes
            room for another, with 408 where it had begun one, unless it keeps to `min_rate`.
        waiting_grace: for a connection to wait, for others of its peer or for room for its body,
            while no connection is free for other peers; then 503. Also for a client to take an answer
            while others wait for its connection.
        room_grace: for a body to come while others wait for room; then 408, unless it keeps to `min_rate`.
        min_rate: bytes a second that a client must bring while others wait.
        listen_backlog: clients that the kernel lets wait for each socket of the daemon's own; further
            ones find it as if nobody listened, or wait to be let wait.
    """

    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = limits.MAX_CONNECTIONS
    max_connections_per_peer: Annotated[int, Meta(ge=1, le=100_000)] = limits.MAX_CONNECTIONS_PER_PEER
    max_head_bytes: Annotated[Size, Meta(ge=1024, le=limits.MIB)] = limits.MAX_HEAD_BYTES
    max_headers: Annotated[int, Meta(ge=10, le=1000)] = limits.MAX_HEADERS
    max_body_bytes: Annotated[Size, Meta(ge=1024, le=64 * limits.MIB)] = limits.MAX_BODY_BYTES
    max_decoded_bytes: Annotated[Size, Meta(ge=1024, le=limits.MAX_DECODED_BYTES)] = limits.MAX_DECODED_BYTES
    max_ratio: Annotated[int, Meta(ge=1, le=1100)] = limits.MAX_RATIO
    max_gzip_members: Annotated[int, Meta(ge=1, le=10_000)] = limits.MAX_GZIP_MEMBERS
    max_depth: Annotated[int, Meta(ge=2, le=limits.MAX_NESTING)] = limits.MAX_NESTING
    max_digits: Annotated[int, Meta(ge=20, le=limits.MAX_DIGITS)] = limits.MAX_DIGITS
    max_events: Annotated[int, Meta(ge=1, le=100_000)] = limits.MAX_EVENTS
    max_products: Annotated[int, Meta(ge=1, le=100_000)] = limits.MAX_PRODUCTS
    max_bodies_bytes: Annotated[Size, Meta(ge=limits.MIB, le=16 * GIB)] = limits.MAX_BODIES_IN_HAND_BYTES
    head_timeout: Annotated[Duration, Meta(ge=0.1, le=HOUR)] = limits.HEAD_TIMEOUT
    request_timeout: Annotated[Duration, Meta(ge=0.1, le=HOUR)] = limits.REQUEST_TIMEOUT
    answer_timeout: Annotated[Duration, Meta(ge=0.1, le=HOUR)] = limits.ANSWER_TIMEOUT
    send_timeout: Annotated[Duration, Meta(ge=0.1, le=HOUR)] = limits.SEND_TIMEOUT
    idle_timeout: Annotated[Duration, Meta(ge=1, le=DAY)] = limits.IDLE_TIMEOUT
    crowded_idle_timeout: Annotated[Duration, Meta(ge=0.1, le=DAY)] = limits.CROWDED_IDLE_TIMEOUT
    linger_timeout: Annotated[Duration, Meta(ge=0.1, le=MINUTE)] = limits.LINGER_TIMEOUT
    linger_bytes: Annotated[Size, Meta(ge=0, le=GIB)] = limits.LINGER_BYTES
    newcomer_grace: Annotated[Duration, Meta(ge=0.05, le=HOUR)] = limits.NEWCOMER_GRACE
    waiting_grace: Annotated[Duration, Meta(ge=0.1, le=HOUR)] = limits.WAITING_GRACE
    room_grace: Annotated[Duration, Meta(ge=0.05, le=HOUR)] = limits.ROOM_GRACE
    min_rate: Annotated[Size, Meta(ge=1, le=GIB)] = limits.MIN_RATE
    listen_backlog: Annotated[int, Meta(ge=1, le=65_535)] = limits.LISTEN_BACKLOG

    @property
    def connection(self) -> limits.ConnectionLimits:
        """Those of one connection."""
        return limits.ConnectionLimits(
            head_bytes=self.max_head_bytes,
            headers=self.max_headers,
            body_bytes=self.max_body_bytes,
            head_timeout=self.head_timeout,
            request_timeout=self.request_timeout,
            answer_timeout=self.answer_timeout,
            send_timeout=self.send_timeout,
            idle_timeout=self.idle_timeout,
            crowded_idle_timeout=self.crowded_idle_timeout,
            linger_timeout=self.linger_timeout,
            linger_bytes=self.linger_bytes,
            newcomer_grace=self.newcomer_grace,
            waiting_grace=self.waiting_grace,
            room_grace=self.room_grace,
            min_rate=self.min_rate,
        )

    @property
    def content(self) -> limits.ContentLimits:
        """Those of one request's body."""
        return limits.ContentLimits(
            decoded_bytes=self.max_decoded_bytes,
            ratio=self.max_ratio,
            depth=self.max_depth,
            events=self.max_events,
            digits=self.max_digits,
            members=self.max_gzip_members,
        )
