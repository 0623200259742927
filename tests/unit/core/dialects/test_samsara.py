from __future__ import annotations

import json

import pytest

from collector.core import jsontext
from collector.core.dialects import Accepted, Refused, samsara
from collector.core.http import Answer

GOOD = b'{"timestamp":1433004485870,"sourceId":"3aw4sedrtcyvgbuhjkn","eventName":"session.started"}'
WARNING = (
    b'{"status":"OK","warning":"For completeness, please provide the '
    b"'X-Samsara-publishedTimestamp' header.\"}"
)


def read(body, published="1433004485999"):
    return samsara.read(body, content_type="application/json", published_timestamp=published)


def verdicts(body):
    result = read(body)
    assert isinstance(result, Refused)
    assert result.answer.status == 400
    return json.loads(result.answer.body)


# Answers.


def test_events_with_a_published_timestamp_get_202_without_a_body():
    assert read(b"[%b,%b]" % (GOOD, GOOD)) == Accepted(2, 1433004485999, Answer(202))


def test_events_without_a_published_timestamp_get_202_with_a_warning():
    assert read(b"[%b]" % GOOD, published=None) == Accepted(1, None, Answer(202, WARNING))


@pytest.mark.parametrize("body", [b"[]", b" [ \n] ", b"null", b" null "])
def test_no_events_get_202(body):
    assert read(body) == Accepted(0, 1433004485999, Answer(202))


@pytest.mark.parametrize(
    ("header", "ms"),
    [
        ("0", 0),
        ("-5", -5),
        ("+5", 5),
        (" 1433004485870\t", 1433004485870),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_any_integer_is_a_published_timestamp(header, ms):
    assert read(b"[%b]" % GOOD, published=header).published_at == ms


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "x",
        "5.0",
        "1e3",
        "0x10",
        "1_000",
        "1 000",
        "1,2",
        "null",
        "\u0663",
        "9223372036854775808",
        "9" * 5000,
    ],
)
def test_a_published_timestamp_that_is_no_integer_gets_400(header):
    assert read(b"[%b]" % GOOD, published=header) == Refused(
        Answer(400, b'{"status":"ERROR","message":"X-Samsara-publishedTimestamp must be a valid timestamp."}')
    )


def test_the_content_type_is_looked_at_before_all_else():
    result = samsara.read(b"junk", content_type="text/plain", published_timestamp="junk")

    assert b"content-type must be application/json" in result.answer.body


# Events.


@pytest.mark.parametrize(
    ("event", "verdict"),
    [
        (b'{"timestamp":1,"sourceId":"s"}', "{:eventName missing-required-key}"),
        (b'{"timestamp":"5","sourceId":"s","eventName":"e"}', '{:timestamp (not (integer? "5"))}'),
        (b'{"timestamp":5.0,"sourceId":"s","eventName":"e"}', "{:timestamp (not (integer? 5.0))}"),
        (b'{"timestamp":1e3,"sourceId":"s","eventName":"e"}', "{:timestamp (not (integer? 1e3))}"),
        (b'{"timestamp":true,"sourceId":"s","eventName":"e"}', "{:timestamp (not (integer? true))}"),
        (b'{"timestamp":null,"sourceId":"s","eventName":"e"}', "{:timestamp (not (integer? nil))}"),
        (b'{"timestamp":1,"sourceId":5,"eventName":"e"}', "{:sourceId (not (string? 5))}"),
        (b'{"timestamp":1,"sourceId":"s","eventName":["e"]}', '{:eventName (not (string? ["e"]))}'),
        (
            b'{"timestamp":"x","eventName":null}',
            (
                '{:timestamp (not (integer? "x")), :sourceId missing-required-key, '
                ":eventName (not (string? nil))}"
            ),
        ),
        (
            b"{}",
            (
                "{:timestamp missing-required-key, :sourceId missing-required-key, "
                ":eventName missing-required-key}"
            ),
        ),
        (b"5", "(not (map? 5))"),
        (b"null", "(not (map? nil))"),
        (b'["timestamp"]', '(not (map? ["timestamp"]))'),
        (
            b'{"timestamp":1,"sourceId":"s","eventName":%b}' % (b"[" + b"1," * 100 + b"1]"),
            "{:eventName (not (string? [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1…))}",
        ),
        (b'{"timestamp":1,"timestamp":2,"sourceId":"s","eventName":"e"}', "{:timestamp duplicate-key}"),
        (b'{"timestamp":"x","timestamp":2,"sourceId":"s","eventName":"e"}', "{:timestamp duplicate-key}"),
        (
            b'{"timestamp":2,"timestamp":"x","sourceId":"s","eventName":"e"}',
            '{:timestamp (not (integer? "x"))}',
        ),
        (rb'{"timestamp":1,"tim\u0065stamp":2,"sourceId":"s","eventName":"e"}', "{:timestamp duplicate-key}"),
        (
            b'{"timestamp":1,"sourceId":"s","sourceId":"s","eventName":"e","eventName":"e"}',
            "{:sourceId duplicate-key, :eventName duplicate-key}",
        ),
        (
            b'{"x":{"timestamp":1,"sourceId":"s"},"sourceId":"s","eventName":"e"}',
            "{:timestamp missing-required-key}",
        ),
    ],
    ids=lambda value: str(value[:50]),
)
def test_each_event_gets_a_verdict_that_names_the_field(event, verdict):
    assert verdicts(b"[%b,%b,%b]" % (GOOD, event, GOOD)) == ["OK", verdict, "OK"]


