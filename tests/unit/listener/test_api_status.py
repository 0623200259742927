"""The status word, as the seed document shows it."""

from __future__ import annotations

import pytest
from fakes.site import HOST, OpenGate, replies

from collector.core.http import Answer
from collector.listener.api_status import PATH, ApiStatus
from collector.listener.reader import Reader
from collector.listener.routes import Peer, Site
from collector.listener.wire import Wording


def ask(status, data, *, settable=True):
    reader = Reader(Site({PATH: status.methods(settable=settable)}, OpenGate()), Peer("tcp"))
    reader.feed(data)
    (turn,) = reader.turns
    return turn.outcome


def get(status):
    return ask(status, b"GET /v1/api-status HTTP/1.1\r\n" + HOST + b"\r\n")


def put(status, body, *headers, settable=True):
    fields = b"".join(header + b"\r\n" for header in headers)
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return ask(status, b"PUT /v1/api-status HTTP/1.1\r\n" + HOST + fields + length + body, settable=settable)


def test_it_begins_online_and_is_set_and_read():
    status = ApiStatus()
    assert get(status).status == 200
    assert get(status).body == b'{"status":"online"}'
    assert put(status, b'{"status": "offline"}') == Answer(200)
    assert get(status).status == 503
    assert get(status).body == b'{"status":"offline"}'
    assert put(status, b'{"status":"online"}') == Answer(200)
    assert get(status).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"offline",
        b'"offline"',
        b"{}",
        b'{"status":"maybe"}',
        b'{"status":null}',
        b"[]",
        b'{"status":"offline","x":1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_any_other_word_is_refused(body):
    status = ApiStatus()
    assert put(status, body).status == 400
    assert status.online


def test_pages_may_not_set_it():
    status = ApiStatus()
    assert put(status, b'{"status":"offline"}', b"Origin: http://allowed.example").status == 403
    assert status.online


def test_a_compressed_word_is_refused():
    status = ApiStatus()
    assert put(status, b'{"status":"offline"}', b"Content-Encoding: gzip").status == 415
    assert put(status, b'{"status":"offline"}', b"Content-Encoding: Identity").status == 200


def test_where_the_admin_listener_is_exclusive_it_cannot_be_set_here_and_can_be_read():
    status = ApiStatus()
    answer = put(status, b'{"status":"offline"}', settable=False)
    assert answer == Answer(404, b'{"status":"ERROR","message":"Not found"}')
    assert status.online
    assert get(status).status == 200


def test_it_is_never_cached():
    (reply,) = replies(Wording().usual(get(ApiStatus())))
    assert reply.headers["cache-control"] == "no-store"
