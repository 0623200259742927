"""Heads that are remembered: what they mean, and what is never remembered."""

from __future__ import annotations

import pytest
from fakes.site import HOST, Echo, make_site

from collector.core.http import Answer, error_answer
from collector.core.limits import ConnectionLimits
from collector.listener.heads import MAX_HEADS
from collector.listener.reader import Reader
from collector.listener.routes import Peer

TCP = Peer("tcp")


def request(*, body=b"[]", line=b"POST /echo HTTP/1.1", headers=b"", length=None) -> bytes:
    size = str(len(body)).encode() if length is None else length
    return line + b"\r\n" + HOST + headers + b"Content-Length: " + size + b"\r\n\r\n" + body


class Counting(Reader):
    """Counts what goes the long way."""

    parsed = 0

    def on_message_begin(self) -> None:
        self.parsed += 1
        super().on_message_begin()


def read(reader: Counting, data: bytes):
    reader.feed(data)
    turns = list(reader.turns)
    reader.turns.clear()
    return [outcome for outcome, _, _ in turns]


def test_a_head_that_came_before_is_not_parsed_again():
    echo = Echo()
    reader = Counting(make_site(echo=echo), TCP)
    for number in range(5):
        stamp = b"X-Samsara-publishedTimestamp: %d\r\nX-Other: same\r\n" % (1_790_000_000_000 + number)
        body = b"[%s]" % (b"1" * number)
        (answer,) = read(reader, request(body=body, headers=stamp))
        assert answer.body == body
    assert reader.parsed == 1
    stamps = [seen.headers["x-samsara-publishedtimestamp"] for seen in echo.requests]
    assert stamps == [str(1_790_000_000_000 + number) for number in range(5)]
    assert [seen.headers["content-length"] for seen in echo.requests] == ["2", "3", "4", "5", "6"]
    assert {seen.headers["x-other"] for seen in echo.requests} == {"same"}
    assert len({id(seen.headers) for seen in echo.requests}) == 5


def test_a_remembered_head_is_known_to_all_connections_of_the_listener():
    site = make_site()
    first, second = Counting(site, TCP), Counting(site, TCP)
    read(first, request())
    assert read(second, request(body=b"[1]"))[0].body == b"[1]"
    assert second.parsed == 0


def test_gate_and_endpoint_are_asked_for_each_request_all_the_same():
    echo = Echo()
    site = make_site(echo=echo)
    reader = Counting(site, TCP)
    read(reader, request())
    read(reader, request())
    assert site.gate.asked == ["/echo", "/echo"]
    echo.refuse = error_answer(403, "no longer")
    assert read(reader, request()) == [echo.refuse]
    assert site.gate.asked == ["/echo"] * 3
    assert reader.parsed == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(headers=b"Connection: keep-alive\r\n"), id="connection"),
        pytest.param(request(headers=b"Proxy-Connection: keep-alive\r\n"), id="proxy-connection"),
        pytest.param(request(headers=b"Origin: http://localhost:3000\r\n"), id="origin"),
        pytest.param(request(headers=b"Expect: 100-continue\r\n"), id="expect"),
        pytest.param(request(line=b"POST /nowhere HTTP/1.1"), id="a refused path"),
        pytest.param(request(length=b"02"), id="a length that is written in another way"),
        pytest.param(
            request(headers=b"X-Product-Auth: 12\r\nX-PRODUCT-AUTH: 13\r\n"), id="a name in two spellings"
        ),
        pytest.param(request(headers=b"X-Product-Auth: 12\r\n" * 2), id="a name twice"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
            id="chunked",
        ),
        pytest.param(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n", id="no body"),
        pytest.param(request() + request(), id="two at once"),
    ],
)
def test_what_is_special_is_parsed_each_time(data):
    site = make_site()
    first, second = Counting(site, TCP), Counting(site, TCP)
    assert read(first, data) == read(second, data)
    assert first.parsed == second.parsed > 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(body=b"[]", length=b"3"), id="a body to come"),
        pytest.param(request(body=b"[]", length=b"1"), id="another request behind"),
        pytest.param(request(length=b"2a"), id="no number"),
        pytest.param(request(length=b"9999999999"), id="a large number"),
        pytest.param(request()[:30], id="half a head"),
        pytest.param(b"\r\n" + request(), id="an empty line before"),
    ],
)
def test_a_remembered_head_changes_nothing_of_how_the_rest_is_read(data):
    naive, knowing = Counting(make_site(), TCP), Counting(make_site(), TCP)
    read(knowing, request())
    assert read(knowing, data) == read(naive, data)
    assert (knowing.open, knowing.finished) == (naive.open, naive.finished)


def test_a_remembered_head_behind_half_a_request_is_the_rest_of_that():
    reader = Counting(make_site(), TCP)
    read(reader, request())
    whole = request()
    tail = request(body=whole)
    read(reader, tail[: -len(whole)])
    assert read(reader, whole) == [Answer(200, whole, content_type="text/plain")]


def test_a_body_beyond_the_bound_is_refused_with_a_remembered_head_too():
    site = make_site()
    reader = Counting(site, TCP)
    read(reader, request())
    object.__setattr__(site.limits, "body_bytes", 2)
    (answer,) = read(reader, request(body=b"[1]"))
    assert answer.status == 413


def test_a_head_beyond_the_bound_is_refused_with_a_remembered_head_too():
    stamp = b"X-Product-Auth: %b\r\n"
    limits = ConnectionLimits(head_bytes=len(request(headers=stamp % b"1", body=b"")))
    reader = Counting(make_site(limits=limits), TCP)
    assert [answer.status for answer in read(reader, request(headers=stamp % b"1"))] == [200]
    assert [answer.status for answer in read(reader, request(headers=stamp % b"1"))] == [200]
    assert reader.parsed == 1
    assert [answer.status for answer in read(reader, request(headers=stamp % (b"1" * 32)))] == [431]


def test_what_was_remembered_under_other_limits_is_read_anew():
    site = make_site()
    reader = Counting(site, TCP)
    data = request(headers=b"X-Twice: a\r\n" * 2)
    assert [answer.status for answer in read(reader, data)] == [200]
    assert [answer.status for answer in read(reader, data)] == [200]
    assert reader.parsed == 1
    site.limits = ConnectionLimits(headers=3)
    assert [answer.status for answer in read(reader, data)] == [431]


def test_a_head_without_host_that_came_over_a_socket_file_is_refused_over_tcp():
    site = make_site()
    data = b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]"
    local, remote = Counting(site, Peer("unix")), Counting(site, TCP)
    assert [answer.status for answer in read(local, data)] == [200]
    assert [answer.status for answer in read(local, data)] == [200]
    assert local.parsed == 1
    assert [answer.status for answer in read(remote, data)] == [400]


def test_so_many_heads_are_remembered_and_no_more():
    site = make_site()
    reader = Counting(site, TCP)
    for number in range(2 * MAX_HEADS):
        read(reader, request(headers=b"X-Number: n%d\r\n" % number))
    assert len(site.heads._heads) <= MAX_HEADS
