"""An upstream's answer, read to its end.

Only a whole answer says anything. So what is not kept of it is read too, up to a bound.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import httpx
import trio

from collector.core.failure import Failure
from collector.core.reply import Reply
from collector.forwarder.link.failures import LinkFailure

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ANSWER_BYTES = 256 * 1024
"""Of an answer are kept, as sent and again as decoded. "OK" for each of 20,000 events takes 100 kB."""

LONGEST_ANSWER_BYTES = 4 * 1024 * 1024
"""A longer one is not read to its end, and counts as none: no upstream has so much to say."""

TOLD_EVENTS = 20_000
"""Of a batch; for one of so many times more events both bounds are so many times larger, since an upstream
may have something to say of each."""

CLOSING_SECONDS = 1.0

_GZIP_MAGIC = b"\x1f\x8b"
_CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib can undo, by its `wbits`."""


async def read_answer(response: httpx.Response, blanked: Callable[[bytes], bytes], *, events: int) -> Reply:
    """Read an answer to its end, and close it.

    Args:
        response: of which the headers were read.
        blanked: takes the secrets out of a text.
        events: that it speaks of.

    Raises:
        LinkFailure: it is longer than an answer may be.
        httpx.HTTPError: it did not come to its end.
    """
    times = max(1, -(-events // TOLD_EVENTS))
    most, longest = times * MAX_ANSWER_BYTES, times * LONGEST_ANSWER_BYTES
    kept, size = bytearray(), 0
    try:
        async for part in response.aiter_raw():
            size += len(part)
            kept += part[: most - len(kept)]
            if size > longest and not response.is_closed:
                # Leaving the loop here would leave httpx's generators to the garbage
                # collector; with the connection closed the next read ends them.
                await response.aclose()
    except (httpx.HTTPError, httpx.StreamError):
        if size <= longest:
            raise
    finally:
        with trio.move_on_after(CLOSING_SECONDS, shield=True):
            await response.aclose()
    if size > longest:
        raise LinkFailure(Failure.TOO_LONG, f"over {longest >> 20} MiB, with http {response.status_code}")
    body, whole, opaque = _decoded(
        bytes(kept), response.headers.get("Content-Encoding", ""), most, whole=size == len(kept)
    )
    return Reply(
        status=response.status_code,
        content_type=response.headers.get("Content-Type", ""),
        body=blanked(body),
        retry_after=response.headers.get("Retry-After"),
        date=response.headers.get("Date"),
        whole=whole,
        opaque=opaque,
    )


def _decoded(body: bytes, codings: str, most: int, *, whole: bool) -> tuple[bytes, bool, bool]:
    """Undo a coding that was not asked for, as far as it is kept.

    Returns:
        What there is, whether that is all of it, and whether it is still in a coding.
    """
    named = [
        coding for part in codings.split(",") if (coding := part.strip().lower()) not in {"", "identity"}
    ]
    if not named and body.startswith(_GZIP_MAGIC):
        named = ["gzip"]
    if not body or not named:
        return body, whole, False
    bits = _CODINGS.get(named[0]) if len(named) == 1 else None
    if bits is None:
        return body, whole, True
    undone = zlib.decompressobj(bits)
    try:
        text = undone.decompress(body, most)
    except zlib.error:
        return body, whole, True
    return (
        text,
        undone.eof and not undone.unused_data,
        not undone.eof and whole and not undone.unconsumed_tail,
    )
