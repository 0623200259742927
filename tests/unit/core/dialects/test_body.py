from __future__ import annotations

import json

import msgspec
import pytest

from collector.core.dialects import Refused, body, samsara, traintracks
from collector.core.limits import MAX_NESTING, ContentLimits

EVENT = b'{"timestamp":1,"sourceId":"s","eventName":"e"}'


def read_by_both(text, content_type="application/json", limits=body.DEFAULT_LIMITS):
    return [
        samsara.read(text, content_type=content_type, published_timestamp="1", limits=limits),
        traintracks.read(text, content_type=content_type, strict=False, limits=limits),
    ]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "Application/JSON",
        "application/json ; a=b; c=d",
        " application/json\t",
        "application/vnd.samsara.v1+json",
        "application/x.y-z+JSON; charset=utf-8",
    ],
)
def test_json_content_types_are_taken(content_type):
    assert body.type_fault(content_type) is None


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/plain; application/json",
        "text/plain;a=application/json",
        "text/json",
        "application/jsonx",
        "application/json, text/plain",
        "text/plain, application/json",
        "application/+json",
        "application/x+jsonp",
        "application/ld json+json",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ],
)
def test_any_other_content_type_is_refused_by_both_dialects(content_type):
    for read in read_by_both(b"[]", content_type):
        assert isinstance(read, Refused)
        assert read.answer.status == 400
        assert (
            read.answer.body
            == b'{"status":"ERROR","message":"Invalid format, content-type must be application/json"}'
        )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"  ",
        b"{}",
        b'"events"',
        b"5",
        b"true",
        b"[",
        b"[]]",
        b"[1,]",
        b"[nul]",
        b"\xef\xbb\xbf[]",
        b"\xff",
        b"[" + EVENT + b',{"x":"\xff"}]',
        b'[{"x":"\xed\xa0\x80"}]',
        b'[%b,{"x":NaN}]' % EVENT,
        b'[%b,{"x":Infinity}]' % EVENT,
        rb'[{"x":"\ud800"}]',
        rb'[{"\udc00":1}]',
        b"[" * 100_000,
        b'[{"timestamp":1,"sourceId":"s","eventName":"e","x":' + b"[" * 100_000,
        b"\x00",
        "[]".encode("utf-16"),
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_not_an_array_of_json_gets_a_status_and_a_message(text):
    for read in read_by_both(text):
        assert isinstance(read, Refused)
        assert read.answer.status == 400
        told = msgspec.json.decode(read.answer.body)
        assert told["status"] == "ERROR"
        assert told["message"][0].isupper()


def test_a_message_says_where_the_text_goes_wrong():
    [samsara_read, _] = read_by_both(b'[{"x":"\xff"}]')

    assert samsara_read.answer.body == b'{"status":"ERROR","message":"Invalid JSON: not UTF-8 (byte 7)"}'


@pytest.mark.parametrize("character", ["é", "€", "🚀"])
@pytest.mark.parametrize("before", range(5))
def test_text_is_looked_at_piece_by_piece_wherever_a_piece_ends(monkeypatch, character, before):
    monkeypatch.setattr(body, "PIECE_BYTES", 8)
    text = b"[" + b" " * before + character.encode() * 20 + b"]"
    assert body.utf8_fault(text) is None
    for place, byte in enumerate(text):
        broken = text[:place] + b"\xff" + text[place + 1 :]
        try:
            broken.decode()
        except UnicodeDecodeError as error:
            told = b"not UTF-8 (byte %d)" % error.start
        assert told in body.utf8_fault(broken).answer.body, (place, byte)


def test_bytes_that_only_go_on_are_no_text_wherever_a_piece_ends(monkeypatch):
    monkeypatch.setattr(body, "PIECE_BYTES", 8)
    assert body.utf8_fault(b"[" + b"\x80" * 20 + b"]") is not None


def test_an_event_as_deep_as_allowed_is_taken_and_one_level_more_is_refused():
    levels = MAX_NESTING - 1

    def with_depth(depth):
        return EVENT[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"

    good = samsara.read(
        b"[%b]" % with_depth(levels), content_type="application/json", published_timestamp=None
    )
    bad = samsara.read(
        b"[%b,%b]" % (EVENT, with_depth(levels + 1)),
        content_type="application/json",
        published_timestamp=None,
    )

    assert good.events == 1
    assert bad.answer.body == b'["OK","nested deeper than 512 levels"]'


def test_many_shallow_events_are_not_deep():
    text = b"[" + b",".join([EVENT[:-1] + b',"x":[{},{},{},{}]}'] * 1000) + b"]"

    [read, _] = read_by_both(text)

    assert read.events == 1000


TEN = ContentLimits(events=10)


@pytest.mark.parametrize("element", [EVENT, b"1", b"{}", b"[1,[2,3]]", b'"a,b"'])
def test_more_events_than_a_request_may_hold_get_413(element):
    text = b"[" + b",".join([element] * 11) + b"]"

    for read in read_by_both(text, limits=TEN):
        assert read.answer.status == 413


def test_as_many_events_as_a_request_may_hold_are_taken():
    [read, _] = read_by_both(b"[" + b",".join([EVENT] * 10) + b"]", limits=TEN)

    assert read.events == 10


def test_depth_is_bounded_as_configured():
    event = EVENT[:-1] + b',"x":[[1]]}'
    for depth, taken in ((2, False), (3, True)):
        [read, _] = read_by_both(b"[%b]" % event, limits=ContentLimits(depth=depth))
        assert isinstance(read, Refused) is not taken


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", '"UTF-16"', "utf-8;charset=latin1"])
def test_another_charset_is_refused_by_name(charset):
    for read in read_by_both(b"[]", f"application/json; charset={charset}"):
        assert read.answer.status == 400
        assert b"charset of the content-type must be utf-8" in read.answer.body


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "the body is empty"),
        (b" \n ", "the body is empty"),
        (b"\xef\xbb\xbf[]", "byte order mark"),
        ("[]".encode("utf-16"), "byte order mark"),
        ("[]".encode("utf-16-le"), "UTF-16"),
        ("[]".encode("utf-32-be"), "UTF-16"),
    ],
)
def test_what_is_not_plain_utf8_is_told_what_it_is(text, told):
    for read in read_by_both(text):
        assert read.answer.status == 400
        assert told in json.loads(read.answer.body)["message"]


@pytest.mark.parametrize("before", [0, 1, 499, 500, 501, 1000])
def test_a_number_of_more_than_a_thousand_digits_is_refused_wherever_it_stands(before):
    pad = b" " * before
    for digits, taken in ((1000, True), (1001, False)):
        number = b'[%b%b,"x":%b}]' % (pad, EVENT[:-1], b"9" * digits)
        [read, _] = read_by_both(number)
        assert isinstance(read, Refused) is not taken
        if not taken:
            assert read.answer.body == b'["a number of more than 1000 digits"]'


def test_a_text_of_digits_may_be_long():
    [read, _] = read_by_both(b'[%b,"x":"%b"}]' % (EVENT[:-1], b"9" * 5000))
    assert read.events == 1
