"""What a connection keeps in memory, whatever its client sends and however it takes its answers."""

from __future__ import annotations

import tracemalloc

import pytest
from fakes.site import HOST, make_site

from collector.core.http import Answer
from collector.core.limits import KIB, RECEIVE_BYTES
from collector.listener.gather import SCRAP_BYTES, gather
from collector.listener.reader import Reader
from collector.listener.routes import Peer, Responder

BODY = b"0123456789abcdef" * (512 * KIB // 16)


def chunked(size):
    chunks = (BODY[at : at + size] for at in range(0, len(BODY), size))
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + framed


def reads(data, size=RECEIVE_BYTES):
    return [data[at : at + size] for at in range(0, len(data), size)]


def taken(reader, pieces):
    """Bytes of memory that the reader holds after it was fed these."""
    tracemalloc.start()
    try:
        for piece in pieces:
            reader.feed(piece)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def reader_of(**endpoints):
    return Reader(make_site(**endpoints), Peer("tcp"))


def test_a_body_in_tiny_chunks_is_kept_in_about_its_size():
    reader = reader_of()
    assert taken(reader, reads(chunked(2))) < 1.3 * len(BODY)
    reader.feed(b"0\r\n\r\n")
    assert reader.turns[0].outcome.body == BODY


def test_a_body_that_comes_in_tiny_reads_is_kept_in_about_its_size():
    reader = reader_of()
    reader.feed(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(BODY))
    assert taken(reader, reads(BODY[:-1], 5)) < 1.3 * len(BODY)
    reader.feed(BODY[-1:])
    assert reader.turns[0].outcome.body == BODY


@pytest.mark.parametrize(
    "sizes", [(1,), (5, SCRAP_BYTES), (SCRAP_BYTES, 1, 1), (RECEIVE_BYTES, 3), (SCRAP_BYTES - 1,)]
)
def test_parts_of_any_size_are_kept_in_order(sizes):
    parts, at, turn = [], 0, 0
    while at < len(BODY):
        size = sizes[turn % len(sizes)]
        gather(parts, BODY[at : at + size])
        at, turn = at + size, turn + 1
    assert b"".join(parts) == BODY


def test_a_lone_part_is_not_copied():
    parts = []
    gather(parts, BODY)
    assert parts[0] is BODY


@pytest.mark.parametrize("ends", [b"", b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n"])
def test_once_it_was_answered_nothing_of_a_request_is_kept(ends):
    reader = reader_of(void=Responder(lambda _: Answer(200)))
    head = b"POST /void HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(BODY)

    def ask():
        for piece in reads(head + BODY + ends):
            reader.feed(piece)
        reader.turns.clear()

    ask()  # what it learns at first, it may keep
    tracemalloc.start()
    try:
        ask()
        assert tracemalloc.get_traced_memory()[0] < 16 * KIB
    finally:
        tracemalloc.stop()


def test_requests_of_a_long_pipeline_are_not_kept_beside_their_answers():
    reader = reader_of(void=Responder(lambda _: Answer(200)))
    request = b"POST /void HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n"
    count = RECEIVE_BYTES // len(request)
    assert taken(reader, [request * count]) < count * 300
    assert len(reader.turns) == count
