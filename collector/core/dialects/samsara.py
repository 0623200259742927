"""The Samsara ingestion API: what a request must be, how it is answered, what its events gain.

An event is an object with `timestamp` (an integer, ms since 1970), `sourceId` and `eventName`
(strings) and anything else. A refused body is answered with one string an event, in the
notation of the server that clients know: `{:timestamp (not (integer? "5"))}`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from collector.core import jsontext
from collector.core.dialects import Accepted, Read, Refused
from collector.core.dialects import body as shared
from collector.core.http import Answer, error_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.core.limits import ContentLimits

_TAKEN = Answer(202)
_TAKEN_UNDATED = Answer(
    202,
    msgspec.json.encode(
        {
            "status": "OK",
            "warning": "For completeness, please provide the 'X-Samsara-publishedTimestamp' header.",
        }
    ),
)
_BAD_TIMESTAMP = Refused(error_answer(400, "X-Samsara-publishedTimestamp must be a valid timestamp."))

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_INTEGERS = range(-(2**63), 2**63)
"""What the API's own server, and SQLite, can hold."""


class _Event(msgspec.Struct, rename="camel", gc=False):
    timestamp: int
    source_id: str
    event_name: str


class _Fields(msgspec.Struct, rename="camel", gc=False):
    """The required fields' text; empty where there is none."""

    timestamp: msgspec.Raw = msgspec.Raw()
    source_id: msgspec.Raw = msgspec.Raw()
    event_name: msgspec.Raw = msgspec.Raw()


_EVENTS = msgspec.json.Decoder(list[_Event])
_EVENT = msgspec.json.Decoder(_Event)
_FIELDS = msgspec.json.Decoder(_Fields)
_UNIQUE = (b'"timestamp"', b'"sourceId"', b'"eventName"')
_CHECKS = {"timestamp": ("integer?", int), "sourceId": ("string?", str), "eventName": ("string?", str)}


def read(
    body: bytes,
    *,
    content_type: str | None,
    published_timestamp: str | None,
    limits: ContentLimits = shared.DEFAULT_LIMITS,
) -> Read:
    """Decide on one request.

    Args:
        body: as sent, after Content-Encoding.
        content_type: the header of that name.
        published_timestamp: the header X-Samsara-publishedTimestamp.
        limits: what the body must keep to.
    """
    known = glance(body, content_type=content_type, published_timestamp=published_timestamp, limits=limits)
    if known is not None:
        return known
    raws = shared.split(body, limits)
    if isinstance(raws, Refused):
        return raws
    verdicts = [_verdict(raw, limits) for raw in raws]
    if verdicts.count("OK") == len(raws):
        return _accepted(len(raws), None if published_timestamp is None else _integer(published_timestamp))
    return Refused(shared.verdicts_answer(verdicts))


def glance(
    body: bytes, *, content_type: str | None, published_timestamp: str | None, limits: ContentLimits
) -> Read | None:
    """As `read`, but only as far as that costs no work an event; None where it must."""
    if (fault := shared.type_fault(content_type)) is not None:
        return fault
    published_at = None if published_timestamp is None else _integer(published_timestamp)
    if published_timestamp is not None and published_at is None:
        return _BAD_TIMESTAMP
    if (fault := shared.utf8_fault(body)) is not None:
        return fault
    events = shared.count_at_once(body, _EVENTS, _UNIQUE, limits)
    return None if events is None else _accepted(events, published_at)


def _accepted(events: int, published_at: int | None) -> Accepted:
    return Accepted(events, published_at, _TAKEN_UNDATED if published_at is None else _TAKEN)


def render_event(raw: bytes, *, received_at: int, published_at: int | None, stamp: str | None) -> bytes:
    """One accepted event as the upstream gets it; nothing but the stamps is changed.

    Args:
        raw: the event's own bytes, as `jsontext.split_array` gives them.
        received_at: when it was accepted, ms since 1970; becomes `receivedAt`.
        published_at: when the client says it sent it; becomes `publishedAt`. None: unknown.
        stamp: becomes `id` where the event has none; unique to the event, and the same each
            time it is rendered. None: no id is added.
    """
    if _may_have_stamps(raw, ids=stamp is not None):
        values = {"receivedAt": b"%d" % received_at}
        if published_at is not None:
            values["publishedAt"] = b"%d" % published_at
        if stamp is not None:
            values["id"] = msgspec.json.encode(stamp)
        return jsontext.fill(raw, values)
    return raw[:-1] + _stamps(received_at, published_at) + _identity(stamp)


