"""What is wrong with a text that is not JSON is said in words that its writer can act on, and where."""

from __future__ import annotations

import pytest

from collector.core import jsontext
from collector.core.jsontext import JsonError, split_array

PAIR = rb"\ud83d\ude00"


def reason(text):
    with pytest.raises(JsonError) as caught:
        split_array(text)
    return str(caught.value).removeprefix("invalid JSON: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rb'["\ud800"]', r"half of a surrogate pair, \ud800 (byte 2)"),
        (rb'["\uD800"]', r"half of a surrogate pair, \uD800 (byte 2)"),
        (rb'["\ud800abcdef"]', r"half of a surrogate pair, \ud800 (byte 2)"),
        (rb'["\ud800\n"]', r"half of a surrogate pair, \ud800 (byte 2)"),
        (rb'["\udc00"]', r"half of a surrogate pair, \udc00 (byte 2)"),
        (rb'["\ud800\ud800"]', r"half of a surrogate pair, \ud800 (byte 2)"),
        (rb'[{"\ud800":1}]', r"half of a surrogate pair, \ud800 (byte 3)"),
        (b'["' + PAIR + rb'\ud800"]', r"half of a surrogate pair, \ud800 (byte 14)"),
        (rb'["\\ud800", "\ud800"]', r"half of a surrogate pair, \ud800 (byte 13)"),
        (rb'["\ud83d', "the text ends before the array does (byte 8)"),
        (rb'["\ud83d\u', "the text ends before the array does (byte 10)"),
        (rb'["\ud83d\ude0', "the text ends before the array does (byte 13)"),
        (b'["' + PAIR, "the text ends before the array does (byte 14)"),
        (b"[1,", "the text ends before the array does (byte 3)"),
        (b"[NaN]", "NaN is not a number in JSON (byte 1)"),
        (b"[1,-Infinity]", "-Infinity is not a number in JSON (byte 3)"),
        (b"[Infinity]", "Infinity is not a number in JSON (byte 1)"),
        (b'["a\nb"]', "the control character 0x0a must be written as an escape (byte 3)"),
        (b"[1,]", "trailing comma in array (byte 3)"),
        (rb'["\x"]', "invalid escaped character (byte 3)"),
        (rb'["\u12g4"]', "invalid character in unicode escape (byte 7)"),
        (b"[01]", "invalid number (byte 2)"),
        (b"[1][", "trailing characters (byte 4)"),
        (b"hello", "invalid character (byte 0)"),
        (b"{}", "expected an array of events"),
    ],
)
def test_the_reason_and_the_place_are_named(text, said):
    assert reason(text) == said


def test_a_whole_pair_and_an_escaped_backslash_before_a_u_are_no_faults():
    assert len(split_array(b'["' + PAIR + rb'","\\ud800"]')) == 2


def test_a_large_text_is_not_searched():
    text = b'["' + rb"\n" * jsontext.EXPLAINED_BYTES + rb'\ud800"]'
    assert reason(text) == "half of a surrogate pair, or the text ends before the array does"
