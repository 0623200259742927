"""What a Traintracks event must be, and what is to be said of one that is not.

`EVENTS` takes an array of events of which there is nothing to say. An event that it does not
take goes through `findings`, field by field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec

from collector.core import jsontext
from collector.core.dialects import body as shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.core.limits import ContentLimits

MAX_UNKNOWN = 20
"""Unknown fields of one event that are named and counted; the rest goes unmentioned."""

UNIQUE = (b'"clientTimestamp"', b'"data"', b'"eventType"')
"""Keys that no event may have twice, since nobody could say which one counts."""

_SMALL_BYTES = 64 * 1024
"""Up to this size an event is decoded whole, which is five times as fast as to walk through
it; beyond, the members could take far more memory than their text."""

_UUID = r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z"
_EVENT_TYPE = r"^[^.$][^.]*\Z"
_TIMESTAMP = (
    r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)\.[0-9]{6}[+-][0-9]{2}:[0-9]{2}\Z"
)
_Uuid = Annotated[str, msgspec.Meta(pattern=_UUID)]
_EventType = Annotated[str, msgspec.Meta(pattern=_EVENT_TYPE)]
_Timestamp = Annotated[str, msgspec.Meta(pattern=_TIMESTAMP)]


class _Object(msgspec.Struct, gc=False):
    """Any object."""


class _Location(msgspec.Struct, gc=False):
    lat: float
    lon: float


class CleanEvent(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """An event of which there is nothing to say."""

    build: str
    client_timestamp: _Timestamp
    data: _Object | list[_Object]
    device: str
    event_type: _EventType
    user_id: _Uuid
    user_name: str
    session_id: _Uuid
    server_timestamp: _Timestamp | None = None
    location: _Location | msgspec.UnsetType = msgspec.UNSET


EVENTS = msgspec.json.Decoder(list[CleanEvent])
_EVENT = msgspec.json.Decoder(CleanEvent)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_DATA: msgspec.json.Decoder[_Object | list[_Object]] = msgspec.json.Decoder(_Object | list[_Object])
_LOCATION = msgspec.json.Decoder(_Location)


def findings(raw: bytes, limits: ContentLimits = shared.DEFAULT_LIMITS) -> dict[str, bool]:
    """What is wrong with one event: each finding, and whether it is an error.

    `raw` is valid JSON. Findings name the field and not its value, so that those of many
    events can be counted together.
    """
    if (beyond := shared.bounds_fault(raw, limits)) is not None:
        return {beyond: True}
    if not raw.startswith(b"{"):
        return {"not an object": True}
    found = {f"{key} appears twice": True for key in shared.repeated(raw, UNIQUE)}
    try:
        _EVENT.decode(raw)
    except msgspec.ValidationError:
        values, unknown = _fields(raw)
        for key, rule in _RULES.items():
            fault = rule.fault(values.get(key, b""))
            if fault is not None:
                text, error = fault
                found[f"{key} {text}"] = error
        found |= {f"{key} is not a field of this format": False for key in unknown}
    return found


def _fields(raw: bytes) -> tuple[dict[str, bytes], list[str]]:
    """The known fields' text by key, and the names of some unknown ones, cut to be quoted."""
    if len(raw) <= _SMALL_BYTES:
        pairs = ((key, bytes(value)) for key, value in _OBJECT.decode(raw).items())
    else:
        pairs = ((key, raw[start:end]) for key, start, end in jsontext.members(raw))
    values: dict[str, bytes] = {}
    unknown: dict[str, None] = {}
    for key, value in pairs:
        if key in _RULES:
            values[key] = value
        elif len(unknown) < MAX_UNKNOWN:
            unknown[shared.excerpt(key)] = None
    return values, list(unknown)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one field's value must be.

    Attributes:
        is_kind: whether the value's text is of the right type.
        kind: what that type is called.
        form: what a string must match beyond its type.
        form_name: what that form is called.
        required: without it, or with another type of value, the event is of no use.
        optional: it may be left out; null and false are as good.
    """

    is_kind: Callable[[bytes], bool]
    kind: str
    form: re.Pattern[str] | None = None
    form_name: str = ""
    required: bool = False
    optional: bool = False

    def fault(self, value: bytes) -> tuple[str, bool] | None:
        """What is wrong with a value's text, and whether it is an error; empty means absent."""
        if self.optional and value in {b"", b"null", b"false"}:
            return None
        if not value:
            return "is missing", self.required
        if not self.is_kind(value):
            return f"is not {self.kind}", self.required
        if self.form is not None and self.form.match(_TEXT.decode(value)) is None:
            return f"is not {self.form_name}", False
        return None


def _is_text(value: bytes) -> bool:
    return value.startswith(b'"')


def _is_data(value: bytes) -> bool:
    try:
        _DATA.decode(value)
    except msgspec.ValidationError:
        return False
    return True


def _is_location(value: bytes) -> bool:
    try:
        _LOCATION.decode(value)
    except msgspec.ValidationError:
        return False
    return True


def _text(form: str = "", form_name: str = "", *, required: bool = False, optional: bool = False) -> _Rule:
    pattern = re.compile(form) if form else None
    return _Rule(_is_text, "a string", pattern, form_name, required, optional)


_MOMENT = "of the form YYYY-MM-DDTHH:mm:ss.SSSSSS+00:00"

_RULES = {
    "eventType": _text(_EVENT_TYPE, "a name without periods and a leading $", required=True),
    "clientTimestamp": _text(_TIMESTAMP, _MOMENT, required=True),
    "data": _Rule(_is_data, "an object or an array of objects", required=True),
    "build": _text(),
    "device": _text(),
    "userId": _text(_UUID, "a UUID"),
    "userName": _text(),
    "sessionId": _text(_UUID, "a UUID"),
    "serverTimestamp": _text(_TIMESTAMP, _MOMENT, optional=True),
    "location": _Rule(_is_location, "an object with the numbers lat and lon", optional=True),
}
