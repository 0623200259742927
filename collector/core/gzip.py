"""Undoing gzip within bounds. A stream may have several members, one after the other."""

from __future__ import annotations

import zlib

from collector.core.limits import RECEIVE_BYTES

_GZIP = 31  # zlib's wbits for a gzip header and trailer, with the largest window


class BrokenGzip(ValueError):
    """It is not gzip, is cut short, or something else is behind it."""


class TooMuch(ValueError):
    """It holds more than was asked for; no more than that was ever decompressed."""


class TooManyMembers(ValueError):
    """It consists of more streams than was asked for."""


def gunzip(body: bytes, *, max_bytes: int, max_members: int | None = None) -> bytes:
    """What a gzip stream holds.

    Raises:
        BrokenGzip: see there.
        TooMuch: it holds more than `max_bytes`.
        TooManyMembers: it has more than `max_members`.
    """
    member = zlib.decompressobj(_GZIP)
    try:
        decoded = member.decompress(body, max_bytes + 1)
        if len(decoded) > max_bytes:
            raise TooMuch
        if not member.eof:
            raise BrokenGzip("gzip stream cut short")
        if not member.unused_data:
            return decoded
        offset = len(body) - len(member.unused_data)
        return _further(decoded, body, offset, max_bytes=max_bytes, max_members=max_members)
    except zlib.error as error:
        raise BrokenGzip(str(error)) from error


def _further(first: bytes, body: bytes, offset: int, *, max_bytes: int, max_members: int | None) -> bytes:
    """The members after the first.

    They are fed in slices, since zlib copies all that is left behind each member.
    """
    parts = [first]
    size = len(first)
    members = 1
    view = memoryview(body)
    while offset < len(body):
        members += 1
        if max_members is not None and members > max_members:
            raise TooManyMembers
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            piece: bytes | memoryview = member.unconsumed_tail
            if not piece:
                piece = view[offset : offset + RECEIVE_BYTES]
                if not piece:
                    raise BrokenGzip("gzip stream cut short")
                offset += len(piece)
            part = member.decompress(piece, max_bytes + 1 - size)
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise TooMuch
        offset -= len(member.unused_data)
    return b"".join(parts)
