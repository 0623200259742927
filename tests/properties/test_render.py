"""Events as text: whatever an app may write, what is sent on differs by the stamps alone.

The strategies write JSON as text, token by token, so the tests know where each thing stands
without asking the code under test. What a reader makes of the result is asked of the standard
library's parser, with numbers kept as text and members as pairs.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from collector.core import jsontext
from collector.core.dialects import Accepted, Refused, samsara, traintracks, traintracks_event

KEYS = (
    "receivedAt", "publishedAt", "id", "serverTimestamp", "createdAt",
    "timestamp", "sourceId", "eventName", "eventType", "clientTimestamp", "data", "userId",
)  # fmt: skip
SHORT_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "/": "\\/"}

gaps = st.text(" \n\r\t", max_size=3)
characters = st.characters(codec="utf-8")


def escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


@st.composite
def strings(draw, texts):
    """A string's text: each character as it is, or by a short escape, or by its number."""
    text = draw(texts)
    choices = draw(st.lists(st.sampled_from("pppen"), min_size=len(text), max_size=len(text)))
    written = []
    for char, choice in zip(text, choices, strict=True):
        if choice == "n":
            written.append(escaped(char))
        elif char in '"\\':
            written.append("\\" + char)
        elif char in SHORT_ESCAPES and (choice == "e" or char < " "):
            written.append(SHORT_ESCAPES[char])
        else:
            written.append(escaped(char) if char < " " else char)
    return '"' + "".join(written) + '"'


keys = strings(st.sampled_from(KEYS) | st.text(characters, max_size=4))
numbers = st.one_of(
    st.integers().map(str),
    st.sampled_from(["-0", "0.10", "1e999", "-1.5E+10", "9007199254740993", "1" * 400]),
)
scalars = st.one_of(
    st.sampled_from(["null", "false", "true"]),
    numbers,
    strings(st.text(characters, max_size=6) | st.sampled_from(['"receivedAt":null', "}],{["])),
)


class Item(NamedTuple):
    """One member as written: gap, key, gap, colon, gap, value, gap."""

    before: str
    key: str
    middle: str
    value: str
    after: str

    @property
    def name(self) -> str:
        return json.loads(self.key)

    def write(self, value: str | None = None) -> str:
        return f"{self.before}{self.key}{self.middle}{self.value if value is None else value}{self.after}"


def containers(values):
    middle = st.tuples(gaps, gaps).map(":".join)
    items = st.builds(Item, gaps, keys, middle, values, gaps)
    return st.one_of(
        st.lists(items, max_size=3).map(lambda many: "{" + ",".join(item.write() for item in many) + "}"),
        st.lists(st.tuples(gaps, values, gaps).map("".join), max_size=3).map(
            lambda many: "[" + ",".join(many) + "]"
        ),
    )


values = st.recursive(scalars, containers, max_leaves=8)
items = st.lists(
    st.builds(Item, gaps, keys, st.tuples(gaps, gaps).map(":".join), values, gaps), min_size=1, max_size=6
)


def write(many: list[Item]) -> bytes:
    return ("{" + ",".join(item.write() for item in many) + "}").encode()


def parse(text: bytes) -> object:
    """What a reader sees: objects as lists of pairs, numbers as their own text."""
    return json.loads(
        text, object_pairs_hook=lambda pairs: ["object", *pairs], parse_int=str, parse_float=str
    )


def expect(many: list[Item], stamps: dict[str, str]) -> bytes:
    """The event with its stamps, put together from the tokens."""
    written = [
        item.write(stamps.get(item.name) if item.value in {"null", "false"} else None) for item in many
    ]
    names = {item.name for item in many}
    written += [f'"{key}":{value}' for key, value in stamps.items() if key not in names]
    return ("{" + ",".join(written) + "}").encode()


def assert_only_stamped(many: list[Item], rendered: bytes, stamps: dict[str, str]) -> None:
    assert rendered == expect(many, stamps)
    msgspec.json.decode(rendered, type=msgspec.Raw)
    before, after = parse(write(many)), parse(rendered)
    assert [key for key, _ in after[1 : len(before)]] == [key for key, _ in before[1:]]
    for (key, old), (_, new) in zip(before[1:], after[1:], strict=False):
        replaced = key in stamps and (old is None or old is False)
        assert new == (parse(stamps[key].encode()) if replaced else old)
    for key in stamps:
        occurrences = [found for found, _ in after[1:]].count(key)
        assert occurrences == max(1, [found for found, _ in before[1:]].count(key))


@given(
    many=items,
    received_at=st.integers(-(2**63), 2**63 - 1),
    published_at=st.none() | st.integers(-(2**63), 2**63 - 1),
    stamp=st.none() | st.text(characters, max_size=8),
)
def test_a_samsara_event_differs_by_its_stamps_alone(many, received_at, published_at, stamp):
    raw = write(many)
    stamps = {"receivedAt": str(received_at)}
    if published_at is not None:
        stamps["publishedAt"] = str(published_at)
    if stamp is not None:
        stamps["id"] = msgspec.json.encode(stamp).decode()

    rendered = samsara.render_event(raw, received_at=received_at, published_at=published_at, stamp=stamp)

    assert_only_stamped(many, rendered, stamps)


@given(many=items)
def test_a_traintracks_event_differs_by_its_stamp_alone(many):
    moment = "2026-03-14T02:33:42.416000+00:00"

    rendered = traintracks.render_event(write(many), server_timestamp=moment)

    assert_only_stamped(many, rendered, {"serverTimestamp": f'"{moment}"'})


