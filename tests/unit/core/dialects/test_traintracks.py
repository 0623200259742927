from __future__ import annotations

import json

import pytest
from fakes.documents import TRAINTRACKS_BATCH

from collector.core import jsontext
from collector.core.dialects import Accepted, Refused, traintracks, traintracks_event
from collector.core.http import Answer

EVENT = {
    "build": "1.1.1",
    "clientTimestamp": "2012-03-14T02:33:42.416587-07:00",
    "data": {"battleTime": 52030},
    "device": "iPhone 5S",
    "eventType": "sword_battle",
    "userId": "3dc6b97d-7388-11e4-bfb3-b8e8563b3f9a",
    "userName": "JaneDoe",
    "sessionId": "fff324c6-30a2-11e3-ad80-485d60066bda",
}
GOOD = json.dumps(EVENT).encode()
OK = Answer(200, b'{"status":"OK"}')


def event(*without, **changed):
    return json.dumps({key: value for key, value in (EVENT | changed).items() if key not in without}).encode()


def read(*events, strict=False):
    return traintracks.read(
        b"[" + b",".join(events) + b"]", content_type="application/json;charset=utf-8", strict=strict
    )


def verdicts(result):
    assert isinstance(result, Refused)
    assert result.answer.status == 400
    return json.loads(result.answer.body)


def warnings(result):
    assert isinstance(result, Accepted)
    assert result.answer.status == 200
    told = json.loads(result.answer.body)
    assert told["status"] == "OK"
    return [named["warning"] for named in told["warnings"]["named"]]


# Answers.


@pytest.mark.parametrize("strict", [False, True])
def test_events_as_the_document_wants_them_get_a_plain_200(strict):
    assert read(GOOD, GOOD, strict=strict) == Accepted(2, None, OK)


@pytest.mark.parametrize("body", [b"[]", b"null", b" [ ] "])
def test_no_events_get_200_too(body):
    assert traintracks.read(body, content_type="application/json", strict=True) == Accepted(0, None, OK)


def test_the_content_type_is_looked_at_first():
    result = traintracks.read(b"junk", content_type=None, strict=False)

    assert b"content-type must be application/json" in result.answer.body


@pytest.mark.parametrize(
    "optional",
    [
        {"serverTimestamp": "2012-03-14T02:33:42.416587+00:00"},
        {"serverTimestamp": None},
        {"serverTimestamp": False},
        {"location": {"lat": 37.871984, "lon": -122}},
        {"location": None},
        {"data": [{"a": 1}, {"b": 2}]},
        {"data": []},
        {"data": {}},
        {"clientTimestamp": "2012-02-29T23:59:60.000000+05:30"},
        {"data": {"eventType": 5, "data": [1, {"clientTimestamp": None}]}},
        {"eventType": "data"},
        {"userName": "名前😀"},
    ],
    ids=str,
)
def test_what_the_document_allows_gives_no_warning(optional):
    assert read(event(**optional), GOOD, strict=True) == Accepted(2, None, OK)


# Errors.


