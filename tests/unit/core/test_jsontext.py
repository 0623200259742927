from __future__ import annotations

import json

import pytest

from collector.core import jsontext
from collector.core.limits import MAX_DIGITS, MAX_NESTING


@pytest.mark.parametrize(
    ("body", "elements"),
    [
        (b"[]", []),
        (b" [ ] ", []),
        (b"null", []),
        (b" null\n", []),
        (b'[{"a":1 }  ,\n 2 , "x" , { "b" : [ 1 ] } ]  ', [b'{"a":1 }', b"2", b'"x"', b'{ "b" : [ 1 ] }']),
        (b"[1e999,10000000000000000000000]", [b"1e999", b"10000000000000000000000"]),
    ],
)
def test_split_array_gives_each_elements_own_bytes(body, elements):
    assert jsontext.split_array(body) == elements


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "invalid JSON"),
        (b"{}", "expected an array of events"),
        (b'"x"', "expected an array of events"),
        (b"[1,]", "invalid JSON"),
        (b"[1] 2", "invalid JSON"),
        (b"[NaN]", "invalid JSON"),
        (b"[-Infinity]", "invalid JSON"),
        (b"\xef\xbb\xbf[]", "invalid JSON"),
        (rb'["\ud83d"]', "invalid JSON"),
        (rb'["\udc00"]', "invalid JSON"),
        (rb'[{"\ud83d":1}]', "invalid JSON"),
        (b'["\n"]', "invalid JSON"),
        (b"[" * 1_000_000, "nested deeper"),  # Python 3.14 looks more than 100,000 deep
        (b'{"a":' * 1_000_000, "expected an array"),
        (b'[{"a":' + b'{"a":' * 1_000_000, "nested deeper"),
    ],
)
def test_split_array_says_why_text_is_not_an_array(body, said):
    with pytest.raises(jsontext.JsonError, match=said):
        jsontext.split_array(body)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"{}", []),
        (b"{ }", []),
        (b'{"a":1}', [("a", b"1")]),
        (b'{ "a" : -1.5e3 ,\t"b"\n:\r"x" }', [("a", b"-1.5e3"), ("b", b'"x"')]),
        (b'{"a":1,"a":2}', [("a", b"1"), ("a", b"2")]),
        (rb'{"\u0061\n\"\\":null}', [('a\n"\\', b"null")]),
        (b'{"a":{"a":{"b":[[1],[2,{}]]}},"c":[]}', [("a", b'{"a":{"b":[[1],[2,{}]]}}'), ("c", b"[]")]),
        (
            rb'{"a":"}],{\"","b":["]","{\\"],"c":[[["[[["]]]}',
            [("a", rb'"}],{\""'), ("b", rb'["]","{\\"]'), ("c", b'[[["[[["]]]')],
        ),
        ('{"é😀":"é"}'.encode(), [("é😀", '"é"'.encode())]),
        (b'{"":"","b":""}', [("", b'""'), ("b", b'""')]),
    ],
)
def test_members_finds_each_key_and_its_values_place(raw, found):
    assert [(key, raw[start:end]) for key, start, end in jsontext.members(raw)] == found


def test_members_of_nested_objects_are_not_members():
    assert [key for key, _, _ in jsontext.members(b'{"a":{"b":1},"c":[{"d":[{"e":{"f":1}}]}]}')] == ["a", "c"]


@pytest.mark.parametrize("levels", range(1, 12))
def test_members_steps_over_values_of_any_depth(levels):
    value = b'[{"k":"]}"},' * levels + b"1" + b"]" * levels
    raw = b'{"deep":%b,"next":1}' % value
    json.loads(raw)

    assert [(key, raw[start:end]) for key, start, end in jsontext.members(raw)] == [
        ("deep", value),
        ("next", b"1"),
    ]


@pytest.mark.parametrize(
    ("raw", "filled"),
    [
        (b'{"a":1}', b'{"a":1,"k":7}'),
        (b'{"a":1 }', b'{"a":1 ,"k":7}'),
        (b"{}", b'{"k":7}'),
        (b"{ }", b'{ "k":7}'),
        (b'{"k":null}', b'{"k":7}'),
        (b'{"k" : false , "a":1}', b'{"k" : 7 , "a":1}'),
        (rb'{"\u006b":null}', rb'{"\u006b":7}'),
        (b'{"k":0}', b'{"k":0}'),
        (b'{"k":""}', b'{"k":""}'),
        (b'{"k":true}', b'{"k":true}'),
        (b'{"k":"null"}', b'{"k":"null"}'),
        (b'{"a":{"k":null}}', b'{"a":{"k":null},"k":7}'),
        (b'{"a":"\\"k\\":null"}', b'{"a":"\\"k\\":null","k":7}'),
        (b'{"k":null,"k":5}', b'{"k":7,"k":5}'),
        (b'{"k":5,"k":null}', b'{"k":5,"k":7}'),
        (b'{"a":"{"}', b'{"a":"{","k":7}'),
    ],
)
def test_fill_adds_or_replaces_and_changes_nothing_else(raw, filled):
    assert jsontext.fill(raw, {"k": b"7"}) == filled


