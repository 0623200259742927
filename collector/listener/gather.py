"""Keeping what has come of a body in about as much memory as it has bytes.

A chunk of two bytes makes an object of fifty: of nothing but such, a body of 16 MiB would take 450.
"""

from __future__ import annotations

from collector.core.limits import RECEIVE_BYTES

SCRAP_BYTES = 4096
"""Smaller parts are put together."""


def gather(parts: list[bytes | bytearray], part: bytes) -> None:
    """Add a part, as it came or to the one before; the first is left alone, since most bodies have one.

    Args:
        parts: of one body, in order.
        part: the next one.
    """
    if not parts or len(part) >= SCRAP_BYTES:
        parts.append(part)
        return
    last = parts[-1]
    if isinstance(last, bytearray) and len(last) < RECEIVE_BYTES:
        last += part
    else:
        parts.append(bytearray(part))
