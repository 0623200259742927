"""JSON as text: where things stand in it, without turning it into values.

An event's bytes are kept and sent on as they came: its numbers keep their digits, its keys
their order and spelling. So what is added to an event is spliced into its text. msgspec
decides what is JSON and cuts an array into its elements; the scanner below finds the members
of an object in text that msgspec has taken, and is not a validator itself.

The scanner does not recurse and holds one token at a time, whatever the text. Its patterns
are possessive (`*+`): they never go back, so their time is linear in the text, and they keep
no note of each turn. CPython before 3.11.5 goes wrong where a possessive group fails half-way
through a turn (gh-106052), so no group here does that in valid JSON; where a turn may fail, the
group is a plain one with a bounded count.
"""

from __future__ import annotations

import math
import re
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from collector.core.limits import MAX_DIGITS, MAX_NESTING, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN = rb'[^"\[\]{}]*+'
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb"[\[{]" + _PLAIN + rb"(?:" + _STRING + _PLAIN + rb")*+[\]}]"  # holds no container
_VALUE = _STRING + rb'|[^\s,\[\]{}"]++|' + _FLAT
_MEMBER = re.compile(rb"[\s,]*+(" + _STRING + rb")\s*+:\s*+(" + _VALUE + rb")?", re.DOTALL)
_SIMPLE = re.compile(_VALUE, re.DOTALL)
_STEP = re.compile(
    _PLAIN + rb"(?:(?:" + _STRING + rb"|" + _FLAT + rb")" + _PLAIN + rb"){0,256}([\[\]{}])?", re.DOTALL
)
_GAP = re.compile(rb"[\s,]*+")
_STRINGS = re.compile(_STRING, re.DOTALL)
_OPENING = b"[{"
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes, one level in or out
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_EMPTY = (b"null", b"false")
_GAPS = (b"\n", b"\r", b"\t", b"} ", b"}, ")  # within strings the first three are written otherwise
_SAMPLES = 8  # of each longer run, at least
_SAMPLED_RUN = b"0" * _SAMPLES
_DIGITS_AS_ZEROS = bytes(48 if 48 <= code <= 57 else 32 for code in range(256))  # noqa: PLR2004 (ASCII)

EXPLAINED_BYTES = MIB
"""Larger texts are not searched for what is wrong with them; it takes up to 100 ms for each MiB."""

_SPACE = 0x20
_POSITION = re.compile(r"\(byte ([0-9]+)\)")
_SURROGATE_FAULTS = re.compile("surrogate|hex escape|unicode escape")
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_CUT_ESCAPE = re.compile(rb"(?:\\(?:u[0-9a-fA-F]{0,3})?)?")  # the second half of a pair, where the text ends
_NO_NUMBERS = re.compile(rb"-?(?:NaN|Infinity)")

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_RAW = msgspec.json.Decoder(msgspec.Raw)
_TRAILING = re.compile(r"trailing characters \(byte ([0-9]+)\)")  # counted from 1
_SPACES = b" \t\r\n"
_MAX_STEPS = 32  # of a pattern; a value of more is left to the decoder


class JsonError(ValueError):
    """Text that is not JSON, or not the JSON that was asked for; `str()` says what is wrong."""


def split_array(body: bytes) -> list[bytes]:
    """Cut an array into its elements' own bytes, without the whitespace around them.

    `null` counts as an array of nothing: a client in Go sends it for an empty slice.

    Raises:
        JsonError: the text is not JSON, not an array, or nested beyond what can be read.
    """
    try:
        return list(map(bytes, _ARRAY.decode(body)))
    except msgspec.ValidationError:
        if body.strip() == b"null":
            return []
        raise JsonError("expected an array of events") from None
    except msgspec.DecodeError as error:
        raise JsonError(f"invalid JSON: {_reason(body, str(error))}") from None
    except RecursionError:
        raise JsonError(f"invalid JSON: nested deeper than {MAX_NESTING} levels") from None


