"""No request can be read in two ways: each such is refused, once, and nothing behind it is begun."""

from __future__ import annotations

import pytest
from fakes.site import Echo, make_site
from fakes.smuggling import HIDDEN, SMUGGLING

from collector.listener.admission import Admission
from collector.listener.reader import Reader
from collector.listener.routes import Peer
from collector.listener.turns import CLOSE

FIRST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nfirst"


def read(data, size):
    echo = Echo()
    reader = Reader(make_site(echo=echo, gate=Admission()), Peer("tcp"))
    for start in range(0, len(data), size):
        if not reader.finished:
            reader.feed(data[start : start + size])
    return reader, [request.body for request in echo.requests]


@pytest.mark.parametrize("size", [1, 3, 65536])
@pytest.mark.parametrize("name", SMUGGLING)
def test_it_is_refused_and_the_connection_ends(name, size):
    data, status = SMUGGLING[name]
    reader, begun = read(data + HIDDEN, size)
    assert [turn.outcome.status for turn in reader.turns] == [status]
    assert reader.turns[0].flags & CLOSE
    assert reader.finished
    assert begun == []


@pytest.mark.parametrize("name", SMUGGLING)
def test_what_came_before_it_is_answered(name):
    data, status = SMUGGLING[name]
    reader, begun = read(FIRST + data + HIDDEN, 65536)
    assert [turn.outcome.status for turn in reader.turns] == [200, status]
    assert begun == [b"first"]