def test_a_verdict_quotes_text_beyond_ascii_as_it_is():
    assert verdicts('[{"timestamp":"é😀","sourceId":"s","eventName":"e"}]'.encode()) == [
        '{:timestamp (not (integer? "é😀"))}'
    ]


@pytest.mark.parametrize(
    "event",
    [
        GOOD,
        b'{"timestamp":-1,"sourceId":"","eventName":""}',
        b'{"timestamp":123456789012345678901234567890,"sourceId":"s","eventName":"e"}',
        b' { "eventName" : "e" ,\n"sourceId" : "s" , "timestamp" : 0 } ',
        rb'{"timestamp":1,"sourceId":"\/\u003c\ud83d\ude00","eventName":"\"\\\n"}',
        '{"timestamp":1,"sourceId":"😀","eventName":"é","ключ":"值"}'.encode(),
        rb'{"tim\u0065stamp":1,"sourceId":"s","\u0065ventName":"e"}',
        b'{"timestamp":1,"sourceId":"s","eventName":"e","big":12345678901234567890123,"huge":1e999,"x":-0.0}',
        b'{"timestamp":1,"sourceId":"s","eventName":"e","long":%b}' % (b"9" * 1000),
        b'{"timestamp":1,"sourceId":"s","eventName":"e","a":{"timestamp":"x","sourceId":5,"eventName":[]}}',
        b'{"timestamp":1,"sourceId":"timestamp","eventName":"sourceId"}',
        b'{"timestamp":1,"sourceId":"\\"timestamp\\"","eventName":"e"}',
        b'{"timestamp":1,"sourceId":"s","eventName":"e","x":1,"x":2}',
        b'{"timestamp":1,"sourceId":"s","eventName":"e","receivedAt":"any","publishedAt":{}}',
        b'{"timestamp":1,"sourceId":"s","eventName":"e","":"","\x7f":null}',
    ],
    ids=lambda value: str(value[:70]),
)
def test_whatever_else_an_event_holds_it_is_taken(event):
    assert read(b"[%b,%b]" % (event, GOOD)).events == 2
    assert read(b"[%b]" % event).events == 1


def test_a_batch_of_ten_thousand_events_is_taken():
    assert read(b"[" + b",".join([GOOD] * 10_000) + b"]").events == 10_000


def test_a_timestamp_too_long_for_any_reader_is_named():
    [verdict] = verdicts(b'[{"timestamp":%b,"sourceId":"s","eventName":"e"}]' % (b"1" * 5000))

    assert verdict == "a number of more than 1000 digits"


# Rendering. The first two tables are also what upstreams have been sent: a sealed batch must render
# to the same bytes by every later release.