@given(
    events=st.lists(items.map(write), max_size=4),
    published_at=st.none() | st.integers(0, 2**53),
    ids=st.booleans(),
)
def test_a_chunk_renders_as_its_events_do(events, published_at, ids):
    stamps = [f"id-{index}" for index in range(len(events))] if ids else None

    assert samsara.render_all(events, received_at=5, published_at=published_at, stamps=stamps) == [
        samsara.render_event(
            raw, received_at=5, published_at=published_at, stamp=None if stamps is None else stamps[index]
        )
        for index, raw in enumerate(events)
    ]
    assert traintracks.render_all(events, server_timestamp="x") == [
        traintracks.render_event(raw, server_timestamp="x") for raw in events
    ]


@given(events=st.lists(st.tuples(gaps, values, gaps), max_size=5), limit=st.integers(0, 6))
def test_an_array_is_cut_into_its_elements_as_written(events, limit):
    body = ("[" + ",".join("".join(parts) for parts in events) + "]").encode()

    assert jsontext.split_array(body) == [value.encode() for _, value, _ in events]
    assert jsontext.longer_than(body, limit) is (len(events) > limit)


@given(many=items)
def test_members_stand_where_they_were_written(many):
    raw = write(many)

    found = [(key, raw[start:end]) for key, start, end in jsontext.members(raw)]

    assert found == [(item.name, item.value.encode()) for item in many]


def plain_samsara_verdict(raw: bytes) -> bool:
    """Whether an event is good, by the rules in their plainest form."""
    event = parse(raw)
    if not isinstance(event, list) or event[:1] != ["object"]:
        return False
    names = [key for key, _ in event[1:]]
    wanted = {"timestamp": int, "sourceId": str, "eventName": str}
    typed = json.loads(raw)
    return all(names.count(key) == 1 and type(typed[key]) is kind for key, kind in wanted.items())


required = st.fixed_dictionaries(
    {
        "timestamp": st.integers().map(str) | scalars,
        "sourceId": strings(st.text(characters, max_size=4)) | scalars,
        "eventName": strings(st.text(characters, max_size=4)) | scalars,
    }
).map(lambda fields: [Item("", f'"{key}"', ":", value, "") for key, value in fields.items()])
likely_events = st.tuples(required, items | st.just([])).map(lambda parts: write(parts[0] + parts[1]))


@given(events=st.lists(likely_events | values.map(str.encode), max_size=4))
def test_samsara_takes_a_body_when_each_event_is_good_by_the_plain_rules(events):
    body = b"[" + b",".join(events) + b"]"

    read = samsara.read(body, content_type="application/json", published_timestamp="1")

    good = [plain_samsara_verdict(raw) for raw in events]
    if all(good):
        assert isinstance(read, Accepted)
        assert read.events == len(events)
    else:
        assert isinstance(read, Refused)
        assert [verdict == "OK" for verdict in json.loads(read.answer.body)] == good


clean = {
    "eventType": '"a"',
    "clientTimestamp": '"2012-03-14T02:33:42.416587-07:00"',
    "data": "{}",
    "build": '"1"',
    "device": '"d"',
    "userId": '"3dc6b97d-7388-11e4-bfb3-b8e8563b3f9a"',
    "userName": '"u"',
    "sessionId": '"fff324c6-30a2-11e3-ad80-485d60066bda"',
}
nearly_clean = st.fixed_dictionaries({key: st.just(value) | scalars for key, value in clean.items()})
nearly_clean |= st.just(clean)


@given(
    events=st.lists(
        st.tuples(nearly_clean, items | st.just([])).map(
            lambda parts: write(
                [Item("", f'"{key}"', ":", text, "") for key, text in parts[0].items()] + parts[1]
            )
        )
        | values.map(str.encode),
        max_size=3,
    ),
    strict=st.booleans(),
)
def test_traintracks_takes_a_body_when_no_event_has_an_error(events, strict):
    body = b"[" + b",".join(events) + b"]"

    read = traintracks.read(body, content_type="application/json", strict=strict)

    found = [traintracks_event.findings(raw) for raw in events]
    good = [not (each if strict else any(each.values())) for each in found]
    if all(good):
        assert isinstance(read, Accepted)
        assert (read.events, read.warnings) == (len(events), sum(map(len, found)))
    else:
        assert isinstance(read, Refused)
        assert [verdict == "OK" for verdict in json.loads(read.answer.body)] == good


soup = st.lists(
    st.sampled_from(
        [
            *'[]{},:"\\ ',
            "[{",
            "}]",
            '"timestamp":1',
            '"sourceId":"s"',
            '"eventName":"e"',
            "null",
            "NaN",
            "\\u00",
            "é",
        ]
    ),
    max_size=30,
).map(lambda tokens: "".join(tokens).encode())
good_bytes = (
    b'[{"timestamp":1,"sourceId":"s","eventName":"e","x":{"timestamp":[1,{"a":"\\u0041"}]}} ,'
    b' {"timestamp":2,"sourceId":"","eventName":""}]'
)
cut = st.tuples(st.integers(0, len(good_bytes)), st.integers(0, len(good_bytes)), st.binary(max_size=3)).map(
    lambda change: good_bytes[: change[0]] + change[2] + good_bytes[max(change[:2]) :]
)


@given(body=soup | cut | st.binary(max_size=40))
def test_what_is_accepted_can_always_be_cut_apart_and_rendered(body):
    for read in (
        samsara.read(body, content_type="application/json", published_timestamp=None),
        traintracks.read(body, content_type="application/json", strict=False),
    ):
        if isinstance(read, Refused):
            assert read.answer.status == 400
            json.loads(read.answer.body)
            continue
        raws = jsontext.split_array(body)
        assert len(raws) == read.events
        for raw in raws:
            assert len(parse(samsara.render_event(raw, received_at=1, published_at=2, stamp="3"))) > 3
            parse(traintracks.render_event(raw, server_timestamp="x"))
