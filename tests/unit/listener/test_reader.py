"""Requests are read the same whole, byte by byte, and behind others; and what cannot be read is refused."""

from __future__ import annotations

import pytest
from fakes.site import HOST, Broken, Echo, OpenGate, Waiting, make_site

from collector.core.http import Answer, error_answer
from collector.core.limits import RECEIVE_BYTES, SMALL_BODY_BYTES, ConnectionLimits
from collector.listener.reader import Reader
from collector.listener.routes import Peer
from collector.listener.turns import BODYLESS, CLOSE, OLD

TCP = Peer("tcp")
PLAIN = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nplain"


def whole(data: bytes) -> list[bytes]:
    return [data[start : start + RECEIVE_BYTES] for start in range(0, len(data), RECEIVE_BYTES)]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def read(*pieces: bytes, site=None, peer=TCP):
    reader = Reader(site or make_site(), peer)
    for piece in pieces:
        if reader.finished:
            break
        reader.feed(piece)
    return reader


def statuses(reader):
    return [turn.outcome.status for turn in reader.turns]


WAYS = pytest.mark.parametrize("way", [whole, byte_by_byte])

GOOD = {
    "content-length": (PLAIN, b"plain", 0),
    "no body": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", b"", 0),
    "get": (b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n", b"", 0),
    "head": (b"HEAD /echo HTTP/1.1\r\n" + HOST + b"\r\n", b"", BODYLESS),
    "chunked": (
        b"POST /echo HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        b"abcde",
        0,
    ),
    "trailers": (
        b"POST /echo HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: evil.example\r\n\r\n",
        b"abc",
        0,
    ),
    "names in any case": (
        b"POST /echo HTTP/1.1\r\nhOST: localhost\r\ncONTENT-lENGTH: 2\r\n\r\nok",
        b"ok",
        0,
    ),
    "empty lines before it": (b"\r\n\r\n" + PLAIN, b"plain", 0),
    "1.0 without Host": (b"POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nold", b"old", CLOSE),
    "1.0 kept alive": (
        b"POST /echo HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nold",
        b"old",
        OLD,
    ),
    "asks to close": (
        b"POST /echo HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Content-Length: 3\r\n\r\nbye",
        b"bye",
        CLOSE,
    ),
    "h2c upgrade with a body": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nContent-Length: 4\r\n\r\njava",
        b"java",
        0,
    ),
    "h2c upgrade, chunked": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\njava\r\n0\r\nX-T: 1\r\n\r\n",
        b"java",
        0,
    ),
    "upgrade without a body": (
        b"GET /echo HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"",
        0,
    ),
    "upgrade, then close": (
        b"POST /echo HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\njava",
        b"java",
        CLOSE,
    ),
}


@WAYS
@pytest.mark.parametrize("name", GOOD)
def test_a_request_is_read(name, way):
    data, body, flags = GOOD[name]
    reader = read(*way(data))
    ((outcome, found, _extra),) = reader.turns
    assert (outcome.status, outcome.body, found) == (200, body, flags)
    assert not reader.open
    assert reader.finished == bool(flags & CLOSE)
    assert not reader.cut_short


@WAYS
@pytest.mark.parametrize("name", [name for name in GOOD if not GOOD[name][2] & CLOSE])
def test_requests_behind_it_are_read_too(name, way):
    data, body, _ = GOOD[name]
    reader = read(*way(PLAIN + data + data + PLAIN))
    assert [turn.outcome.body for turn in reader.turns] == [b"plain", body, body, b"plain"]


@WAYS
@pytest.mark.parametrize("name", [name for name in GOOD if GOOD[name][2] & CLOSE])
def test_nothing_is_read_behind_a_request_that_asks_to_close(name, way):
    data, body, _ = GOOD[name]
    echo = Echo()
    reader = read(*way(data + PLAIN), site=make_site(echo=echo))
    assert [turn.outcome.body for turn in reader.turns] == [body]
    assert len(echo.requests) == 1
    assert reader.finished
    assert not reader.cut_short


MANY = b"".join(b"X-%d: 1\r\n" % index for index in range(100))
LONG = b"x" * 33_000

