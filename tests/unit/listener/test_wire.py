"""Answers as bytes."""

from __future__ import annotations

import pytest

from collector.core.http import Answer, error_answer
from collector.listener import wire
from collector.listener.wire import render, render_special


def test_an_answer_without_a_body_says_so():
    assert render(Answer(202)) == b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def test_an_answer_with_a_body():
    assert render(Answer(200, b"{}", headers=(("X-A", "1"), ("X-A", "2")))) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: 1\r\nX-A: 2\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )


def test_204_has_no_length():
    assert render(Answer(204)) == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_status_without_a_name():
    assert render(Answer(299)).startswith(b"HTTP/1.1 299 \r\n")


def test_what_is_special_about_it():
    answer = Answer(200, b"body", content_type="text/plain")
    wire_bytes = render_special(answer, extra="Vary: Origin\r\n", connection="close", head_only=True)
    assert wire_bytes == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nVary: Origin\r\n"
        b"Content-Length: 4\r\nConnection: close\r\n\r\n"
    )


def test_the_same_answer_is_rendered_once():
    assert render(Answer(202, b"same")) is render(Answer(202, b"same"))


def test_the_stock_is_bounded():
    for number in range(1000):
        render(Answer(400, b"%d" % number))
        render(Answer(400, b"%d" % number * 1000))
    assert len(wire._stock) <= 256
    assert all(len(answer.body) <= 1024 for answer in wire._stock)


@pytest.mark.parametrize("header", [("X", "a\r\nSet-Cookie: b"), ("X\n", "a"), ("X", "\0")])
def test_a_header_cannot_break_out_of_its_line(header):
    with pytest.raises(ValueError, match="not fit for a header"):
        render(Answer(200, headers=(header,)))


def test_an_error_is_worded_as_the_dialects_do():
    answer = error_answer(404, 'say "what"', headers=(("Allow", "GET"),), close=True)
    assert answer == Answer(
        404, b'{"status":"ERROR","message":"say \\"what\\""}', headers=(("Allow", "GET"),), close=True
    )
