"""The Traintracks events API: what a request must be, how it is answered, what its events gain.

Public SDKs break most of what the API's document asks for, and what they send must still
arrive. So only what makes an event unusable is an error: not an object, or without a usable
`eventType`, `clientTimestamp` or `data`. All else is a warning, counted and named in the
answer. Success is 200 and nothing else, since an SDK counts nothing else.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from typing import TYPE_CHECKING

import msgspec

from collector.core import jsontext
from collector.core.dialects import Accepted, Read, Refused, traintracks_event
from collector.core.dialects import body as shared
from collector.core.http import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.core.limits import ContentLimits

UNKNOWN_ADDRESS = "1.2.3.4"
"""What the API's document wants in Remote-Address where the client's is not known."""

PRODUCT_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A product key as taken from the wire while none is configured; match it in full. Keys are
UUIDs; the length and the letters are bounded because lanes and files are named by them."""

MAX_NAMED = 20
"""Different warnings that one answer names; the count goes on."""

_TAKEN = Answer(200, b'{"status":"OK"}')

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999


def read(
    body: bytes,
    *,
    content_type: str | None,
    strict: bool,
    limits: ContentLimits = shared.DEFAULT_LIMITS,
) -> Read:
    """Decide on one request.

    Args:
        body: as sent, after Content-Encoding.
        content_type: the header of that name.
        strict: warnings are errors too.
        limits: what the body must keep to.
    """
    known = glance(body, content_type=content_type, limits=limits)
    if known is not None:
        return known
    raws = shared.split(body, limits)
    if isinstance(raws, Refused):
        return raws
    return _judge(raws, strict=strict, limits=limits)


def glance(body: bytes, *, content_type: str | None, limits: ContentLimits) -> Read | None:
    """As `read`, but only as far as that costs no work an event; None where it must."""
    fault = shared.type_fault(content_type) or shared.utf8_fault(body)
    if fault is not None:
        return fault
    events = shared.count_at_once(body, traintracks_event.EVENTS, traintracks_event.UNIQUE, limits)
    return None if events is None else Accepted(events, None, _TAKEN)


def render_event(raw: bytes, *, server_timestamp: str | None) -> bytes:
    """One accepted event as the upstream gets it; nothing but the stamp is changed.

    Args:
        raw: the event's own bytes, as `jsontext.split_array` gives them.
        server_timestamp: when it was accepted, by `format_timestamp`; becomes
            `serverTimestamp` unless the event has one. None: nothing is added.
    """
    if server_timestamp is None:
        return raw
    return _stamped(raw, msgspec.json.encode(server_timestamp))


def render_all(events: Sequence[bytes], *, server_timestamp: str | None) -> list[bytes]:
    """The events of one chunk, each as `render_event` renders it."""
    if server_timestamp is None:
        return list(events)
    stamp = msgspec.json.encode(server_timestamp)
    return [_stamped(raw, stamp) for raw in events]


def format_timestamp(ms: int) -> str:
    """`YYYY-MM-DDTHH:mm:ss.SSSSSS+00:00` for ms since 1970, in UTC.

    What no calendar of four-digit years holds becomes the nearest moment that one does: a
    device's clock may say anything.
    """
    moment = dt.timedelta(milliseconds=min(max(ms, _FIRST_MS), _LAST_MS))
    return (_EPOCH + moment).isoformat(timespec="microseconds")


def remote_address(header: str | None) -> str:
    """The client's address to send upstream: an IP literal as the app sent it, else 1.2.3.4."""
    text = "" if header is None else header.strip(" \t")
    if "%" in text:  # a zone means nothing to another machine, and may be any text
        return UNKNOWN_ADDRESS
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return UNKNOWN_ADDRESS
    return text


def _stamped(raw: bytes, stamp: bytes) -> bytes:
    if b'"serverTimestamp"' in raw or jsontext.may_respell_letters(raw):
        return jsontext.fill(raw, {"serverTimestamp": stamp})
    return b'%b,"serverTimestamp":%b}' % (raw[:-1], stamp)  # an accepted event is never empty


def _judge(raws: Sequence[bytes], *, strict: bool, limits: ContentLimits) -> Read:
    """The slow way: each event is looked at, and each finding is an error or a warning."""
    verdicts: list[str] = []
    named: dict[str, _Named] = {}
    warnings = 0
    for index, raw in enumerate(raws):
        found = traintracks_event.findings(raw, limits)
        errors = [text for text, error in found.items() if error or strict]
        verdicts.append("; ".join(errors) if errors else "OK")
        warnings += len(found) - len(errors)
        for text in found:
            if text in named:
                named[text].events += 1
            elif len(named) < MAX_NAMED:
                named[text] = _Named(text, events=1, first=index)
    if verdicts.count("OK") != len(raws):
        return Refused(shared.verdicts_answer(verdicts))
    if not warnings:
        return Accepted(len(raws), None, _TAKEN)
    told = {"status": "OK", "warnings": {"count": warnings, "named": list(named.values())}}
    return Accepted(len(raws), None, Answer(200, msgspec.json.encode(told)), warnings)


class _Named(msgspec.Struct):
    """One warning: how many events it concerns, and the index of the first."""

    warning: str
    events: int
    first: int