def is_compact(body: bytes, elements: int) -> bool:
    """Whether the objects of an array can be told apart without reading it: `[{...},{...}]`.

    `},{` then stands between two of them and nowhere else, not even in a string: no brace has whitespace
    behind it, or behind it and a comma, so each of the `elements - 1` places between two objects is
    spelled in this way, and there are no more of it. Where there are no more closing braces than objects,
    each of them ends one, and nobody need look for whitespace.

    Args:
        body: a valid array of objects.
        elements: how many it has.
    """
    return (
        body.startswith(b"[{")
        and body.endswith(b"}]")
        and body.count(b"},{") == elements - 1
        and (is_flat(body, elements) or not any(gap in body for gap in _GAPS))
    )


def is_flat(body: bytes, elements: int) -> bool:
    """Whether each closing brace of an array of objects ends one of them."""
    return occurrences(body, b"}") == elements


def occurrences(text: bytes, byte: bytes) -> int:
    """How often one byte stands in a text; where that is seldom, ten times as fast as `count`."""
    return len(text) - len(text.replace(byte, b""))


def _reason(body: bytes, said: str) -> str:
    """Why the text is not JSON, and where, in words for who wrote it.

    Args:
        body: UTF-8.
        said: by msgspec, which takes half a surrogate pair for the end of the text and knows no NaN.
    """
    found = _POSITION.search(said)
    if found is None or _SURROGATE_FAULTS.search(said) is not None:
        if len(body) > EXPLAINED_BYTES:
            return "half of a surrogate pair, or the text ends before the array does"
        for escape in _ESCAPES.finditer(body):
            if escape[1] is not None and _CUT_ESCAPE.fullmatch(body, escape.end()) is None:
                return f"half of a surrogate pair, {escape[1].decode()} (byte {escape.start()})"
        if found is None:
            return f"the text ends before the array does (byte {len(body)})"
    at = int(found[1])
    word = _NO_NUMBERS.match(body, max(0, at - 1)) or _NO_NUMBERS.match(body, at)
    if word is not None:
        return f"{word[0].decode()} is not a number in JSON (byte {word.start()})"
    if at < len(body) and body[at] < _SPACE:
        return f"the control character 0x{body[at]:02x} must be written as an escape (byte {at})"
    return said.removeprefix("JSON is malformed: ")


def members(raw: bytes) -> Iterator[tuple[str, int, int]]:
    """The members of an object in order, each as (key, start, end).

    The key has its escapes resolved; `raw[start:end]` is the value's text. A repeated key
    comes as often as it stands there. `raw` is the valid JSON text of one object.
    """
    at = raw.index(b"{") + 1
    while (member := _MEMBER.match(raw, at)) is not None:
        start, at = member.span(2)
        if start < 0:  # the value holds containers that hold containers
            start = member.end()
            try:
                at = _value_end(raw, start)
            except RecursionError:  # the caller is deep already
                at = _scan(raw, start) or len(raw)
        yield _TEXT.decode(member[1]), start, at


def fill(raw: bytes, values: Mapping[str, bytes]) -> bytes:
    """Give an object the members it lacks; every byte that was there stays as it was.

    Args:
        raw: the valid JSON text of one object, with nothing behind its last brace.
        values: the JSON text of each value, by key, in the order in which they are appended.

    A `null` or `false` under one of the keys counts as lacking and is replaced where it
    stands, each time it stands there. So whichever of two equal keys a reader believes, it
    finds a value, and no key is added beside one that exists.
    """
    lacking = dict(values)
    pieces: list[bytes] = []
    at = 0
    for key, start, end in members(raw):
        if key not in values:
            continue
        lacking.pop(key, None)
        if raw[start:end] in _EMPTY:
            pieces += (raw[at:start], values[key])
            at = end
    if lacking:
        kept = raw[at:-1]
        more = b",".join(b'"%b":%b' % (key.encode(), value) for key, value in lacking.items())
        empty = raw[:-1].rstrip().endswith(b"{")
        pieces += (kept, b"" if empty else b",", more, b"}")
    else:
        pieces.append(raw[at:])
    return b"".join(pieces)


