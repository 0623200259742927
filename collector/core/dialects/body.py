"""What both dialects ask of a body: a JSON content type, UTF-8, an array of bounded size.

The quick way looks at the whole body with a few passes in C and no work an event. It either
proves that every event is good, or leaves the body to the slow way, which looks at each event
and says what is wrong with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from collector.core import jsontext
from collector.core.dialects import Refused
from collector.core.http import Answer, error_answer
from collector.core.limits import MIB, ContentLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_LIMITS = ContentLimits()

EXCERPT_CHARS = 40
"""How much of a client's own text is quoted back to it."""

PIECE_BYTES = MIB
"""How much text is decoded at a time: one character can make all of it take four times its bytes."""

_CONTINUED = 0x80
_MOST_CONTINUED = 3
"""Bytes of a character behind its first, and what their upper two bits are."""

NOT_JSON_TYPE = Refused(error_answer(400, "Invalid format, content-type must be application/json"))
NOT_UTF8_TYPE = Refused(error_answer(400, "Invalid format, the charset of the content-type must be utf-8"))

_JSON_TYPE = re.compile(r"application/(?:json|[!#$%&'*+.^_`|~0-9a-z-]+\+json)[ \t]*(?:;.*)?", re.IGNORECASE)
_CHARSET = re.compile(r";[ \t]*charset[ \t]*=[ \t]*(\"?)([^\";, \t]*)\1", re.IGNORECASE)
_UTF8_NAMES = frozenset({"utf-8", "utf8", "us-ascii", "ascii", ""})
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_Event = TypeVar("_Event")


def type_fault(content_type: str | None) -> Refused | None:
    """The answer to a Content-Type that is not JSON (`application/json`, `application/*+json`) in UTF-8.

    Nothing else may pass: what a foreign page can post without asking first is never JSON by
    its type.
    """
    if content_type in {"application/json", "application/json;charset=utf-8"}:
        return None
    if content_type is None or _JSON_TYPE.fullmatch(content_type.strip(" \t")) is None:
        return NOT_JSON_TYPE
    names = {found[2].lower() for found in _CHARSET.finditer(content_type)}
    return None if names <= _UTF8_NAMES else NOT_UTF8_TYPE


def utf8_fault(body: bytes) -> Refused | None:
    """The answer to a body that is not UTF-8; msgspec leaves what it skips unchecked."""
    if body.isascii():
        return None
    start = 0
    while start < len(body):
        end = _character_end(body, start + PIECE_BYTES)
        try:
            body[start:end].decode()
        except UnicodeDecodeError as error:
            if body.startswith(_BOMS):
                return _BOM
            return bad_json(f"invalid JSON: not UTF-8 (byte {start + error.start})")
        start = end
    return None


def _character_end(body: bytes, end: int) -> int:
    """Where the character before which `end` stands begins, if they are UTF-8 there."""
    back = 0
    while end < len(body) and back < _MOST_CONTINUED and body[end] & 0xC0 == _CONTINUED:
        end -= 1
        back += 1
    return end


def count_at_once(
    body: bytes,
    decoder: msgspec.json.Decoder[list[_Event]],
    unique: Sequence[bytes],
    limits: ContentLimits,
) -> int | None:
    """The quick way: the number of events, or None when they must be looked at singly.

    Args:
        body: UTF-8.
        limits: what it must keep to.
        decoder: takes an array of good events and nothing else, and takes no event without
            the keys below.
        unique: the keys, quoted, that no event may have twice; made of ASCII letters.
    """
    try:
        count = len(decoder.decode(body))
    except (msgspec.DecodeError, RecursionError):
        return None
    # Each event has each key at least once, spelled plainly; if the whole body has no more of
    # them than it has events, then no event has one twice.
    if jsontext.may_respell_letters(body) or any(body.count(key) != count for key in unique):
        return None
    if count > limits.events or jsontext.may_have_long_number(body, limits.digits):
        return None
    return None if _may_nest_too_deep(body, count, limits.depth) else count


def _may_nest_too_deep(body: bytes, count: int, depth: int) -> bool:
    """Whether an event of a good array nests too deep, told as cheaply as the body allows."""
    if len(body) <= depth:
        return False
    # At most, all opening brackets but the other events' own stand one inside the other.
    arrays = 1 if body.find(b"[", body.find(b"[") + 1) < 0 else body.count(b"[")
    if jsontext.occurrences(body, b"{") + arrays - count <= depth:
        return False
    return any(jsontext.nested_too_deep(raw, depth) for raw in jsontext.split_array(body))


def split(body: bytes, limits: ContentLimits) -> list[bytes] | Refused:
    """The slow way's start: each event's own bytes."""
    if not body.strip():
        return _EMPTY
    if body.startswith(_BOMS):
        return _BOM
    if b"\0" in body[:4]:
        return _WIDE
    if jsontext.longer_than(body, limits.events):
        return Refused(error_answer(413, f"Too many events, at most {limits.events} in a request"))
    try:
        return jsontext.split_array(body)
    except jsontext.JsonError as error:
        return bad_json(str(error))


def bounds_fault(raw: bytes, limits: ContentLimits) -> str | None:
    """What is beyond bounds in one event, if anything is."""
    if jsontext.nested_too_deep(raw, limits.depth):
        return f"nested deeper than {limits.depth} levels"
    if jsontext.has_long_number(raw, limits.digits):
        return f"a number of more than {limits.digits} digits"
    return None


def repeated(raw: bytes, unique: Sequence[bytes]) -> list[str]:
    """Those of the keys, as in `count_at_once`, that an object has twice or more."""
    if not jsontext.may_respell_letters(raw) and all(raw.count(key) <= 1 for key in unique):
        return []
    counts = dict.fromkeys((key[1:-1].decode() for key in unique), 0)
    for key, _, _ in jsontext.members(raw):
        if key in counts:
            counts[key] += 1
    return [key for key, count in counts.items() if count > 1]


def bad_json(message: str) -> Refused:
    """The answer to a body that is not an array of JSON at all."""
    return Refused(error_answer(400, message[:1].upper() + message[1:]))


_EMPTY = bad_json("invalid JSON: the body is empty, expected an array of events")
_BOM = bad_json("invalid JSON: the body begins with a byte order mark, expected plain UTF-8")
_WIDE = bad_json("invalid JSON: the body seems to be UTF-16 or UTF-32, expected UTF-8")


def verdicts_answer(verdicts: list[str]) -> Answer:
    """The answer that has one string an event: `OK`, or what is wrong with it."""
    return Answer(400, msgspec.json.encode(verdicts))


def excerpt(text: str) -> str:
    """A client's own text, cut to what is fit to quote."""
    return text if len(text) <= EXCERPT_CHARS else text[:EXCERPT_CHARS] + "…"
