"""Content-Encoding: which ones are known, and undoing them within bounds."""

from __future__ import annotations

import zlib

from collector.core.http import Answer, error_answer
from collector.core.limits import MAX_DECODED_BYTES, MAX_RATIO, RATIO_FREE_BYTES, RECEIVE_BYTES

_GZIP = 31  # zlib's wbits for a gzip header and trailer, with the largest window

MAX_MEMBERS = 1000
"""Members of one gzip stream. Clients that append to a compressed log make a few dozen; without
a bound 16 MiB of empty ones keep the loop busy for seconds."""

_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "identity": "", "": ""}

BROKEN = error_answer(400, "The body is not valid gzip, or was cut short.")
TOO_LARGE = error_answer(413, "The body is too large once decompressed; send fewer events in a request.")


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


def gunzip(body: bytes, *, max_bytes: int = MAX_DECODED_BYTES) -> tuple[bytes, int] | Answer:
    """Undo gzip; a stream may have several members, one after the other.

    Returns:
        The body and the number of its members; or the refusal: broken, cut short, something else
        behind it, or larger than `max_bytes` or than `MAX_RATIO` allows, of which no more than that was
        ever decompressed.
    """
    max_bytes = min(max_bytes, max(RATIO_FREE_BYTES, MAX_RATIO * len(body)))
    member = zlib.decompressobj(_GZIP)
    try:
        decoded = member.decompress(body, max_bytes + 1)
        if len(decoded) > max_bytes:
            return TOO_LARGE
        if not member.eof:
            return BROKEN
        if not member.unused_data:
            return decoded, 1
        return _further(decoded, body, len(body) - len(member.unused_data), max_bytes)
    except zlib.error:
        return BROKEN


def _further(first: bytes, body: bytes, offset: int, max_bytes: int) -> tuple[bytes, int] | Answer:
    """The members after the first.

    They are fed in slices, since zlib copies all that is left behind each member.
    """
    parts = [first]
    size = len(first)
    members = 1
    view = memoryview(body)
    while offset < len(body):
        members += 1
        if members > MAX_MEMBERS:
            return BROKEN
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            piece: bytes | memoryview = member.unconsumed_tail
            if not piece:
                piece = view[offset : offset + RECEIVE_BYTES]
                if not piece:
                    return BROKEN
                offset += len(piece)
            part = member.decompress(piece, max_bytes + 1 - size)
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                return TOO_LARGE
        offset -= len(member.unused_data)
    return b"".join(parts), members
