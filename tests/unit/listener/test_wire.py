"""Answers as bytes."""

from __future__ import annotations

import pytest

from collector.core.http import Answer, error_answer
from collector.core.timekeeping import EARLIEST_GOOD_MS
from collector.listener.wire import Wording


@pytest.fixture
def wording():
    return Wording()


def test_an_answer_without_a_body_says_so(wording):
    assert wording.usual(Answer(202)) == b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def test_an_answer_with_a_body(wording):
    assert wording.usual(Answer(200, b"{}", headers=(("X-A", "1"), ("X-A", "2")))) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nX-A: 2\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


def test_204_has_no_length(wording):
    assert wording.usual(Answer(204)) == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_status_without_a_name(wording):
    assert wording.usual(Answer(299)).startswith(b"HTTP/1.1 299 \r\n")


def test_what_is_special_about_it(wording):
    answer = Answer(200, b"body", content_type="text/plain")
    wire_bytes = wording.special(answer, extra="Vary: Origin\r\n", connection="close", head_only=True)
    assert wire_bytes == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nVary: Origin\r\n"
        b"Content-Length: 4\r\nConnection: close\r\n\r\n"
    )


def test_the_same_answer_is_rendered_once(wording):
    assert wording.usual(Answer(202, b"same")) is wording.usual(Answer(202, b"same"))


def test_the_stock_is_bounded(wording):
    for number in range(1000):
        wording.usual(Answer(400, b"%d" % number))
        wording.usual(Answer(400, b"%d" % number * 1000))
    assert len(wording._stock) <= 256
    assert all(len(answer.body) <= 1024 for answer in wording._stock)


def test_answers_carry_the_second_that_was_told_last(wording):
    wording.tell_time(EARLIEST_GOOD_MS + 1_999)
    dated = b"HTTP/1.1 202 Accepted\r\nDate: Thu, 01 Jan 2026 00:00:01 GMT\r\nContent-Length: 0\r\n\r\n"
    assert wording.usual(Answer(202)) == dated
    wording.tell_time(EARLIEST_GOOD_MS + 1_000)
    assert wording.usual(Answer(202)) is wording.usual(Answer(202))
    wording.tell_time(EARLIEST_GOOD_MS + 2_000)
    assert b"Date: Thu, 01 Jan 2026 00:00:02 GMT\r\n" in wording.usual(Answer(202))
    assert b"Date: Thu, 01 Jan 2026 00:00:02 GMT\r\n" in wording.special(Answer(404), connection="close")


def test_a_clock_that_has_lost_its_time_gives_no_date(wording):
    wording.tell_time(EARLIEST_GOOD_MS)
    wording.tell_time(EARLIEST_GOOD_MS - 1)
    assert b"Date" not in wording.usual(Answer(202))


@pytest.mark.parametrize("header", [("X", "a\r\nSet-Cookie: b"), ("X\n", "a"), ("X", "\0")])
def test_a_header_cannot_break_out_of_its_line(header, wording):
    with pytest.raises(ValueError, match="not fit for a header"):
        wording.usual(Answer(200, headers=(header,)))


def test_an_error_is_worded_as_the_dialects_do():
    answer = error_answer(404, 'say "what"', headers=(("Allow", "GET"),), close=True)
    assert answer == Answer(
        404, b'{"status":"ERROR","message":"say \\"what\\""}', headers=(("Allow", "GET"),), close=True
    )