def may_respell_letters(text: bytes) -> bool:
    r"""Whether an ASCII letter may be written as an escape somewhere, as in `"time\u0073tamp"`.

    If not, then a key made of letters stands in the text as it is or not at all. Letters are
    U+0041 to U+007A; `\u003c` and its like, which JSON writers for the web emit, are not.
    """
    if b"\\" not in text:  # the most common case, and far the fastest search
        return False
    return any(digit in text for digit in (b"\\u004", b"\\u005", b"\\u006", b"\\u007"))


def nested_too_deep(raw: bytes, depth: int = MAX_NESTING) -> bool:
    """Whether one element has more than `depth` levels."""
    if raw.count(b"{") + raw.count(b"[") <= depth:
        return False
    steps = _STRINGS.sub(b"", raw).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b"))) > depth


def may_have_long_number(text: bytes, digits: int = MAX_DIGITS) -> bool:
    """Whether more than so many digits, at least 8, may follow one another; a no is never wrong."""
    if len(text) <= digits or _SAMPLED_RUN not in text[:: digits // _SAMPLES].translate(_DIGITS_AS_ZEROS):
        return False
    # So long a run covers one of the blocks of half its length whole, wherever it begins.
    step = digits // 2
    return any(text[at : at + step].isdigit() for at in range(0, len(text), step))


def has_long_number(raw: bytes, digits: int = MAX_DIGITS) -> bool:
    """Whether a number of the text has more than so many digits in a row."""
    return (
        may_have_long_number(raw, digits)
        and re.search(rb"[0-9]{%d}" % (digits + 1), _STRINGS.sub(b"", raw)) is not None
    )


def longer_than(body: bytes, count: int) -> bool:
    """Whether an array has more than `count` elements, told without holding them.

    The text may be anything; what is not an array of JSON gives either answer.
    """
    if body.count(b",") < count:
        return False
    at = body.find(b"[") + 1
    try:
        for _ in range(count):
            at = _value_end(body, _gap_end(body, at))
    except RecursionError:  # it will be refused for that
        return False
    at = _gap_end(body, at)
    return at < len(body) and body[at] not in b"]"


def _gap_end(text: bytes, start: int) -> int:
    gap = _GAP.match(text, start)
    return start if gap is None else gap.end()


def _value_end(text: bytes, start: int) -> int:
    """Where the value that starts here ends; the end of the text when it does not.

    Raises:
        RecursionError: it is nested deeper than msgspec can read.
    """
    simple = _SIMPLE.match(text, start)
    if simple is not None:
        return simple.end()
    end = _scan(text, start, _MAX_STEPS)
    return _end_by_decoder(text, start) if end is None else end


def _scan(text: bytes, start: int, most: float = math.inf) -> int | None:
    """Where a container ends; None if that takes more than so many steps."""
    depth = steps = 0
    at = start
    while (step := _STEP.match(text, at)) is not None and step.end() > at:
        at = step.end()
        if step[1] is not None:
            depth += 1 if step[1] in _OPENING else -1
            if depth <= 0:
                return at
        steps += 1
        if steps >= most:
            return None
    return len(text)


def _end_by_decoder(text: bytes, start: int) -> int:
    """As `_value_end`, by what msgspec says of the text behind the value.

    Where there is a bracket for each few bytes this takes a hundredth of the time.
    """
    try:
        _RAW.decode(memoryview(text)[start:])
    except msgspec.DecodeError as error:
        found = _TRAILING.search(str(error))
        if found is not None:
            end = start + int(found[1]) - 1
            while text[end - 1] in _SPACES:
                end -= 1
            return end
    return len(text)