BAD = {
    "no Host": (b"GET /echo HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /echo HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /echo\r\n\r\n", 505),
    "HTTP/2.0": (b"GET /echo HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.2": (b"GET /echo HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "bare line feeds": (b"GET /echo HTTP/1.1\nHost: localhost\n\n", 400),
    "folded header": (b"GET /echo HTTP/1.1\r\nX: a\r\n b\r\n" + HOST + b"\r\n", 400),
    "space before colon": (b"GET /echo HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    "NUL in a header": (b"GET /echo HTTP/1.1\r\nX: \0\r\n" + HOST + b"\r\n", 400),
    "two lengths": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
    ),
    "length and chunks": (
        b"POST /echo HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "negative length": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "empty length": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400),
    "length of many digits": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
        400,
    ),
    "unknown coding": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "chunks in HTTP/1.0": (b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "broken chunk": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "target of a proxy": (b"GET echo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "https target": (b"GET https://localhost/echo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "unknown expectation": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n1",
        417,
    ),
    "too many headers": (b"GET /echo HTTP/1.1\r\n" + HOST + MANY + b"\r\n", 431),
    "too long a header": (b"GET /echo HTTP/1.1\r\n" + HOST + b"X: " + LONG + b"\r\n\r\n", 431),
    "too long a target": (b"GET /" + LONG + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "headers too long together": (
        b"GET /echo HTTP/1.1\r\n"
        + HOST
        + b"".join(b"X-%d: %b\r\n" % (n, b"x" * 700) for n in range(50))
        + b"\r\n",
        431,
    ),
    "too long a body": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n", 413),
    "too long a chunked body": (
        b"POST /echo HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"ffff\r\n" + b"x" * 65535 + b"\r\n") * 3,
        413,
    ),
}

SMALL = ConnectionLimits(body_bytes=150_000)


@pytest.mark.parametrize("name", BAD)
def test_a_request_that_cannot_be_read_on_is_refused_and_the_connection_ends(name):
    data, status = BAD[name]
    echo = Echo()
    reader = read(*whole(data), site=make_site(limits=SMALL, echo=echo))
    assert statuses(reader) == [status]
    assert reader.turns[-1].flags & CLOSE
    assert reader.finished
    assert reader.cut_short
    assert not reader.open
    assert not echo.requests


@pytest.mark.parametrize("name", [name for name in BAD if len(BAD[name][0]) < 10_000])
def test_it_is_refused_byte_by_byte_too(name):
    data, status = BAD[name]
    reader = read(*byte_by_byte(data), site=make_site(limits=SMALL))
    assert statuses(reader) == [status]
    assert reader.cut_short


@pytest.mark.parametrize("name", BAD)
def test_the_requests_before_it_are_still_begun(name):
    data, status = BAD[name]
    reader = read(*whole(PLAIN + PLAIN + data), site=make_site(limits=SMALL))
    assert statuses(reader) == [200, 200, status]


@pytest.mark.parametrize("name", BAD)
def test_what_else_is_being_handled_does_not_change_the_refusal(name):
    data, status = BAD[name]
    try:
        int("none")
    except ValueError:
        reader = read(*whole(data), site=make_site(limits=SMALL))
    assert statuses(reader) == [status]


def test_a_head_that_cannot_be_read_is_not_answered_as_the_request_before_it():
    before = b"HEAD /echo HTTP/1.1\r\nOrigin: http://page\r\n" + HOST + b"\r\n"
    first, second = read(before + b"nonsense\r\n").turns
    assert (first.flags, first.extra) == (BODYLESS, "Access-Control-Allow-Origin: http://page\r\n")
    assert (second.flags, second.extra) == (CLOSE, "")


@pytest.mark.parametrize(
    "unfinished",
    [
        pytest.param(b"GET /echo HTTP/1.1\r\nX: " + b"x" * 200_000, id="a header"),
        pytest.param(b"GET /" + b"x" * 200_000, id="a target"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: "
            + b"x" * 200_000,
            id="a trailer",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
            + b"X: 1\r\n" * 200,
            id="trailers",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000,
            id="a chunk extension",
        ),
    ],
)
def test_what_never_ends_is_cut_off_within_a_few_reads(unfinished):
    reader = read(*whole(unfinished))
    assert statuses(reader) == [431]
    assert reader.cut_short


def test_a_head_is_not_held_to_account_for_the_requests_before_it():
    head = b"POST /echo HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 30_000 + b"\r\nContent-Length: 2\r\n\r\n"
    pipelined = PLAIN * 400 + head
    reader = read(*whole(pipelined), b"o", b"k")
    assert statuses(reader) == [200] * 401


def test_an_unknown_path_is_404_before_anything_else_is_looked_at():
    gate = OpenGate()
    reader = read(
        b"POST /nothing HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\nno",
        site=make_site(gate=gate),
    )
    assert reader.turns[0].outcome == Answer(404, b'{"status":"ERROR","message":"Not found"}')
    assert gate.asked == []


def test_an_unknown_method_is_405_and_says_which_there_are():
    reader = read(b"DELETE /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    answer = reader.turns[0].outcome
    assert answer.status == 405
    assert answer.headers == (("Allow", "POST, GET, HEAD, OPTIONS"),)
    assert not reader.finished


def test_options_is_the_gates_to_answer():
    reader = read(b"OPTIONS /echo HTTP/1.1\r\n" + HOST + b"\r\n")
    assert reader.turns[0].outcome == Answer(204, headers=(("Allow", "POST, GET, HEAD, OPTIONS"),))


def test_a_foreign_host_is_refused_before_the_endpoint_and_the_size():
    echo = Echo(refuse=error_answer(415, "no"))
    data = b"POST /echo HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 999999999\r\n\r\n"
    assert statuses(read(data, site=make_site(echo=echo))) == [403]


def test_an_endpoints_refusal_comes_before_the_size():
    echo = Echo(refuse=error_answer(415, "no"))
    data = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 999999999\r\n\r\n"
    assert statuses(read(data, site=make_site(echo=echo))) == [415]


def test_the_answer_to_an_allowed_origin_says_so_even_when_it_refuses():
    reader = read(b"POST /nothing HTTP/1.1\r\nOrigin: http://page\r\n" + HOST + b"\r\n")
    assert reader.turns[0].extra == "Access-Control-Allow-Origin: http://page\r\n"


@WAYS
def test_a_small_body_of_a_refused_request_is_passed_over_and_the_connection_kept(way):
    refused = b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n12345"
    chunked = b"POST /nothing HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n0\r\n\r\n"
    reader = read(*way(refused + chunked + PLAIN))
    assert statuses(reader) == [404, 404, 200]
    assert not reader.finished


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"Content-Length: 70000\r\n\r\n", id="by its length"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n11170\r\n" + b"x" * 70_000, id="as it grows"),
    ],
)
def test_a_large_body_of_a_refused_request_is_not_waited_for(framing):
    reader = read(*whole(b"POST /nothing HTTP/1.1\r\n" + HOST + framing))
    assert statuses(reader) == [404]
    assert reader.cut_short


def test_100_continue_is_due_only_when_the_head_is_admitted():
    admitted = read(b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
    assert admitted.expects_continue
    assert admitted.turns == []
    refused = read(
        b"POST /nothing HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert not refused.expects_continue
    assert statuses(refused) == [404]
    assert refused.cut_short  # whether the body follows is the client's choice


def test_100_continue_is_not_due_when_the_body_came_along_or_the_client_is_old():
    head = b"POST /echo HTTP/%b\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    assert not read(head % b"1.1" + b"o").expects_continue
    assert not read(head % b"1.1" + b"ok").expects_continue
    assert not read(head % b"1.0").expects_continue


@pytest.mark.parametrize(("target", "status"), [("localhost:80", 400), ("/echo", 405), ("/nothing", 404)])
def test_connect_is_refused_and_what_follows_is_not_read(target, status):
    reader = read(b"CONNECT %b HTTP/1.1\r\n" % target.encode() + HOST + b"\r\n" + PLAIN)
    assert statuses(reader) == [status]
    assert reader.cut_short


def test_an_answer_that_closes_ends_the_reading():
    class Closing(Echo):
        def begin(self, request):
            super().begin(request)
            return Answer(200, close=True)

    closing = Closing()
    reader = read(PLAIN + PLAIN, site=make_site(echo=closing))
    assert len(closing.requests) == 1
    assert statuses(reader) == [200]
    assert reader.cut_short


@pytest.mark.parametrize("where", ["admit", "begin"])
def test_a_bug_in_an_endpoint_costs_one_request(where):
    reports = []
    reader = read(
        b"POST /broken HTTP/1.1\r\n" + HOST + b"\r\n" + PLAIN,
        site=make_site(broken=Broken(where), reports=reports),
    )
    assert statuses(reader) == [500, 200]
    assert reports == [("an endpoint failed", f"RuntimeError('a bug in {where}')")]


def test_a_request_carries_what_was_sent():
    echo = Echo()
    peer = Peer("unix", uid=1000)
    read(
        b"GET /echo?a=%41&b=? HTTP/1.1\r\nX-Two: 1\r\nx-two:  2 \r\nX-Name: caf\xc3\xa9\r\n\r\n",
        site=make_site(echo=echo),
        peer=peer,
    )
    (request,) = echo.requests
    assert (request.method, request.path, request.query) == ("GET", "/echo", "a=%41&b=?")
    assert request.headers == {"x-two": "1, 2", "x-name": "caf\u00c3\u00a9"}
    assert request.version == "1.1"
    assert request.peer is peer


def test_only_large_bodies_claim_room():
    head = b"POST /echo HTTP/1.1\r\n" + HOST
    assert read(head + b"Content-Length: 65536\r\n\r\n").claim() == 0
    assert read(head + b"Content-Length: 65537\r\n\r\n").claim() == 65_537
    assert read(head).claim() == 0
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    assert read(chunked).claim() == 0
    grown = b"%x\r\n" % SMALL_BODY_BYTES + b"x" * SMALL_BODY_BYTES + b"\r\n1\r\nx"
    assert read(*whole(chunked + grown), site=make_site(limits=SMALL)).claim() == 150_000


def test_pending_answers_keep_their_place():
    waiting = Waiting()
    reader = read(
        PLAIN + b"POST /waiting HTTP/1.1\r\n" + HOST + b"\r\n" + PLAIN, site=make_site(waiting=waiting)
    )
    assert [turn.outcome is waiting for turn in reader.turns] == [False, True, False]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"Duplicate Content-Length",
        ),
        (b"POST /echo HTTP/1.1\nHost: localhost\r\n\r\n", b"Expected CRLF after version"),
        (b"GET /echo FTP/1.1\r\n\r\n", b"Expected HTTP/."),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"use a url that begins with http://"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"set the client to HTTP/1.1"),
    ],
)
def test_what_cannot_be_read_is_answered_with_the_reason(data, reason):
    reader = Reader(make_site(), Peer("tcp"))
    reader.feed(data)
    (turn,) = reader.turns
    assert turn.outcome.status == 400
    assert reason in turn.outcome.body
    assert reader.finished


def test_options_of_the_server_as_a_whole():
    reader = Reader(make_site(), Peer("tcp"))
    reader.feed(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\nGET * HTTP/1.1\r\n" + HOST + b"\r\n")
    every, none = (turn.outcome for turn in reader.turns)
    assert (every.status, every.headers) == (204, (("Allow", "POST, GET, HEAD, OPTIONS"),))
    assert none.status == 404


def test_only_blanks_and_tabs_are_left_off_a_value():
    reader = read(
        b"GET /echo HTTP/1.1\r\n" + HOST + b"X-A: b \t\r\nX-B: c\xa0\r\nX-C: d\x85\r\n\r\n",
        site=(site := make_site()),
    )
    (request,) = site.routes["/echo"]["GET"].requests
    assert statuses(reader) == [200]
    assert [request.headers[name] for name in ("x-a", "x-b", "x-c")] == ["b", "c\xa0", "d\x85"]
