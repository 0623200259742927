"""What a connection waits for, and what becomes of it when that takes too long.

phase      waits for                     overdue              the listener stops
IDLE       a request's first byte        close                close, unless one has just come
RECEIVING  the rest of a request         408, close           go on
ANSWERING  an endpoint                   503, close           go on
SENDING    the client to take answers    close                go on
LEAVING    the client to go              close                go on
PARKED     others of its peer to end     503, close           go on
WAITING    room for its body             503, close           go on
STREAMING  more to tell                  never                close
"""

from __future__ import annotations

IDLE, RECEIVING, ANSWERING, SENDING, LEAVING, PARKED, WAITING, STREAMING = range(8)
