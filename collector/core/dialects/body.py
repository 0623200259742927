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

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_EVENTS = 20_000
"""Events in one request; more get 413, at which clients send less at a time. Public clients
post at most 10,000. It bounds what a body like `[1,1,1,...` may make us hold."""

EXCERPT_CHARS = 40
"""How much of a client's own text is quoted back to it."""

TOO_DEEP = f"nested deeper than {jsontext.MAX_NESTING} levels"

NOT_JSON_TYPE = Refused(error_answer(400, "Invalid format, content-type must be application/json"))
TOO_MANY = Refused(error_answer(413, f"Too many events, at most {MAX_EVENTS} in a request"))

_JSON_TYPE = re.compile(r"application/(?:json|[!#$%&'*+.^_`|~0-9a-z-]+\+json)[ \t]*(?:;.*)?", re.IGNORECASE)

_Event = TypeVar("_Event")


def is_json_type(content_type: str | None) -> bool:
    """Whether a Content-Type names JSON: `application/json` or `application/*+json`.

    Nothing else may pass: what a foreign page can post without asking first is never JSON by
    its type.
    """
    if content_type in {"application/json", "application/json;charset=utf-8"}:
        return True
    return content_type is not None and _JSON_TYPE.fullmatch(content_type.strip(" \t")) is not None


def utf8_fault(body: bytes) -> Refused | None:
    """The answer to a body that is not UTF-8; msgspec leaves what it skips unchecked."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return bad_json(f"invalid JSON: not UTF-8 (byte {error.start})")
    return None


def count_at_once(
    body: bytes,
    decoder: msgspec.json.Decoder[list[_Event]],
    unique: Sequence[bytes],
) -> int | None:
    """The quick way: the number of events, or None when they must be looked at singly.

    Args:
        body: UTF-8.
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
    if count > MAX_EVENTS:
        return None
    return None if _may_nest_too_deep(body, count) else count


def _may_nest_too_deep(body: bytes, count: int) -> bool:
    """Whether an event of a good array nests too deep, told as cheaply as the body allows."""
    if len(body) <= jsontext.MAX_NESTING:
        return False
    # At most, all opening brackets but the other events' own stand one inside the other.
    arrays = 1 if body.find(b"[", body.find(b"[") + 1) < 0 else body.count(b"[")
    if body.count(b"{") + arrays - count <= jsontext.MAX_NESTING:
        return False
    return any(map(jsontext.nested_too_deep, jsontext.split_array(body)))


def split(body: bytes) -> list[bytes] | Refused:
    """The slow way's start: each event's own bytes."""
    if jsontext.longer_than(body, MAX_EVENTS):
        return TOO_MANY
    try:
        return jsontext.split_array(body)
    except jsontext.JsonError as error:
        return bad_json(str(error))


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


def verdicts_answer(verdicts: list[str]) -> Answer:
    """The answer that has one string an event: `OK`, or what is wrong with it."""
    return Answer(400, msgspec.json.encode(verdicts))


def excerpt(text: str) -> str:
    """A client's own text, cut to what is fit to quote."""
    return text if len(text) <= EXCERPT_CHARS else text[:EXCERPT_CHARS] + "…"
