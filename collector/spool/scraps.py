"""Chunks found page by page, where the tree that leads to them is broken.

Every page that looks like a table's leaf is taken apart, and what has a chunk's columns and
verifies against its own checksum is a chunk. It may be one that was deleted: who asks must
know what is still needed.

The format is that of https://www.sqlite.org/fileformat2.html#b_tree_pages.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from collector.spool.store import Placed, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector.spool.examine import Table
    from collector.spool.rowids import Row

_LEAF = 13
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FIRST_BLOB, _FIRST_TEXT = 12, 13
_MAX_PAYLOAD = 64 << 20


def verifies(table: Table, row: Row) -> bool:
    """Whether a chunk's row is what its checksum was made of."""
    values = dict(zip(table.columns, row, strict=True))
    placed = Placed(*(values[name] for name in Placed._fields))  # type: ignore[arg-type]  # the checksum will tell
    body = values["body"]
    return isinstance(body, bytes) and checksum(placed, body) == values["checksum"]


def chunks(image: Path, table: Table, *, page_bytes: int) -> Iterator[Row]:
    """The chunks in a file, in no order; the same may come twice.

    Raises:
        OSError: it cannot be read.
    """
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start in range(0, len(content) - page_bytes + 1, page_bytes):
            if content[start] == _LEAF:
                yield from _page(content, start, table, page_bytes)


def _page(content: mmap.mmap, start: int, table: Table, page_bytes: int) -> Iterator[Row]:
    (cells,) = struct.unpack_from(">H", content, start + 3)
    for number in range(min(cells, page_bytes // 4)):
        try:
            (offset,) = struct.unpack_from(">H", content, start + 8 + 2 * number)
            row = _row(content, start, offset, table, page_bytes)
        except (IndexError, ValueError, struct.error):
            continue
        if row is not None and table.fits(row) and verifies(table, row):
            yield row


def _row(content: mmap.mmap, start: int, offset: int, table: Table, page_bytes: int) -> Row | None:
    size, at = _varint(content, start + offset)
    number, at = _varint(content, at)
    if not 0 < size <= _MAX_PAYLOAD:
        return None
    payload = _payload(content, at, size, page_bytes)
    head, cursor = _varint(payload, 0)
    kinds = []
    while cursor < head:
        kind, cursor = _varint(payload, cursor)
        kinds.append(kind)
    if len(kinds) != len(table.columns):
        return None
    values: list[int | str | bytes | None] = []
    for column, kind in zip(table.columns, kinds, strict=True):
        value, cursor = _value(payload, cursor, kind)
        values.append(number if column == table.rowid else value)
    return tuple(values) if cursor == len(payload) else None


def _payload(content: mmap.mmap, at: int, size: int, page_bytes: int) -> bytes:
    """A row's bytes, collected from the pages that it runs over to."""
    largest, smallest = page_bytes - 35, (page_bytes - 12) * 32 // 255 - 23
    if size <= largest:
        return content[at : at + size]
    local = smallest + (size - smallest) % (page_bytes - 4)
    local = local if local <= largest else smallest
    parts = [content[at : at + local]]
    (page,) = struct.unpack_from(">I", content, at + local)
    left = size - local
    while left > 0:
        if page < 1:
            raise ValueError("cut short")
        start = (page - 1) * page_bytes
        (page,) = struct.unpack_from(">I", content, start)
        parts.append(content[start + 4 : start + 4 + min(left, page_bytes - 4)])
        left -= page_bytes - 4
    return b"".join(parts)


def _value(payload: bytes, at: int, kind: int) -> tuple[int | str | bytes | None, int]:
    if kind == 0:
        return None, at
    if kind in {8, 9}:
        return kind - 8, at
    if kind >= _FIRST_BLOB:
        end = at + (kind - _FIRST_BLOB) // 2
        if end > len(payload):
            raise ValueError("cut short")
        value = payload[at:end]
        return (value if kind % 2 == 0 else value.decode()), end
    end = at + _INTEGER_BYTES[kind] if kind in _INTEGER_BYTES else -1
    if not 0 <= end <= len(payload):
        raise ValueError("no such value in a chunk")
    return int.from_bytes(payload[at:end], "big", signed=True), end


def _varint(content: mmap.mmap | bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(8):
        byte = content[at + step]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 (the bit that says there is more)
            return value, at + step + 1
    return value << 8 | content[at + 8], at + 9
