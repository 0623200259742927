"""However bytes arrive, the same requests are read; and no bytes at all make the reader raise."""

from __future__ import annotations

import itertools

from fakes.site import HOST, make_site
from hypothesis import given
from hypothesis import strategies as st

from collector.core.limits import RECEIVE_BYTES
from collector.listener.reader import Reader
from collector.listener.routes import Peer
from collector.listener.turns import CLOSE

TARGETS = st.sampled_from([b"/echo", b"/nothing", b"/echo?q", b"http://localhost/echo", b"echo"])
BODIES = st.binary(max_size=200)


@st.composite
def requests(draw):
    method = draw(st.sampled_from([b"POST", b"GET", b"HEAD", b"OPTIONS", b"DELETE"]))
    head = method + b" " + draw(TARGETS) + b" HTTP/1.1\r\n" + HOST
    if draw(st.booleans()):
        head += b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    body = draw(BODIES)
    if draw(st.booleans()):
        chunks = [body[start : start + 50] for start in range(0, len(body), 50)]
        coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def read(pieces):
    reader = Reader(make_site(), Peer("tcp"))
    for piece in pieces:
        if reader.finished:
            break
        reader.feed(piece)
    return reader


def cut(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(min_value=0), max_size=20))
def test_the_same_requests_are_read_whatever_the_pieces(parts, places):
    data = b"".join(parts)
    assert len(data) <= RECEIVE_BYTES
    whole, pieces = read([data]), read(cut(data, places))
    assert pieces.turns == whole.turns
    assert (pieces.open, pieces.finished, pieces.cut_short) == (whole.open, whole.finished, whole.cut_short)
    if not whole.finished:
        assert len(whole.turns) == len(parts)


@given(
    st.lists(
        st.one_of(
            requests(),
            st.binary(max_size=100),
            st.sampled_from(
                [b"\r\n", b"POST /echo HTTP/1.1\r\n", b"Content-Length: 9\r\n", b"CONNECT a:1 HTTP/1.1\r\n"]
            ),
        ),
        max_size=8,
    )
)
def test_nothing_that_comes_is_too_odd(pieces):
    reader = read(pieces)
    if reader.finished:
        assert not reader.open
        assert reader.turns[-1].flags & CLOSE
    else:
        assert not reader.cut_short
        assert not any(turn.flags & CLOSE for turn in reader.turns)