@pytest.mark.parametrize(
    ("bad", "verdict"),
    [
        (b"5", "not an object"),
        (b"null", "not an object"),
        (b'["eventType"]', "not an object"),
        (event("eventType"), "eventType is missing"),
        (event("clientTimestamp"), "clientTimestamp is missing"),
        (event("data"), "data is missing"),
        (event(eventType=5), "eventType is not a string"),
        (event(eventType=None), "eventType is not a string"),
        (event(clientTimestamp=1331717622), "clientTimestamp is not a string"),
        (event(data="x"), "data is not an object or an array of objects"),
        (event(data=None), "data is not an object or an array of objects"),
        (event(data=[{}, 1]), "data is not an object or an array of objects"),
        (event(data=[[{}]]), "data is not an object or an array of objects"),
        (b"{}", "eventType is missing; clientTimestamp is missing; data is missing"),
        (GOOD[:-1] + b',"eventType":"b"}', "eventType appears twice"),
        (
            GOOD[:-1] + b',"data":{},"clientTimestamp":"x"}',
            "clientTimestamp appears twice; data appears twice",
        ),
        (GOOD[:-1] + rb',"\u0064ata":{}}', "data appears twice"),
        (GOOD[:-1] + b',"x":' + b"[" * 512 + b"]" * 512 + b"}", "nested deeper than 512 levels"),
        (event("eventType", userId="test", extra=1), "eventType is missing"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_an_event_of_no_use_is_an_error_and_nothing_is_taken(bad, verdict):
    assert verdicts(read(GOOD, bad, event(userId="test"))) == ["OK", verdict, "OK"]


# Warnings.

SDK_HABITS = [
    (event(userId="test"), ["userId is not a UUID"]),
    (event(sessionId=123456), ["sessionId is not a string"]),
    (event("userId", "userName"), ["userId is missing", "userName is missing"]),
    (event(eventId=17), ["eventId is not a field of this format"]),
    (
        event(clientTimestamp="2012-03-14T02:33:42.416587-0700"),
        ["clientTimestamp is not of the form YYYY-MM-DDTHH:mm:ss.SSSSSS+00:00"],
    ),
    (event(eventType="$identify"), ["eventType is not a name without periods and a leading $"]),
    (event(eventType="battle.won"), ["eventType is not a name without periods and a leading $"]),
    (
        event("userId", "userName", playerId="p", playerName="n"),
        [
            "userId is missing",
            "userName is missing",
            "playerId is not a field of this format",
            "playerName is not a field of this format",
        ],
    ),
]


@pytest.mark.parametrize(("habit", "said"), SDK_HABITS, ids=lambda value: str(value)[:60])
def test_what_public_sdks_get_wrong_is_taken_with_a_warning(habit, said):
    result = read(habit)

    assert result.events == 1
    assert result.warnings == len(said)
    assert warnings(result) == said


@pytest.mark.parametrize(("habit", "said"), SDK_HABITS, ids=lambda value: str(value)[:60])
def test_strict_makes_an_error_of_each_warning(habit, said):
    assert verdicts(read(GOOD, habit, strict=True)) == ["OK", "; ".join(said)]


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (event("build"), "build is missing"),
        (event("device"), "device is missing"),
        (event("sessionId"), "sessionId is missing"),
        (event(build=1), "build is not a string"),
        (event(device=None), "device is not a string"),
        (event(userName={}), "userName is not a string"),
        (event(sessionId="abc"), "sessionId is not a UUID"),
        (event(userId="3dc6b97d738811e4bfb3b8e8563b3f9a"), "userId is not a UUID"),
        (event(userId=EVENT["userId"] + "\n"), "userId is not a UUID"),
        (event(eventType=""), "eventType is not a name without periods and a leading $"),
        (event(serverTimestamp=5), "serverTimestamp is not a string"),
        (event(serverTimestamp="now"), "serverTimestamp is not of the form YYYY-MM-DDTHH:mm:ss.SSSSSS+00:00"),
        (event(location="home"), "location is not an object with the numbers lat and lon"),
        (event(location={"lat": "1", "lon": 2}), "location is not an object with the numbers lat and lon"),
        (event(location={"lat": 1}), "location is not an object with the numbers lat and lon"),
        (event(**{"x" * 60: 1}), "x" * 40 + "… is not a field of this format"),
        (event(**{"ключ😀": 1}), "ключ😀 is not a field of this format"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_all_else_that_is_amiss_is_a_warning(odd, said):
    assert warnings(read(odd)) == [said]


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "2012-03-14",
        "2012-03-14T02:33:42+00:00",
        "2012-03-14T02:33:42.416+00:00",
        "2012-03-14T02:33:42.416587Z",
        "2012-03-14 02:33:42.416587+00:00",
        "2012-13-14T02:33:42.416587+00:00",
        "2012-03-14T24:33:42.416587+00:00",
        "2012-03-14T02:33:42.416587+00:00 ",
        "2012-03-14T02:33:42.416587+00:00\n",
    ],
)
def test_a_timestamp_of_another_form_is_a_warning(moment):
    assert warnings(read(event(clientTimestamp=moment))) == [
        "clientTimestamp is not of the form YYYY-MM-DDTHH:mm:ss.SSSSSS+00:00"
    ]


def test_a_warning_says_how_many_events_it_concerns_and_the_first():
    result = read(GOOD, event(userId="test"), event(userId="test", eventId=1))

    assert result == Accepted(
        3,
        None,
        Answer(
            200,
            b'{"status":"OK","warnings":{"count":3,"named":['
            b'{"warning":"userId is not a UUID","events":2,"first":1},'
            b'{"warning":"eventId is not a field of this format","events":1,"first":2}]}}',
        ),
        warnings=3,
    )


def test_the_answer_names_a_bounded_number_of_warnings():
    result = read(*(event(**{f"extra{n}": n}) for n in range(1000)))

    assert result.warnings == 1000
    assert len(warnings(result)) == traintracks.MAX_NAMED


@pytest.mark.parametrize("size", [10, 100_000])
def test_one_event_names_a_bounded_number_of_unknown_fields(size):
    result = read(event(blob="x" * size, **{f"extra{n}": n for n in range(1000)}))

    assert result.warnings == traintracks_event.MAX_UNKNOWN


@pytest.mark.parametrize(
    "bad", [event(userId="test"), event("data", eventId=1), event(eventType=5, device=None)]
)
def test_a_large_event_is_judged_like_a_small_one(bad):
    large = bad[:-1] + b',"eventId":"' + b"x" * 100_000 + b'","eventId":2}'
    small = bad[:-1] + b',"eventId":"x","eventId":2}'

    assert traintracks_event.findings(large) == traintracks_event.findings(small)


def test_the_documents_example_is_clean():
    body = TRAINTRACKS_BATCH.encode()
    assert traintracks.read(body, content_type="application/json", strict=True) == Accepted(2, None, OK)
    for raw in jsontext.split_array(body):
        assert traintracks.render_event(raw, server_timestamp=None) == raw


# Rendering. Upstreams have been sent these bytes: a sealed batch must render to the same by every
# later release.

STAMP = "2026-03-14T02:33:42.416000+00:00"


@pytest.mark.parametrize(
    ("raw", "rendered"),
    [
        (b'{"a":1}', b'{"a":1,"serverTimestamp":"2026-03-14T02:33:42.416000+00:00"}'),
        (b'{"a":1\n}', b'{"a":1\n,"serverTimestamp":"2026-03-14T02:33:42.416000+00:00"}'),
        (b'{"serverTimestamp":null}', b'{"serverTimestamp":"2026-03-14T02:33:42.416000+00:00"}'),
        (b'{"serverTimestamp": false }', b'{"serverTimestamp": "2026-03-14T02:33:42.416000+00:00" }'),
        (rb'{"\u0073erverTimestamp":"x"}', rb'{"\u0073erverTimestamp":"x"}'),
        (b'{"serverTimestamp":"x"}', b'{"serverTimestamp":"x"}'),
        (b'{"serverTimestamp":5}', b'{"serverTimestamp":5}'),
        (
            b'{"data":{"serverTimestamp":"x"}}',
            b'{"data":{"serverTimestamp":"x"},"serverTimestamp":"2026-03-14T02:33:42.416000+00:00"}',
        ),
    ],
)
def test_a_late_event_gains_the_time_it_was_accepted_unless_it_has_one(raw, rendered):
    assert traintracks.render_event(raw, server_timestamp=STAMP) == rendered
    assert traintracks.render_all([raw, b'{"b":2}'], server_timestamp=STAMP) == [
        rendered,
        b'{"b":2,"serverTimestamp":"2026-03-14T02:33:42.416000+00:00"}',
    ]


def test_an_event_in_time_is_sent_as_it_came():
    raws = [b'{"serverTimestamp":null}', b'{"a" : 1.0 }']

    assert traintracks.render_all(raws, server_timestamp=None) == raws


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+00:00"),
        (1331717622416, "2012-03-14T09:33:42.416000+00:00"),
        (-1, "1969-12-31T23:59:59.999000+00:00"),
        (253402300799999, "9999-12-31T23:59:59.999000+00:00"),
        (2**63 - 1, "9999-12-31T23:59:59.999000+00:00"),
        (-(2**63), "0001-01-01T00:00:00.000000+00:00"),
    ],
)
def test_a_timestamp_is_written_as_the_document_wants_it(ms, text):
    assert traintracks.format_timestamp(ms) == text
    assert warnings_of_moment(text) == []


