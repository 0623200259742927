"""Every bound on what a client may make this process hold, read or wait for.

Sizes are bytes, times are seconds. A reason stands beside each number; where other
servers have a default for the same thing, it is quoted.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

RECEIVE_BYTES = 64 * KIB
"""One read. A request of this size is parsed and begun in one step, with no further wait."""

MAX_HEAD_BYTES = 32 * KIB
"""Request line and headers together. nginx: 4 x 8 KiB; Apache: 8 KiB a line; Node: 16 KiB;
Go: 1 MiB. The dialects' heads are under 1 KiB; a browser's cookies for localhost may be 8."""

MAX_HEADERS = 100
"""Apache's LimitRequestFields is 100 too. The dialects' clients send under 20."""

MAX_BODY_BYTES = 16 * MIB
"""A body as received. Samsara clients post up to 10,000 events, some 3 MB before gzip;
the Samsara server itself stops at 8 MiB."""

MAX_DECODED_BYTES = 32 * MIB
"""A body after its Content-Encoding. gzip reaches 1000:1, so this is what stops a bomb;
checking this much JSON holds the loop for some 100 ms."""

MAX_RATIO = 200
RATIO_FREE_BYTES = MIB
"""A body may decompress to 200 times its size, or to 1 MiB: events compress six to one, the most
repetitive ones a few dozen to one; beyond that somebody wants to keep the loop busy."""

ANSWERS_BYTES = 64 * KIB
"""Answers of pipelined requests leave together up to this size."""

MAX_BODIES_IN_HAND_BYTES = 128 * MIB
"""All larger bodies that are being received or await their commit, over all connections.
A request that does not fit waits its turn before its body is read."""

SMALL_BODY_BYTES = 64 * KIB
"""Bodies up to this size are not counted against the sum, and those of refused requests are
read to their end so that the connection can be kept: reading is cheaper than a new connection."""

MAX_CONNECTIONS = 512
"""At most; the next client waits for one to end. Times two reads this is 64 MiB. nginx: 512."""

MAX_WAITING_CONNECTIONS = 4096
"""Connections that were accepted and wait for one of the others to end, unread: some 1 KiB each. In the
listen queue a newcomer would stand behind all of a crowd, here it is the first of its own peer."""

TURN_AWAY_INTERVAL = 0.05
"""The pause after `ACCEPT_AT_ONCE` connections of which some had to be turned away: who comes back at
once shall not have the whole processor. A full listen queue is through in a second."""

ACCEPT_AT_ONCE = 64
"""Connections that are accepted before other tasks have their turns."""

MAX_CONNECTIONS_PER_PEER = 384
"""Of one user on UNIX sockets, or of one address over TCP; further ones wait. The quarter that is
left is for the others: web pages can make a browser open hundreds of connections to loopback."""

NEWCOMER_GRACE = 0.25
"""While no seat is free, a connection that has brought no whole request for so long, and brings
less than `MIN_RATE`, makes room for the next. Local clients write a request in under a millisecond."""

CLEAR_INTERVAL = 0.25
"""How often those are looked for who make room, while somebody waits."""

WAITING_GRACE = 5.0
"""How long a connection may wait, for others of its own peer or for room for its body, before it too
makes room. Where those before it are slow, it has its turn within half a second."""

MIN_RATE = 64 * KIB
"""Bytes a second below which a request may lose its seat, or its room, to those that wait for it.
Clients are on this machine; curl's limit for giving up on a peer is commonly set to 1 KiB/s."""

ROOM_GRACE = 0.5
"""While bodies wait for room, one that has had its room for so long must come at `MIN_RATE`. What an
honest client had to send by then has waited in the socket, and comes at once."""

MAX_NESTING = 512
"""Levels in one event, the event itself being the first. Decoders recurse and fail where
their caller's stack leaves too little (CPython: 1000 frames in all), so what is taken here must
leave room for a deeper caller later. PHP's json_decode stops at 512, Jackson at 1000, .NET at 64."""

MAX_EVENTS = 20_000
"""Events in one request; more get 413, at which clients send less at a time. Public clients
post at most 10,000. It bounds what a body like `[1,1,1,...` may make us hold."""

MAX_DIGITS = 1000
"""Digits in a row of one number. Jackson stops at 1000, Python's int at 4300; what is larger some
reader upstream cannot read, so it is refused here, where the app that wrote it is told."""

