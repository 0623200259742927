"""The image: a copy of damaged files, merged into one database that SQLite will open.

The log's frames are put over the database's pages, those behind a break in the log as well.
What cannot be read becomes zeros. Where the schema is garbled, that of a fresh database is put
in its place: tables are made in one order and never moved, so their first pages are where
a fresh database has them.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from collector.spool import schema, wal
from collector.spool.stages import COPYING, untold

if TYPE_CHECKING:
    from typing import BinaryIO

    from collector.spool.stages import Told

_COPY_BYTES = 1 << 20
UNREADABLE = frozenset({errno.EIO, errno.EBADMSG})
"""What a disk says of a block that it cannot read."""

_LEAF, _INTERIOR = 13, 5
_HEADER_BYTES = 100
_ROLLBACK = b"\x01\x01"


def build(source: Path, image: Path, *, fresh: Path, page_bytes: int, told: Told = untold) -> list[str]:
    """Make the image.

    Args:
        source: the damaged database; its log is beside it.
        image: to be made.
        fresh: an empty database of this release.
        page_bytes: the size of a page.
        told: how far it is.

    Returns:
        What was found, for people.

    Raises:
        OSError: the disk refused.
    """
    notes: list[str] = []
    descriptor = os.open(image, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w+b") as target:
        unreadable = _copy(source, target, told)
        log_file = Path(f"{source}-wal")
        # Beside the image under this name for now; SQLite must not find it there.
        readable = Path(f"{image}-wal")
        if log_file.exists():
            with readable.open("wb") as copy:
                unreadable += _copy(log_file, copy)
        if unreadable:
            notes.append(f"the disk could not read {unreadable} bytes")
        log = wal.scan(readable, Path(f"{source}-shm"), page_bytes=page_bytes)
        if log.damage:
            notes.append(log.damage)
        if log.frames and log.page_bytes == page_bytes:
            _lay_over(readable, log, target)
        readable.unlink(missing_ok=True)
        # SQLite takes no schema of which a table begins beyond the file's end.
        target.truncate(max(target.seek(0, os.SEEK_END), fresh.stat().st_size))
        _mend_header(target, page_bytes)
    if not _schema_fits(image):
        notes.append("the schema was garbled")
        _take_schema(image, fresh, page_bytes)
    return notes


def _copy(source: Path, target: BinaryIO, told: Told = untold) -> int:
    """Copy a file; returns how many bytes could not be read."""
    unreadable = 0
    with source.open("rb", buffering=0) as file:
        size = source.stat().st_size
        for start in range(0, size, _COPY_BYTES):
            told(COPYING, start, size)
            wanted = min(_COPY_BYTES, size - start)
            block, missing = _read(file, start, wanted)
            unreadable += missing
            target.write(block)
    return unreadable


_SECTOR_BYTES = 4096


def _read(file: BinaryIO, start: int, wanted: int) -> tuple[bytes, int]:
    """A part of a file, where a bad block is read around."""
    try:
        return os.pread(file.fileno(), wanted, start).ljust(wanted, b"\0"), 0
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        if wanted <= _SECTOR_BYTES:
            return bytes(wanted), wanted
    parts = [
        _read(file, at, min(_SECTOR_BYTES, start + wanted - at))
        for at in range(start, start + wanted, _SECTOR_BYTES)
    ]
    return b"".join(part for part, _ in parts), sum(missing for _, missing in parts)


def _lay_over(log_file: Path, log: wal.Log, target: BinaryIO) -> None:
    last = max((index for index, frame in enumerate(log.frames) if frame.commits), default=-1)
    with log_file.open("rb") as file:
        for frame in log.frames[: last + 1]:
            file.seek(frame.offset)
            target.seek((frame.page - 1) * log.page_bytes)
            target.write(file.read(log.page_bytes))


def _mend_header(target: BinaryIO, page_bytes: int) -> None:
    """Have the header say how large the file is, and that there is no log."""
    size = target.seek(0, os.SEEK_END)
    pages = max(1, -(-size // page_bytes))
    target.truncate(pages * page_bytes)
    target.seek(0)
    header = bytearray(target.read(_HEADER_BYTES))
    header[18:20] = _ROLLBACK
    header[28:32] = struct.pack(">I", pages)
    # The size counts only where these two agree.
    header[92:96] = header[24:28]
    target.seek(0)
    target.write(header)


def _schema_fits(image: Path) -> bool:
    try:
        with closing(sqlite3.connect(image, isolation_level=None)) as connection:
            return schema.described(connection) == schema.reference(schema.applied(connection))
    except (sqlite3.Error, KeyError, UnicodeDecodeError):
        return False


def _take_schema(image: Path, fresh: Path, page_bytes: int) -> None:
    with fresh.open("rb") as file, image.open("r+b") as target:
        for page in _schema_pages(file, page_bytes):
            file.seek((page - 1) * page_bytes)
            target.seek((page - 1) * page_bytes)
            target.write(file.read(page_bytes))
        _mend_header(target, page_bytes)


def _schema_pages(file: BinaryIO, page_bytes: int) -> list[int]:
    """The pages of the schema's table: the first, and those that it points to."""
    file.seek(0)
    page = file.read(page_bytes)
    if page[_HEADER_BYTES] != _INTERIOR:
        return [1]
    (cells,) = struct.unpack_from(">H", page, _HEADER_BYTES + 3)
    (last,) = struct.unpack_from(">I", page, _HEADER_BYTES + 8)
    pointers = struct.unpack_from(f">{cells}H", page, _HEADER_BYTES + 12)
    return [1, *(struct.unpack_from(">I", page, pointer)[0] for pointer in pointers), last]
