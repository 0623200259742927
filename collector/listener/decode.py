"""Content-Encoding: which ones are known, and undoing them within bounds."""

from __future__ import annotations

from collector.core import gzip
from collector.core.http import Answer, error_answer
from collector.core.limits import RATIO_FREE_BYTES, ContentLimits

_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "identity": "", "": ""}

BROKEN = error_answer(400, "The body is not valid gzip, or was cut short.")
TOO_MANY = error_answer(413, "The gzip stream has too many members; compress the events as one.")
TOO_LARGE = error_answer(413, "The body is too large once decompressed; send fewer events in a request.")

_DEFAULTS = ContentLimits()


def unknown_encoding(header: str) -> Answer | None:
    """The refusal of a Content-Encoding that cannot be undone; None where it can."""
    names = _split(header)
    unknown = [name for name in names if name not in _NAMES]
    if not unknown and sum(_NAMES[name] == "gzip" for name in names) <= 1:
        return None
    message = f"Content-Encoding {header[:80]!r} is not supported; use gzip or identity."
    return error_answer(415, message, headers=(("Accept-Encoding", "gzip, identity"),))


def is_gzip(header: str) -> bool:
    """Whether a known Content-Encoding says that the body is compressed."""
    return any(_NAMES.get(name) == "gzip" for name in _split(header))


def _split(header: str) -> list[str]:
    return [name.strip(" \t").lower() for name in header.split(",")]


def bound(body: bytes, limits: ContentLimits = _DEFAULTS) -> int:
    """The bytes to which a compressed body may decompress."""
    return min(limits.decoded_bytes, max(RATIO_FREE_BYTES, limits.ratio * len(body)))


def gunzip(body: bytes, *, max_bytes: int, limits: ContentLimits = _DEFAULTS) -> bytes | Answer:
    """Undo gzip; or the refusal: broken, cut short, something else behind it, or larger than `max_bytes`."""
    try:
        return gzip.gunzip(body, max_bytes=max_bytes, max_members=limits.members)
    except gzip.TooManyMembers:
        return TOO_MANY
    except gzip.TooMuch:
        return TOO_LARGE
    except gzip.BrokenGzip:
        return BROKEN
