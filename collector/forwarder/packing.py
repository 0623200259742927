"""The Content-Encoding of a body: small for most links, quick for one that waits for nothing else.

At zlib's default level a processor packs some 35 MB of events a second into a tenth, isal 500 MB into an
eighth. A link that carries more packed bytes than the first of them makes is not the one that waits.
"""

from __future__ import annotations

import zlib

from collector.core.limits import KIB

LEVEL = 6
"""zlib's default: a kiosk's link costs more than its idle processor."""

FAST_LINK = 8_000_000
"""Bytes a second on the wire. More than twice what one processor makes at `LEVEL`; beyond most mobile, DSL
and cable links, whose users pay for each byte."""

TELLING_BYTES = 16 * KIB
"""On the wire; a smaller body says more of an upstream's answering than of its link."""

QUICK_BYTES = 64 * KIB
"""Before compression; a smaller body takes two milliseconds at `LEVEL`."""

_GZIP = 31  # zlib's 15 bits, with a gzip header that has no time in it

try:
    from isal.isal_zlib import compressobj as _quick

    QUICK_LEVEL = 2
except ImportError:
    _quick = zlib.compressobj  # type: ignore[assignment]

    QUICK_LEVEL = 1


class Packer:
    """Compresses what is sent to one upstream."""

    def __init__(self) -> None:
        self._fast = False

    def sent(self, size: int, seconds: float) -> None:
        """A body was taken.

        Args:
            size: of it on the wire.
            seconds: from its first byte to the end of the answer.
        """
        if size >= TELLING_BYTES:
            self._fast = size >= FAST_LINK * seconds

    def pack(self, body: bytes) -> bytes:
        """Make gzip of a body."""
        if self._fast and len(body) >= QUICK_BYTES:
            quick = _quick(QUICK_LEVEL, zlib.DEFLATED, _GZIP)
            return quick.compress(body) + quick.flush()
        slow = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
        return slow.compress(body) + slow.flush()
