"""The bytes of a batch.

They are a function of chunk and batch rows alone, so the same batch renders to the same
bytes after a restart or an upgrade. What a batch looked like is kept with it: the
renderer's version, its form and its options. A renderer that was ever released stays
here, under its number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from collector.core.dialects import samsara, traintracks
from collector.core.ndjson import in_a_line

if TYPE_CHECKING:
    from collector.core.batch import Options, Piece, Run

RENDERER = 1
"""The version that new batches are sealed with."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a renderer may read beside the events: the rows of the batch and its lane."""

    renderer: int
    options: Options
    epoch: str
    dialect: str
    product: str


class UnknownRenderer(Exception):
    """The batch was sealed by a renderer that this release does not have."""


def render(run: Run, context: Context) -> bytes:
    """Make a batch's body, before any Content-Encoding.

    Raises:
        UnknownRenderer: the batch was sealed by a later release.
    """
    if context.renderer != RENDERER:
        raise UnknownRenderer(str(context.renderer))
    if context.options.form == "lines":
        return b"".join(_line(run_piece, context) for run_piece in run.pieces)
    rendered: list[bytes] = []
    for piece in run.pieces:
        whole = _whole(piece, context) if piece.cut is None else None
        rendered.extend(_events(piece, context) if whole is None else (whole,))
    # A batch may have megabytes: they are put together once.
    rendered[0] = b"[" + rendered[0]
    rendered[-1] += b"]"
    return b",".join(rendered)


def _whole(piece: Piece, context: Context) -> bytes | None:
    """The events of a compact chunk with the commas between them, at once; None where each is looked at.

    Byte for byte what `_events` makes of them one by one.
    """
    chunk, options = piece.chunk, context.options
    received_at = options.received_at(chunk)
    if context.dialect == "traintracks":
        late = options.late_before is not None and received_at < options.late_before
        return None if late else chunk.body[1:-1]
    if options.stamp_ids:
        return None
    return samsara.render_whole(
        chunk.body, chunk.events, received_at=received_at, published_at=chunk.published_at
    )


def _events(piece: Piece, context: Context) -> list[bytes]:
    chunk, options = piece.chunk, context.options
    received_at = options.received_at(chunk)
    if context.dialect == "traintracks":
        late = options.late_before is not None and received_at < options.late_before
        stamp = traintracks.format_timestamp(received_at) if late else None
        return traintracks.render_all(piece.events, server_timestamp=stamp)
    stamps = None
    if options.stamp_ids:
        first = piece.first_position
        stamps = [f"{context.epoch}.{first + offset}" for offset in range(len(piece.events))]
    return samsara.render_all(
        piece.events, received_at=received_at, published_at=chunk.published_at, stamps=stamps
    )


def _line(piece: Piece, context: Context) -> bytes:
    """One line an event: the event, and what its place in a batch's headers would say."""
    head = {"dialect": context.dialect}
    if context.product:
        head["product"] = context.product
    if piece.chunk.remote_address:
        head["remoteAddress"] = piece.chunk.remote_address
    start = msgspec.json.encode(head)[:-1] + b',"epoch":"' + context.epoch.encode() + b'","position":'
    position = piece.first_position
    return b"".join(
        b'%b%d,"event":%b}\n' % (start, position + offset, in_a_line(event))
        for offset, event in enumerate(_events(piece, context))
    )