def warnings_of_moment(text):
    return [] if read(event(serverTimestamp=text), strict=True).answer == OK else [text]


@pytest.mark.parametrize(
    "literal", ["127.0.0.1", "203.0.113.9", "::1", "2001:DB8::1", "::ffff:192.0.2.1", " 192.0.2.1\t"]
)
def test_an_address_goes_upstream_as_the_app_sent_it(literal):
    assert traintracks.remote_address(literal) == literal.strip()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "localhost",
        "192.0.2.1:80",
        "[::1]",
        "192.0.2.1, 192.0.2.2",
        "192.0.2.256",
        "5",
        "fe80::1%eth0",
        "\u0661.1.1.1",
    ],
)
def test_what_is_no_address_goes_upstream_as_unknown(header):
    assert traintracks.remote_address(header) == "1.2.3.4"


@pytest.mark.parametrize("key", ["a32e6578-17b7-11e4-930a-bc764e1c05e4", "x", "My.App_1", "a" * 64])
def test_a_product_key_is_short_and_plain(key):
    assert traintracks.PRODUCT_KEY.fullmatch(key)


@pytest.mark.parametrize("key", ["", "a" * 65, "a b", "a/b", "é", "a\n", '"a"'])
def test_any_other_product_key_is_none(key):
    assert not traintracks.PRODUCT_KEY.fullmatch(key)