@pytest.mark.parametrize(
    ("raw", "rendered"),
    [
        (b'{"timestamp":1}', b'{"timestamp":1,"receivedAt":7,"publishedAt":8}'),
        (b'{"timestamp":1 }', b'{"timestamp":1 ,"receivedAt":7,"publishedAt":8}'),
        (b'{"receivedAt":null,"a":1}', b'{"receivedAt":7,"a":1,"publishedAt":8}'),
        (b'{"publishedAt" : false,"a":1}', b'{"publishedAt" : 8,"a":1,"receivedAt":7}'),
        (b'{"receivedAt":5,"publishedAt":6}', b'{"receivedAt":5,"publishedAt":6}'),
        (b'{"receivedAt":0,"publishedAt":""}', b'{"receivedAt":0,"publishedAt":""}'),
        (rb'{"received\u0041t":null}', rb'{"received\u0041t":7,"publishedAt":8}'),
        (rb'{"received\u0041t":5}', rb'{"received\u0041t":5,"publishedAt":8}'),
        (b'{"a":{"receivedAt":null}}', b'{"a":{"receivedAt":null},"receivedAt":7,"publishedAt":8}'),
        (b'{"createdAt":null,"n":1.10}', b'{"createdAt":null,"n":1.10,"receivedAt":7,"publishedAt":8}'),
        (b'{"a":"\\"receivedAt\\":null"}', b'{"a":"\\"receivedAt\\":null","receivedAt":7,"publishedAt":8}'),
        (b'{"receivedAt":null,"receivedAt":5}', b'{"receivedAt":7,"receivedAt":5,"publishedAt":8}'),
        (b'{"id":null}', b'{"id":null,"receivedAt":7,"publishedAt":8}'),
    ],
)
def test_an_event_gains_its_stamps_and_nothing_else(raw, rendered):
    assert samsara.render_event(raw, received_at=7, published_at=8, stamp=None) == rendered
    assert samsara.render_all([raw, raw], received_at=7, published_at=8) == [rendered, rendered]


@pytest.mark.parametrize(
    ("raw", "rendered"),
    [
        (b'{"a":1}', b'{"a":1,"receivedAt":7,"id":"n\\"1"}'),
        (b'{"id":"own"}', b'{"id":"own","receivedAt":7}'),
        (b'{"id":0}', b'{"id":0,"receivedAt":7}'),
        (b'{"id":null}', b'{"id":"n\\"1","receivedAt":7}'),
        (b'{"id":false,"a":1}', b'{"id":"n\\"1","a":1,"receivedAt":7}'),
        (rb'{"\u0069d":"own"}', rb'{"\u0069d":"own","receivedAt":7}'),
        (b'{"a":{"id":1}}', b'{"a":{"id":1},"receivedAt":7,"id":"n\\"1"}'),
        (b'{"receivedAt":null}', b'{"receivedAt":7,"id":"n\\"1"}'),
    ],
)
def test_an_event_without_an_id_gains_its_own_where_that_is_asked_for(raw, rendered):
    assert samsara.render_event(raw, received_at=7, published_at=None, stamp='n"1') == rendered
    assert samsara.render_all([raw], received_at=7, published_at=None, stamps=['n"1']) == [rendered]


def test_a_publication_time_that_is_not_known_is_not_made_up():
    raw = b'{"timestamp":1,"publishedAt":null}'

    rendered = samsara.render_event(raw, received_at=7, published_at=None, stamp=None)

    assert rendered == b'{"timestamp":1,"publishedAt":null,"receivedAt":7}'


def test_each_event_of_a_chunk_gets_the_stamp_that_is_its_own():
    raws = [b'{"a":1}', b'{"id":5}', b'{"a":2}']

    assert samsara.render_all(raws, received_at=7, published_at=None, stamps=["x", "y", "z"]) == [
        b'{"a":1,"receivedAt":7,"id":"x"}',
        b'{"id":5,"receivedAt":7}',
        b'{"a":2,"receivedAt":7,"id":"z"}',
    ]


def test_a_chunk_of_nothing_renders_to_nothing():
    assert samsara.render_all([], received_at=7, published_at=8) == []


def test_the_document_s_example_goes_all_the_way():
    body = b"""[
      {
        "timestamp": 1479988864057,
        "sourceId": "3aw4sedrtcyvgbuhjkn",
        "eventName": "user.item.added",
        "page": "orders",
        "item": "sku-1234"
      }, {
        "timestamp": 1479988864057,
        "sourceId": "3aw4sedrtcyvgbuhjkn",
        "eventName": "user.item.removed",
        "page": "orders",
        "item": "sku-5433",
        "action": "remove"
      }
    ]"""

    assert read(body).events == 2
    rendered = samsara.render_all(jsontext.split_array(body), received_at=7, published_at=8)
    assert [json.loads(event) for event in rendered] == [
        event | {"receivedAt": 7, "publishedAt": 8} for event in json.loads(body)
    ]