def render_all(
    events: Sequence[bytes],
    *,
    received_at: int,
    published_at: int | None,
    stamps: Sequence[str] | None = None,
) -> list[bytes]:
    """The events of one chunk, each as `render_event` renders it.

    Args:
        events: the events' own bytes.
        received_at: of all of them.
        published_at: of all of them.
        stamps: one an event, or None.
    """
    if _may_have_stamps(b"".join(events), ids=stamps is not None):
        each = [None] * len(events) if stamps is None else stamps
        return [
            render_event(raw, received_at=received_at, published_at=published_at, stamp=stamp)
            for raw, stamp in zip(events, each, strict=True)
        ]
    both = _stamps(received_at, published_at)
    if stamps is None:
        end = both + _identity(None)
        return [raw[:-1] + end for raw in events]
    return [raw[:-1] + both + _identity(stamp) for raw, stamp in zip(events, stamps, strict=True)]


def render_whole(body: bytes, events: int, *, received_at: int, published_at: int | None) -> bytes | None:
    """What `render_all` makes of the events of a body, without ids, joined by commas.

    Args:
        body: of one chunk, and `jsontext.is_compact`.
        events: how many it has.
        received_at: of all of its events.
        published_at: of all of them.

    Returns:
        None where an event may have a stamp already, so that each must be looked at.
    """
    if _may_have_stamps(body, ids=False):
        return None
    end = _stamps(received_at, published_at) + b"}"
    if jsontext.is_flat(body, events):  # twenty times as fast
        return body[1:-1].replace(b"}", end)
    return body[1:-2].replace(b"},{", end + b",{") + end


def _may_have_stamps(text: bytes, *, ids: bool) -> bool:
    """Whether a key that a stamp would go under may be there already."""
    return (
        (b"A" in text and b'edAt"' in text and (b'"receivedAt"' in text or b'"publishedAt"' in text))
        or (ids and b'"id"' in text)
        or jsontext.may_respell_letters(text)
    )


def _stamps(received_at: int, published_at: int | None) -> bytes:
    """What is put where an event's last brace was. An accepted event is never empty."""
    published = b"" if published_at is None else b',"publishedAt":%d' % published_at
    return b',"receivedAt":%d%b' % (received_at, published)


def _identity(stamp: str | None) -> bytes:
    return b"}" if stamp is None else b',"id":%b}' % msgspec.json.encode(stamp)


def _integer(text: str) -> int | None:
    text = text.strip(" \t")
    if _INTEGER.fullmatch(text) is None or (value := int(text)) not in _INTEGERS:
        return None
    return value


def _verdict(raw: bytes, limits: ContentLimits) -> str:
    """`OK`, or what is wrong with one event."""
    if (beyond := shared.bounds_fault(raw, limits)) is not None:
        return beyond
    if not raw.startswith(b"{"):
        return f"(not (map? {_quoted(raw)}))"
    faults = {key: f":{key} duplicate-key" for key in shared.repeated(raw, _UNIQUE)}
    try:
        _EVENT.decode(raw)
    except msgspec.ValidationError:
        faults |= _faults(raw)
    return f"{{{', '.join(faults.values())}}}" if faults else "OK"


def _faults(raw: bytes) -> dict[str, str]:
    """What is wrong with the required fields, by key."""
    fields = _FIELDS.decode(raw)
    found = zip(_CHECKS.items(), (fields.timestamp, fields.source_id, fields.event_name), strict=True)
    faults: dict[str, str] = {}
    for (key, (predicate, wanted)), value in found:
        text = bytes(value)
        if not text:
            faults[key] = f":{key} missing-required-key"
            continue
        try:
            msgspec.json.decode(text, type=wanted)
        except msgspec.ValidationError:
            faults[key] = f":{key} (not ({predicate} {_quoted(text)}))"
    return faults


def _quoted(text: bytes) -> str:
    """A value as that notation writes it."""
    return "nil" if text == b"null" else shared.excerpt(text.decode())