MAX_GZIP_MEMBERS = 1000
"""Members of one gzip stream. Clients that append to a compressed log make a few dozen; without
a bound 16 MiB of empty ones keep the loop busy for seconds."""

INLINE_BYTES = 16 * KIB
"""A body of this size is looked at on the spot, even if each of its events must be looked at singly,
which takes some 15 us an event; that of a larger one is a worker thread's."""

QUICK_BYTES = MIB
"""A body of this size is looked at on the spot if it can be done without looking at single events,
which takes some 5 ms; larger ones are a worker thread's from the start."""

MAX_PRODUCTS = 1000
"""Product keys that may bring events while none is configured. Each costs 10 to 12 KiB of memory, rows that
stay, and is a lane to each upstream: a thousand are 12 MiB. Apps of one machine have a few."""

LISTEN_BACKLOG = 1024
"""Clients the kernel lets wait; Linux cuts it to net.core.somaxconn (4096 since 5.4)."""

HEAD_TIMEOUT = 10.0
"""From a request's first byte to the end of its headers. Apache: 20; nginx: 60. Ours are local."""

REQUEST_TIMEOUT = 60.0
"""From a request's first byte to the last of its body: 16 MiB at 280 KB/s."""

ANSWER_TIMEOUT = 30.0
"""From a whole request to its answer: a disk that stalls longer gets the client a 503. Most
clients' own patience is 30 to 60."""

SEND_TIMEOUT = 30.0
"""From the first byte of an answer to the last. nginx: 60."""

IDLE_TIMEOUT = 75.0
"""A kept connection without a request, as nginx. Longer than the 60 that client pools keep
theirs, so that it is the client who closes and none of its requests meets a closed port."""

CROWDED_IDLE_TIMEOUT = 5.0
"""The same while no seat is free, or others of the same peer wait: idle connections make room."""

LINGER_TIMEOUT = 2.0
"""How long a client whose request was cut short may go on sending, so that it reads the
answer before the reset. nginx's lingering_timeout: 5."""

LINGER_BYTES = 64 * MIB
"""How much of it is read and thrown away: a 413 makes clients halve their batch, but many send all
of it before they look at the answer. Over loopback this takes some 20 ms."""

LAST_WORDS_TIMEOUT = 0.5
"""After a stopping listener's deadline: to tell those still waiting, and close."""

SWEEP_INTERVAL = 1.0
"""How often overdue connections are looked for, so how late a time-out above may be. One
look at all connections costs less than a timer for each of 20,000 requests a second."""

ACCEPT_RETRY = 0.1
"""The pause after an accept failed for want of descriptors or memory; as trio's own."""


@dataclass(frozen=True, slots=True)
class ContentLimits:
    """The bounds of what one request's body may hold.

    Attributes:
        decoded_bytes: after Content-Encoding.
        ratio: bytes for each compressed one, beyond `RATIO_FREE_BYTES`.
        depth: levels in one event.
        events: in one request.
        digits: in a row of one number.
        members: of one gzip stream.
    """

    decoded_bytes: int = MAX_DECODED_BYTES
    ratio: int = MAX_RATIO
    depth: int = MAX_NESTING
    events: int = MAX_EVENTS
    digits: int = MAX_DIGITS
    members: int = MAX_GZIP_MEMBERS


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The bounds of one connection, as one value: sizes in bytes, times in seconds."""

    head_bytes: int = MAX_HEAD_BYTES
    headers: int = MAX_HEADERS
    body_bytes: int = MAX_BODY_BYTES
    head_timeout: float = HEAD_TIMEOUT
    request_timeout: float = REQUEST_TIMEOUT
    answer_timeout: float = ANSWER_TIMEOUT
    send_timeout: float = SEND_TIMEOUT
    idle_timeout: float = IDLE_TIMEOUT
    linger_timeout: float = LINGER_TIMEOUT
    linger_bytes: int = LINGER_BYTES
    crowded_idle_timeout: float = CROWDED_IDLE_TIMEOUT
    newcomer_grace: float = NEWCOMER_GRACE
    waiting_grace: float = WAITING_GRACE
    room_grace: float = ROOM_GRACE
    min_rate: int = MIN_RATE