def test_fill_appends_in_the_order_given():
    assert jsontext.fill(b'{"b":false}', {"a": b"1", "b": b"2", "c": b"3"}) == b'{"b":2,"a":1,"c":3}'


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (b'"plain \xc3\xa9"', False),
        (rb'"\n\/\\"', False),
        (rb'"\u003c\u00e9\ud83d\ude00\u0009"', False),
        (rb'"\u0041"', True),
        (rb'"\u0069d"', True),
        (rb'"\u007A"', True),
    ],
)
def test_escaped_letters_are_noticed(text, may):
    assert jsontext.may_respell_letters(text) is may


@pytest.mark.parametrize(
    ("raw", "too_deep"),
    [
        (b"1", False),
        (b"[" * 512 + b"]" * 512, False),
        (b"[" * 513 + b"]" * 513, True),
        (b"[[]," + b"[" * 511 + b"]" * 511 + b"]", False),
        (b"[[]," + b"[" * 512 + b"]" * 512 + b"]", True),
        (b'{"a":' * 512 + b"[]" + b"}" * 512, True),
        (b"[" + b"[]," * 1000 + b"[]]", False),
        (b'["' + b"[" * 1000 + b'"]', False),
        (rb'["\"' + b"[" * 1000 + b'"]', False),
        (b'["' + b"]" * 1000 + b'",' + b"[" * 512 + b"]" * 512 + b"]", True),
    ],
)
def test_levels_are_counted_and_brackets_in_strings_are_not(raw, too_deep):
    assert jsontext.nested_too_deep(raw) is too_deep


def test_the_deepest_event_can_be_cut_apart_by_a_deep_caller():
    event = b'{"a":' + b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1) + b"}"

    def split_at(frames):
        return split_at(frames - 1) if frames else jsontext.split_array(b"[%b]" % event)

    assert not jsontext.nested_too_deep(event)
    assert split_at(250) == [event]


@pytest.mark.parametrize(
    ("body", "longer"),
    [
        (b"[]", False),
        (b"[1,2,3]", False),
        (b"[1,2,3,4]", True),
        (b" [ 1 , 2 , 3 ] ", False),
        (b" [ 1 , 2 , 3 , [] ] ", True),
        (b'[{"a":1,"b":2},"1,2,3,4",[1,[2,[3,[4]]]]]', False),
        (b'[{"a":1,"b":2},"1,2,3,4",[1,[2,[3,[4]]]],0]', True),
        (b"[{},{},{}", False),
        (b"[{},{},{},", False),
    ],
)
def test_elements_are_counted_without_being_held(body, longer):
    assert jsontext.longer_than(body, 3) is longer


@pytest.mark.parametrize(
    "body", [b",,,,,", b'["a,b,c,d,e', b"[1,2,[3,4,5", b'[{"a,{"a,{"a', b"]]]],,,,", b"[,,,,,"]
)
def test_counting_elements_survives_any_text(body):
    assert jsontext.longer_than(body, 3) in {True, False}


@pytest.mark.parametrize("digits", [MAX_DIGITS + 1, MAX_DIGITS + 2, 3 * MAX_DIGITS])
def test_a_long_run_of_digits_is_seen_wherever_it_begins(digits):
    for before in range(2 * MAX_DIGITS):
        assert jsontext.may_have_long_number(b"x" * before + b"7" * digits + b"x")
    usual = b'{"timestamp":1790000000000,"id":"12345678901234567890"},' * 200
    assert not jsontext.may_have_long_number(usual + b"7" * 400)


@pytest.mark.parametrize("gap", ["", " ", "\n\t "])
@pytest.mark.parametrize("value", ["[" + "[],{}," * 500 + "1]", "[" * 300 + "]" * 300, '{"a":[{"b":"]}"}]}'])
def test_members_finds_where_values_of_many_brackets_end(value, gap):
    raw = f'{{"a":{value}{gap},"b":2,"c":{value}{gap}}}'.encode()
    found = [(key, raw[start:end].decode()) for key, start, end in jsontext.members(raw)]
    assert found == [("a", value), ("b", "2"), ("c", value)]


def test_members_are_found_where_the_caller_is_as_deep_as_can_be(monkeypatch):
    class Deep:
        def decode(self, text):
            raise RecursionError

    monkeypatch.setattr(jsontext, "_RAW", Deep())
    value = "[" * 300 + "]" * 300
    raw = f'{{"a":{value},"b":2}}'.encode()
    assert [raw[start:end].decode() for _, start, end in jsontext.members(raw)] == [value, "2"]


def test_members_and_elements_of_many_brackets_are_passed_over_in_few_steps(monkeypatch):
    """Each step costs a microsecond; 16 MiB of brackets would be 22 s of a thread that others wait for."""
    steps = []

    class Counting:
        def match(self, text, at):
            steps.append(at)
            return pattern.match(text, at)

    pattern = jsontext._STEP
    monkeypatch.setattr(jsontext, "_STEP", Counting())
    value = "[" * 300 + "]" * 300
    assert len(list(jsontext.members(f'{{"a":{value},"b":{value}}}'.encode()))) == 2
    assert len(steps) < 100
    steps.clear()
    for text in (b"[" + b"[[[," * 10_000, b"[" * 100_000 + b"," * 10, f"[{','.join([value] * 3)}]".encode()):
        jsontext.longer_than(text, 2)
    assert len(steps) < 200
