"""The Content-Encoding of a body: small for most links, quick for one that waits for nothing else.

At zlib's default level a processor packs some 35 MB of events a second into a tenth, isal 500 MB into an
eighth. A link that carries more packed bytes than the first of them makes is not the one that waits.

A large batch is packed part by part as it is read, so that nobody holds more of it than a part and what
is packed.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from collector.core.limits import KIB

if TYPE_CHECKING:
    from collector.forwarder.blocking import Runner

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


@dataclass(frozen=True, slots=True)
class Packed:
    """A body that was packed as it was made; its length is that before.

    Attributes:
        content: gzip.
        size: bytes before compression.
    """

    content: bytes
    size: int

    def __len__(self) -> int:
        return self.size


Body = bytes | Packed
"""A batch's as rendered, or all that is kept of a large one."""


class Compressor(Protocol):
    """What zlib and isal give."""

    def compress(self, data: bytes, /) -> bytes:
        """Take what comes next; returns what is compressed of it and of what came before."""

    def flush(self) -> bytes:
        """What is left."""


class Packing:
    """A body that is being packed, part by part.

    Args:
        run: compresses on another thread.
    """

    def __init__(self, compressor: Compressor, run: Runner) -> None:
        self._compressor = compressor
        self._run = run
        # It gives what it holds without a copy.
        self._content = io.BytesIO()
        self._size = 0

    @property
    def sent_bytes(self) -> int:
        """Of what is packed so far, less what the compressor still holds back."""
        return self._content.tell()

    async def add(self, part: bytes) -> None:
        """Pack the next part."""
        self._content.write(await self._run(partial(self._compressor.compress, part)))
        self._size += len(part)

    async def finish(self, part: bytes) -> Packed:
        """Pack the last part; there is no other after it."""
        compressor = self._compressor
        self._content.write(await self._run(lambda: compressor.compress(part) + compressor.flush()))
        self._size += len(part)
        return Packed(self._content.getvalue(), self._size)


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
        compressor = self._compressor(large=len(body) >= QUICK_BYTES)
        return compressor.compress(body) + compressor.flush()

    def begin(self, run: Runner) -> Packing:
        """Begin to make gzip of a large body that comes in parts."""
        return Packing(self._compressor(large=True), run)

    def _compressor(self, *, large: bool) -> Compressor:
        if self._fast and large:
            return _quick(QUICK_LEVEL, zlib.DEFLATED, _GZIP)
        return zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
