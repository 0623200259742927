from __future__ import annotations

import io
import json

import pytest

from collector.cli.event_input import MAX_BODY_BYTES, MAX_EVENTS, posts
from collector.errors import UsageError


def read(text: bytes):
    return list(posts(io.BytesIO(text)))


def test_one_object_is_one_request():
    (post,) = read(b' {"a": 1.10}\n')
    assert (post.body, post.lines, post.events) == (b'[{"a": 1.10}]', (1,), 1)


def test_an_object_over_several_lines_is_one_event():
    text = b'\n{\n  "a": 1e400,\n  "b": [\n]}\n\n'
    (post,) = read(text)
    assert (post.body, post.events) == (b"[" + text.strip() + b"]", 1)


def test_an_array_is_passed_on_as_it_is():
    text = b'[ {"a": 12345678901234567890123},\n {"b": "\\u003c"} , 7]'
    (post,) = read(b"\xef\xbb\xbf  " + text + b"\n")
    assert (post.body, post.lines, post.events) == (text, (), 3)


def test_lines_keep_their_bytes_and_their_numbers():
    (post,) = read(b'{"a": 1.0}\r\n\r\n  {"b":"\xc3\xb6\xe2\x80\xa8"}\n{"c":' + b"9" * 5000 + b"}")
    assert post.body == b'[{"a": 1.0},{"b":"\xc3\xb6\xe2\x80\xa8"},{"c":' + b"9" * 5000 + b"}]"
    assert post.lines == (1, 3, 4)


def test_many_lines_go_by_the_thousand():
    text = b"".join(b'{"n":%d}\n' % number for number in range(2 * MAX_EVENTS + 1))
    found = read(text)
    assert [post.events for post in found] == [MAX_EVENTS, MAX_EVENTS, 1]
    assert [event["n"] for post in found for event in json.loads(post.body)] == list(
        range(2 * MAX_EVENTS + 1)
    )


def test_large_lines_go_by_their_size():
    line = b'{"x":"' + b"x" * (MAX_BODY_BYTES // 2) + b'"}\n'
    assert [post.events for post in read(line * 3)] == [1, 1, 1]
    assert (
        max(len(post.body) for post in read(b'{"x":"' + b"x" * 1000 + b'"}\n' + line)) <= MAX_BODY_BYTES + 2
    )


def test_requests_are_made_before_the_input_ends():
    class Endless(io.RawIOBase):
        def __iter__(self):
            return self

        def __next__(self):
            return b"{}\n"

    assert next(posts(Endless())).events == MAX_EVENTS


@pytest.mark.parametrize("text", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_nothing_comes_of_nothing(text):
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"hello", "line 1, column 1: not JSON: expecting value"),
        (b'{"a":1}\n{"a":}\n', "line 2, column 6: not JSON"),
        (b'{\n"a": 1\n"b"}\n', "line 3, column 1: not JSON"),
        (b'{"a":1}\n[1]\n', "line 2: expected a JSON object"),
        (b"5", "line 1: expected a JSON object, an array of them, or one on each line"),
        (b'"x"', "line 1: expected a JSON object"),
        (b"\n\n[1,\n2", "line 4, column"),
        (b'{"a":NaN}', "line 1: not JSON: NaN is not a number in JSON"),
        (b'{"a":1}\n{"a":-Infinity}', "line 2: not JSON: -Infinity"),
        (b'{"a":1}\n\n{"a":"\xff"}', "line 3: not UTF-8"),
        (b'[\n"\xff"]', "line 2: not UTF-8"),
        (b"[" * 100_000, "line 1: nested too deeply"),
        (b'{"a":1}{"b":2}', "line 1, column 8: not JSON: extra data"),
    ],
)
def test_what_is_not_events_is_refused_with_its_line(text, said):
    with pytest.raises(UsageError) as caught:
        read(text)
    assert str(caught.value).startswith(said)
